"""Log-probabilities of whole answers: which of a question's options the model finds likeliest.

The prompt is run as `Scorer` runs it, with all that it shares. Options of one token are read from
the logits after it; longer ones are fed token by token behind it, as `generate` would, so that what
an intervention does to decoding is in the number too.

Legend: B rows (one per picture and question), V vocabulary.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wheresight.errors import ModelError
from wheresight.interventions.spec import parse
from wheresight.lvlm.encoding import Encoded
from wheresight.lvlm.prompt_running import Ended

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.scoring import Scorer

Tokens = tuple[int, ...]

# Marks that byte-level and SentencePiece vocabularies put for a leading space or newline.
_LEADING = " ▁ĠĊ\n\t"


@dataclass(frozen=True)
class OptionScores:
    """How likely a model finds each option of one question.

    Attributes:
        logp: log P(the answer begins with the option), all spellings together, nats.
        mean_logp: of the likeliest spelling, divided by its number of tokens, nats a token.
        ended: whether both hold the end of the answer, too. They do where one option begins another
            (`top`, `top left`), since the shorter would never be less likely otherwise.
        confidence: probability of the likeliest first token over the whole vocabulary.
        greedy: of each option, whether the likeliest tokens, one by one, spell it.
    """

    logp: tuple[float, ...]
    mean_logp: tuple[float, ...]
    ended: bool
    confidence: float
    greedy: tuple[bool, ...] = ()

    @property
    def picked(self) -> int:
        """The likeliest option; the first of those that are as likely."""
        return self.logp.index(max(self.logp))

    @property
    def picked_by_mean(self) -> int:
        """The likeliest by `mean_logp`."""
        return self.mean_logp.index(max(self.mean_logp))


class OptionScorer:
    """Scores the options of questions with one model.

    Args:
        scorer: its model, encoder and batch size.
    """

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self.tokenizer = scorer.tokenizer
        self._whole: dict[str, list[int]] = {}
        for token, number in self.tokenizer.get_vocab().items():
            self._whole.setdefault(token.lstrip(_LEADING).lower(), []).append(number)
        self.ends = _end_tokens(scorer)
        self.spellings = functools.cache(self._spellings)

    def score_all(
        self,
        encoded: Encoded,
        options: Sequence[Sequence[str]],
        specs: Sequence[Any],
        *,
        advance: Callable[[int], None] | None = None,
    ) -> list[list[OptionScores]]:
        """Score every question's options under several interventions, a list for each.

        Args:
            encoded: what `Scorer.encode` returned.
            options: for each of its rows, the options.
            specs: interventions; those that change the last row of a prompt alone share the rest.
            advance: called with the number of questions just scored.

        Raises:
            ModelError: if the model does not do what an intervention asks, or an option has more
                than one token where a family cannot go on behind a prompt.
        """
        import torch

        parsed = [parse(spec) for spec in specs]
        wanted = [Wanted.of(self, own) for own in options]
        if not self.scorer.share_prefix:
            self._refuse_long(options, wanted)
        found: list[dict[int, OptionScores]] = [{} for _ in parsed]

        def read(batch: list[int], prompts: Iterator[Ended]) -> Logs:
            return self._behind(prompts, [wanted[i] for i in batch])

        def keep(n: int, batch: list[int], logs: Logs) -> None:
            new = sum(i not in found[n] for i in batch)
            for place, i in enumerate(batch):
                found[n][i] = wanted[i].read(logs, place)
            if advance is not None:
                advance(new)

        with torch.inference_mode():
            self.scorer.runner.run_all(encoded, parsed, read, keep)
        return [[own[i] for i in range(len(encoded.rows))] for own in found]

    def single_tokens(self, options: Sequence[str]) -> dict[str, Tokens] | None:
        """The tokens that spell each option, where logits after a prompt are all that is needed.

        None where an option has more than one token or begins another.
        """
        wanted = Wanted.of(self, options)
        if wanted.chains:
            return None
        spelt = zip(options, wanted.spellings, strict=True)
        return {option: tuple(ids[0] for ids in own) for option, own in spelt}

    def _behind(self, prompts: Iterator[Ended], asked: Sequence[Wanted]) -> Logs:
        """Log-probabilities of all tokens that are asked for, after the last of each prompt."""
        import torch

        runner, send = self.scorer.runner, self.scorer.lvlm.send
        logs = Logs()
        for ended in prompts:
            logs.update(read_logits(ended.logits, [(n, ()) for n in ended.rows], asked))
            chains = [
                (place, chain) for place, n in enumerate(ended.rows) for chain in asked[n].chains
            ]
            for some in self._chunks(chains):
                cache, offset = ended.branched(send(torch.tensor([place for place, _ in some])))
                for step in range(len(some[0][1])):
                    ids = torch.tensor([[chain[step]] for _, chain in some])
                    logits = runner.go_on(send(ids), cache, offset)
                    contexts = [(ended.rows[place], chain[: step + 1]) for place, chain in some]
                    logs.update(read_logits(logits, contexts, asked))
        return logs

    def _chunks(self, chains: Sequence[tuple[int, Tokens]]) -> list[list[tuple[int, Tokens]]]:
        """Chains of one length together, at most a batch of them."""
        by_length: dict[int, list[tuple[int, Tokens]]] = {}
        for chain in chains:
            by_length.setdefault(len(chain[1]), []).append(chain)
        size = self.scorer.batch_size
        return [
            group[start : start + size]
            for group in by_length.values()
            for start in range(0, len(group), size)
        ]

    def _spellings(self, option: str) -> tuple[Tokens, ...]:
        """The token sequences that spell an option.

        Every vocabulary entry that is the whole option, whatever its case and leading space; and
        the tokenizer's own pieces of the option as it stands and with a capital letter, both with
        and without a space in front. A word may be one entry behind a space and three pieces
        without, and which of them a model says hangs on its chat template.
        """
        word = " ".join(option.split())
        whole = [(number,) for number in sorted(self._whole.get(word.lower(), ()))]
        small = [lead + word for lead in ("", " ")]
        capital = [lead + word[:1].upper() + word[1:] for lead in ("", " ")]
        found = self.tokenizer([*small, *capital], add_special_tokens=False)["input_ids"]
        pieces = [tuple(ids) for ids in found if ids]
        if whole and not self.scorer.share_prefix and all(len(ids) == 1 for ids in pieces[:2]):
            pieces = []  # only a capital letter takes more, and nothing can be fed behind a prompt
        return tuple(dict.fromkeys([*whole, *pieces]))

    def _refuse_long(self, options: Sequence[Sequence[str]], wanted: Sequence[Wanted]) -> None:
        for own, need in zip(options, wanted, strict=True):
            if need.chains:
                raise ModelError(
                    f"The options {list(own)} have more than one token, or one begins another, and "
                    f"in the family {self.scorer.lvlm.family.name!r} a prompt attends to what "
                    "follows it. Ask for letters (wording=letters), or read generated text."
                )


@dataclass(frozen=True)
class Wanted:
    """What has to be known to score one question's options.

    Attributes:
        spellings: of each option.
        ends: the tokens that end an answer, if the end counts; else empty.
        chains: what has to be fed behind the prompt; none begins another.
        contexts: what has been fed, and the tokens whose log-probabilities are wanted there.
    """

    spellings: tuple[tuple[Tokens, ...], ...]
    ends: Tokens
    chains: tuple[Tokens, ...]
    contexts: dict[Tokens, Tokens]

    @classmethod
    def of(cls, scorer: OptionScorer, options: Sequence[str]) -> Wanted:
        spellings = tuple(scorer.spellings(option) for option in options)
        ends = scorer.ends if one_begins_another(options) else ()
        if ends is None:
            raise ModelError(
                f"One of the options {list(options)} begins another, so the end of an answer "
                "counts, and neither tokenizer nor generation config names a token that ends one. "
                "Ask for letters (wording=letters)."
            )
        contexts: dict[Tokens, set[int]] = {(): set()}
        for ids in {ids for own in spellings for ids in own}:
            for n, token in enumerate(ids):
                contexts.setdefault(ids[:n], set()).add(token)
            if ends:
                contexts.setdefault(ids, set()).update(ends)
        fed = [context for context in contexts if context]
        chains = [
            one
            for one in fed
            if not any(len(other) > len(one) and other[: len(one)] == one for other in fed)
        ]
        sorted_contexts = {context: tuple(sorted(ids)) for context, ids in contexts.items()}
        return cls(spellings, ends, tuple(sorted(chains)), sorted_contexts)

    def read(self, logs: Logs, place: int) -> OptionScores:
        """The scores of a question, from the log-probabilities of tokens."""
        logp, means = [], []
        for own in self.spellings:
            sums = []
            for ids in own:
                total = sum(logs.tokens[place, ids[:n], token] for n, token in enumerate(ids))
                if self.ends:
                    total += _logsumexp([logs.tokens[place, ids, end] for end in self.ends])
                sums.append(total)
            counts = [len(ids) + bool(self.ends) for ids in own]
            logp.append(_logsumexp(sums))
            means.append(max(total / count for total, count in zip(sums, counts, strict=True)))
        best = tuple(any(logs.greedy(place, ids) for ids in own) for own in self.spellings)
        sure = logs.confidence[place]
        return OptionScores(tuple(logp), tuple(means), bool(self.ends), sure, best)


class Logs:
    """Log-probabilities of tokens by row, what was fed behind its prompt, and token.

    Attributes:
        tokens: of those that are asked for.
        best: the likeliest token of the whole vocabulary, by row and what was fed.
        confidence: probability of the likeliest first token, by row.
    """

    def __init__(self) -> None:
        self.tokens: dict[tuple[int, Tokens, int], float] = {}
        self.best: dict[tuple[int, Tokens], int] = {}
        self.confidence: dict[int, float] = {}

    def update(self, other: Logs) -> None:
        self.tokens.update(other.tokens)
        self.best.update(other.best)
        self.confidence.update(other.confidence)

    def greedy(self, row: int, ids: Tokens) -> bool:
        """Whether greedy decoding would write these tokens behind a row's prompt."""
        return all(self.best[row, ids[:n]] == token for n, token in enumerate(ids))


