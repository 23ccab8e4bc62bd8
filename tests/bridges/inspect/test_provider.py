"""The provider wheresight/NAME: the real pocket model, asked through Inspect's own interface."""

from __future__ import annotations

import base64
import io
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("inspect_ai", reason="the extra [inspect] is not installed here")

import anyio
import torch
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    ContentAudio,
    ContentImage,
    ContentText,
    GenerateConfig,
    get_model,
    get_model_info,
)
from inspect_ai.tool import ToolInfo
from PIL import Image

import wheresight
from wheresight.bridges.inspect.generation import How, Prompt, _Draws
from wheresight.errors import ModelError
from wheresight.lvlm.encoding import Encoder, Query

MODEL = "wheresight/pocket"


def uri(colour: str) -> str:
    held = io.BytesIO()
    Image.new("RGB", (96, 96), colour).save(held, format="PNG")
    return "data:image/png;base64," + base64.b64encode(held.getvalue()).decode()


def shown(text: str, *colours: str) -> ChatMessageUser:
    pictures = [ContentImage(image=uri(colour)) for colour in colours]
    return ChatMessageUser(content=[*pictures, ContentText(text=text)])


CONVERSATIONS = [
    [shown("What is in the picture?", "red")],
    [shown("is red circle", "white")],
    [ChatMessageSystem(content="Answer shortly."), shown("Which is in the picture?", "blue")],
    [shown("is red circle", "red"), ChatMessageAssistant(content="No"), shown("is dog", "green")],
    [shown("what is where? say it in a sentence", "red", "blue")],
    [ChatMessageUser(content="is dog")],
    [shown("What is in the picture? Tell all that you see, in order.", "green")],
]

AUDIO = ContentAudio(audio="data:audio/wav;base64,AAAA", format="wav")
NO_PICTURE = ContentImage(image="data:image/png;base64,AAAA")


def ask(model: Any, conversations: Any, times: int = 1, **config: Any) -> list[Any]:
    """Ask all at once, and return the outputs in order."""

    async def main() -> list[Any]:
        made: list[Any] = [None] * (len(conversations) * times)

        async def one(n: int) -> None:
            messages = conversations[n % len(conversations)]
            made[n] = await model.generate(messages, config=GenerateConfig(**config))

        async with anyio.create_task_group() as group:
            for n in range(len(made)):
                group.start_soon(one, n)
        return made

    return anyio.run(main)


def opened(**given: Any) -> Any:
    return get_model(MODEL, device="cpu", **given)


@pytest.fixture(scope="module")
def models() -> dict[tuple[str, int], Any]:
    return {
        (spec, size): opened(intervention=spec, batch_size=size)
        for spec in ("none", "bapa")
        for size in (1, 8)
    }


def told(output: Any) -> tuple[Any, ...]:
    usage = output.usage
    return output.completion, output.stop_reason, usage.input_tokens, usage.output_tokens


@pytest.mark.parametrize("spec", ["none", "bapa"])
@pytest.mark.parametrize(
    "config", [{"max_tokens": 12}, {"max_tokens": 12, "temperature": 1.0, "seed": 3}]
)
def test_an_answer_does_not_depend_on_the_batch(
    models: Any, spec: str, config: dict[str, Any]
) -> None:
    alone = ask(models[spec, 1], CONVERSATIONS, **config)
    together = ask(models[spec, 8], CONVERSATIONS, **config)
    assert [told(output) for output in alone] == [told(output) for output in together]
    assert all(output.usage.output_tokens <= 12 for output in alone)


def test_greedy_answers_are_those_of_the_stock_model(models: Any) -> None:
    (output,) = ask(models["none", 8], [CONVERSATIONS[0]], max_tokens=12)
    lvlm = wheresight.load("pocket", device="cpu")
    encoder = Encoder(lvlm)
    encoded = encoder.encode(
        [Query(Image.new("RGB", (96, 96), "red"), ("What is in the picture?",))]
    )
    inputs = encoder.inputs(encoded, encoded.rows)
    width = inputs["input_ids"].shape[1]
    out = lvlm.model.generate(**inputs, max_new_tokens=12, do_sample=False)[0, width:]
    text = lvlm.processor.tokenizer.decode(out, skip_special_tokens=True)
    assert (output.completion, output.usage.input_tokens) == (text, width)
    assert output.usage.output_tokens == len(out)


