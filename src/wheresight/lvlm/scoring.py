"""Ask a model questions about pictures, in batches, and read its first answer token.

A picture goes through the vision tower once for all its questions and all interventions. What of a
prompt is run once for several, `prompt_running` says.

Legend: B rows (one per picture and question), T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from wheresight.errors import ModelError
from wheresight.interventions.spec import parse
from wheresight.lvlm.answers import AnswerTokens, answer_tokens, read_answer
from wheresight.lvlm.batching import half
from wheresight.lvlm.encoding import Encoded, Encoder, Query
from wheresight.lvlm.intervene import intervene
from wheresight.lvlm.memory import release
from wheresight.lvlm.preprocessing import Preprocessed
from wheresight.lvlm.prompt_running import Ended, PromptRunner

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.wrapper import LVLM


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
        # Under prefix attention the keys of a prefix depend on what follows.
        can_share = not lvlm.family.prefix_attention
        if share_prefix and not can_share:
            raise ModelError(
                f"A common prefix cannot be shared in the family {lvlm.family.name!r}, whose "
                "prefix attends to what follows. Leave share_prefix out."
            )
        self.share_prefix = can_share if share_prefix is None else share_prefix
        self.runner = PromptRunner(lvlm, self.encoder, self.share_prefix, batch_size)
        self.set_batch_size(batch_size)
        self.tokenizer = self.encoder.tokenizer
        self.answers: AnswerTokens = answer_tokens(self.tokenizer)

    @property
    def batch_size(self) -> int:
        """Rows in one forward pass, as it is now."""
        return self.runner.batch_size

    def set_batch_size(self, batch_size: int) -> None:
        """Change how many rows and pictures go through the model at once."""
        if batch_size < 1:
            raise ModelError(f"The batch size {batch_size} was given; expected 1 or more.")
        self.runner.batch_size = batch_size
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

        def read(batch: list[int], prompts: Iterator[Ended]) -> torch.Tensor:
            logits = {n: row for p in prompts for n, row in zip(p.rows, p.logits, strict=True)}
            return torch.stack([logits[n] for n in range(len(batch))])

        def keep(n: int, batch: list[int], logits: torch.Tensor) -> None:
            _add(found[n], batch, self._read(logits), advance)

        with torch.inference_mode():
            self.runner.run_all(encoded, specs, read, keep)
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
            encoded, blanks = self.runner.seen(encoded, parts), self.runner.blanks(encoded, parts)
        with torch.inference_mode(), intervene(self.lvlm, parts) as active:
            self.runner.calibrate(active, blanks)

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

            self.runner.each_batch(encoded.rows, run)
        return [found[i] for i in range(len(encoded.rows))]

    def _read(self, logits: torch.Tensor) -> Iterator[Answer]:
        margins = self.answers.margin(logits).tolist()
        tokens = logits.argmax(-1).tolist()
        texts = {token: self.tokenizer.decode([token]) for token in set(tokens)}
        for margin, token in zip(margins, tokens, strict=True):
            yield Answer(margin, token, texts[token], self.answers.name(token))


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
