"""The parts of these pages that the classes themselves tell, written between two markers.

    python docs/generate.py           # write them anew
    python docs/generate.py --check   # say which pages are out of date, exit code 1 if any is

Every registered method and diagnostic has a page, `methods/NAME.md` and `diagnostics/NAME.md`. What
is between the markers of a page is made from the class: its docstring, its parameters, its paper,
the families that host it; costs come from `benchmarks/README.md`. The rest is written by hand.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wheresight.interventions.base import SEAMS
from wheresight.interventions.parameters import WithParameters
from wheresight.interventions.registry import BUILT_IN as METHODS
from wheresight.interventions.spec import example
from wheresight.lvlm.families import families
from wheresight.probes.registry import BUILT_IN as DIAGNOSTICS
from wheresight.probes.registry import diagnostic_class

DOCS = Path(__file__).parent
BENCHMARKS = DOCS.parent / "benchmarks" / "README.md"
BEGIN = "<!-- Made by docs/generate.py from the class; change the class, not this. -->"
RECORDS = "<!-- Made by docs/generate.py from the class: its records. -->"
END = "<!-- End of what is made. -->"

# As benchmarks/README.md writes it: `spec` 1.02 (1.00 to 1.03), perhaps with an option apart.
_COST = re.compile(
    r"`(?P<spec>[a-z][^`]*)`(?: with `(?P<with>[^`]+)`)? "
    r"(?P<ratio>\d\.\d\d \(\d\.\d\d to \d\.\d\d\))"
)


# ---- what docstrings say -----------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Told:
    """A class's docstring, taken apart.

    Attributes:
        summary: its first line.
        body: paragraphs after that, in Markdown.
        parameters: what it says of each parameter, in Markdown.
    """

    summary: str
    body: str
    parameters: Mapping[str, str]


def told(cls: type) -> Told:
    """Take a class's own docstring apart."""
    lines = inspect.cleandoc(cls.__dict__.get("__doc__") or "").splitlines()
    heads = [n for n, line in enumerate(lines) if re.fullmatch(r"[A-Z][a-z]+:", line)]
    body = lines[1 : heads[0] if heads else None]
    found: dict[str, str] = {}
    for n in heads:
        if lines[n] not in ("Parameters:", "Attributes:"):
            continue
        names: list[str] = []
        for line in lines[n + 1 : next((m for m in heads if m > n), None)]:
            match = re.fullmatch(r" {4}([a-z_]+(?:, [a-z_]+)*): (.*)", line)
            if match:
                names = match[1].split(", ")
                found.update(dict.fromkeys(names, match[2]))
            elif line.strip():
                found.update({name: f"{found[name]} {line.strip()}" for name in names})
    return Told(lines[0], markdown(body), {name: escaped(text) for name, text in found.items()})


def parameter_meaning(cls: type, name: str) -> str:
    """What the docstrings of a class and its parents say of a parameter, the class's own first."""
    said = ""
    for parent in cls.__mro__:
        text = told(parent).parameters.get(name, "") if parent is not object else ""
        shared = re.match(r"see `[A-Za-z]+`[.;]? ?(.*)", text)
        if shared:
            said = shared[1]
        elif text:
            return f"{said.rstrip('.')}; {text}" if said else text
    raise SystemExit(f"No docstring of {cls.__name__} says what its parameter {name} is.")


def escaped(text: str) -> str:
    """Text in which nothing but `code` means anything to Markdown."""
    pieces = text.split("`")
    pieces[::2] = [re.sub(r"([\\*_<>\[\]$|])", r"\\\1", piece) for piece in pieces[::2]]
    return "`".join(pieces)


def markdown(lines: list[str]) -> str:
    """Paragraphs of a docstring: indented ones are formulas, lines with a star a list."""
    blocks = []
    for block in re.split(r"\n\s*\n", "\n".join(lines).strip("\n")):
        if block.startswith("    "):
            blocks.append(f"```text\n{textwrap.dedent(block)}\n```")
        else:
            rows = [re.sub(r"^(\s*)\\\* ", r"\1- ", escaped(row)) for row in block.splitlines()]
            blocks.append("\n".join(rows))
    return "\n\n".join(block for block in blocks if block)


# ---- methods -----------------------------------------------------------------------------------


def measured_costs() -> dict[str, list[str]]:
    """For each method, what its specs cost, in the words of the benchmarks' page."""
    section = BENCHMARKS.read_text("utf-8").partition("## `methods.py`")[2].partition("\n## ")[0]
    found: dict[str, list[str]] = {}
    for match in _COST.finditer(section):
        spec = match["spec"] + (f" with {match['with']}" if match["with"] else "")
        name = re.split(r"[ :]", spec)[0]
        found.setdefault(name, []).append(f"`{spec}` {match['ratio']}")
    return found


def hosts(method: Any) -> str:
    """The families that can host a method with these parameters."""
    known = families()
    able = [name for name, family in known.items() if not method.refuses(family.kind())]
    if len(able) == len(known):
        return "all"
    return ", ".join(f"`{name}`" for name in able)


def default(field: dataclasses.Field[Any]) -> str:
    """A parameter's default as a spec writes it; empty where it has to be given."""
    if field.default is dataclasses.MISSING:
        return "must be given"
    value = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
    return f"`{value}`"


def parameter_table(cls: type[WithParameters]) -> list[str]:
    """Name, default and meaning of each parameter."""
    rows = [
        f"| `{name}` | {default(field)} | {parameter_meaning(cls, name)} |"
        for name, field in cls.parameters().items()
    ]
    return ["| parameter | default | meaning |", "|---|---|---|", *rows, ""] if rows else []


