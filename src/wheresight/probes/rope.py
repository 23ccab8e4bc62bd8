"""Rope: how much does attention to the picture hang on where its tokens stand in the prompt?"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from wheresight.interventions.ranges import number_in, whole_number
from wheresight.probes.asking import asked, questions_of
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
from wheresight.statistics.clustered import Clusters, Drawn

if TYPE_CHECKING:
    from wheresight.lvlm.readings.moves import Move
    from wheresight.probes.bench import Bench


@dataclass(frozen=True)
class Rope(Diagnostic):
    """Turn the image keys of each layer as if their tokens stood elsewhere, and see what changes.

    The probe of "Beyond Semantics" (arXiv 2503.17349, section 4 and appendix) shifts all image keys
    by `delta` positions, layer by layer, without handing the change on. With a_v the attention of
    the query row on image token v, a_V their sum, and d_v the change of a logit, it reports
    (`definition` paper) Delta a_V = a_V(+delta) - a_V(0), signed, and |Delta g_V| with
    Delta g_V = sum of (a_v / a_V) d_v / delta.

    Two things mislead there. Exactly, logit a_V(delta) - logit a_V(0) = log sum (a_v / a_V)
    exp(d_v), which by Jensen is at least delta * Delta g_V: a signed one-sided difference is biased
    upward even where logits change around zero. Ours are central differences,
    [a_V(+delta) - a_V(-delta)] / (2 delta), signed and absolute. And a shift of all image tokens
    alike says how attention hangs on the distance of the picture, not on its arrangement. So the
    tokens are rearranged too: one row or column further (under M-RoPE along its own row of ids;
    with plain ids a column is one position, a row as many as the image has tokens in one),
    permuted, all at one position (the mean), and in reverse order. For those, `moved` is the mean
    |change| of logit a_V, and `dealt` how much attention is dealt out otherwise among the image
    tokens (total variation, 0 to 1).

    `protocol=balanced` takes the prompt's last row as the query; `paper` the row of an end-of-text
    token behind it, as the released code does.

    Parameters:
        items: how many items, each shown in every cell.
        delta: positions of the shift.
        protocol: `balanced` or `paper`.
    """

    name: ClassVar[str] = "rope"
    title: ClassVar[str] = "Rotary sensitivity"
    question: ClassVar[str] = (
        "How much does attention to the picture hang on where its tokens stand, as a block and "
        "among each other?"
    )
    reading: ClassVar[str] = (
        "Above, by layer: how steeply the picture's logits and its share of attention change when "
        "the whole picture is shifted. Below, for each rearrangement: how much the picture's share "
        "of attention changes (log-odds), and how much of the attention within the picture goes to "
        "other tokens."
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "Each layer is turned alone: what later layers would make of it is not in these numbers.",
        "Content knows where it is: the vision tower has positions of its own.",
    )
    paper: ClassVar[str] = "Beyond Semantics, arXiv 2503.17349, section 4 and appendix B"
    unit: ClassVar[str] = "questions"
    columns: ClassVar[Mapping[str, Column]] = {
        "item": ITEM,
        "key": KEY,
        "cell": CELL,
        "question": Column("string", "Kind of question: positive."),
        "layers": Column("int32", "L."),
        "heads": Column("int32", "A."),
        "moves": Column("string", "JSON: names of the M moves."),
        "stock": Column("list<float32>", "a_V of L * A heads, layer by layer."),
        "alpha": Column("list<float32>", "a_V after each move, M * L * A."),
        "drift": Column("list<float32>", "Sum of (a_v / a_V) d_v, M * L * A, nats."),
        "gain": Column("list<float32>", "log sum of (a_v / a_V) exp(d_v), M * L * A, nats."),
        "dealt": Column("list<float32>", "Total variation within the picture, M * L * A."),
    }
    drawing: ClassVar[str] = "wheresight.report.diagnostics.rope:pictures"

    items: int = 8
    delta: float = 1.0
    protocol: str = "balanced"

    def __post_init__(self) -> None:
        whole_number(self.name, "items", self.items, 1, 1_000_000)
        number_in(self.name, "delta", self.delta, 1e-3, 1e4)
        check_protocol(self.name, self.protocol)

    def steps(self, bench: Bench) -> int:
        """Questions of all composites."""
        return questions_of(bench, ("positive",))

    def moves(self, seed: int) -> list[Move]:
        """What is done to the image tokens; the two shifts first."""
        from wheresight.lvlm.readings import moves

        return [
            moves.shift(self.delta),
            moves.shift(-self.delta),
            *(moves.shift(n, axis) for axis in ("row", "column") for n in (1.0, -1.0)),
            moves.permute(seed),
            moves.collapse(),
            moves.reverse(),
        ]

    def measure(self, bench: Bench, advance: Callable[[int], None]) -> Columns:
        """Return one row a composite."""
        found: dict[str, list[object]] = {name: [] for name in self.columns}
        change = _with_end(bench) if self.protocol == "paper" else None
        moves = self.moves(bench.seed)
        for one in asked(bench, "rotary", ("positive",), advance, change, moves=moves):
            kept = one.kept
            record = {
                **one.place(),
                "layers": kept.stock.shape[0],
                "heads": kept.stock.shape[1],
                "moves": json.dumps(kept.moves),
                "stock": kept.stock.flatten().numpy(),
                "alpha": kept.alpha.flatten().numpy(),
                "drift": kept.drift.flatten().numpy(),
                "gain": kept.gain.flatten().numpy(),
                "dealt": kept.rearranged.flatten().numpy(),
            }
            for name, value in record.items():
                found[name].append(value)
        return found

    def findings(self, tables: Mapping[str, Records], context: Context) -> list[Finding]:
        """Sensitivity to a shift, over all and by layer, and what each rearrangement changes."""
        findings = Findings()
        for spec, table in tables.items():
            clusters = Clusters(
                table["key"], replicates=context.replicates, level=context.level, seed=context.seed
            )
            for name, (label, unit, definition) in QUANTITIES.items():
                by_layer = clusters.mean(sensitivity(table, self.delta)[name].mean(-1))
                findings.add(
                    name, label, _over_layers(by_layer), spec, unit=unit, definition=definition
                )
                for layer in range(by_layer.value.shape[0]):
                    findings.add(
                        name, f"{label}, by layer", by_layer.at(layer), spec, unit=unit,
                        where={"layer": layer}, definition=definition, headline=False,
                    )  # fmt: skip
            arranged = arrangement(table)
            for n, move in enumerate(json.loads(table["moves"][0])):
                for name, label, unit in (
                    ("moved", "|change of log-odds| of attention on the picture", "nats"),
                    ("dealt", "Attention within the picture dealt out otherwise", "share"),
                ):
                    values = arranged[name][:, n].mean((1, 2))
                    findings.add(
                        f"{name}.{move}", f"{label}, {move}", clusters.mean(values), spec,
                        unit=unit, headline=False,
                    )  # fmt: skip
        return findings.found


# What is read from the records: label, unit, whose definition.
QUANTITIES = {
    "slope": ("|slope of the picture's logits|, central", "nats", "ours"),
    "alpha": ("Change of attention on the picture per position, central", "", "ours"),
    "alpha_size": ("|change of attention on the picture| per position, central", "", "ours"),
    "paper_slope": ("|Delta g_V|, one-sided", "nats", "paper"),
    "paper_alpha": ("Delta alpha_V, one-sided", "", "paper"),
}


def by_move(table: Records, name: str) -> np.ndarray:
    """A column of lists as (M, moves, L, A)."""
    layers, heads = int(table["layers"][0]), int(table["heads"][0])
    values = np.asarray(table[name], dtype=np.float64)
    return values.reshape(len(values), -1, layers, heads)


def sensitivity(table: Records, delta: float) -> dict[str, np.ndarray]:
    """QUANTITIES of each composite, layer and head, (M, L, A)."""
    alpha, drift = by_move(table, "alpha"), by_move(table, "drift")
    stock = by_move(table, "stock")[:, 0]
    central = (alpha[:, 0] - alpha[:, 1]) / (2 * delta)
    return {
        "slope": np.abs(drift[:, 0] - drift[:, 1]) / (2 * delta),
        "alpha": central,
        "alpha_size": np.abs(central),
        "paper_slope": np.abs(drift[:, 0]) / delta,
        "paper_alpha": alpha[:, 0] - stock,
    }


def arrangement(table: Records) -> dict[str, np.ndarray]:
    """What each move does, of each composite, layer and head, (M, moves, L, A)."""
    return {"moved": np.abs(by_move(table, "gain")), "dealt": by_move(table, "dealt")}


def _over_layers(by_layer: Drawn) -> Drawn:
    return by_layer.map(lambda values: np.asarray(values.mean(-1)))


def _with_end(bench: Bench) -> Callable[[Any], Any]:
    """What puts an end-of-text token behind each prompt."""
    from dataclasses import replace

    from wheresight.errors import ModelError

    end = bench.score.tokenizer.eos_token_id
    if end is None:
        raise ModelError("The tokenizer has no end-of-text token, which protocol=paper asks with.")

    def ended(encoded: Any) -> Any:
        rows = [
            replace(
                row, ids=(*row.ids, end), types={k: (*v, v[-1]) for k, v in row.types.items()}
            )
            for row in encoded.rows
        ]  # fmt: skip
        return replace(encoded, rows=tuple(rows))

    return ended
