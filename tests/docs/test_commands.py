"""Every command and every block of code on the pages: known to the real command line, and run."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main
from fenced import PAGES, ROOT, Block, blocks, commands
from typer.testing import CliRunner

from wheresight.cli.main import app
from wheresight.interventions.grids import read_grid
from wheresight.interventions.spec import parse
from wheresight.probes.registry import diagnostics
from wheresight.stimuli.benchmarks import benchmarks

UsageError: Any = typer.BadParameter.__mro__[1]  # of the click that typer carries

SHELL = ("sh", "bash")
DOCS = ROOT / "docs"
# Pages whose shell blocks are run here from top to bottom, smaller than they are written.
RUN = [
    DOCS / "tutorial.md",
    DOCS / "reproduce.md",
    DOCS / "methods" / "index.md",
    DOCS / "diagnostics" / "index.md",
]
# A package of its own is built for this one.
PACKAGE = DOCS / "extend.md"
# Options of other programs, and of released code, that pages speak of.
FOREIGN = {"--log_samples", "--position_balance"}

OURS = re.compile(r"(?:-m )?\bwheresight (?=[a-z-])(.*)")
SHELLS = [block for page in PAGES for block in blocks(page, *SHELL)]
PYTHONS = [block for page in PAGES for block in blocks(page, "python")]
# What the README's examples take for granted.
BEFORE: dict[Path, str] = {
    ROOT / "README.md": """
