"""The model `wheresight` of lmms-eval: registered, exact, and plain about what it refuses."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from small_data import caption, scene

import wheresight
from wheresight.errors import ModelError
from wheresight.interventions.spec import canonical
from wheresight.lvlm.encoding import Query
from wheresight.lvlm.option_scoring import OptionScorer
from wheresight.lvlm.scoring import Scorer

SPECS = ("none", "bapa", "scalingvis:alpha=0.5,layers=1-2+bapa", "agci")
WORDS = ("is red apple", "What is in the picture?", "How many are there? Answer with a number.")


def model(kind: str = "chat", **arguments: Any) -> Any:
    """A model as lmms-eval makes it from a command line."""
    from lmms_eval.models import get_model

    from wheresight.bridges.lmms_eval.arguments import model_arguments

    own = {"batch_size": arguments.pop("batch_size", None)}
    given = model_arguments({"pretrained": "pocket", "device": "cpu", "keep": True, **arguments})
    found = get_model("wheresight", force_simple=kind == "simple")
    return found.create_from_arg_string(given, own)


def documents() -> list[tuple[tuple[Image.Image, ...], str]]:
    """Prompts of many lengths."""
    return [((scene(n),), f"{WORDS[n % 3]}{' It is big.' * (n % 4)}") for n in range(9)]


def answered(spec: str, asked: list[Any], batch_size: int, **kwargs: Any) -> list[str]:
    from asking import chat, given

    own = given(model(intervention=spec, batch_size=batch_size), asked)
    return [one.text for one in own.generate_until(chat(asked, **kwargs))]


def test_lmms_eval_finds_it_by_its_entry_point() -> None:
    from lmms_eval.models import get_model, list_available_models

    assert "wheresight" in list_available_models()
    assert not get_model("wheresight").is_simple
    assert get_model("wheresight", force_simple=True).is_simple


@pytest.mark.parametrize(
    ("written", "spec"),
    [
        ("intervention=bapa", "bapa"),
        ('intervention="scalingvis:alpha=0.5,layers=1-2"', "scalingvis:alpha=0.5,layers=1-2"),
        ("intervention='scalingvis:alpha=0.5,layers=1-2'", "scalingvis:alpha=0.5,layers=1-2"),
        ('intervention="bapa+scalingvis:alpha=0.5"', "bapa+scalingvis:alpha=0.5"),
        ('intervention={"name": "scalingvis", "params": {"alpha": 0.5}}', "scalingvis:alpha=0.5"),
        ('intervention=[{"name": "bapa"}, {"name": "agci"}]', "bapa+agci"),
        ("", "none"),
    ],
)
def test_an_intervention_survives_the_reading_of_model_args(written: str, spec: str) -> None:
    from lmms_eval.models import get_model

    joined = ",".join(filter(None, ["pretrained=pocket", "device=cpu,keep=True", written]))
    assert get_model("wheresight").create_from_arg_string(joined).spec == canonical(spec)


@pytest.mark.parametrize("spec", SPECS)
def test_texts_are_those_of_this_package_and_of_any_batch(spec: str) -> None:
    asked = documents()
    lvlm = wheresight.load("pocket", device="cpu")
    scorer = Scorer(lvlm, batch_size=4)
    encoded = scorer.encode([Query(pictures[0], (text,)) for pictures, text in asked])
    wanted = [answer.text for answer in scorer.generate(encoded, spec, max_new_tokens=8)]
    assert len(set(wanted)) > 1
    assert answered(spec, asked, 1, max_new_tokens=8) == wanted
    assert answered(spec, asked, 8, max_new_tokens=8) == wanted


def test_both_kinds_see_the_same_prompt() -> None:
    from asking import given, simple

    asked = documents()[:4]
    own = given(model("simple", intervention="bapa", batch_size=4), asked)
    texts = [one.text for one in own.generate_until(simple(asked, max_new_tokens=6))]
    assert texts == answered("bapa", asked, 1, max_new_tokens=6)


@pytest.mark.parametrize("spec", SPECS)
def test_no_picture_and_several_in_one_batch(spec: str) -> None:
    """Rows with other numbers of pictures than their neighbours do not disturb each other."""
    shown = [(), (scene(0),), (scene(0), scene(1)), (scene(2), scene(3), scene(4)), (scene(1),), ()]
    asked = [(pictures, WORDS[n % 3]) for n, pictures in enumerate(shown)]
    alone = answered(spec, asked, 1, max_new_tokens=6)
    assert answered(spec, asked, 8, max_new_tokens=6) == alone
    assert all(isinstance(text, str) for text in alone)


def test_an_answer_ends_before_the_first_of_several_ends() -> None:
    asked = documents()
    whole = answered("none", asked, 8, max_new_tokens=8)
    long = max(whole, key=len)
    ends = [long[2:4], long[5:7]]
    assert all(len(end) == 2 for end in ends)
    found = answered("none", asked, 8, max_new_tokens=8, until=ends)
    for text, cut in zip(whole, found, strict=True):
        places = [text.find(end) for end in ends if end in text]
        assert cut == (text[: min(places)] if places else text)
    assert found != whole
    # What lmms-eval fills in where a task names no end is no wish of the task.
    assert answered("none", asked, 8, max_new_tokens=8, until=["\n\n"]) == whole


def test_greedy_settings_are_honoured_and_sampling_is_refused() -> None:
    asked = documents()[:2]
    greedy = {"do_sample": False, "temperature": 0, "top_p": 1.0, "num_beams": 1}
    plain = answered("none", asked, 2, max_new_tokens=4)
    assert answered("none", asked, 2, max_new_tokens=4, **greedy) == plain
    assert len(answered("none", asked, 2, max_new_tokens=4, num_beams=3)) == 2
    for wish in ({"do_sample": True}, {"temperature": 0.7}):
        with pytest.raises(ModelError, match="greedily"):
            answered("none", asked, 2, **wish)
    with pytest.raises(ModelError, match="min_p"):
        answered("none", asked, 2, min_p=0.1)


def test_refusals_are_one_sentence() -> None:
    from asking import given

    with pytest.raises(ModelError, match="does not know max_pixels"):
        model(max_pixels=3)
    with pytest.raises(ModelError, match="whole number"):
        model(batch_size="auto")
    with pytest.raises(ModelError, match="true or false"):
        model(allow_pickle="perhaps")
    with pytest.raises(ModelError, match="no hub id"):
        model(revision="main")
    with pytest.raises(ModelError, match="image placeholder"):
        answered("none", [((scene(0),), "What is <image>?")], 1)
    own = given(model(), [])
    video = [{"role": "user", "content": [{"type": "video", "url": "a.mp4"}]}]
    with pytest.raises(ModelError, match="shows the model a video"):
        own.prompts.of_messages(video)
    with pytest.raises(ModelError, match="several rounds"):
        own.generate_until_multi_round([])


def test_weights_are_kept_only_where_that_was_asked() -> None:
    first, second = model(intervention="none"), model(intervention="bapa")
    assert first.lvlm is second.lvlm
    assert model(keep=None).lvlm is first.lvlm  # the same arguments
    assert model(attention="eager").lvlm is not first.lvlm


def likelihoods(own: Any, requests: list[Any]) -> list[tuple[float, bool]]:
    """log P and whether it is greedy, from what lmms-eval is handed: a loss."""
    pairs = [one.text for one in own.loglikelihood(requests)]
    return [(-loss, greedy) for loss, greedy in pairs]


CHOICES = [["yes", "no"], ["left", "right", "red apple"], ["top", "top left"], ["A", "B", "C"]]


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("batch_size", [1, 8])
def test_likelihoods_are_those_of_evaluate(spec: str, batch_size: int) -> None:
    """log P(the answer begins with the option), as OptionScorer has it, any batch."""
    from asking import given, options

    asked = documents()[:4]
    scorer = Scorer(wheresight.load("pocket", device="cpu"))
    encoded = scorer.encode([Query(pictures[0], (text,)) for pictures, text in asked])
    (wanted,) = OptionScorer(scorer).score_all(encoded, CHOICES, [spec])
    own = given(model("simple", intervention=spec, batch_size=batch_size), asked)
    found = likelihoods(own, options(asked, CHOICES))
    assert [f[0] for f in found] == pytest.approx(
        [logp for one in wanted for logp in one.logp], abs=1e-4
    )
    assert [f[1] for f in found] == [greedy for one in wanted for greedy in one.greedy]


def test_greedy_says_what_generation_writes() -> None:
    from asking import given, options

    asked = [((scene(n),), "What is in the picture?") for n in range(6)]
    texts = answered("none", asked, 6, max_new_tokens=8)
    choices = [[texts[n], caption((n + 9) % 40), "yes"] for n in range(6)]
    own = given(model("simple", batch_size=6), asked)
    found = likelihoods(own, options(asked, choices))
    for n, text in enumerate(texts):
        written = [text.lower().startswith(choice.lower()) for choice in choices[n]]
        assert [greedy for _, greedy in found[3 * n : 3 * n + 3]] == written


def test_likelihoods_without_a_picture_and_with_two() -> None:
    from asking import given, options

    asked = [((), "yes or no?"), ((scene(0), scene(1)), "yes or no?"), ((), "yes or no?")]
    choices = [["yes", "no"]] * 3
    own = given(model("simple", intervention="bapa", batch_size=8), asked)
    found = likelihoods(own, options(asked, choices))
    alone = given(model("simple", intervention="bapa", batch_size=1), asked)
    assert [f[0] for f in found] == pytest.approx(
        [f[0] for f in likelihoods(alone, options(asked, choices))], abs=1e-4
    )
    assert found[:2] == found[4:] and all(logp < 0 for logp, _ in found)


# As templates of families do that take pictures among words; the pocket's puts them first.
IN_ORDER = (
    "{% for m in messages %}{% for p in m['content'] %}"
    "{{ '<image>' if p['type'] == 'image' else p['text'] }} {% endfor %}{% endfor %}"
)


def test_pictures_stand_among_the_words() -> None:
    """A task's own turns reach the chat template in their order, behind the system's."""
    content = [
        {"type": "text", "text": "First"},
        {"type": "image", "url": scene(0)},
        {"type": "text", "text": "then"},
        {"type": "image", "url": scene(1).convert("L")},
    ]
    own = model(system_prompt="Be brief.")
    own.prompts.processor = copy.deepcopy(own.prompts.processor)
    own.prompts.processor.chat_template = IN_ORDER
    prompt = own.prompts.of_messages([{"role": "user", "content": content}])
    assert prompt.text.split() == ["Be", "brief.", "First", "<image>", "then", "<image>"]
    assert [picture.mode for picture in prompt.images] == ["RGB", "RGB"]
    assert prompt.images[1].tobytes() == scene(1).convert("L").convert("RGB").tobytes()


def test_an_adapter_brings_what_it_was_trained_under(tmp_path: Path) -> None:
    import peft
    import torch
    from asking import chat, given

    torch.manual_seed(0)
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    base = wheresight.load("pocket", device="cpu")
    adapted = peft.get_peft_model(base.model, config)
    wheresight.save_adapter(adapted, tmp_path / "adapter", "bapa")
    lvlm = wheresight.load("pocket", adapter=tmp_path / "adapter", device="cpu")
    asked = documents()[:4]
    scorer = Scorer(lvlm)
    encoded = scorer.encode([Query(pictures[0], (text,)) for pictures, text in asked])
    own = given(model(adapter=tmp_path / "adapter", batch_size=4), asked)
    assert own.spec == "bapa"
    texts = [one.text for one in own.generate_until(chat(asked, max_new_tokens=4))]
    assert texts == [a.text for a in scorer.generate(encoded, "bapa", max_new_tokens=4)]
    assert model(adapter=tmp_path / "adapter", intervention="none").spec == "none"


def test_a_system_prompt_that_the_template_leaves_out_is_refused() -> None:
    own = model(system_prompt="Be brief.")
    own.prompts.processor = copy.deepcopy(own.prompts.processor)
    own.prompts.processor.chat_template = (
        "{% for m in messages if m['role'] == 'user' %}" + IN_ORDER.split("%}", 1)[1]
    )
    with pytest.raises(ModelError, match="leaves out the text 'Be brief.'"):
        own.prompts.of_context("What is this?", [scene(0)])
