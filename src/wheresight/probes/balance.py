"""Balance: how much of its attention does the answer's row give to the picture?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from wheresight.interventions.ranges import whole_number
from wheresight.probes.diagnostic import (
    CELL,
    ITEM,
    KEY,
    Column,
    Columns,
    Context,
    Diagnostic,
    Finding,
    Records,
)
from wheresight.probes.findings import Findings
from wheresight.probes.protocols import check_protocol
from wheresight.statistics.clustered import Clusters

if TYPE_CHECKING:
    from wheresight.probes.bench import Bench
    from wheresight.probes.system_prompt import SystemTurn

# A neutral system turn, of the length of those in use.
SYSTEM = "You are an assistant who looks at pictures and gives helpful, short and true answers."
PAPER_QUESTION = "Describe the image."
ARMS = ("plain", "system")


@dataclass(frozen=True)
class Balance(Diagnostic):
    """Cross-Modality Balance by layer and head, without and with a system prompt.

    CMB (arXiv 2503.17349) is the attention mass on image tokens over that on image and text tokens:
    the system prompt and the beginning-of-text token are in neither, nor are generated tokens; text
    before the picture that is no system prompt (a role's name) counts as text. It is read at the
    row that the next token is predicted from.

    * `protocol=balanced` (ours): at the prompt's last row, for the probe's own question.
    * `protocol=paper`: asked "Describe the image.", at the prompt's last row and at each of up to
      `tokens` decode steps; the ratio of each, then their mean.

    It misleads in two ways. It has no null: attention that cares for no token gives the share of
    image tokens among all, 0.975 for 576 of them beside 15 of text, so "dominated by vision" at
    0.76 is an image token with a twelfth of a text token's attention. Ours is its excess,
    logit(CMB) - log(V / T), the log of that per-token ratio: 0 is indifference. And a mass may be
    one sink: the tokens that draw most attention are listed.

    Both arms are reported: `plain` is the prompt as the chat template makes it, `system` the same
    with a system turn of `text` before it (left out where the template has none).

    Parameters:
        items: how many items, each shown in every cell.
        protocol: `balanced` or `paper`.
        tokens: decode steps of `paper`, at most.
        sinks: how many tokens to list for each prompt.
    """

    name: ClassVar[str] = "balance"
    title: ClassVar[str] = "Balance"
    question: ClassVar[str] = (
        "How much of its attention does the answer's row give to the picture, more than to as many "
        "tokens of text?"
    )
    reading: ClassVar[str] = (
        "One square a layer and head. Left, the share of attention on the picture of all that is "
        "not on the system prompt; right, the log of an image token's attention over a text "
        "token's: 0 is indifference, below 0 text is preferred."
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "Attention is not influence; leaving tokens out is the test of that.",
        "A mean over heads of ratios is not the ratio of means: this is the former.",
    )
    paper: ClassVar[str] = "Beyond Semantics, arXiv 2503.17349, section 4 (CMB)"
    unit: ClassVar[str] = "prompts"
    columns: ClassVar[Mapping[str, Column]] = {
        "item": ITEM,
        "key": KEY,
        "cell": CELL,
        "arm": Column("string", "plain, or system: with a system prompt before the picture."),
        "layers": Column("int32", "L."),
        "heads": Column("int32", "A."),
        "steps": Column("int32", "Rows of attention that the ratios are means of."),
        "image_tokens": Column("int32", "V."),
        "text_tokens": Column("int32", "T: neither image, system nor beginning of text."),
        "system_tokens": Column("int32", "Tokens of the system prompt."),
        "cmb": Column("list<float32>", "CMB of L * A heads, layer by layer; mean over steps."),
        "image": Column("list<float32>", "Attention on image tokens, the same way."),
        "text": Column("list<float32>", "Attention on text tokens."),
        "system": Column("list<float32>", "Attention on the system prompt."),
        "first": Column("list<float32>", "Attention on the beginning-of-text token."),
        "sinks": Column(
            "string", "JSON: the tokens with most attention, [name, mean over heads and layers]."
        ),
    }
    drawing: ClassVar[str] = "wheresight.report.diagnostics.balance:pictures"

    items: int = 8
    protocol: str = "balanced"
    tokens: int = 8
    sinks: int = 5

    def __post_init__(self) -> None:
        whole_number(self.name, "items", self.items, 1, 1_000_000)
        whole_number(self.name, "tokens", self.tokens, 2, 4096)
        whole_number(self.name, "sinks", self.sinks, 0, 100)
        check_protocol(self.name, self.protocol)

    def steps(self, bench: Bench) -> int:
        """Prompts of all composites, in both arms."""
        return len(ARMS) * len(bench.items) * bench.cells

    def measure(self, bench: Bench, advance: Callable[[int], None]) -> Columns:
        """Return one row a composite and arm."""
        found: dict[str, list[object]] = {name: [] for name in self.columns}
        for record in self._records(bench, advance):
            for name, value in record.items():
                found[name].append(value)
        return found

    def _records(self, bench: Bench, advance: Callable[[int], None]) -> Iterator[dict[str, Any]]:
        from wheresight.lvlm.encoding import Query
        from wheresight.lvlm.read import read
        from wheresight.probes.system_prompt import system_turn

        scorer = bench.score
        paper = self.protocol == "paper"
        for item in bench.items:
            composites = bench.composites([item])
            questions = [
                PAPER_QUESTION if paper else bench.question(c.asks[0].caption) for c in composites
            ]
            pictures = [bench.picture(c) for c in composites]
            pairs = zip(pictures, questions, strict=True)
            plain = scorer.encode([Query(picture, (text,)) for picture, text in pairs])
            turn = system_turn(scorer, SYSTEM, questions[0], plain.rows[0].ids)
            for arm, added in (("plain", None), ("system", turn)):
                if arm == "system" and turn is None:
                    advance(len(composites))
                    continue
                encoded = plain if added is None else added.put_into(plain)
                rows: list[list[Any]] = []
                if paper:
                    # One prompt at a time, so that no step follows the end of its text.
                    for n in range(len(composites)):
                        one = scorer.encode([Query(pictures[n], (questions[n],))])
                        one = one if added is None else added.put_into(one)
                        with read(
                            bench.lvlm, "attention", rows="last+generated", each=True
                        ) as found:
                            scorer.generate(one, bench.spec, max_new_tokens=self.tokens)
                            if not found.steps:  # it said nothing but the end
                                found.steps.append([])
                        rows.append([*found.prompts, *(s for step in found.steps for s in step)])
                else:
                    with read(bench.lvlm, "attention", rows="last", each=True) as found:
                        scorer.score(encoded, bench.spec)
                    rows = [[kept] for kept in found.prompts]
                for composite, row, kept in zip(composites, encoded.rows, rows, strict=True):
                    yield {
                        "item": composite.item,
                        "key": composite.key,
                        "cell": composite.cell,
                        "arm": arm,
                        **self._balance(bench, row.ids, kept, added),
                    }
                advance(len(composites))

    def _balance(
        self, bench: Bench, ids: Sequence[int], kept: Sequence[Any], turn: SystemTurn | None
    ) -> dict[str, Any]:
        """The record's own part, of one prompt and its steps."""
        tokenizer = bench.score.tokenizer
        layout = kept[0].layout
        columns = layout.length
        begins = columns - len(ids)  # rows of a batch are padded on the left
        image = (layout.image[0] >= 0).numpy()
        kinds = layout.kind[0].numpy()
        system = np.zeros(columns, bool)
        if turn is not None:
            system[begins + turn.start : begins + turn.stop] = True
        first = np.zeros(columns, bool)
        first[begins] = ids[0] == tokenizer.bos_token_id
        from wheresight.lvlm.layout import Kind

        text = (kinds != Kind.PAD) & ~image & ~system & ~first
        image &= kinds != Kind.HIDDEN
        weights = np.stack([one.columns[..., :columns].double().numpy() for one in kept])
        mass = {
            name: weights[..., where].sum(-1)
            for name, where in (
                ("image", image), ("text", text), ("system", system), ("first", first),
            )
        }  # fmt: skip
        both = mass["image"] + mass["text"]
        cmb = mass["image"] / np.maximum(both, 1e-8)
        mean = weights.mean((0, 1, 2))
        top = np.argsort(-mean, kind="stable")[: self.sinks]
        sinks = [(_name(tokenizer, layout, ids, c, begins), float(mean[c])) for c in top]
        return {
            "layers": weights.shape[1],
            "heads": weights.shape[2],
            "steps": len(kept),
            "image_tokens": int(image.sum()),
            "text_tokens": int(text.sum()),
            "system_tokens": int(system.sum()),
            "cmb": cmb.mean(0).ravel(),
            **{name: value.mean(0).ravel() for name, value in mass.items()},
            "sinks": json.dumps(sinks),
        }

    def findings(self, tables: Mapping[str, Records], context: Context) -> list[Finding]:
        """CMB and its excess in both arms, by layer too, and the sinks."""
        findings = Findings()
        definition = "paper" if self.protocol == "paper" else "ours"
        for spec, table in tables.items():
            for arm in ARMS:
                here = table["arm"] == arm
                if not here.any():
                    continue
                clusters = Clusters(
                    table["key"][here], replicates=context.replicates, level=context.level,
                    seed=context.seed,
                )  # fmt: skip
                layers = int(table["layers"][0])
                cmb, more = (of_heads(f(table)[here], layers) for f in (cmb_of, excess))
                said = "as it is" if arm == "plain" else "with a system prompt"
                shares = {name: of_heads(table[name], layers)[here] for name in ("image", "system")}
                findings.add(
                    f"cmb.{arm}", f"CMB, prompt {said}", clusters.mean(cmb.mean((1, 2))), spec,
                    unit="share", definition="paper",
                    note="An even share is "
                    f"{uniform(table)[here].mean():.3f}: attention that cares for no token.",
                )  # fmt: skip
                findings.add(
                    f"excess.{arm}", f"Image over text, log per token, prompt {said}",
                    clusters.mean(more.mean((1, 2))), spec, unit="nats",
                )  # fmt: skip
                findings.add(
                    f"image.{arm}", f"Attention on the picture, prompt {said}",
                    clusters.mean(shares["image"].mean((1, 2))), spec, unit="share",
                    definition=definition,
                )  # fmt: skip
                if arm == "system":
                    findings.add(
                        "system.system", "Attention on the system prompt",
                        clusters.mean(shares["system"].mean((1, 2))), spec, unit="share",
                        definition=definition,
                    )  # fmt: skip
                for layer in range(layers):
                    for name, values, unit in (
                        ("cmb", cmb, "share"), ("excess", more, "nats"),
                    ):  # fmt: skip
                        findings.add(
                            f"{name}.{arm}", f"{name} by layer, prompt {said}",
                            clusters.mean(values[:, layer].mean(1)), spec, unit=unit,
                            where={"layer": layer}, headline=False,
                            definition="paper" if name == "cmb" else "ours",
                        )  # fmt: skip
                for name, value in common_sinks(table["sinks"][here], self.sinks):
                    drawn = clusters.mean(np.array([dict(json.loads(s)).get(name, np.nan)
                                                    for s in table["sinks"][here]]))  # fmt: skip
                    findings.add(
                        f"sink.{arm}", f"Attention on {name}, where among the most attended",
                        drawn, spec, unit="share", where={"token": name}, headline=False,
                        note=f"among the {self.sinks} most attended in {value:.0%} of prompts",
                        compare=False,
                    )  # fmt: skip
        return findings.found


def of_heads(values: np.ndarray, layers: int) -> np.ndarray:
    """Lists of all heads (M, L * A) by layer, (M, L, A)."""
    return np.asarray(values, dtype=np.float64).reshape(len(values), layers, -1)


def cmb_of(table: Records) -> np.ndarray:
    """CMB of each prompt and head, (M, L * A)."""
    return np.asarray(table["cmb"], dtype=np.float64)


def uniform(table: Records) -> np.ndarray:
    """CMB of attention that cares for no token, (M,)."""
    image = table["image_tokens"].astype(np.float64)
    return np.asarray(image / (image + table["text_tokens"]))


def excess(table: Records) -> np.ndarray:
    """logit(CMB) - log(V / T) of each prompt and head, (M, L * A).

    CMB is kept within 1e-6 of its ends, where a head attends to one side alone.
    """
    cmb = np.clip(cmb_of(table), 1e-6, 1 - 1e-6)
    even = uniform(table)[:, None]
    return np.asarray(np.log(cmb / (1 - cmb)) - np.log(even / (1 - even)))


def common_sinks(sinks: Sequence[str], most: int) -> list[tuple[str, float]]:
    """The tokens that are among the most attended most often, and in which share of prompts."""
    counted = Counter(name for one in sinks for name in {name for name, _ in json.loads(one)})
    return [(name, count / len(sinks)) for name, count in counted.most_common(most)]


def _name(tokenizer: Any, layout: Any, ids: Sequence[int], column: int, begins: int) -> str:
    """What a token is, for people."""
    if column < begins:
        return "padding"
    if layout.image[0, column] >= 0:
        row, place = int(layout.row[0, column]), int(layout.column[0, column])
        return f"image {row + 1},{place + 1}" if row >= 0 else "image"
    side = "before" if bool((layout.image[0, column:] >= 0).any()) else "behind"
    written = tokenizer.decode([ids[column - begins]])
    return f"{written!r} {side} the picture"
