"""Write the tables of README.md from a run: `python studies/methods/table.py RUN`."""

from __future__ import annotations

import sys
from pathlib import Path

from wheresight.runs.results import Results

sys.path.insert(0, str(Path(__file__).parents[1]))
from markdown_numbers import number, put

PAGE = Path(__file__).with_name("README.md")
CROSSED = [("none", "mask:bidirectional"), ("bapa", "bapa+mask:bidirectional")]


def tables(results: Results) -> dict[str, str]:
    """Both tables as Markdown, by name."""
    found = {entry.intervention: entry.overall for entry in results.interventions}
    differences = {pair.b: pair.overall for pair in results.comparisons}

    def cell(spec: str) -> str:
        overall = found[spec]
        delta = number(overall.spread.delta_debiased, "squared")
        return f"{number(overall.balanced_accuracy, 'share')}; {delta}"

    crossed = [
        "| balanced accuracy, %; debiased Delta of the hit rate, %² "
        "| the model's own mask (causal) | `mask:bidirectional` |",
        "|---|---|---|",
    ]
    names = ["the model's own positions (raster)", "`bapa`"]
    for name, row in zip(names, CROSSED, strict=True):
        crossed.append(f"| {name} | {' | '.join(cell(spec) for spec in row)} |")
    every = [
        "| intervention | balanced accuracy, % | minus none, points | false alarms minus none, "
        "points | debiased Delta, %² | flip rate, % |",
        "|---|---|---|---|---|---|",
    ]
    for spec, overall in found.items():
        other = differences.get(spec)
        minus = ["", ""]
        if other is not None:
            minus = [
                number(value, "share", signed=True)
                for value in (other.balanced_accuracy, other.false_alarm_rate)
            ]
        every.append(
            f"| `{spec}` | {number(overall.balanced_accuracy, 'share')} | {' | '.join(minus)} | "
            f"{number(overall.spread.delta_debiased, 'squared')} | "
            f"{number(overall.agreement.flip_rate, 'share')} |"
        )
    return {"Positions by mask": "\n".join(crossed), "All of them": "\n".join(every)}


def main(run: str) -> None:
    results = Results.model_validate_json((Path(run) / "results.json").read_bytes())
    put(PAGE, tables(results))


if __name__ == "__main__":
    main(sys.argv[1])
