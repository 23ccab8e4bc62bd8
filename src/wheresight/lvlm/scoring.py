"""Ask a model questions about pictures, in batches, and read its first answer token.

Work is shared where sharing changes nothing: a picture goes through the vision tower once for all
its questions and all interventions; the prompt's common beginning (system, picture, the question's
fixed words) is prefilled once for all that follows it; and interventions that change the last row
of a prompt alone share all rows before it.

Legend: B rows (one per picture and question), T tokens, V vocabulary.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wheresight.errors import ModelError
from wheresight.interventions.base import Intervention
from wheresight.interventions.spec import beginning, parse
from wheresight.lvlm.answers import AnswerTokens, answer_tokens, read_answer
from wheresight.lvlm.encoding import Encoded, Encoder, Query, Row
from wheresight.lvlm.history import branch
from wheresight.lvlm.intervene import Active, intervene

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.wrapper import LVLM


# One question for all: what is measured on a blank picture must not hang on who else is scored.
_ASKED_OF_BLANK = "What is in the picture?"


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
    """

    rows: tuple[int, ...]
    cache: Any
    last: torch.Tensor


class Scorer:
    """Scores questions about pictures with one model.

    Args:
        lvlm: the wrapped model.
        batch_size: rows in one forward pass.
        share_prefix: prefill the common beginning once and branch its cache; None does so where
            the family allows it. Either way gives the same answers up to rounding.
    """

    def __init__(
        self, lvlm: LVLM, *, batch_size: int = 64, share_prefix: bool | None = None
    ) -> None:
        if batch_size < 1:
            raise ModelError(f"The batch size {batch_size} was given; expected 1 or more.")
        self.lvlm = lvlm
        self.encoder = Encoder(lvlm)
        self.batch_size = batch_size
        # Under M-RoPE the ids of a suffix hang on a slot of the model that each prefill overwrites;
        # under prefix attention the keys of a prefix depend on what follows.
        can_share = lvlm.family.rotary_rows == 1 and not lvlm.family.prefix_attention
        if share_prefix and not can_share:
            raise ModelError(
                f"A common prefix cannot be shared in the family {lvlm.family.name!r} (its rotary "
                "ids are not a simple count, or its prefix attends to what follows). Leave "
                "share_prefix out."
            )
        self.share_prefix = can_share if share_prefix is None else share_prefix
        self.tokenizer = self.encoder.tokenizer
        self.answers: AnswerTokens = answer_tokens(self.tokenizer)

    def encode(self, queries: Sequence[Query]) -> Encoded:
        """Tokenize all questions and run the vision tower once per picture."""
        return self.encoder.encode(queries)

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
        with torch.inference_mode():
            seen = [self._seen(encoded, spec) for spec in specs]
            blanks = [self._blanks(encoded, spec) for spec in specs]
            for batch in self._batches(encoded.rows):
                rows = [encoded.rows[i] for i in batch]
                for group in _by_beginning(specs) if self.share_prefix else _alone(specs):
                    bodies: list[_Body] = []
                    for n in group:
                        with intervene(self.lvlm, specs[n]) as active:
                            self._calibrate(active, blanks[n])
                            if self.share_prefix:
                                bodies = bodies or self._bodies(seen[n], rows, active)
                                logits = self._last(bodies, active)
                            else:
                                logits = self._plain(seen[n], rows, active)
                        found[n].update(zip(batch, self._read(logits), strict=True))
                        if advance is not None:
                            advance(len(batch))
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
            for batch in self._batches(encoded.rows):
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
                for i, answer, text in zip(batch, self._read(out.logits[0]), texts, strict=True):
                    found[i] = Answer(
                        answer.margin,
                        answer.argmax_id,
                        answer.argmax_token,
                        read_answer(text),
                        text,
                    )
                if advance is not None:
                    advance(len(batch))
        return [found[i] for i in range(len(encoded.rows))]

    # ---- one batch --------------------------------------------------------------------------

    def _seen(self, encoded: Encoded, spec: Sequence[Intervention]) -> Encoded:
        """The same with features of their own for methods that change the vision tower."""
        vision = _on_vision(spec)
        if not vision:
            return encoded
        with intervene(self.lvlm, vision):
            return self.encoder.encode(encoded.queries)

    def _blanks(self, encoded: Encoded, spec: Sequence[Intervention]) -> list[Encoded]:
        """A blank picture of each size, for methods that are calibrated on one."""
        if not any(i.needs_blank and not i.idle() for i in spec):
            return []
        alike = {query.picture.size: query.picture for query in encoded.queries}
        with intervene(self.lvlm, _on_vision(spec)):
            return [self.encoder.blank(picture, _ASKED_OF_BLANK) for picture in alike.values()]

    def _calibrate(self, active: Active, blanks: Sequence[Encoded]) -> None:
        """Show the model blank pictures."""
        for blank in blanks:
            active.calibrate(**self.encoder.inputs(blank, blank.rows))

    def _plain(self, encoded: Encoded, rows: Sequence[Row], active: Active) -> torch.Tensor:
        """Logits (B, V) after the last prompt token; each row runs whole."""
        inputs = self.encoder.inputs(encoded, rows)
        if self.lvlm.family.rotary_rows == 1 and not self.lvlm.family.prefix_attention:
            # As generate counts them; counting columns instead would change bfloat16 rounding.
            mask = inputs["attention_mask"]
            inputs["position_ids"] = (mask.cumsum(-1) - 1).clamp_min(0)
        with active.prompt("ends"):
            out = self.lvlm.model(**inputs, logits_to_keep=1, use_cache=False)
        logits: torch.Tensor = out.logits[:, -1]
        return logits

    def _bodies(self, encoded: Encoded, rows: Sequence[Row], active: Active) -> list[_Body]:
        """Run all tokens of the rows but the last; what they begin with, once per picture."""
        import torch

        length = _common_prefix(rows)
        pictures = list(dict.fromkeys(row.picture for row in rows))
        heads = [next(r for r in rows if r.picture == p) for p in pictures]
        heads = [Row(h.picture, h.ids[:length], _cut(h.types, 0, length)) for h in heads]
        inputs = self.encoder.inputs(encoded, heads)
        bodies = []
        with active.prompt("inside"):
            prefix = self.lvlm.model(**inputs, logits_to_keep=1, use_cache=True).past_key_values
            for group in _of_one_length(rows):
                owners = [pictures.index(rows[i].picture) for i in group]
                cache = branch(prefix, torch.tensor(owners, device=self.lvlm.device))
                ids = torch.tensor([rows[i].ids[length:] for i in group], device=self.lvlm.device)
                if ids.shape[1] > 1:
                    self._go_on(ids[:, :-1], cache)
                bodies.append(_Body(tuple(group), cache, ids[:, -1:]))
        return bodies

    def _last(self, bodies: Sequence[_Body], active: Active) -> torch.Tensor:
        """Logits (B, V) after the last token of each row."""
        import torch

        stock = all(i.idle() or not i.acting() for i in active.interventions)
        found: dict[int, torch.Tensor] = {}
        with active.prompt("ends"):
            for body in bodies:
                logits = self._go_on(body.last, branch(body.cache, recorded=not stock))
                found.update(zip(body.rows, logits, strict=True))
        return torch.stack([found[n] for n in range(len(found))])

    def _go_on(self, ids: torch.Tensor, cache: Any) -> torch.Tensor:
        """Logits (B, V) after ids (B, T) behind what is in the cache; no row is padded."""
        import torch

        rows, count = ids.shape
        past = int(cache.get_seq_length())
        out = self.lvlm.model(
            input_ids=ids,
            attention_mask=ids.new_ones(rows, past + count),
            position_ids=(past + torch.arange(count, device=ids.device)).expand(rows, -1),
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

    def _batches(self, rows: Sequence[Row]) -> Iterator[list[int]]:
        """Row numbers in batches: whole pictures together, rows of like length together.

        The batches depend on the rows alone, so a repeated run repeats its rounding too.
        """
        by_picture: dict[int, list[int]] = {}
        for i, row in enumerate(rows):
            by_picture.setdefault(row.picture, []).append(i)
        groups = sorted(by_picture.values(), key=lambda g: (len(rows[g[0]].ids), g[0]))
        batch: list[int] = []
        for group in groups:
            if batch and (
                len(batch) + len(group) > self.batch_size
                or (self.share_prefix and not self._alike(rows[batch[0]], rows[group[0]]))
            ):
                yield batch
                batch = []
            batch = [*batch, *group]
            while len(batch) > self.batch_size:  # one picture with more questions than fit
                yield batch[: self.batch_size]
                batch = batch[self.batch_size :]
        if batch:
            yield batch

    def _alike(self, a: Row, b: Row) -> bool:
        """Do two rows begin alike at least to the end of their picture?"""
        end = self._image_end(a)
        return end == self._image_end(b) and a.ids[:end] == b.ids[:end]

    def _image_end(self, row: Row) -> int:
        image = self.encoder.image_id
        return max((n + 1 for n, token in enumerate(row.ids) if token == image), default=0)


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


def _on_vision(spec: Sequence[Intervention]) -> list[Intervention]:
    """Those that change the vision tower."""
    return [i for i in spec if "vision" in i.acting() and not i.idle()]


def _alone(specs: Sequence[Any]) -> list[list[int]]:
    return [[n] for n in range(len(specs))]


def _of_one_length(rows: Sequence[Row]) -> list[list[int]]:
    """Numbers of rows of equal length, which run together without padding."""
    by_length: dict[int, list[int]] = {}
    for n, row in enumerate(rows):
        by_length.setdefault(len(row.ids), []).append(n)
    return list(by_length.values())


def _common_prefix(rows: Sequence[Row]) -> int:
    """Length of the beginning that all rows share, at least one token short of every row."""
    shortest = min(len(row.ids) for row in rows)
    alike = itertools.takewhile(
        lambda column: len(set(column)) == 1, zip(*(row.ids for row in rows), strict=False)
    )
    return min(sum(1 for _ in alike), shortest - 1)


def _cut(types: dict[str, tuple[int, ...]], start: int, stop: int) -> dict[str, tuple[int, ...]]:
    return {key: value[start:stop] for key, value in types.items()}
