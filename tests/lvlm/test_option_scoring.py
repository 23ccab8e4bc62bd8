"""Log-probabilities of options: what the stock model itself says of prompt and answer together."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import wheresight
from wheresight.errors import ModelError
from wheresight.lvlm.encoding import Query
from wheresight.lvlm.option_scoring import OptionScorer, one_begins_another
from wheresight.lvlm.scoring import Scorer
from wheresight.stimuli.benchmarks import open_benchmark

CELLS = ("top left", "top", "left", "center")
RELATIONS = ("left", "right", "above", "below")
TEXTS = ("Where is mobile phone?", "Where is cat, seen from dog?", "Is cat left of dog?")
OPTIONS = (CELLS, RELATIONS, ("yes", "no"))


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(wheresight.load("pocket", device="cpu"))


@pytest.fixture(scope="module")
def build_family() -> Any:
    """Makes a tiny random model of a family, and its real processor."""
    path = Path(__file__).with_name("test_scoring.py")
    made = importlib.util.spec_from_file_location("families_to_score", path)
    assert made is not None and made.loader is not None
    module = importlib.util.module_from_spec(made)
    made.loader.exec_module(module)
    return module.build


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    noise = torch.Generator().manual_seed(0)
    return [
        Image.fromarray(torch.randint(0, 256, (96, 96, 3), generator=noise).byte().numpy())
        for _ in range(2)
    ]


def encoded(scorer: Scorer, pictures: list[Image.Image]) -> tuple[Any, list[tuple[str, ...]]]:
    found = scorer.encode([Query(picture, TEXTS) for picture in pictures])
    return found, list(OPTIONS) * len(pictures)


def by_hand(scorer: Scorer, picture: Image.Image, text: str, ids: tuple[int, ...]) -> float:
    """Log P(ids | prompt) of the stock model: one uncached pass over prompt and answer."""
    lvlm = scorer.lvlm
    made = scorer.encoder.preprocess([Query(picture, (text,))])
    prompt = made.rows[0].ids
    whole = torch.tensor([[*prompt, *ids]])
    with torch.inference_mode():
        out = lvlm.model(input_ids=whole, pixel_values=made.images["pixel_values"], use_cache=False)
    logs = out.logits[0].double().log_softmax(-1)
    return float(sum(logs[len(prompt) - 1 + n, token] for n, token in enumerate(ids)))


def test_scores_are_those_of_the_stock_model(scorer: Scorer, pictures: list[Image.Image]) -> None:
    options = OptionScorer(scorer)
    rows, asked = encoded(scorer, pictures)
    (found,) = options.score_all(rows, asked, ["none"])
    end = scorer.tokenizer.eos_token_id
    for n, (own, scores) in enumerate(zip(asked, found, strict=True)):
        picture, text = pictures[n // 3], TEXTS[n % 3]
        assert scores.ended == (own is CELLS)
        for k, option in enumerate(own):
            sums, means = [], []
            for ids in options.spellings(option):
                with_end = (*ids, end) if scores.ended else ids
                total = by_hand(scorer, picture, text, with_end)
                sums.append(total)
                means.append(total / len(with_end))
            wanted = math.log(sum(math.exp(total) for total in sums))
            assert scores.logp[k] == pytest.approx(wanted, abs=2e-4)
            assert scores.mean_logp[k] == pytest.approx(max(means), abs=2e-4)
        assert scores.logp[scores.picked] == max(scores.logp)


def test_spellings_are_whole_words(scorer: Scorer) -> None:
    options = OptionScorer(scorer)
    for option in (*CELLS, *RELATIONS, "yes", "a pentagon"):
        assert options.spellings(option)
        for ids in options.spellings(option):
            assert scorer.tokenizer.decode(list(ids)).strip().lower() == option
    assert all(len(ids) > 1 for ids in options.spellings("top left"))
    assert one_begins_another(CELLS) and not one_begins_another(RELATIONS)


def test_one_token_options_agree_with_the_margin(
    scorer: Scorer, pictures: list[Image.Image]
) -> None:
    """For Yes and No the difference of the two is the margin that the grid probe reads."""
    rows = scorer.encode([Query(picture, TEXTS[2:]) for picture in pictures])
    (found,) = OptionScorer(scorer).score_all(rows, [("yes", "no")] * 2, ["bapa"])
    margins = [answer.margin for answer in scorer.score(rows, "bapa")]
    assert [s.logp[0] - s.logp[1] for s in found] == pytest.approx(margins, abs=1e-6)


SPECS = ["none", "bapa", "scalingvis:alpha=0.5", "adaptvis", "agci"]


def test_nothing_hangs_on_company(scorer: Scorer, pictures: list[Image.Image]) -> None:
    """Alone, in a batch, beside other methods, in other batch sizes: the same up to rounding."""
    options = OptionScorer(scorer)
    rows, asked = encoded(scorer, pictures)
    together = options.score_all(rows, asked, SPECS)
    small = OptionScorer(Scorer(scorer.lvlm, batch_size=2))
    for spec, found in zip(SPECS, together, strict=True):
        for others in (options.score_all(rows, asked, [spec])[0],
                       small.score_all(rows, asked, [spec])[0]):  # fmt: skip
            for one, other in zip(found, others, strict=True):
                assert one.logp == pytest.approx(other.logp, abs=1e-4)
                assert one.mean_logp == pytest.approx(other.mean_logp, abs=1e-4)
    alone = [
        options.score_all(scorer.encode([Query(pictures[n // 3], (TEXTS[n % 3],))]), [asked[n]],
                          ["adaptvis"])[0][0]
        for n in range(6)
    ]  # fmt: skip
    for one, other in zip(together[3], alone, strict=True):
        assert one.logp == pytest.approx(other.logp, abs=1e-4)
    assert together[0][0].logp != pytest.approx(together[1][0].logp, abs=1e-3)


@pytest.mark.parametrize("spec", ["none", "bapa", "scalingvis:alpha=0.5"])
def test_the_first_choice_is_what_generate_would_write(
    scorer: Scorer, pictures: list[Image.Image], spec: str
) -> None:
    """Where greedy text is an option, that option's tokens are the likeliest at every step."""
    rows, asked = encoded(scorer, pictures)
    texts = [a.text for a in scorer.generate(rows, spec, max_new_tokens=8)]
    (found,) = OptionScorer(scorer).score_all(rows, asked, [spec])
    same = 0
    for text, own, scores in zip(texts, asked, found, strict=True):
        said = (text or "").strip().lower()
        if said in own and scores.logp[own.index(said)] > math.log(0.5):
            assert own[scores.picked] == said
            same += 1
        assert 0 < scores.confidence <= 1
        assert all(value <= 1e-9 for value in (*scores.logp, *scores.mean_logp))
    assert same  # the pocket model does answer in these words