def test_an_intervention_changes_answers_and_is_named(models: Any) -> None:
    stock, under = (ask(models[s, 8], CONVERSATIONS, max_tokens=12) for s in ("none", "bapa"))
    assert [o.completion for o in stock] != [o.completion for o in under]
    assert under[0].metadata == {"intervention": "bapa"}


def test_why_an_answer_ends(models: Any) -> None:
    model = models["none", 8]
    whole, short = (ask(model, [CONVERSATIONS[6]], max_tokens=n)[0] for n in (60, 1))
    assert (whole.stop_reason, short.stop_reason) == ("stop", "max_tokens")
    assert short.usage.output_tokens == 1 < whole.usage.output_tokens
    words = whole.completion.split()
    stop = words[-1]
    before = whole.completion[: whole.completion.find(stop)]
    (cut,) = ask(model, [CONVERSATIONS[6]], max_tokens=60, stop_seqs=[stop, "nowhere"])
    assert (cut.completion, cut.stop_reason) == (before, "stop")
    assert cut.usage.output_tokens <= whole.usage.output_tokens
    # The shipped model takes 1,024 tokens; the prompt leaves room for few of them.
    context = get_model_info(MODEL).context_length
    assert context == model.api._generator.context
    fill = context - whole.usage.input_tokens
    longer = [shown("dog " * fill + "What is in the picture?", "green")]
    (full,) = ask(model, [longer], max_tokens=60)
    assert full.usage.input_tokens + full.usage.output_tokens <= max(
        context, full.usage.input_tokens
    )
    assert full.stop_reason == "model_length"


def test_log_probabilities_are_those_of_the_model(models: Any) -> None:
    config = {"max_tokens": 12, "logprobs": True, "top_logprobs": 3}
    (output,) = ask(models["none", 8], [CONVERSATIONS[6]], **config)
    tokens = output.choices[0].logprobs.content
    assert len(tokens) == output.usage.output_tokens
    lvlm = wheresight.load("pocket", device="cpu")
    encoder = Encoder(lvlm)
    question = CONVERSATIONS[6][0].text
    encoded = encoder.encode([Query(Image.new("RGB", (96, 96), "green"), (question,))])
    with torch.inference_mode():
        logits = lvlm.model(**encoder.inputs(encoded, encoded.rows)).logits[0, -1]
    best = logits.log_softmax(-1).topk(3)
    assert tokens[0].logprob == pytest.approx(float(best.values[0]), abs=1e-4)
    assert [t.logprob for t in tokens[0].top_logprobs] == pytest.approx(
        best.values.tolist(), abs=1e-4
    )
    decode = lvlm.processor.tokenizer.decode
    assert [t.token for t in tokens[0].top_logprobs] == [decode([i]) for i in best.indices]


def test_epochs_draw_anew_and_a_seed_draws_again(models: Any) -> None:
    model, prompt = models["none", 8], [CONVERSATIONS[6]]
    config = {"max_tokens": 12, "temperature": 5.0}
    first, again = (ask(model, prompt, times=6, seed=1, **config) for _ in range(2))
    texts = [Counter(o.completion for o in outputs) for outputs in (first, again)]
    assert texts[0] == texts[1] and len(texts[0]) > 1
    other = Counter(o.completion for o in ask(model, prompt, times=6, seed=2, **config))
    free = Counter(o.completion for o in ask(model, prompt, times=6, **config))
    assert texts[0] != other and texts[0] != free
    (greedy,) = ask(model, prompt, max_tokens=12)
    (narrow,) = ask(model, prompt, seed=1, top_k=1, **config)
    assert narrow.completion == greedy.completion


def test_tokens_are_counted_by_the_models_own_tokenizer(models: Any) -> None:
    api = models["none", 8].api
    tokenizer = wheresight.load("pocket", device="cpu").processor.tokenizer
    ids = tokenizer("is red circle", add_special_tokens=False)["input_ids"]
    assert anyio.run(api.count_tokens, "is red circle") == len(ids) > 1