import wheresight
from PIL import Image
from wheresight.lvlm.encoding import Encoder, Query
loaded = wheresight.load("pocket", device="cpu")
encoder = Encoder(loaded)
asked = encoder.encode([Query(Image.new("RGB", (64, 64), "red"), ("Is it red?",))])
inputs = encoder.inputs(asked, asked.rows)
# The second example is for a model of more layers than the pocket model has.
import copy
config = copy.deepcopy(loaded.core.config)
config.text_config.num_hidden_layers = 16
model = type(loaded.core)(config).eval()
"""
}


def our_arguments(command: str) -> list[str] | None:
    """The arguments of a `wheresight` command, whoever starts it; None if it is none."""
    match = OURS.search(command)
    if match is None or re.match(r"\S*pip\b", command):
        return None
    quoted = command[: match.start()].endswith('"')
    return shlex.split(match[1].rpartition('"')[0] if quoted else match[1])


def parsed(arguments: list[str]) -> tuple[str, dict[str, Any]]:
    """The verb and its parameters, read by the real command line, which is not run.

    Raises:
        UsageError: an unknown verb or option, or one without its value.
        typer.Exit: after --help and the like.
    """
    command: Any = typer.main.get_command(app)
    path, rest = [], list(arguments)
    while hasattr(command, "commands") and not rest[0].startswith("-"):
        path.append(rest.pop(0))
        if path[-1] not in command.commands:
            raise UsageError(f"no command {' '.join(path)}")
        command = command.commands[path[-1]]
    return " ".join(path), command.make_context(path[-1] if path else "", rest).params


@pytest.mark.parametrize("block", SHELLS, ids=str)
def test_commands_are_known_to_the_command_line(
    block: Block, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in commands(block):
        arguments = our_arguments(re.sub(r"\$[A-Z]+", "1", command))
        if arguments is None:
            continue
        try:
            found = parsed(arguments)
        except typer.Exit as leaving:
            if leaving.exit_code:
                raise
            continue
        if block.page != PACKAGE:
            check_specs(*found)


def check_specs(verb: str, given: dict[str, Any]) -> None:
    """What stands behind -i, -b and --tool can be read, models and folders aside."""
    specs = given.get("intervention") or []
    for spec in [specs] if isinstance(specs, str) else specs:
        if verb == "tune":
            read_grid(spec)
        else:
            parse(spec)
    names = given.get("benchmark") or []
    for name in [names] if isinstance(names, str) else names:
        assert re.split("[:#]", name)[0] in benchmarks()
    if given.get("tool"):
        diagnostics(given["tool"])


def test_a_wrong_command_would_be_noticed() -> None:
    for wrong in ("probe --itmes 3", "prob", "probe --items", "train lora --out x"):
        with pytest.raises(UsageError):
            parsed(shlex.split(wrong))
    with pytest.raises(Exception, match="bappa"):
        check_specs(*parsed(["probe", "-i", "bappa"]))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_options_that_pages_speak_of_exist(page: Path) -> None:
    known = set(options(typer.main.get_command(app))) | FOREIGN
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", text)
    for span in spans:
        ours = span.startswith(("wheresight ", "--"))
        for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", span) if ours else ():
            assert option in known, f"{option} in {page.name}"
        if re.match(r"wheresight [a-z]", span):
            verb = shlex.split(span)[1]
            assert verb in typer.main.get_command(app).commands, f"{span} in {page.name}"  # type: ignore[attr-defined]


def options(command: Any) -> Iterator[str]:
    """Every long option of a command and of those below it."""
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
    yield "--help"
    for below in getattr(command, "commands", {}).values():
        yield from options(below)


def test_other_programs_are_asked_for_what_there_is() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = set(project["optional-dependencies"])
    seen = set()
    for block in SHELLS:
        for command in commands(block):
            if match := re.match(r"make ([a-z]+)", command):
                assert match[1] in targets, str(block)
                seen.add("make")
            for extra in re.findall(r"wheresight\[([a-z,]+)\]", command):
                assert set(extra.split(",")) <= extras, str(block)
                seen.add("extra")
            script = re.match(r"(?:python|sh) (\S+\.(?:py|sh))", command)
            assert script is None or (ROOT / script[1]).is_file(), str(block)
    assert seen == {"make", "extra"}


@pytest.mark.parametrize("block", PYTHONS, ids=str)
def test_python_blocks_compile(block: Block) -> None:
    compile(block.text, str(block), "exec")


def smaller(command: str, variables: dict[str, str]) -> str:
    """A command with fewer items, cells, pictures and replicates than it is written with."""
    command = re.sub(r"\$([A-Z]+)", lambda match: variables[match[1]], command)
    verb = shlex.split(command)[1]
    command = re.sub(r"(items[= ])\d+", r"\g<1>2", command)
    command = re.sub(r"(localisation:\S+)", r"\1,grid=2x2", command)
    # A tuning splits its pictures into two parts.
    command = re.sub(r"images=\d+", f"images={6 if verb == 'tune' else 3}", command)
    if verb in ("probe", "diagnose", "estimate"):
        command += " --grid 2x2"
    if verb in ("probe", "evaluate", "compare", "tune", "diagnose", "report"):
        command += " --replicates 100"
    return command


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_a_page_is_run_from_top_to_bottom(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    variables: dict[str, str] = {}
    space: dict[str, Any] = {}
    ran = 0
    for block in blocks(page, "python", *SHELL):
        if block.language == "python":
            exec(compile(block.text, str(block), "exec"), space)
            continue
        for command in commands(block):
            if match := re.fullmatch(r"([A-Z]+)=(\S+)", command):
                variables[match[1]] = match[2]
            elif command.startswith("wheresight "):
                done = CliRunner().invoke(app, shlex.split(smaller(command, variables))[1:])
                assert done.exit_code == 0, f"{block}: {command}\n{done.output}\n{done.exception!r}"
                ran += 1
            else:
                assert command.startswith("pip install "), f"{block}: {command}"
    assert ran
    for folder, made in (("moved", "report.html"), ("verdict", "compare.html")):
        assert not (tmp_path / folder).exists() or (tmp_path / folder / made).is_file()


@pytest.mark.parametrize("page", [*BEFORE], ids=lambda page: page.name)
def test_examples_in_python_run(page: Path) -> None:
    space: dict[str, Any] = {}
    exec(BEFORE[page], space)
    for block in blocks(page, "python"):
        exec(compile(block.text, str(block), "exec"), space)


def test_every_python_block_is_run_somewhere() -> None:
    run = {*RUN, *BEFORE, PACKAGE}
    assert {block.page for block in PYTHONS} <= run


AS_ONE = """
import json, shlex, sys
exec(compile(open("use.py").read(), "use.py", "exec"), {})
from typer.testing import CliRunner
from wheresight.cli.main import app
for command in json.loads(sys.argv[1]):
    done = CliRunner().invoke(app, shlex.split(command)[1:])
    print(done.output)
    assert done.exit_code == 0, (command, done.exception)
"""


def test_the_package_of_ones_own_is_built_installed_and_run(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="the package is built by it, without network")
    source, site = tmp_path / "source", tmp_path / "site"
    (source / "wheresight_mine").mkdir(parents=True)
    (source / "wheresight_mine" / "__init__.py").touch()
    use = []
    for block in blocks(PACKAGE, "python", "toml"):
        if block.file is None:
            use.append(block.text)
        else:
            (source / block.file).write_text(block.text, "utf-8")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(site)]
    subprocess.run([*pip, *offline, str(source)], check=True, capture_output=True, text=True)
    (tmp_path / "use.py").write_text("\n".join(use), "utf-8")
    told = [
        smaller(command, {})
        for block in blocks(PACKAGE, *SHELL)
        for command in commands(block)
        if command.startswith("wheresight ")
    ]
    assert {"evaluate", "diagnose"} == {shlex.split(command)[1] for command in told}
    done = subprocess.run(
        [sys.executable, "-c", AS_ONE, json.dumps(told)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "answer followed the change" in done.stdout
    assert "Lean to Yes (lean)" in done.stdout
    assert (tmp_path / "halves" / "evaluation.html").is_file()
