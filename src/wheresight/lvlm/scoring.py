"""Ask a model questions about pictures, in batches, and read its first answer token.

Work is shared where sharing changes nothing: a picture goes through the vision tower once for all
its questions and all interventions; the prompt's common beginning (system, picture, the question's
fixed words) is prefilled once for all that follows it; and interventions that change the last row
of a prompt alone share all rows before it.

Legend: B rows (one per picture and question), T tokens, V vocabulary.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from PIL import Image

from wheresight.errors import ModelError
from wheresight.interventions.base import Intervention
from wheresight.interventions.spec import beginning, parse
from wheresight.lvlm.answers import AnswerTokens, answer_tokens, read_answer
from wheresight.lvlm.batching import batches, common_prefix, cut, half, of_one_length
from wheresight.lvlm.encoding import Encoded, Encoder, Query, Row
from wheresight.lvlm.history import branch
from wheresight.lvlm.intervene import Active, intervene
from wheresight.lvlm.memory import is_out_of_memory, release
from wheresight.lvlm.preprocessing import Preprocessed
from wheresight.lvlm.tracker import TRACKERS

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.wrapper import LVLM


# One question for all: what is measured on a blank picture must not hang on who else is scored.
ASKED_OF_BLANK = "What is in the picture?"

# Enough to keep a vision tower busy; more would only take memory.
_PICTURES_AT_ONCE = 32


@dataclass(frozen=True)
class Answer:
    """What the model answered to one question.

    Attributes:
        margin: log P(Yes spellings) - log P(No spellings) at the first answer token, nats.
        argmax_id: the greedy first token over the whole vocabulary.
        argmax_token: its text.
        answer: yes, no or neither, by argmax (or by `text` when text was generated).
        text: the generated text, or None.
    """

    margin: float
    argmax_id: int
    argmax_token: str
    answer: str
    text: str | None = None


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


class Scorer:
    """Scores questions about pictures with one model.

    Args:
        lvlm: the wrapped model.
        batch_size: rows in one forward pass. When memory runs out it is halved, for good, and the
            batch is done again.
        share_prefix: prefill the common beginning once and branch its cache; None does so where
            the family allows it. Either way gives the same answers up to rounding.
    """

    def __init__(
        self, lvlm: LVLM, *, batch_size: int = 64, share_prefix: bool | None = None
    ) -> None:
        self.lvlm = lvlm
        self.encoder = Encoder(lvlm)
        self.set_batch_size(batch_size)
        # Under prefix attention the keys of a prefix depend on what follows.
        can_share = not lvlm.family.prefix_attention
        if share_prefix and not can_share:
            raise ModelError(
                f"A common prefix cannot be shared in the family {lvlm.family.name!r}, whose "
                "prefix attends to what follows. Leave share_prefix out."
            )
        self.share_prefix = can_share if share_prefix is None else share_prefix
        self.tokenizer = self.encoder.tokenizer
        self.answers: AnswerTokens = answer_tokens(self.tokenizer)

    def set_batch_size(self, batch_size: int) -> None:
        """Change how many rows and pictures go through the model at once."""
        if batch_size < 1:
            raise ModelError(f"The batch size {batch_size} was given; expected 1 or more.")
        self.batch_size = batch_size
        self.pictures_at_once = min(batch_size, _PICTURES_AT_ONCE)

    def encode(self, queries: Sequence[Query], *, keep_pixels: bool = True) -> Encoded:
        """Tokenize all questions and run the vision tower once per picture.

        Args:
            queries: pictures with their questions.
            keep_pixels: keep the preprocessed pictures on the CPU, which interventions that change
                the vision tower need.
        """

        def prepare(start: int, stop: int) -> Preprocessed:
            return self.encoder.preprocess(queries[start:stop])

        return self.encode_prepared(prepare, len(queries), keep_pixels=keep_pixels)

    def encode_prepared(
        self,
        prepare: Callable[[int, int], Preprocessed],
        count: int,
        *,
        keep_pixels: bool = True,
    ) -> Encoded:
        """The same for pictures that are prepared elsewhere, some at a time.

        At most `pictures_at_once` go through the tower together, so that memory is bounded; which,
        depends on that number and on `count` alone.

        Args:
            prepare: makes pictures `start` to `stop` ready. When memory runs out, it is asked for
                half as many.
            count: of pictures in all.
            keep_pixels: as for `encode`.
        """
        parts: list[Encoded] = []
        start = 0
        while start < count:
            stop = min(start + self.pictures_at_once, count)
            try:
                part = self.encoder.see(prepare(start, stop))
            except (RuntimeError, MemoryError) as error:
                self.pictures_at_once = half(error, stop - start, "picture")
            else:
                parts.append(part if keep_pixels else replace(part, kept=()))
                start = stop
                continue
            release()
        return self.encoder.join(parts)

    def score(
        self,
        encoded: Encoded,
        spec: Any = "none",
        *,
        advance: Callable[[int], None] | None = None,
    ) -> list[Answer]:
        """Read the first answer token of every question, in the order of the queries.

        Args:
            encoded: what `encode` returned; it may be scored under any number of interventions.
            spec: the intervention.
            advance: called with the number of rows just finished.

        Raises:
            ModelError: if the model does not do what the intervention asks (nothing is guessed).
        """
        (answers,) = self.score_all(encoded, [spec], advance=advance)
        return answers

    def score_all(
        self,
        encoded: Encoded,
        specs: Sequence[Any],
        *,
        advance: Callable[[int], None] | None = None,
    ) -> list[list[Answer]]:
        """Score every question under several interventions, one list of answers for each.

        Interventions that change the last row of a prompt alone share all that comes before it
        with each other and with none. An answer does not depend on what is scored beside it.
        """
        import torch

        specs = [parse(spec) for spec in specs]
        found: list[dict[int, Answer]] = [{} for _ in specs]
        groups = _by_beginning(specs) if self.share_prefix else _alone(specs)
        with torch.inference_mode():
            seen = [self._seen(encoded, spec) for spec in specs]
            blanks = [self._blanks(encoded, spec) for spec in specs]

            def run(batch: list[int]) -> None:
                rows = [encoded.rows[i] for i in batch]
                for group in groups:
                    bodies: list[_Body] = []
                    for n in group:
                        with intervene(self.lvlm, specs[n]) as active:
                            self._calibrate(active, blanks[n])
                            # Readings keep prompts in this order.
                            numbers = [n * len(encoded.rows) + i for i in batch]
                            if self.share_prefix:
                                bodies = bodies or self._bodies(seen[n], rows, active)
                                logits = self._last(bodies, active, numbers)
                            else:
                                logits = self._plain(seen[n], rows, active, numbers)
                        _add(found[n], batch, self._read(logits), advance)

            self._each_batch(encoded.rows, run)
        return [[answers[i] for i in range(len(encoded.rows))] for answers in found]

    def generate(
        self,
        encoded: Encoded,
        spec: Any = "none",
        *,
        max_new_tokens: int = 16,
        advance: Callable[[int], None] | None = None,
    ) -> list[Answer]:
        """Like `score`, but the answer is read from greedily generated text, as the paper did."""
        import torch

        found: dict[int, Answer] = {}
        parts = parse(spec)
        with torch.inference_mode():
            encoded, blanks = self._seen(encoded, parts), self._blanks(encoded, parts)
        with torch.inference_mode(), intervene(self.lvlm, parts) as active:
            self._calibrate(active, blanks)

            def run(batch: list[int]) -> None:
                rows = [encoded.rows[i] for i in batch]
                inputs = self.encoder.inputs(encoded, rows)
                out = self.lvlm.model.generate(
                    **inputs,
                    max_new_tokens=max_new_tokens,
                    do_sample=False,
                    use_cache=True,
                    return_dict_in_generate=True,
                    output_logits=True,
                    pad_token_id=self.encoder.pad_id,
                )
                new = out.sequences[:, inputs["input_ids"].shape[1] :]
                texts = self.tokenizer.batch_decode(new, skip_special_tokens=True)
                answers = (
                    replace(answer, answer=read_answer(text), text=text)
                    for answer, text in zip(self._read(out.logits[0]), texts, strict=True)
                )
                _add(found, batch, answers, advance)

            self._each_batch(encoded.rows, run)
        return [found[i] for i in range(len(encoded.rows))]

    # ---- one batch --------------------------------------------------------------------------

    def _seen(self, encoded: Encoded, spec: Sequence[Intervention]) -> Encoded:
        """The same with features of their own for methods that change the vision tower."""
        vision = on_vision(spec)
        if not vision:
            return encoded
        with intervene(self.lvlm, vision):
            return self.encoder.again(encoded)

    def _blanks(self, encoded: Encoded, spec: Sequence[Intervention]) -> list[Encoded]:
        """A blank picture of each size, for methods that are calibrated on one."""
        if not any(i.needs_blank and not i.idle() for i in spec):
            return []
        with intervene(self.lvlm, on_vision(spec)):
            alike = [Image.new("RGB", size) for size in dict.fromkeys(encoded.sizes)]
            return [self.encoder.blank(picture, ASKED_OF_BLANK) for picture in alike]

    def _calibrate(self, active: Active, blanks: Sequence[Encoded]) -> None:
        """Show the model blank pictures."""
        for blank in blanks:
            active.calibrate(**self.encoder.inputs(blank, blank.rows))

    def _plain(
        self, encoded: Encoded, rows: Sequence[Row], active: Active, numbers: Sequence[int]
    ) -> torch.Tensor:
        """Logits (B, V) after the last prompt token; each row runs whole."""
        inputs = self.encoder.inputs(encoded, rows)
        if self.lvlm.family.rotary_rows == 1 and not self.lvlm.family.prefix_attention:
            # As generate counts them; counting columns instead would change bfloat16 rounding.
            mask = inputs["attention_mask"]
            inputs["position_ids"] = (mask.cumsum(-1) - 1).clamp_min(0)
        with active.prompt("ends", numbers):
            out = self.lvlm.model(**inputs, logits_to_keep=1, use_cache=False)
        logits: torch.Tensor = out.logits[:, -1]
        return logits

    def _bodies(self, encoded: Encoded, rows: Sequence[Row], active: Active) -> list[_Body]:
        """Run all tokens of the rows but the last; what they begin with, once per picture."""
        import torch

        length = common_prefix(rows)
        pictures = list(dict.fromkeys(row.picture for row in rows))
        heads = [next(r for r in rows if r.picture == p) for p in pictures]
        heads = [Row(h.picture, h.ids[:length], cut(h.types, 0, length)) for h in heads]
        inputs = self.encoder.inputs(encoded, heads)
        bodies = []
        with active.prompt("inside"):
            prefix = self.lvlm.model(**inputs, logits_to_keep=1, use_cache=True).past_key_values
            offsets = self.lvlm.family.text_offset(self.lvlm.core, len(heads))
            for group in of_one_length(rows):
                own = [pictures.index(rows[i].picture) for i in group]
                owners = self.lvlm.send(torch.tensor(own))
                offset = None if offsets is None else offsets[owners.to(offsets.device)]
                ids = self.lvlm.send(torch.tensor([rows[i].ids[length:] for i in group]))
                cache = branch(prefix, owners, room=ids.shape[1])
                if ids.shape[1] > 1:
                    self._go_on(ids[:, :-1], cache, offset)
                bodies.append(_Body(tuple(group), cache, ids[:, -1:], offset))
        return bodies

    def _last(
        self, bodies: Sequence[_Body], active: Active, numbers: Sequence[int]
    ) -> torch.Tensor:
        """Logits (B, V) after the last token of each row."""
        import torch

        stock = not active.watched and all(i.idle() or not i.acting() for i in active.interventions)
        found: dict[int, torch.Tensor] = {}
        for body in bodies:
            with active.prompt("ends", [numbers[n] for n in body.rows]):
                cache = branch(body.cache, recorded=not stock)
                logits = self._go_on(body.last, cache, body.offset)
                found.update(zip(body.rows, logits, strict=True))
        return torch.stack([found[n] for n in range(len(found))])

    def _go_on(self, ids: torch.Tensor, cache: Any, offset: torch.Tensor | None) -> torch.Tensor:
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

    def _read(self, logits: torch.Tensor) -> Iterator[Answer]:
        margins = self.answers.margin(logits).tolist()
        tokens = logits.argmax(-1).tolist()
        for margin, token in zip(margins, tokens, strict=True):
            text = self.tokenizer.decode([token])
            yield Answer(margin, token, text, self.answers.name(token))

    def _each_batch(self, rows: Sequence[Row], run: Callable[[list[int]], None]) -> None:
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

    def _refuse_read_twice(self, error: Exception) -> None:
        """Raise if a reading has watched the batch that failed: it would count prompts twice."""
        tracker = TRACKERS.get(id(self.lvlm.core))
        if tracker is not None and tracker.readings and is_out_of_memory(error):
            raise ModelError(
                f"Memory ran out while a reading watched {self.batch_size} questions at once. Give "
                "a smaller batch size."
            ) from None


def _add(
    found: dict[int, Answer],
    batch: Sequence[int],
    answers: Iterable[Answer],
    advance: Callable[[int], None] | None,
) -> None:
    """Take answers in; a batch that is done again advances by what it had not yet reached."""
    new = sum(i not in found for i in batch)
    found.update(zip(batch, answers, strict=True))
    if advance is not None:
        advance(new)


def _by_beginning(specs: Sequence[Sequence[Intervention]]) -> list[list[int]]:
    """Numbers of specs that share all of a prompt but its last row.

    A spec that acts comes first: what it prefills says of itself how it was made.
    """
    groups: dict[str, list[int]] = {}
    for n, spec in enumerate(specs):
        groups.setdefault(beginning(spec), []).append(n)
    return [
        sorted(group, key=lambda n: all(i.idle() or not i.acting() for i in specs[n]))
        for group in groups.values()
    ]


def on_vision(spec: Sequence[Intervention]) -> list[Intervention]:
    """Those that change the vision tower."""
    return [i for i in spec if "vision" in i.acting() and not i.idle()]


def _alone(specs: Sequence[Any]) -> list[list[int]]:
    return [[n] for n in range(len(specs))]