def test_draws_follow_the_softmax() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0, 0.5])
    rows = 8000
    how = How(max_tokens=1, temperature=0.7)
    draws = _Draws(how, [Prompt(None, "", seed) for seed in range(rows)])  # type: ignore[arg-type]
    drawn = draws(None, logits.repeat(rows, 1)).argmax(-1)  # type: ignore[arg-type]
    shares = torch.bincount(drawn, minlength=5) / rows
    wanted = (logits / 0.7).softmax(-1)
    error = (wanted * (1 - wanted) / rows).sqrt()
    assert ((shares - wanted).abs() < 4 * error).all()


@pytest.mark.parametrize(
    ("messages", "config", "said"),
    [
        ([ChatMessageUser(content=[AUDIO])], {}, "'audio'"),
        ([shown("is dog", "red"), ChatMessageAssistant(content="No")], {}, "last message"),
        ([shown("is <image> dog", "red")], {}, "placeholder"),
        ([ChatMessageUser(content=[NO_PICTURE])], {}, "picture 1"),
        ([shown("is dog", "red")], {"num_choices": 2}, "num_choices"),
        ([shown("is dog", "red")], {"frequency_penalty": 1.0}, "frequency_penalty"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_in_a_sentence(
    models: Any, messages: Any, config: dict[str, Any], said: str
) -> None:
    api = models["none", 8].api

    async def main() -> None:
        await api.generate(messages, [], "none", GenerateConfig(**config))

    with pytest.raises(Exception, match=said) as raised:
        anyio.run(main)
    assert type(raised.value).__module__ == "wheresight.errors"


def test_tools_are_refused(models: Any) -> None:
    tool = ToolInfo(name="look_it_up", description="Looks it up.")

    async def main() -> None:
        await models["none", 8].api.generate(CONVERSATIONS[0], [tool], "auto", GenerateConfig())

    with pytest.raises(ModelError, match="look_it_up"):
        anyio.run(main)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"intervention": "bappa"}, "Did you mean 'bapa'"),
        ({"intervention": "spatial_reset"}, "spatial_reset"),
        ({"batchsize": 4}, "Did you mean 'batch_size'"),
        ({"batch_size": 0}, "expected 1 or more"),
        ({"dtype": "float8"}, "Unknown dtype"),
        ({"model_path": "/nowhere"}, "nowhere"),
        ({"adapter": "/nowhere"}, "nowhere"),
        ({"trust_remote_code": "maybe"}, "true or false"),
    ],
)
def test_wrong_arguments_are_refused_before_weights_load(given: dict[str, Any], said: str) -> None:
    with pytest.raises(PrerequisiteError) as raised:
        opened(**given)
    assert said in str(raised.value)


def test_an_intervention_may_be_split_at_its_commas() -> None:
    """As Inspect's command line splits it."""
    typed = ["scalingvis:alpha=1.2", "layers=0-2"]
    assert opened(intervention=typed).api.intervention == "scalingvis:alpha=1.2,layers=0-2"
    assert opened(intervention=["bapa", "agci"]).api.intervention == "agci+bapa"


def test_an_adapter_brings_the_intervention_it_was_trained_under(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    peft = pytest.importorskip("peft", reason="adapters need the extra [train]")
    lvlm = wheresight.load("pocket", device="cpu")
    config = peft.LoraConfig(r=2, target_modules=r".*language_model.*(q_proj|v_proj)")
    adapted = peft.get_peft_model(lvlm.model, config)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.2)
    folder = str(wheresight.save_adapter(adapted, tmp_path / "adapter", "bapa"))
    model, bare = opened(adapter=folder), opened(intervention="bapa")
    assert model.api.intervention == model.api.adapter_under == "bapa"
    assert "trained under" not in caplog.text
    assert opened(adapter=folder, intervention="none").api.intervention == "none"
    assert "was trained under bapa, and answers under none" in caplog.text
    texts = [[o.completion for o in ask(m, CONVERSATIONS, max_tokens=12)] for m in (model, bare)]
    assert texts[0] != texts[1]
