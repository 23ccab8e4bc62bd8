"""What a person sees in the terminal after a run: maps, comparison, and what they mean."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wheresight.report import words
from wheresight.report.cautions import cautions
from wheresight.report.colours import Scale, hexadecimal, ink, rates_scale
from wheresight.report.crossed import Crossed, crossed, shown_measures
from wheresight.report.measures import (
    Measure,
    cell_measures,
    measures,
    place,
    shape,
)
from wheresight.report.numerals import (
    interval,
    level,
    p_value,
    sign,
    written,
)
from wheresight.report.texts import one_line
from wheresight.runs.results import Comparison, InterventionResult, Results

_WIDE, _NARROW = 14, 7  # widths of a cell of the map: with `79.1 to 85.6`, with `79-86`
_LABEL = 22  # width of a table's first column, where space is short
_MOST_ABREAST = 6  # interventions whose numbers are all printed, side by side
_INTERVAL = 16  # room for `-199.1 to -94.49`
_BESIDE, _BELOW = _INTERVAL + 8, _INTERVAL  # widths of a column of numbers


def print_results(results: Results, console: Console) -> None:
    """Print a run's results: for each intervention a map, then the comparison.

    Everything is said in text as well as in colour. Lines are as wide as the console allows.
    """
    counts = results.counts
    rows, columns = shape(results)
    grid = f"{rows} x {columns} grid" if results.grid else f"{counts.cells} cells"
    left_out = f", {counts.items_left_out:,} left out" if counts.items_left_out else ""
    _say(console, f"{counts.items:,} items{left_out}, {grid}, {results.protocol} protocol")
    many = len(results.interventions) > _MOST_ABREAST
    if not many:
        _one_by_one(results, console)
    console.print()
    two_way = crossed(results)
    if two_way is not None:
        console.print(crossed_table(results, two_way, console))
        console.print()
    if many:
        console.print(overview(results, console))
        _say(console, "Maps, comparisons and all other numbers are in the page.", "dim")
        console.print()
    else:
        for table in comparison_tables(results, console):
            console.print(table)
    _cautions(results, console)


def _one_by_one(results: Results, console: Console) -> None:
    """Print each intervention's map, then each comparison in words."""
    measure = cell_measures(results)[0]
    shown = [e.value for r in results.interventions for c in r.cells if (e := measure.read(c))]
    scale = rates_scale([v for v in shown if v is not None])
    for result in results.interventions:
        console.print()
        _heading(console, result.intervention)
        _say(console, words.summary(results, result))
        console.print(cell_map(results, result, scale, console))
    console.print()
    unit = sign(measure.unit).strip()
    _say(
        console,
        f"Maps: {measure.label.lower()} in {unit}, with {level(results)} intervals; * is the "
        "lowest cell, which chance alone picks out where places do not differ.",
        "dim",
    )
    for compared in results.comparisons:
        console.print()
        _heading(console, f"{compared.b} against {compared.a}")
        _say(console, words.comparison(results, compared))
        if not words.criterion_explains(compared):  # else the sentence says so already
            _say(console, words.criterion_note(compared), "dim")
        _say(console, words.mcnemar(compared, results), "dim")


def cell_map(
    results: Results, result: InterventionResult, scale: Scale, console: Console
) -> Text | Table:
    """Return a coloured grid of one intervention, as detailed as the console is wide."""
    rows, columns = shape(results)
    wide = 4 + columns * (_WIDE + 1) <= console.width
    size = _WIDE if wide else _NARROW
    if not wide and 2 + columns * size > console.width:
        return _cell_list(results, result, scale, console)
    measure, lowest = cell_measures(results)[0], _lowest(results, result)
    side = 4 if wide else 2
    gap = " " if wide else ""
    text = Text("\n", no_wrap=True, overflow="crop")
    if results.grid is not None:
        heads = (str(column + 1).center(size) + gap for column in range(columns))
        text.append(" " * side + "".join(heads).rstrip() + "\n", "dim")
    for row in range(rows):
        values, ends = Text(), Text()
        for cell in result.cells[row * columns : (row + 1) * columns]:
            estimate = measure.read(cell)
            style = _paint(estimate.value, scale, console)
            value = written(estimate.value, measure.unit)
            value += "*" if cell.cell == lowest else ""
            limits = interval(estimate, measure.unit)
            limits = limits if wide else _short(estimate.low, estimate.high)
            values.append(value.center(size), f"bold {style}".strip()).append(gap)
            ends.append(limits.center(size), style or None).append(gap)
        name = str(row + 1) if results.grid else ""
        text.append(name.rjust(side - 1) + " ", "dim").append(values).append("\n")
        text.append(" " * side).append(ends).append("\n")
        if wide and row < rows - 1:
            text.append("\n")
    text.right_crop(1)
    return text


