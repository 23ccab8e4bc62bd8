"""Both stages on tiny stock parts: what is trained, what is saved, going on, using the result."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))

import parts
from conftest import picture
from test_lora import Stops, by_hand, losses

import wheresight
from wheresight.cli.main import app
from wheresight.errors import ModelError, SpecError, WheresightError
from wheresight.lvlm.learned import learned_by
from wheresight.lvlm.loading import load, look_up
from wheresight.runs.adapter import interventions_of
from wheresight.runs.evaluate import EvaluateRequest, run_evaluate
from wheresight.runs.grid_run import GridRequest, run_grid
from wheresight.runs.progress import Silent
from wheresight.training.collate import IGNORED
from wheresight.training.lora import train_lora
from wheresight.training.request import LoraRequest
from wheresight.training.stage_request import StageRequest, settle_stage
from wheresight.training.stages import StageOutcome, _Stage, plan_stage, train_stage

SPEC = "multilayer:layers=1/3+normalize:mode=trained+bapa"
CAPTIONS, TALKS = "captions.json", "talks.json"
STEPS = 6  # 8 rows, 4 a step, three times


def row(asked: str, answer: str, image: str | None) -> dict[str, Any]:
    turns = [{"from": "human", "value": asked}, {"from": "gpt", "value": answer}]
    return {"conversations": turns} if image is None else {"conversations": turns, "image": image}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Towers, language models, pictures, captions, and talks of which some have no picture."""
    folder = tmp_path_factory.mktemp("stages")
    for name in ("clip", "siglip", "llama", "qwen2"):
        getattr(parts, name)(folder / name)
    (folder / "images").mkdir()
    names = [f"{n}.png" for n in range(8)]
    for n, name in enumerate(names):
        picture(n).save(folder / "images" / name)
    words = ("cat", "dog", "a red car", "sea", "two", "yes", "it is", "far away")
    captions = [row("<image>\nTell.", w, name) for w, name in zip(words, names, strict=True)]
    talks = [row("<image>\nIs it?", w, name) for w, name in zip(words[:6], names, strict=False)]
    talks += [row("Hello", "Good day", None), row("And now?", "No", None)]
    (folder / CAPTIONS).write_text(json.dumps(captions))
    (folder / TALKS).write_text(json.dumps(talks))
    return folder


def first(place: Path, out: Path, **more: Any) -> StageRequest:
    """Stage 1 of CLIP and Llama."""
    found = StageRequest(
        stage="stage1", out=str(out), data=str(place / CAPTIONS), images=str(place / "images"),
        vision=str(place / "clip"), language=str(place / "llama"), intervention=SPEC,
        batch=4, epochs=3, learning_rate=0.02, device="cpu",
    )  # fmt: skip
    return replace(found, **more)


def second(place: Path, out: Path, model: Path, **more: Any) -> StageRequest:
    """Stage 2 after it, under what it was trained under."""
    found = StageRequest(
        stage="stage2", out=str(out), data=str(place / TALKS), images=str(place / "images"),
        model=str(model), batch=4, epochs=3, learning_rate=0.01, device="cpu",
    )  # fmt: skip
    return replace(found, **more)


@pytest.fixture(scope="module")
def one(place: Path) -> StageOutcome:
    return train_stage(first(place, place / "one"))


@pytest.fixture(scope="module")
def two(place: Path, one: StageOutcome) -> StageOutcome:
    return train_stage(second(place, place / "two", one.folder))


