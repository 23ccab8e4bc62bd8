"""PSI: each form by hand, and a model that cannot know places has none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from wheresight.errors import ModelError, SpecError
from wheresight.interventions.spec import canonical
from wheresight.lvlm.intervene import intervene
from wheresight.lvlm.prompts import chat_prompt
from wheresight.probes.bench import Bench
from wheresight.probes.benchmark import Posed, ask, chance, probe_questions
from wheresight.probes.diagnostic import Context
from wheresight.probes.psi import (
    BLIND,
    CONDITIONS,
    REFERENCE,
    Psi,
    chance_corrected,
    disturbed,
    moved,
    relative,
)
from wheresight.probes.registry import diagnostic
from wheresight.statistics.clustered import Clusters


def test_the_papers_form_by_hand() -> None:
    # LLaVA-1.5 on 2DS, Table 2: 1699 of 3000 right, 1001 after permutation, PSI 41.07 %
    # (the paper divides rounded accuracies).
    assert relative(np.array([[1699.0, 1001.0]]))[0] == pytest.approx(0.4107, abs=2e-3)


def test_the_form_corrected_for_chance_by_hand() -> None:
    expected = np.array(["yes", "no", "no", "no"])
    base = {"right": np.array([1.0, 1, 1, 0]), "chance": np.full(4, 0.5)}
    other = {"right": np.array([0.0, 1, 1, 0])}
    one_hot = np.stack([expected == "no", expected == "yes"], axis=1)
    clusters = Clusters(list("abcd"), replicates=10)
    # A_0 = (1 + 2/3) / 2, A_p = (0 + 2/3) / 2, chance 1/2.
    index = chance_corrected(clusters, base, other, one_hot)
    assert index.value == pytest.approx((5 / 6 - 2 / 6) / (5 / 6 - 1 / 2))
    # Always No: plain accuracy keeps 3 of 4, here nothing above chance is left.
    always_no = {"right": np.array([0.0, 1, 1, 1])}
    assert chance_corrected(clusters, base, always_no, one_hot).value == pytest.approx(1.0)


def test_answers_are_the_models_own(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(items=1)
    posed = probe_questions(bench, bench.items, ("positive", "absent", "sibling"))
    specs = {"a": "none", "b": "permute:seed=3"}
    found = ask(bench.score, posed, specs)
    ids = {"yes": bench.score.answers.yes, "no": bench.score.answers.no}
    for n, p in enumerate(posed):
        text = chat_prompt(bench.lvlm.processor, p.text)
        inputs = bench.lvlm.processor(text=[text], images=[[p.picture()]], return_tensors="pt")
        logs = {}
        for name, spec in specs.items():
            with torch.inference_mode(), intervene(bench.lvlm, spec):
                logs[name] = bench.lvlm.model(**inputs).logits[0, -1].double().log_softmax(-1)
            right = logs[name][list(ids[p.right])].logsumexp(-1)
            assert found[name].logp[n] == pytest.approx(float(right), abs=1e-4)
            assert found[name].right[n] == (int(logs[name].argmax()) in ids[p.right])
        kl = (logs["a"].exp() * (logs["a"] - logs["b"])).sum()
        assert found["b"].kl[n] == pytest.approx(float(kl), abs=1e-5)
    assert (found["a"].kl == 0).all()


def test_any_benchmark_of_pictures_and_right_answers(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(items=1)
    red = Image.new("RGB", (96, 96), "red")
    vocabulary = bench.score.tokenizer.get_vocab()
    words = [
        w for w in ("apple", "dog", "car", "star") if any(w == t.strip("▁Ġ ") for t in vocabulary)
    ]
    assert len(words) >= 2
    posed = [
        Posed(str(n), str(n), lambda: red, "What is this?", right=w, choices=tuple(words))
        for n, w in enumerate(words)
    ]
    assert chance(posed) == 1 / len(words)
    found = ask(bench.score, posed, {"none": "none"})["none"]
    assert len(set(found.picked)) == 1  # the same picture and question, so the same choice
    assert found.picked[0] == int(np.argmax(found.logp))
    with pytest.raises(ModelError, match="has no single token that spells 'xyzzyx'"):
        ask(bench.score, [Posed("a", "a", lambda: red, "?", "xyzzyx", ("xyzzyx",))], {"n": "none"})


def test_blind_to_order_means_no_sensitivity(make_bench: Callable[..., Bench]) -> None:
    """With equal ids and a bidirectional mask the language model cannot tell any arrangement."""
    spec = "bapa+mask:bidirectional"
    bench = make_bench(items=2, spec=spec)
    tool = Psi(draws=2, items=2)
    counted: list[int] = []
    found = tool.measure(bench, counted.append)
    assert sum(counted) == tool.steps(bench) == len(found["item"])
    table = {name: np.array(values) for name, values in found.items()}
    base = disturbed(table, REFERENCE)
    for name in CONDITIONS:
        np.testing.assert_allclose(disturbed(table, name)["logp"], base["logp"], atol=1e-4)
        assert disturbed(table, name)["kl"].max() < 1e-6
    assert set(table["draw"][table["condition"] == "all tokens"]) == {0, 1}
    findings = tool.findings({spec: table}, Context(replicates=100))
    by = {(f.name, f.where.get("condition")): f for f in findings}
    assert by["psi", moved("all tokens")].value == 0
    assert by["psi", moved("all tokens")].definition == "paper"
    assert by["psi_chance", moved(BLIND)].value > 0
    assert ("kl", moved(BLIND)) not in by


def test_ids_alone_are_moved_where_content_stays(make_bench: Callable[..., Bench]) -> None:
    """Under shared ids, dealing ids out again changes nothing; content still has a causal rank."""
    bench = make_bench(items=1, spec="bapa")
    posed = probe_questions(bench, bench.items, ("positive",))
    specs = {"a": "bapa", "ids": "bapa+shuffle", "content": "bapa+permute"}
    found = ask(bench.score, posed, specs)
    assert found["ids"].kl.max() < 1e-9
    assert found["content"].kl.max() > 1e-9


def test_specs_are_known_before_a_model_loads() -> None:
    tool = Psi(draws=2)
    specs = tool.specs("bapa")
    assert specs[0] == "bapa"
    assert canonical("bapa+permute:seed=1") in specs
    assert len(specs) == 1 + 2 * 5 + 2 + 2 + 1
    with pytest.raises(SpecError, match="cannot be 'papr'"):
        diagnostic("psi:protocol=papr")