def one_begins_another(options: Sequence[str]) -> bool:
    """Whether an option is the beginning of another, as `top` is of `top left`."""
    words = [" ".join(option.lower().split()) for option in options]
    return any(
        n != m and other.startswith(one)
        for n, one in enumerate(words)
        for m, other in enumerate(words)
    )


def read_logits(
    logits: torch.Tensor, contexts: Sequence[tuple[int, Tokens]], asked: Sequence[Wanted]
) -> Logs:
    """Take what is asked for from logits (B, V); one context a row."""
    import torch

    places, ids, keys = [], [], []
    for place, (row, fed) in enumerate(contexts):
        for token in asked[row].contexts[fed]:
            places.append(place)
            ids.append(token)
            keys.append((row, fed, token))
    scores = logits.double().log_softmax(-1)
    where = torch.tensor([places, ids], device=scores.device)
    logs = Logs()
    logs.tokens = dict(zip(keys, scores[where[0], where[1]].tolist(), strict=True))
    top = scores.max(-1)
    logs.best = dict(zip(contexts, top.indices.tolist(), strict=True))
    sure = zip(contexts, top.values.exp().tolist(), strict=True)
    logs.confidence = {row: chance for (row, fed), chance in sure if not fed}
    return logs


def _end_tokens(scorer: Scorer) -> Tokens | None:
    """Tokens that end an answer; None if there are none."""
    config = getattr(scorer.lvlm.model, "generation_config", None)
    given = getattr(config, "eos_token_id", None)
    found = set(given) if isinstance(given, list | tuple) else {given}
    found.add(scorer.tokenizer.eos_token_id)
    return tuple(sorted(end for end in found if end is not None)) or None


def _logsumexp(values: Sequence[float]) -> float:
    top = max(values)
    if top == -math.inf:
        return top
    return top + math.log(sum(math.exp(value - top) for value in values))