def test_a_word_that_is_whole_only_behind_a_space_is_read_without_one_too(
    scorer: Scorer, pictures: list[Image.Image]
) -> None:
    """` blue` is one entry of the pocket's vocabulary, `blue` three; it answers with the three.

    What is summed must be what greedy decoding says: where the text is an option, so is the pick.
    """
    options = OptionScorer(scorer)
    bare = tuple(scorer.tokenizer("blue", add_special_tokens=False)["input_ids"])
    assert len(bare) > 1 and bare in options.spellings("blue")
    assert any(len(ids) == 1 for ids in options.spellings("blue"))
    benchmark = open_benchmark("2ds#images=8")
    asked = [q for q in benchmark.questions() if q.category in ("color_abs", "shape_abs")]
    rows = scorer.encode([Query(benchmark.picture(q), (q.text,)) for q in asked])
    (scores,) = options.score_all(rows, [q.options for q in asked], ["none"])
    texts = [answer.text for answer in scorer.generate(rows, max_new_tokens=6)]
    named = [(q, s, t) for q, s, t in zip(asked, scores, texts, strict=True) if t in q.options]
    assert len(named) >= 8
    for question, score, text in named:
        # Greedy decoding could leave the likeliest option only by a first token that is less likely
        # than all of its spellings together, which no option of these is.
        assert question.options[score.picked] == text
        assert math.exp(max(score.logp)) > 0.25


def test_long_options_need_a_family_that_can_go_on(
    scorer: Scorer, pictures: list[Image.Image]
) -> None:
    whole = Scorer(scorer.lvlm, share_prefix=False)
    options = OptionScorer(whole)
    rows = whole.encode([Query(pictures[0], TEXTS[1:2])])
    sides = ("left", "right")
    (found,) = options.score_all(rows, [sides], ["none"])
    (shared,) = OptionScorer(scorer).score_all(rows, [sides], ["none"])
    assert found[0].logp == pytest.approx(shared[0].logp, abs=1e-4)
    for long in (CELLS, RELATIONS):  # `above` is one entry behind a space, three pieces without
        with pytest.raises(ModelError, match="wording=letters"):
            options.score_all(rows, [long], ["none"])


@pytest.mark.parametrize("spec", ["none", "bapa"])
@pytest.mark.parametrize("name", ["llava_next", "qwen2_5_vl", "gemma3"])
def test_other_families_go_on_behind_a_prompt(name: str, spec: str, build_family: Any) -> None:
    """Tiny random models: long options behind cached prompts, against one pass over the whole."""
    model, processor = build_family(name)
    lvlm = wheresight.wrap(model.eval(), processor)
    scorer = Scorer(lvlm)
    options = OptionScorer(scorer)
    noise = torch.randint(0, 256, (64, 64, 3), generator=torch.Generator().manual_seed(0))
    query = Query(Image.fromarray(noise.byte().numpy()), ("Where?", "Left of that long thing?"))
    asked = [("top left", "top", "zebra"), ("yes", "no, never")]
    (found,) = options.score_all(scorer.encode([query]), asked, [spec])
    made = scorer.encoder.preprocess([query])
    for row, own, scores in zip(made.rows, asked, found, strict=True):
        assert scores.ended == ("top" in own)
        for option, logp in zip(own, scores.logp, strict=True):
            sums = []
            for ids in options.spellings(option):
                fed = (*ids, *(options.ends or ())) if scores.ended else ids
                whole = torch.tensor([[*row.ids, *fed]])
                types = {k: torch.tensor([[*v, *([0] * len(fed))]]) for k, v in row.types.items()}
                with torch.inference_mode(), wheresight.intervene(lvlm, spec):
                    out = lvlm.model(
                        input_ids=whole,
                        attention_mask=torch.ones_like(whole),
                        use_cache=False,
                        **made.images,
                        **types,
                    )
                logs = out.logits[0].double().log_softmax(-1)
                place = len(row.ids) - 1
                sums.append(sum(float(logs[place + n, token]) for n, token in enumerate(fed)))
            wanted = math.log(sum(math.exp(total) for total in sums))
            assert logp == pytest.approx(wanted, abs=1e-4)