def seam_names(method: Any) -> str:
    """The seams that a method acts on."""
    return ", ".join(method.seams()) or "none"


def method_block(name: str, costs: Mapping[str, list[str]]) -> str:
    """What is made of one method's page."""
    method = example(name)
    said = told(type(method))
    before = "that of `none`; it acts on the tower, before the decoder"
    cost = "; ".join(costs.get(name, ())) or (
        before if method.seams() == ("vision",) else "not measured alone"
    )
    return "\n".join(
        [
            f"**{escaped(said.summary)}**",
            "",
            "| | |",
            "|---|---|",
            f"| spec | `{method}` |",
            f"| seam | {seam_names(method)} |",
            f"| paper | {escaped(method.paper) or 'ours'} |",
            f"| families | {hosts(method)} |",
            f"| prefill time over `none` | {cost}; see [benchmarks](../../benchmarks/README.md) |",
            "",
            *parameter_table(type(method)),
            said.body,
        ]
    ).rstrip("\n")


def method_overview(costs: Mapping[str, list[str]]) -> str:
    """One table a seam: every method with its first sentence and its paper."""
    seams = [*SEAMS, "none"]
    found: dict[str, list[str]] = {seam: [] for seam in seams}
    for name in METHODS:
        method = example(name)
        first = told(type(method)).summary
        paper = escaped(method.paper) or "ours"
        seam = (method.seams() or ("none",))[0]
        found[seam].append(f"| [`{name}`]({name}.md) | {escaped(first)} | {paper} |")
    lines = []
    for seam, rows in found.items():
        if rows:
            title = f"Seam: {seam}" if seam != "none" else "The reference"
            lines += [f"### {title}", "", "| method | what it does | paper |", "|---|---|---|"]
            lines += [*rows, ""]
    return "\n".join(lines).rstrip("\n")


# ---- diagnostics -------------------------------------------------------------------------------


def diagnostic_block(name: str) -> str:
    """What is made of one diagnostic's page."""
    cls = diagnostic_class(name)
    said = told(cls)
    runs = "once, whatever interventions are asked for" if cls.once else "under each intervention"
    return "\n".join(
        [
            f"**{escaped(cls.question)}**",
            "",
            "| | |",
            "|---|---|",
            f"| command | `wheresight diagnose --tool {name}` |",
            f"| paper | {escaped(cls.paper) or 'ours'} |",
            f"| runs | {runs} |",
            "",
            *parameter_table(cls),
            "## What is measured",
            "",
            escaped(said.summary),
            "",
            said.body,
            "",
            "## How to read its figure",
            "",
            escaped(cls.reading),
            "",
            "What the numbers do not say:",
            "",
            *[f"- {escaped(caveat)}" for caveat in cls.caveats],
        ]
    ).rstrip("\n")


def record_block(name: str) -> str:
    """The columns of a diagnostic's records."""
    columns = [
        f"| `{column}` | {escaped(of.kind)} | {escaped(of.meaning)} |"
        for column, of in diagnostic_class(name).columns.items()
    ]
    return "\n".join(
        ["## Its records", "", "| column | type | meaning |", "|---|---|---|", *columns]
    )


def diagnostic_overview() -> str:
    """Every diagnostic with its question and its paper."""
    rows = []
    for name in DIAGNOSTICS:
        cls = diagnostic_class(name)
        paper = escaped(cls.paper) or "ours"
        rows.append(f"| [`{name}`]({name}.md) | {escaped(cls.question)} | {paper} |")
    return "\n".join(["| diagnostic | question | source |", "|---|---|---|", *rows])


# ---- pages -------------------------------------------------------------------------------------


Blocks = Mapping[str, str]


def blocks() -> Iterator[tuple[Path, Blocks]]:
    """Every page with parts that are made, and these by the line that they begin with."""
    costs = measured_costs()
    yield DOCS / "methods" / "index.md", {BEGIN: method_overview(costs)}
    for name in METHODS:
        yield DOCS / "methods" / f"{name}.md", {BEGIN: method_block(name, costs)}
    yield DOCS / "diagnostics" / "index.md", {BEGIN: diagnostic_overview()}
    for name in DIAGNOSTICS:
        page = DOCS / "diagnostics" / f"{name}.md"
        yield page, {BEGIN: diagnostic_block(name), RECORDS: record_block(name)}


def with_blocks(text: str, made: Blocks, page: Path) -> str:
    """A page with what is between its markers replaced."""
    for line, block in made.items():
        before, begin, rest = text.partition(line)
        _, end, after = rest.partition(END)
        if not begin or not end:
            raise SystemExit(f"{page} has no place for what is made: the lines\n{line}\n{END}")
        text = f"{before}{line}\n\n{block}\n\n{END}{after}"
    return text


def outdated() -> dict[Path, str]:
    """Pages whose made parts are not what they should be, with their new text."""
    found = {}
    for page, made in blocks():
        empty = "\n\n".join(f"{line}\n{END}" for line in made)
        old = page.read_text("utf-8") if page.exists() else f"# `{page.stem}`\n\n{empty}\n"
        new = with_blocks(old, made, page)
        if new != old or not page.exists():
            found[page] = new
    return found


def main(arguments: list[str]) -> int:
    """Write pages that are out of date, or with `--check` only name them."""
    check = arguments == ["--check"]
    for page, text in (pages := outdated()).items():
        print(f"{'out of date: ' if check else ''}{page.relative_to(DOCS.parent)}")
        if not check:
            page.write_text(text, "utf-8")
    return int(check and bool(pages))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