def comparison_tables(results: Results, console: Console) -> list[Table]:
    """Return tables of all measures, interventions then differences, as many as fit abreast.

    Intervals stand beside their values if all columns fit so, else below them.
    """
    readings = [(r.intervention, _values(results, r)) for r in results.interventions]
    readings += [(f"{c.b} minus {c.a}", _differences(results, c)) for c in results.comparisons]
    labels = _labels(results)
    widest = max(len(label) for label in labels) + 2
    beside = widest + len(readings) * (_BESIDE + 2) <= console.width
    label_width = widest if beside else min(_LABEL, console.width // 3)
    at_once = max(1, (console.width - label_width) // ((_BESIDE if beside else _BELOW) + 2))
    tables = []
    for start in range(0, len(readings), at_once):
        some = readings[start : start + at_once]
        table = _table(f"All numbers, with {level(results)} intervals", console)
        table.title = table.title if start == 0 else None
        table.add_column("")
        for name, _ in some:
            table.add_column(Text(_safe(name, console)), justify="right", overflow="fold")
        for index, label in enumerate(labels):
            row = (_reading(readings[index], beside) for _, readings in some)
            table.add_row(Text(_safe(label, console)), *row)
        tables.append(table)
    return tables


def overview(results: Results, console: Console) -> Table:
    """Return the headline numbers of many interventions, one a row; the page has all numbers."""
    table = _table(f"Headline numbers, with {level(results)} intervals", console)
    longest = max(len(r.intervention) for r in results.interventions)
    table.add_column("", overflow="fold", min_width=min(longest, console.width // 4))
    shown = shown_measures(results)
    for measure in shown:
        table.add_column(_safe(measure.label + _unit_of(measure), console), justify="right")
    for result in results.interventions:
        estimates = [(m, m.read(result.overall)) for m in shown]
        table.add_row(
            Text(_safe(result.intervention, console)),
            *(_below(written(e.value, m.unit), interval(e, m.unit)) for m, e in estimates),
        )
    return table


def crossed_table(results: Results, two_way: Crossed, console: Console) -> Table:
    """Return methods by masks: two headline numbers in each combination."""
    shown = [m for m in shown_measures(results) if m.name != "flip-rate"]
    evenness = next(m for m in shown if m.unit == "squared")
    both = (shown[0], evenness)
    names = ", and ".join(m.label.lower() + _unit_of(m) for m in both)
    table = _table(f"Positions by mask: {names} below it", console)
    table.add_column("")
    for column in two_way.columns:
        name = "the model's own mask" if column == "none" else column
        table.add_column(_safe(name, console), justify="right")
    for row in two_way.rows:
        cells = []
        for column in two_way.columns:
            overall = two_way.cells[row, column].overall
            lines = [
                f"{written(m.read(overall).value, m.unit)} ({interval(m.read(overall), m.unit)})"
                for m in both
            ]
            cells.append(Text("\n".join(lines)))
        name = "the model's own positions" if row == "none" else row
        table.add_row(Text(_safe(name, console)), *cells)
    return table


def _table(title: str, console: Console) -> Table:
    return Table(
        box=box.ASCII2 if console.options.ascii_only else box.SIMPLE_HEAD,
        title=_safe(title, console),
        title_justify="left",
        title_style="bold",
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )


def _below(value: str, limits: str) -> Text:
    return Text().append(value, "bold").append("\n" + limits, "dim")


def _labels(results: Results) -> list[str]:
    labels = [m.label + _unit_of(m) for m in measures(results)]
    tests = ["McNemar (Holm), least p"] if results.comparisons else []
    return [*labels, "Where the worst cell is", "Cochran's Q, p", *tests]


def _unit_of(measure: Measure) -> str:
    unit = sign(measure.unit).strip()
    return f", {unit}" if unit else ""


def _values(results: Results, result: InterventionResult) -> list[tuple[str, str]]:
    """Every number of an intervention as (value, what stands with it)."""
    found = []
    for measure in measures(results):
        estimate = measure.read(result.overall)
        found.append((written(estimate.value, measure.unit), interval(estimate, measure.unit)))
    worst = result.overall.worst_cell
    return [
        *found,
        ("" if worst is None else _at(results, worst), ""),
        (p_value(result.overall.cochran_q.p), ""),
        ("", ""),
    ]


def _differences(results: Results, compared: Comparison) -> list[tuple[str, str]]:
    found = []
    for measure in measures(results):
        estimate = measure.read(compared.overall)
        value = written(estimate.value, measure.unit, signed=True)
        found.append((value, interval(estimate, measure.unit, signed=True)))
    least = min((t.p_holm for t in compared.mcnemar), default=None)
    return [*found, ("", ""), ("", ""), (p_value(least), "")]


def _reading(reading: tuple[str, str], beside: bool) -> Text:
    value, rest = reading
    text = Text().append(value, "bold")
    if rest in ("", "-"):
        return text.append(" " * (_INTERVAL + 1)) if beside else text
    return text.append(" " + rest.rjust(_INTERVAL) if beside else "\n" + rest, "dim")


def _at(results: Results, cell: int) -> str:
    return place(results, cell).replace("row ", "r").replace(", column ", "c")


def _cell_list(
    results: Results, result: InterventionResult, scale: Scale, console: Console
) -> Table:
    """The same as a list, for a console too narrow for the grid."""
    measure, lowest = cell_measures(results)[0], _lowest(results, result)
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1, 0, 0))
    for cell in result.cells:
        estimate = measure.read(cell)
        value = written(estimate.value, measure.unit) + ("*" if cell.cell == lowest else " ")
        style = f"bold {_paint(estimate.value, scale, console)}".strip()
        shown = Text().append(f" {value.rjust(6)} ", style)
        table.add_row(_at(results, cell.cell), shown, Text(interval(estimate, measure.unit), "dim"))
    return table


def _lowest(results: Results, result: InterventionResult) -> int | None:
    overall = result.overall
    return overall.worst_cell if results.protocol == "paper" else overall.balanced_worst_cell


def _short(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "-"
    return f"{100 * low:.0f}-{100 * high:.0f}"


def _paint(value: float | None, scale: Scale, console: Console) -> str:
    """The style of a cell; colours only where the console has enough of them to tell apart."""
    if value is None or console.no_color or console.color_system not in ("256", "truecolor"):
        return ""
    background = scale.colour(value)
    return f"{hexadecimal(ink(background))} on {hexadecimal(background)}"


def _heading(console: Console, text: str) -> None:
    console.print(Text(_safe(one_line(text), console), "bold underline"))


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(_safe(one_line(text), console), style))


def _cautions(results: Results, console: Console) -> None:
    found = cautions(results)
    for caution in found:
        line = Text().append("Caution: ", "bold yellow")
        line.append(_safe(", ".join(caution.interventions), console) + ": ", "bold")
        console.print(line.append(_safe(caution.text, console)))
    if results.protocol == "balanced" or not found:
        _say(console, words.protocol_note(results), "dim")
    _say(console, f"{words.TWO_SIDES} {words.other_side(results)}", "dim")
    if words.scope(results):
        _say(console, words.scope(results), "dim")


def _safe(text: str, console: Console) -> str:
    """Leave out what the console's encoding cannot write, and what a terminal would obey."""
    encoding = console.encoding or "utf-8"
    text = one_line(text).replace("²", "^2") if console.options.ascii_only else one_line(text)
    return text.encode(encoding, "replace").decode(encoding)
