"""Run prompts under interventions, in batches, and hand over what comes after their last tokens.

What `Scorer` and `OptionScorer` have in common. Work is shared where sharing changes nothing: the
prompt's common beginning (system, picture, the question's fixed words) is prefilled once for all
that follows it, and interventions that change the last row of a prompt alone share all rows before
it. One that looks at the first logits before it acts is given those of the same without it, where
they are asked for too.

Legend: B rows (one per picture and question), T tokens, V vocabulary.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from PIL import Image

from wheresight.errors import ModelError
from wheresight.interventions.base import Intervention
from wheresight.interventions.spec import beginning, canonical
from wheresight.lvlm.batching import batches, common_prefix, cut, half, of_one_length
from wheresight.lvlm.encoding import Encoded, Encoder, Row
from wheresight.lvlm.history import branch
from wheresight.lvlm.intervene import Active, intervene
from wheresight.lvlm.memory import is_out_of_memory, release
from wheresight.lvlm.prefilling import keys_alone
from wheresight.lvlm.tracker import TRACKERS

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.wrapper import LVLM

Read = TypeVar("Read")

# One question for all: what is measured on a blank picture must not hang on who else is scored.
ASKED_OF_BLANK = "What is in the picture?"


@dataclass(frozen=True)
class Ended:
    """Prompts of one length, some of a batch, that have been run to their last token.

    Attributes:
        rows: their numbers in the batch.
        logits: (rows, V), after their last tokens.
        cache: what was run; None where nothing can go on behind it.
        offset: (rows, 1), how far rotary ids of text are from the tokens' columns; None if 0.
        recorded: whether an intervention or a reading has to know what is in the cache.
    """

    rows: tuple[int, ...]
    logits: torch.Tensor
    cache: Any = None
    offset: torch.Tensor | None = None
    recorded: bool = True

    def branched(self, places: torch.Tensor) -> tuple[Any, torch.Tensor | None]:
        """A cache of its own, and the offsets, for what goes on behind some of these prompts.

        Args:
            places: (N,), which of `rows`; one may come several times.
        """
        offset = None if self.offset is None else self.offset[places.to(self.offset.device)]
        return branch(self.cache, places, recorded=self.recorded), offset


@dataclass(frozen=True)
class _Body:
    """Some rows of a batch, of one length, run but for their last token.

    Attributes:
        rows: their numbers in the batch.
        cache: what was run.
        last: (rows, 1), the ids of their last tokens.
        offset: (rows, 1), how far rotary ids of text are from the tokens' columns; None if 0.
    """

    rows: tuple[int, ...]
    cache: Any
    last: torch.Tensor
    offset: torch.Tensor | None


class PromptRunner:
    """Runs prompts of one model.

    Args:
        lvlm: the wrapped model.
        encoder: of its prompts.
        share_prefix: prefill the common beginning once and branch its cache.

    Attributes:
        batch_size: rows in one forward pass. When memory runs out it is halved, for good, and the
            batch is done again.
    """

    def __init__(self, lvlm: LVLM, encoder: Encoder, share_prefix: bool, batch_size: int) -> None:
        self.lvlm = lvlm
        self.encoder = encoder
        self.share_prefix = share_prefix
        self.batch_size = batch_size

    def run_all(
        self,
        encoded: Encoded,
        specs: Sequence[Sequence[Intervention]],
        read: Callable[[list[int], Iterator[Ended]], Read],
        keep: Callable[[int, list[int], Read], None],
    ) -> None:
        """Run every prompt under every spec.

        What is made of a prompt does not depend on what runs beside it.

        Args:
            encoded: the prompts.
            specs: parsed.
            read: called under the intervention with a batch's row numbers and its prompts, which
                run as they are asked for; returns what it makes of them.
            keep: called after it, with the number of the spec, the row numbers, and what was made.
                A batch that is done again because memory ran out is kept again.
        """
        groups = _by_beginning(specs) if self.share_prefix else [[n] for n in range(len(specs))]
        seen = [self.seen(encoded, spec) for spec in specs]
        blanks = [self.blanks(encoded, spec) for spec in specs]

        def run(batch: list[int]) -> None:
            rows = [encoded.rows[i] for i in batch]
            for group in groups:
                bodies: list[_Body] = []
                looks: dict[str, list[torch.Tensor]] = {
                    look[1]: [] for n in group if (look := _look(specs[n])) is not None
                }
                # What is prefilled under a spec that acts says of itself how it was made.
                maker = next((n for n in group if not _is_stock(specs[n])), group[0])
                if self.share_prefix and maker != group[0]:
                    with intervene(self.lvlm, specs[maker]) as active:
                        self.calibrate(active, blanks[maker])
                        bodies = self._bodies(seen[maker], rows, active)
                for n in group:
                    with intervene(self.lvlm, specs[n]) as active:
                        self.calibrate(active, blanks[n])
                        # Readings keep prompts in this order.
                        numbers = [n * len(encoded.rows) + i for i in batch]
                        if self.share_prefix:
                            bodies = bodies or self._bodies(seen[n], rows, active)
                            ended = self._ends(bodies, active, numbers, specs[n], looks)
                        else:
                            ended = self._whole(seen[n], rows, active, numbers)
                        made = read(batch, ended)
                    keep(n, batch, made)

        self.each_batch(encoded.rows, run)

    def seen(self, encoded: Encoded, spec: Sequence[Intervention]) -> Encoded:
        """The same with features of their own for methods that change the vision tower."""
        vision = on_vision(spec)
        if not vision:
            return encoded
        with intervene(self.lvlm, vision):
            return self.encoder.again(encoded)

    def blanks(self, encoded: Encoded, spec: Sequence[Intervention]) -> list[Encoded]:
        """A blank picture of each size, for methods that are calibrated on one."""
        if not any(i.needs_blank and not i.idle() for i in spec):
            return []
        with intervene(self.lvlm, on_vision(spec)):
            alike = [Image.new("RGB", size) for size in dict.fromkeys(encoded.sizes)]
            return [self.encoder.blank(picture, ASKED_OF_BLANK) for picture in alike]

    def calibrate(self, active: Active, blanks: Sequence[Encoded]) -> None:
        """Show the model blank pictures."""
        for blank in blanks:
            active.calibrate(**self.encoder.inputs(blank, blank.rows))

    def go_on(self, ids: torch.Tensor, cache: Any, offset: torch.Tensor | None) -> torch.Tensor:
        """Logits (B, V) after ids (B, T) of text behind what is in the cache; no row is padded.

        The offset (B, 1) of rotary ids against columns is what pictures in the cache have made it.
        """
        import torch

        rows, count = ids.shape
        past = int(cache.get_seq_length())
        positions = (past + torch.arange(count, device=ids.device)).expand(rows, -1)
        if offset is not None:
            positions = positions + offset.to(ids.device)
        if self.lvlm.family.rotary_rows > 1:
            positions = positions.expand(self.lvlm.family.rotary_rows, -1, -1)
        out = self.lvlm.model(
            input_ids=ids,
            attention_mask=ids.new_ones(rows, past + count),
            position_ids=positions,
            past_key_values=cache,
            logits_to_keep=1,
            use_cache=True,
        )
        logits: torch.Tensor = out.logits[:, -1]
        return logits

    def each_batch(self, rows: Sequence[Row], run: Callable[[list[int]], None]) -> None:
        """Do all rows; when memory runs out, halve the batch size and go on from this batch."""
        # Only where a prefix is shared does it matter how rows begin.
        image_id = self.encoder.image_id if self.share_prefix else None
        waiting = [*batches(rows, range(len(rows)), self.batch_size, image_id)]
        while waiting:
            try:
                run(waiting[0])
            except (RuntimeError, MemoryError) as error:
                self._refuse_read_twice(error)
                self.batch_size = half(error, len(waiting[0]), "question")
            else:
                waiting.pop(0)
                continue
            # Here the error is forgotten, and with it what its frames held.
            release()
            left = sorted(itertools.chain.from_iterable(waiting))
            waiting = [*batches(rows, left, self.batch_size, image_id)]

    # ---- one batch --------------------------------------------------------------------------

    def _whole(
        self, encoded: Encoded, rows: Sequence[Row], active: Active, numbers: Sequence[int]
    ) -> Iterator[Ended]:
        """Each row runs whole, all in one call."""
        inputs = self.encoder.inputs(encoded, rows)
        if self.lvlm.family.rotary_rows == 1 and not self.lvlm.family.prefix_attention:
            # As generate counts them; counting columns instead would change bfloat16 rounding.
            mask = inputs["attention_mask"]
            inputs["position_ids"] = (mask.cumsum(-1) - 1).clamp_min(0)
        with active.prompt("ends", numbers):
            out = self.lvlm.model(**inputs, logits_to_keep=1, use_cache=False)
        yield Ended(tuple(range(len(rows))), out.logits[:, -1])

    def _bodies(self, encoded: Encoded, rows: Sequence[Row], active: Active) -> list[_Body]:
        """Run all tokens of the rows but the last; what they begin with, once per picture."""
        import torch

        length = common_prefix(rows)
        pictures = list(dict.fromkeys(row.picture for row in rows))
        heads = [next(r for r in rows if r.picture == p) for p in pictures]
        heads = [Row(h.picture, h.ids[:length], cut(h.types, 0, length)) for h in heads]
        inputs = self.encoder.inputs(encoded, heads)
        bodies = []
        # Readings look at all layers.
        inside = contextlib.nullcontext() if active.watched else keys_alone(self.lvlm)
        with active.prompt("inside"), inside:
            prefix = self.lvlm.model(**inputs, logits_to_keep=1, use_cache=True).past_key_values
            offsets = self.lvlm.family.text_offset(self.lvlm.core, len(heads))
            for group in of_one_length(rows):
                own = [pictures.index(rows[i].picture) for i in group]
                owners = self.lvlm.send(torch.tensor(own))
                offset = None if offsets is None else offsets[owners.to(offsets.device)]
                ids = self.lvlm.send(torch.tensor([rows[i].ids[length:] for i in group]))
                cache = branch(prefix, owners, room=ids.shape[1])
                if ids.shape[1] > 1:
                    self.go_on(ids[:, :-1], cache, offset)
                bodies.append(_Body(tuple(group), cache, ids[:, -1:], offset))
        return bodies

    def _ends(
        self,
        bodies: Sequence[_Body],
        active: Active,
        numbers: Sequence[int],
        spec: Sequence[Intervention],
        looks: dict[str, list[torch.Tensor]],
    ) -> Iterator[Ended]:
        """Run the last token of each row, rows of one length together.

        Args:
            bodies: the rows of the batch.
            active: under what they run.
            numbers: how readings number the rows.
            spec: the same, without what is active around it.
            looks: by spec, first logits (rows, V) of each body, for those that look first; these
                are put in if they are asked for.
        """
        import torch

        stock = not active.watched and _is_stock(active.interventions)
        looking = _look(spec)
        # A reading wants to see the look too; and who else looks first has changed the logits.
        if active.watched or sum(_looks(i) for i in active.interventions) > 1:
            looking = None
        seen = [] if looking is None else looks[looking[1]]
        kept = looks.get(canonical(spec))
        for body, look in itertools.zip_longest(bodies, seen):
            decided = None
            if looking is not None and look is not None:
                decided = looking[0].decide(look)
                if bool((decided == 1).all()):
                    decided = None
            with active.prompt("ends", [numbers[n] for n in body.rows], decided):
                cache = branch(body.cache, recorded=not stock)
                logits = self.go_on(body.last, cache, body.offset)
            if decided is not None:
                logits = torch.where((decided == 1)[:, None], look, logits)
            if kept is not None and len(kept) < len(bodies):
                kept.append(logits)
            yield Ended(body.rows, logits, cache, body.offset, recorded=not stock)

    def _refuse_read_twice(self, error: Exception) -> None:
        """Raise if a reading has watched the batch that failed: it would count prompts twice."""
        tracker = TRACKERS.get(id(self.lvlm.core))
        if tracker is not None and tracker.readings and is_out_of_memory(error):
            raise ModelError(
                f"Memory ran out while a reading watched {self.batch_size} questions at once. Give "
                "a smaller batch size."
            ) from None


def on_vision(spec: Sequence[Intervention]) -> list[Intervention]:
    """Those that change the vision tower."""
    return [i for i in spec if "vision" in i.acting() and not i.idle()]


def _by_beginning(specs: Sequence[Sequence[Intervention]]) -> list[list[int]]:
    """Numbers of specs that share all of a prompt but its last row.

    Those that look at first logits come last, behind the spec that may have these.
    """
    groups: dict[str, list[int]] = {}
    for n, spec in enumerate(specs):
        groups.setdefault(beginning(spec), []).append(n)
    return [
        sorted(group, key=lambda n: (_look(specs[n]) is not None, _is_stock(specs[n])))
        for group in groups.values()
    ]


def _is_stock(spec: Sequence[Intervention]) -> bool:
    """True if the model runs as it is."""
    return all(i.idle() or not i.acting() for i in spec)


def _looks(intervention: Intervention) -> bool:
    return intervention.twice and not intervention.idle()


def _look(spec: Sequence[Intervention]) -> tuple[Intervention, str] | None:
    """What looks at the first logits before it acts, and the spec that these are made under."""
    looking = [i for i in spec if _looks(i)]
    if len(looking) != 1:
        return None
    return looking[0], canonical([i for i in spec if i is not looking[0]])