class Said(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


# ---- what is trained ----------------------------------------------------------------------------

PROJECTOR = ("model.multi_modal_projector.linear_1.", "model.multi_modal_projector.linear_2.")
GAIN = "model.multi_modal_projector.interventions.normalize.gain"
LANGUAGE = ("model.language_model.", "lm_head.")


@pytest.mark.parametrize("pair", [("clip", "llama"), ("siglip", "qwen2")])
@pytest.mark.parametrize("spec", ["none", "normalize:trained", SPEC])
def test_gradients_reach_what_is_meant_and_nothing_else(
    spec: str, pair: tuple[str, str], place: Path
) -> None:
    vision, language = (str(place / name) for name in pair)
    for stage in ("stage1", "stage2"):
        request = first(place, place / "x", vision=vision, language=language, intervention=spec)
        planned = plan_stage(request, Silent())
        lvlm = _Stage(stage).prepare(load(planned.card, device="cpu"), planned)
        names = {name for name, _ in lvlm.core.named_parameters()}
        meant = PROJECTOR if stage == "stage1" else PROJECTOR + LANGUAGE
        wanted = {name for name in names if name.startswith(meant)}
        wanted |= {GAIN} if "trained" in spec else set()
        assert any("vision_tower" in name for name in names - wanted)
        rows = [planned.corpus[n] for n in range(3)]
        collator = planned.collator
        batch = collator.batch([collator.row(r, planned.corpus.pictures(r)) for r in rows])
        with wheresight.intervene(lvlm, spec):
            lvlm.model.train()(**batch).loss.backward()
        got = {name: p.grad for name, p in lvlm.core.named_parameters() if p.grad is not None}
        assert set(got) == wanted == {n for n, p in lvlm.core.named_parameters() if p.requires_grad}
        assert all(grad.abs().max() > 0 for grad in got.values())


@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_the_first_step_by_hand(
    stage: str, place: Path, one: StageOutcome, two: StageOutcome
) -> None:
    """Loss, and length of the gradient of all that is trained, the output layer too."""
    outcome, request = {
        "stage1": (one, first(place, place / "x")),
        "stage2": (two, second(place, place / "x", one.folder)),
    }[stage]
    planned = plan_stage(request, Silent())
    lvlm = _Stage(request.stage).prepare(load(planned.card, device="cpu"), planned)
    # The trainer draws the order of the rows; with all of them, any order is the same.
    whole = train_stage(replace(request, batch=8, epochs=1, out=str(place / f"whole-{stage}")))
    expected = by_hand(lvlm, planned.collator, planned.corpus, range(8), SPEC)
    step = whole.training.curve[0]
    assert step.loss == pytest.approx(expected, rel=1e-4)
    corpus, collator = planned.corpus, planned.collator
    count = 0
    with wheresight.intervene(lvlm, SPEC):
        for talk in map(corpus.__getitem__, range(8)):
            batch = collator.batch([collator.row(talk, corpus.pictures(talk))])
            labels = batch.pop("labels")[:, 1:]
            logp = lvlm.model(**batch).logits[:, :-1].log_softmax(-1)
            learned = labels != IGNORED
            (-logp[learned].gather(1, labels[learned][:, None]).sum()).backward()
            count += int(learned.sum())
    trained = [p.grad / count for p in lvlm.core.parameters() if p.grad is not None]
    norm = torch.stack([g.norm() for g in trained]).norm().item()
    assert step.gradient_norm == pytest.approx(norm, rel=1e-3)
    assert losses(outcome)[-1] < losses(outcome)[0]  # type: ignore[arg-type]


def test_the_first_stage_is_trained_on_a_picture_and_its_caption(place: Path) -> None:
    planned = plan_stage(first(place, place / "x"), Silent())
    talk = planned.corpus[2]
    made = planned.collator.row(talk, planned.corpus.pictures(talk))
    words = planned.card.processor.tokenizer
    image = planned.card.config.image_token_id
    caption = words("a red car\n", add_special_tokens=False)["input_ids"]
    assert made.ids == [image] * 9 + caption
    assert [n for n in made.labels if n != IGNORED] == caption
    assert planned.collator.end == ""
    chat = plan_stage(first(place, place / "x", prompt="chat"), Silent())
    made = chat.collator.row(talk, chat.corpus.pictures(talk))
    learned = words.decode([n for n in made.labels if n != IGNORED])
    assert learned == " a red car</s>"
    assert "USER: " in words.decode(made.ids) and "Tell." in words.decode(made.ids)


# ---- what is saved ------------------------------------------------------------------------------


def state(folder: Path) -> dict[str, torch.Tensor]:
    model, told = tf.LlavaForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not any(told.values()), told
    return model.state_dict()


def test_both_stages_from_their_rows_to_their_folders(
    place: Path, one: StageOutcome, two: StageOutcome
) -> None:
    for outcome in (one, two):
        names = {file.name for file in outcome.folder.iterdir() if not file.name.startswith(".")}
        assert names >= {
            "config.json", "model.safetensors", "tokenizer.json", "processor_config.json",
            "chat_template.jinja", "intervention.json", "intervention.safetensors",
            "training.json", "loss.png", "loss.svg", "checkpoints",
        }  # fmt: skip
        assert outcome.steps == len(outcome.training.curve) == STEPS
        assert outcome.training.intervention == SPEC
    assert one.training.weights.parameters == {
        "intervention": 48,
        "projector": 64 * 48 + 48 + 48 * 49,
    }
    assert set(two.training.weights.parameters) == {"intervention", "projector", "language_model"}
    assert (two.training.data.text_only, two.training.data.pictures) == (2, 6)

    start = load(plan_stage(first(place, place / "x"), Silent()).card, device="cpu")
    before = start.core.state_dict()
    stages = [before, state(one.folder), state(two.folder)]
    for a, b, moved in zip(stages, stages[1:], (PROJECTOR, PROJECTOR + LANGUAGE), strict=False):
        assert a.keys() == b.keys()
        changed = {name for name in a if not torch.equal(a[name], b[name])}
        assert changed == {name for name in a if name.startswith(moved)}
    gains = [load_file(o.folder / "intervention.safetensors") for o in (one, two)]
    assert [set(gain) for gain in gains] == [{"normalize.gain"}] * 2
    ones = torch.ones(48)
    assert (gains[0]["normalize.gain"] - ones).abs().max() > 1e-3
    assert (gains[1]["normalize.gain"] - gains[0]["normalize.gain"]).abs().max() > 1e-3
    said = json.loads((two.folder / "intervention.json").read_text())
    assert said["spec"] == SPEC and said["base"] == str(one.folder)


def test_the_folder_is_the_model_that_was_trained(two: StageOutcome) -> None:
    """What enters the language model, by hand from the stock model and the gain in the file."""
    lvlm = wheresight.load(str(two.folder), device="cpu")
    assert lvlm.trained_under == SPEC
    talk = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Is it?"}]}]
    text = lvlm.processor.apply_chat_template(talk, add_generation_prompt=True)
    inputs = lvlm.processor(text=[text], images=[picture(0)], return_tensors="pt")
    entered: list[torch.Tensor] = []
    with torch.no_grad(), wheresight.intervene(lvlm, lvlm.trained_under):
        hook = lvlm.family.language_model(lvlm.core).register_forward_pre_hook(
            lambda module, args, kwargs: entered.append(kwargs["inputs_embeds"]), with_kwargs=True
        )
        lvlm.model(**inputs)
        hook.remove()
    stock = tf.LlavaForConditionalGeneration.from_pretrained(two.folder).eval()
    gain = load_file(two.folder / "intervention.safetensors")["normalize.gain"]
    with torch.no_grad():
        tower = stock.model.vision_tower
        states = tower(inputs["pixel_values"], output_hidden_states=True).hidden_states
        joined = torch.cat([tower.post_layernorm(states[n])[:, 1:] for n in (1, 3)], -1)
        x = stock.model.multi_modal_projector(joined)[0]
    x = gain * x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    x = 0.83 * x * (1.22 / x.norm(dim=-1, keepdim=True)).clamp(max=1)
    image = inputs["input_ids"][0] == stock.config.image_token_id
    torch.testing.assert_close(entered[0][0, image], x, rtol=1e-5, atol=1e-6)
    words = stock.get_input_embeddings()(inputs["input_ids"][0, ~image])
    assert torch.equal(entered[0][0, ~image], words)


def spoilt(folder: Path, tmp_path: Path, change: str) -> Path:
    twin = tmp_path / "twin"
    twin.mkdir()
    for file in folder.iterdir():
        if file.is_file():
            (twin / file.name).write_bytes(file.read_bytes())
    weights = twin / "intervention.safetensors"
    values = load_file(weights)
    if change == "missing":
        weights.unlink()
    elif change == "surplus":
        save_file(values | {"agci.gain": torch.ones(2)}, weights)
    elif change == "shape":
        save_file({"normalize.gain": torch.ones(47)}, weights)
    elif change == "damaged":
        weights.write_bytes(b"no tensors")
    elif change == "unsaid":
        (twin / "intervention.json").unlink()
    elif change == "unreadable":
        (twin / "intervention.json").write_text("{}")
    return twin


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("missing", "normalize.gain is missing"),
        ("surplus", "agci.gain is surplus"),
        ("shape", r"normalize.gain has the shape \(47,\), not \(48,\)"),
        ("damaged", "cannot be read"),
        ("unsaid", "no intervention.json that says of which"),
        ("unreadable", "does not say which intervention the model was trained under"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(
    change: str, says: str, two: StageOutcome, tmp_path: Path
) -> None:
    """Before weights are read; the stock class still loads what is its own."""
    twin = spoilt(two.folder, tmp_path, change)
    with pytest.raises(ModelError, match=says):
        look_up(str(twin))
    with pytest.raises(ModelError, match=says):
        wheresight.load(str(twin), device="cpu")
    assert state(twin)


def test_what_decides_the_answer_decides_the_revision(two: StageOutcome, tmp_path: Path) -> None:
    twin = spoilt(two.folder, tmp_path, "none")
    assert look_up(str(twin)).weights == look_up(str(two.folder)).weights
    gain = load_file(twin / "intervention.safetensors")["normalize.gain"]
    save_file({"normalize.gain": gain + 1}, twin / "intervention.safetensors")
    assert look_up(str(twin)).weights != look_up(str(two.folder)).weights


def test_a_model_that_brings_no_gain_cannot_host_it(place: Path) -> None:
    lvlm = wheresight.load("pocket", device="cpu")
    with (
        pytest.raises(SpecError, match=r"trained with the projector \(gain\), and this model"),
        wheresight.intervene(lvlm, "normalize:trained"),
    ):
        pass
    with pytest.raises(SpecError, match="this model brings none"):
        run_evaluate(
            EvaluateRequest(
                out=str(place / "never"), benchmarks=("2ds#images=1",), device="cpu",
                interventions=("normalize:trained",),
            )
        )  # fmt: skip


# ---- going on -----------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_a_training_that_was_stopped_goes_on_with_the_same_numbers(
    stage: str, place: Path, one: StageOutcome, two: StageOutcome, tmp_path: Path
) -> None:
    outcome, request = {
        "stage1": (one, first(place, tmp_path / "out")),
        "stage2": (two, second(place, tmp_path / "out", one.folder)),
    }[stage]
    with pytest.raises(KeyboardInterrupt):
        train_stage(request, progress=Stops(2))
    kept = load_file(tmp_path / "out" / "checkpoints" / "checkpoint-2" / "trained.safetensors")
    assert sum(w.numel() for w in kept.values()) == sum(
        outcome.training.weights.parameters.values()
    )
    again = train_stage(request)
    assert again.training.begun_at == [0, 2] and again.steps == STEPS - 2
    assert again.training.curve == outcome.training.curve
    for name in ("model.safetensors", "intervention.safetensors"):
        a, b = (load_file(folder / name) for folder in (outcome.folder, again.folder))
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
    assert train_stage(request).steps == 0
    with pytest.raises(WheresightError, match="holds another training: it differs in"):
        train_stage(replace(request, learning_rate=0.5))


def test_how_a_batch_is_cut_up_decides_rounding_alone(
    place: Path, one: StageOutcome, two: StageOutcome, tmp_path: Path
) -> None:
    """Alone in its micro-batch, a row of text alone reaches no projector."""
    single = train_stage(second(place, tmp_path / "out", one.folder, micro_batch=1))
    assert losses(single) == pytest.approx(losses(two), rel=2e-3)  # type: ignore[arg-type]


def test_in_bfloat16_what_is_trained_stays_float32(place: Path, tmp_path: Path) -> None:
    request = first(place, tmp_path / "out", dtype="bfloat16", epochs=1, learning_rate=1e-4)
    planned = plan_stage(request, Silent())
    lvlm = _Stage("stage1").prepare(load(planned.card, device="cpu"), planned)
    for parameter in lvlm.core.parameters():
        wanted = torch.float32 if parameter.requires_grad else torch.bfloat16
        assert parameter.dtype == wanted
    outcome = train_stage(request)
    assert all(math.isfinite(loss) for loss in losses(outcome))  # type: ignore[arg-type]
    saved = load_file(outcome.folder / "model.safetensors")
    assert {w.dtype for w in saved.values()} == {torch.bfloat16}
    gain = load_file(outcome.folder / "intervention.safetensors")["normalize.gain"]
    # A step of 1e-4 is lost in bfloat16.
    assert gain.dtype == torch.float32 and 0 < (gain - 1).abs().max() < 1e-3
    assert wheresight.load(str(outcome.folder), device="cpu").trained_under == SPEC


# ---- from one to the other, and after -----------------------------------------------------------


def test_a_stage_may_go_on_under_another_intervention(
    place: Path, one: StageOutcome, tmp_path: Path
) -> None:
    said = Said()
    spec = "multilayer:layers=1/3"
    other = second(place, tmp_path / "out", one.folder, intervention=spec, epochs=1)
    outcome = train_stage(other, progress=said)
    assert any(f"Warning: it is now trained under {spec}, no longer" in s for s in said.lines)
    assert not (outcome.folder / "intervention.safetensors").exists()
    loaded = wheresight.load(str(outcome.folder), device="cpu")
    assert loaded.trained_under == spec and learned_by(loaded) == {}
    with pytest.raises(SpecError, match="A model has to be trained for its blocks"):
        train_stage(second(place, tmp_path / "x", one.folder, intervention="multilayer:layers=2"))


def test_a_probe_and_an_evaluation_of_the_result(two: StageOutcome, tmp_path: Path) -> None:
    model = str(two.folder)
    own = interventions_of(None, None, ["none", "bapa"], model)
    assert own == (SPEC,)
    assert interventions_of(["none"], None, ["bapa"], model) == ("none",)
    said = Said()
    run_evaluate(
        EvaluateRequest(
            out=str(tmp_path / "evaluated"), model=model, benchmarks=("2ds#images=1",),
            interventions=own, device="cpu", replicates=100,
        ),
        progress=said,
    )  # fmt: skip
    assert f"Model {model}, trained under {SPEC}" in said.lines
    assert not any("Warning" in line for line in said.lines)
    request = GridRequest(
        out=str(tmp_path / "probed"), model=model, items=2, grid="1x2", protocol="paper",
        replicates=100, device="cpu", interventions=("multilayer:layers=1/3",), tile=10,
    )  # fmt: skip
    outcome = run_grid(request, progress=said)
    assert outcome.results is not None
    assert any("Warning: the model was trained under" in line for line in said.lines)


def test_siglip_and_qwen2_in_both_stages_and_an_adapter_on_them(
    place: Path, tmp_path: Path
) -> None:
    """Without an intervention, and an adapter under one on the result."""
    vision, language = str(place / "siglip"), str(place / "qwen2")
    start = first(
        place, tmp_path / "one", vision=vision, language=language, intervention=None, epochs=1
    )
    a = train_stage(start)
    b = train_stage(second(place, tmp_path / "two", a.folder, epochs=1))
    assert a.training.intervention == b.training.intervention == "none"
    assert not (b.folder / "intervention.safetensors").exists()
    assert b.training.data.end_of_answer == ""  # its template ends answers itself
    changed = {n for n, w in state(a.folder).items() if not torch.equal(w, state(b.folder)[n])}
    assert changed == {n for n in state(a.folder) if n.startswith(PROJECTOR + LANGUAGE)}
    lora = LoraRequest(
        out=str(tmp_path / "lora"), model=str(b.folder), data=str(place / TALKS),
        images=str(place / "images"), intervention="bapa", rank=2, batch=4, device="cpu",
    )  # fmt: skip
    adapter = train_lora(lora).folder
    loaded = wheresight.load(str(b.folder), adapter=adapter, device="cpu")
    assert loaded.trained_under == "bapa"
    assert interventions_of(None, None, ["none", "bapa"], str(b.folder)) == ("none", "bapa")


# ---- what cannot be done ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"language": None}, "Stage 1 needs --vision and --language"),
        ({"model": "pocket"}, "put one together. Give the one or the others"),
        ({"stage": "stage2"}, "Stage 2 needs --model"),
        ({"prompt": "plane"}, "Unknown prompt 'plane'. Did you mean"),
        ({"vision_layer": 3}, "says itself which states of the tower it takes"),
        ({"data": TALKS}, "has no picture, and where the projector alone is trained"),
        ({"intervention": "scalingvis:alpha=0.8"}, "prompt and answer are one text"),
        ({"intervention": "multilayer:layers=1/9"}, "has hidden states 0 to 4, and state 9"),
        ({"batch": 0}, "--batch was given as 0"),
        ({"learning_rate": -1.0}, "--learning-rate was given as -1.0"),
        ({"chat_template": "nowhere.jinja"}, "The chat template 'nowhere.jinja' cannot be read"),
        ({"max_length": 12}, "and at most 12 are taken"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(
    change: dict[str, Any], says: str, place: Path, tmp_path: Path
) -> None:
    if "data" in change:
        change = {"data": str(place / change["data"])}
    with pytest.raises(WheresightError, match=says):
        train_stage(first(place, tmp_path / "out", **change))
    assert not (tmp_path / "out" / "training.json").exists()


def test_rows_of_text_alone_are_left_out_of_the_first_stage(place: Path) -> None:
    request = first(place, place / "x", data=str(place / TALKS), skip_bad=True)
    planned = plan_stage(request, Silent())
    assert planned.selection.left_out == {"text alone": 2} and len(planned.selection.rows) == 6


def test_the_numbers_of_the_paper(place: Path) -> None:
    """Table 5 of arXiv 2509.21984."""
    bare: dict[str, Any] = {"batch": None, "epochs": None, "learning_rate": None}
    for request, batch, rate in (
        (first(place, place / "x", **bare), 256, 1e-3),
        (second(place, place / "x", place / "pocket", **bare), 128, 2e-5),
    ):  # fmt: skip
        numbers, longest = settle_stage(request)
        assert (numbers.batch, numbers.learning_rate, numbers.epochs) == (batch, rate, 1)
        assert (longest, numbers.weight_decay, numbers.warmup) == (2048, 0.0, 0.03)


def test_the_command_line(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def arguments(stage: str, data: str, *more: str) -> list[str]:
        data, images = str(place / data), str(place / "images")
        given = ["--data", data, "--images", images, "--batch", "4", "--device", "cpu"]
        return ["train", stage, *given, *more]

    monkeypatch.chdir(tmp_path)
    stock = ["--vision", str(place / "clip"), "--language", str(place / "llama")]
    command = arguments("stage1", CAPTIONS, *stock, "-i", "normalize:trained")
    made = subprocess.run(
        [sys.executable, "-m", "wheresight", *command], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    assert "Weights that were trained: intervention 48, projector" in made.stdout
    assert "Warning" not in made.stderr and "UNEXPECTED" not in made.stderr
    done = CliRunner().invoke(app, arguments("stage2", TALKS, "--model", "wheresight-stage1"))
    assert done.exit_code == 0, done.output
    assert "was trained under normalize:mode=trained" in done.output
    assert (tmp_path / "wheresight-stage2" / "training.json").is_file()
