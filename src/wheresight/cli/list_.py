"""`wheresight list`: what this installation knows by name."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from wheresight.interventions.base import Intervention

app = typer.Typer(no_args_is_help=True, help="List what is known by name.")


@app.command()
def interventions(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list, for programs.")] = False,
) -> None:
    """Methods that --intervention takes: seams, parameters, families, papers."""
    from rich.console import Console
    from rich.markup import escape

    from wheresight.interventions.registry import known_interventions
    from wheresight.interventions.spec import example

    with Console(stderr=True).status("Asking the families of the installed transformers"):
        found = [_described(example(name)) for name in known_interventions()]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    console = Console(highlight=False)
    for method in found:
        parameters = ", ".join(f"{k}={v}" for k, v in method["parameters"].items())
        families = method["families"]
        console.print(f"[bold]{method['name']}[/]  [dim]{', '.join(method['seams'])}[/]")
        console.print(f"  {escape(method['summary'])}", soft_wrap=False)
        if parameters:
            console.print(f"  parameters  {escape(parameters)}")
        console.print(f"  families    {families if isinstance(families, str) else _few(families)}")
        paper = method["paper"] or ("ours" if method["seams"] else "-")
        console.print(f"  paper       {escape(paper)}\n")


def _few(families: list[str]) -> str:
    return ", ".join(families) or "none of those installed"


def _described(method: Intervention) -> dict[str, Any]:
    from wheresight.lvlm.families import families

    hosting = [name for name, family in families().items() if not method.refuses(family.kind())]
    summary = (type(method).__doc__ or "").strip().splitlines()[0]
    return {
        "name": method.name,
        "seams": list(method.seams()),
        "summary": summary,
        "parameters": {name: _default(field) for name, field in type(method).parameters().items()},
        "families": "all" if len(hosting) == len(families()) else hosting,
        "paper": method.paper,
    }


def _default(field: dataclasses.Field[Any]) -> str:
    """How a default is written in a spec; an ellipsis where there is none."""
    if field.default is dataclasses.MISSING:
        return "..."
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)


@app.command()
def models() -> None:
    """Models that come with the package, and skeletons with random weights."""
    from wheresight.lvlm.loading import named_models
    from wheresight.pocket import NAMES, model_folder
    from wheresight.skeletons import about, names

    said = {}
    for name in sorted(named_models()):
        if name in NAMES:
            config = json.loads((model_folder(name) / "config.json").read_text(encoding="utf-8"))
            said[name] = f"{config['architectures'][0]}, trained on emoji and shapes"
        else:  # its package may have to fetch it
            said[name] = "of another package"
    said |= {name: about(name) for name in names()}
    width = max(map(len, said))
    for name, text in said.items():
        typer.echo(f"{name:{width}}  {text}")


@app.command("families")
def families_() -> None:
    """Model families that --model may belong to."""
    from wheresight.lvlm.families import families

    for name in families():
        typer.echo(name)


@app.command()
def questions() -> None:
    """Phrasings of the matching question."""
    from wheresight.probes.questions import QUESTIONS

    for name, text in QUESTIONS.items():
        typer.echo(f"{name}\n{text}\n")


@app.command("diagnostics")
def diagnostics_(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list, for programs.")] = False,
) -> None:
    """Experiments that `wheresight diagnose --tool` takes: question, options, paper."""
    from rich.console import Console
    from rich.markup import escape

    from wheresight.probes.registry import diagnostic_class, known_diagnostics

    tools = [diagnostic_class(name) for name in known_diagnostics()]
    options = {
        tool.name: {name: _default(field) for name, field in tool.parameters().items()}
        for tool in tools
    }
    if as_json:
        found = [
            {
                "name": tool.name,
                "title": tool.title,
                "question": tool.question,
                "parameters": options[tool.name],
                "paper": tool.paper,
            }
            for tool in tools
        ]
        typer.echo(json.dumps(found, indent=2))
        return
    console = Console(highlight=False)
    for tool in tools:
        parameters = ", ".join(f"{k}={v}" for k, v in options[tool.name].items())
        console.print(f"[bold]{tool.name}[/]  [dim]{escape(tool.title)}[/]")
        console.print(f"  {escape(tool.question)}", soft_wrap=False)
        if parameters:
            console.print(f"  parameters  {escape(parameters)}")
        console.print(f"  paper       {escape(tool.paper or 'ours')}\n")


@app.command("benchmarks")
def benchmarks_(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list, for programs.")] = False,
) -> None:
    """Benchmarks that `wheresight evaluate` takes: questions, data, options, licences, papers."""
    from rich.console import Console
    from rich.markup import escape
    from rich.padding import Padding
    from rich.table import Table

    from wheresight.stimuli.benchmarks import benchmarks
    from wheresight.stimuli.benchmarks.about import GENERAL, about

    found = {name: about(name, opened_by) for name, opened_by in sorted(benchmarks().items())}
    if as_json:
        listed = [
            {"name": name, **dataclasses.asdict(one), "general_options": GENERAL}
            for name, one in found.items()
        ]
        typer.echo(json.dumps(listed, indent=2))
        return
    console = Console(highlight=False)
    for name, one in found.items():
        console.print(f"[bold]{escape(name)}[/]  [dim]{escape(one.spec)}[/]")
        console.print(Padding(escape(one.asks), (0, 0, 0, 2)))
        rows = Table.grid(padding=(0, 0, 0, 2))
        for option, meaning in one.options.items():
            rows.add_row("option", f"{option}: {escape(meaning)}")
        for label, text in (("data", one.get), ("licence", one.licence), ("paper", one.paper)):
            rows.add_row(label, escape(text or "ours"))
        console.print(rows)
        console.print()
    console.print("[bold]Options of every benchmark[/], as in 2ds#images=100,control=mirror:")
    rows = Table.grid(padding=(0, 0, 0, 2))
    for option, meaning in GENERAL.items():
        rows.add_row(option, escape(meaning))
    console.print(rows)
