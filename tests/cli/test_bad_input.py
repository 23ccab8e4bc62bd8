"""Bad input: one clear sentence, exit code 2, earlier records intact."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from warm_commands import wheresight

SMALL = ("--items", "2", "--grid", "1x2", "--replicates", "100")


def refused(*arguments: str) -> str:
    """Run a command that must be refused; return its one sentence."""
    done = wheresight(*arguments, COLUMNS="200")
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A good imagefolder of eight plain pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rows = []
    for n in range(8):
        Image.new("RGB", (40, 30), (30 * n, 255 - 30 * n, 90)).save(folder / f"{n}.png")
        rows.append({"file_name": f"{n}.png", "text": f"plain colour {n}"})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--model", "pockt"), "Unknown model 'pockt'. Did you mean 'pocket'"),
        (("--model", "skeleton:llava-1.5"), "Did you mean 'skeleton:llava-1.5-7b'"),
        (("-i", "bappa"), "Unknown intervention 'bappa'. Did you mean 'bapa'"),
        (("-i", "none:strength=2"), "takes no parameters"),
        (("-i", "bapa:strength=2"), "Unknown parameter of 'bapa' 'strength'"),
        (("-i", "bapa:layers=0-9"), "the model's layers are 0 to 4"),
        (("-i", "bapa:layers=9-0"), "cannot be '9-0'"),
        (("-i", "scalingvis:alpha=nan"), "expected a finite number"),
        (("-i", "scalingvis:alpha=-1"), "'scalingvis'"),
        (("-i", "scalingvis:alpha=2,heads=4"), "the model's heads are 0 to 3"),
        (("-i", "circle"), "cannot act on this llava model"),
        (("-i", "bapa:text_only=true"), "cannot act on this llava model"),
        (("-i", "bapa+cca"), "cannot be combined"),
        (("-i", "cca+mask:causal"), "both set the mask"),
        (("-i", "scalingvis:0.5+adaptvis"), "cannot be combined"),
        (("--grid", "9x9"), "Expected rows x columns from 1x2 to 8x8"),
        (("--grid", "three"), "Unknown grid 'three'"),
        (("--layout", "shuffle"), "Unknown layout 'shuffle'"),
        (("--question", "paperr"), "Unknown question 'paperr'. Did you mean 'paper'?"),
        (("--background", "whitish"), "Unknown background 'whitish'"),
        (("--dtype", "float8"), "Unknown dtype 'float8'"),
        (("--device", "cuda:99"), "The device 'cuda:99' cannot be used here"),
        (("--batch-size", "0"), "expected 1 or more"),
        (("--items", "0"), "expected 1 or more"),
        (("--replicates", "5"), "at least 100 replicates"),
        (("--tile", "500"), "Expected tiles of at most"),
        (("--jitter", "40"), "A jitter of 40 px"),
        (("--source", "folder:/does/not/exist"), "/does/not/exist"),
        (("--model", "nobody/nothing"), "could not be loaded"),
    ],
)
def test_a_word_that_is_not_known(
    arguments: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    said = refused("probe", "--out", str(tmp_path / "run"), *SMALL, *arguments)
    assert sentence in said
    assert not list((tmp_path / "run").glob("records/*.parquet"))


def test_columns_and_folders_of_pictures(pictures: Path, tmp_path: Path) -> None:
    probe = ("probe", "--out", str(tmp_path / "run"), *SMALL, "--source", f"folder:{pictures}")
    assert "caption_of" in refused(*probe, "--caption-column", "caption_of")
    assert "at least" in refused(*probe, "--grid", "3x3")
    (pictures / "metadata.jsonl").unlink()
    assert "metadata" in refused(*probe)


def test_a_truncated_picture_is_named(pictures: Path, tmp_path: Path) -> None:
    whole = (pictures / "3.png").read_bytes()
    (pictures / "3.png").write_bytes(whole[: len(whole) // 2])
    probe = ("probe", "--out", str(tmp_path / "run"), "--source", f"folder:{pictures}")
    assert "3.png" in refused(*probe, "--items", "8", "--grid", "2x2", "--replicates", "100")


def test_outputs_that_cannot_be_used(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert "is a file; expected a folder" in refused("probe", "--out", str(file), *SMALL)
    assert file.read_text() == "mine"
    # A file system of the kernel's that takes no folders: root may write anywhere else.
    assert "cannot be written" in refused("probe", "--out", "/proc/wheresight", *SMALL)
    assert "holds no run" in refused("report", str(tmp_path))


def test_another_run_in_the_folder_is_refused_and_kept(tmp_path: Path) -> None:
    out = ("--out", str(tmp_path / "run"))
    assert wheresight("probe", *out, *SMALL).returncode == 0
    parts = {f: f.read_bytes() for f in (tmp_path / "run" / "records").iterdir()}
    assert "question" in refused("probe", *out, *SMALL, "--question", "short")
    assert {f: f.read_bytes() for f in (tmp_path / "run" / "records").iterdir()} == parts


def test_models_that_cannot_be_asked(tmp_path: Path) -> None:
    from wheresight.pocket import model_folder

    def copy(name: str, *without: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file in model_folder().iterdir():
            if file.is_file() and file.name not in without:
                (folder / file.name).write_bytes(file.read_bytes())
        return folder

    def said(folder: Path) -> str:
        return refused("probe", "--out", str(tmp_path / "run"), *SMALL, "--model", str(folder))

    silent = copy("silent", "chat_template.jinja")
    for name in ("tokenizer_config.json", "processor_config.json"):
        if (silent / name).is_file():
            content = json.loads((silent / name).read_text())
            content.pop("chat_template", None)
            (silent / name).write_text(json.dumps(content))
    assert "has no chat template" in said(silent)

    blind = copy("blind")
    config = json.loads((blind / "config.json").read_text())
    config.update(model_type="llama", architectures=["LlamaForCausalLM"])
    (blind / "config.json").write_text(json.dumps(config))
    assert "Unknown model family 'llama'" in said(blind)

    bare = copy("bare", "model.safetensors")
    assert "safetensors" in said(bare)
    (bare / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'echo harm'\ntR.")
    assert "Only safetensors weights are read" in said(bare)

    empty = tmp_path / "empty"
    empty.mkdir()
    assert "has no config.json" in said(empty)
