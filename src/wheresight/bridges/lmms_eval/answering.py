"""Prompts through a model in left-padded batches: greedy texts, and likelihoods of options.

Both go through `generate`, where every intervention acts as it does for a user, with any number of
pictures in a prompt and with none.

Legend: B rows, T tokens, V vocabulary.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wheresight.bridges.lmms_eval.arguments import Wish
from wheresight.bridges.lmms_eval.prompts import Prompt
from wheresight.errors import ModelError
from wheresight.interventions.spec import Spec, parse
from wheresight.lvlm.batching import half
from wheresight.lvlm.intervene import intervene
from wheresight.lvlm.left_padding import left_padded, pad_id
from wheresight.lvlm.memory import release
from wheresight.lvlm.option_scoring import Logs, OptionScorer, OptionScores, Wanted, read_logits
from wheresight.lvlm.scoring import Scorer

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.wrapper import LVLM

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Text:
    """What a model wrote, and how many tokens it read and wrote."""

    text: str
    read: int
    written: int


class Answerer:
    """Answers prompts with one model under one intervention.

    Args:
        lvlm: the wrapped model.
        spec: the intervention.
        batch_size: rows in one forward pass. When memory runs out it is halved, for good, and the
            batch is done again.
    """

    def __init__(self, lvlm: LVLM, spec: Spec, batch_size: int) -> None:
        if batch_size < 1:
            raise ModelError(f"The batch size {batch_size} was given; expected 1 or more.")
        self.lvlm = lvlm
        self.spec = parse(spec)
        self.batch_size = batch_size
        self.tokenizer: Any = lvlm.processor.tokenizer
        self.pad_id = pad_id(self.tokenizer)

    def texts(
        self,
        prompts: Sequence[Prompt],
        wishes: Sequence[Wish],
        advance: Callable[[int], None],
    ) -> list[Text]:
        """Generate greedily behind every prompt, in their order."""
        found: dict[int, Text] = {}

        def run(rows: list[int]) -> None:
            wish = wishes[rows[0]]
            inputs = self._inputs([prompts[n] for n in rows])
            out = self._generate(inputs, wish, _Ends(self.tokenizer, inputs, wish))
            width = inputs["input_ids"].shape[1]
            lengths = inputs["attention_mask"].sum(1).tolist()
            for n, length, ids in zip(rows, lengths, out[:, width:].tolist(), strict=True):
                text = self.tokenizer.decode(ids, skip_special_tokens=True)
                written = sum(token != self.pad_id for token in ids)
                found[n] = Text(wish.cut(text), int(length), written)
            advance(len(rows))

        self._each([(p.kind, w) for p, w in zip(prompts, wishes, strict=True)], prompts, run)
        return [found[n] for n in range(len(prompts))]

    def options(
        self,
        prompts: Sequence[Prompt],
        options: Sequence[Sequence[str]],
        advance: Callable[[int], None],
    ) -> list[OptionScores]:
        """Score the options of every prompt, as `wheresight evaluate` scores a benchmark's.

        Each row is a prompt with one chain of tokens that is fed behind it; options of one token
        are read from the logits after the prompt.
        """
        wanted = [Wanted.of(self._spelling, own) for own in options]
        chains = [(n, chain) for n, own in enumerate(wanted) for chain in own.chains or ((),)]
        left = [max(1, len(own.chains)) for own in wanted]
        logs = Logs()

        def run(rows: list[int]) -> None:
            own = [chains[row] for row in rows]
            inputs = self._inputs([prompts[n] for n, _ in own])
            for step, logits in enumerate(self._forced(inputs, [chain for _, chain in own])):
                here = [k for k, (_, chain) in enumerate(own) if step <= len(chain)]
                contexts = [(own[k][0], own[k][1][:step]) for k in here]
                logs.update(read_logits(logits[here], contexts, wanted))
            for n, _ in own:
                left[n] -= 1
            advance(sum(left[n] == 0 for n in {n for n, _ in own}))

        # Rows of one batch are fed equally many tokens.
        groups = [(prompts[n].kind, len(chain)) for n, chain in chains]
        self._each(groups, [prompts[n] for n, _ in chains], run)
        return [own.read(logs, n) for n, own in enumerate(wanted)]

    @functools.cached_property
    def _spelling(self) -> OptionScorer:
        """Knows the tokens that spell an option; the vocabulary is read once."""
        return OptionScorer(Scorer(self.lvlm))

    def _each(
        self, groups: Sequence[Any], prompts: Sequence[Prompt], run: Callable[[list[int]], None]
    ) -> None:
        """Run rows in batches: of one group, long prompts first, so that memory runs out early."""
        import torch

        if not prompts:
            return
        todo: dict[Any, list[int]] = {}
        for n in sorted(range(len(prompts)), key=lambda n: (-len(prompts[n].text), n)):
            todo.setdefault(groups[n], []).append(n)
        with torch.inference_mode(), intervene(self.lvlm, self.spec):
            for rows in todo.values():
                start = 0
                while start < len(rows):
                    some = rows[start : start + self.batch_size]
                    try:
                        run(some)
                    except (RuntimeError, MemoryError) as error:
                        self.batch_size = half(error, len(some), "prompt")
                    else:
                        start += len(some)
                        continue
                    release()

    def _inputs(self, prompts: Sequence[Prompt]) -> dict[str, Any]:
        """Left-padded inputs of prompts of one kind."""
        return left_padded(
            self.lvlm,
            [prompt.text for prompt in prompts],
            [prompt.images for prompt in prompts],
            special=prompts[0].special,
        )

    def _generate(self, inputs: dict[str, Any], wish: Wish, ends: _Ends) -> torch.Tensor:
        from transformers import StoppingCriteriaList

        options = {"use_cache": True, **dict(wish.options)}
        # A text is looked for in the words of each row; beams are other rows.
        criteria = StoppingCriteriaList([ends] if wish.until and options["num_beams"] == 1 else [])
        out: torch.Tensor = self.lvlm.model.generate(
            **inputs,
            **options,
            do_sample=False,
            max_new_tokens=wish.max_new_tokens,
            stopping_criteria=criteria,
            pad_token_id=self.pad_id,
        )
        return out

    def _forced(self, inputs: dict[str, Any], chains: Sequence[Tokens]) -> Iterable[torch.Tensor]:
        """Logits (B, V) after each prompt and each token of its chain; all chains are as long."""
        from transformers import LogitsProcessorList

        out = self.lvlm.model.generate(
            **inputs,
            do_sample=False,
            num_beams=1,
            max_new_tokens=len(chains[0]) + 1,
            logits_processor=LogitsProcessorList(
                [_Forced(chains, inputs["input_ids"].shape[1], self.pad_id)]
            ),
            return_dict_in_generate=True,
            output_logits=True,
            pad_token_id=self.pad_id,
        )
        logits: tuple[torch.Tensor, ...] = out.logits
        return logits


class _Ends:
    """Says of each row whether one of the texts that end an answer is in what it wrote."""

    def __init__(self, tokenizer: Any, inputs: dict[str, Any], wish: Wish) -> None:
        self.tokenizer = tokenizer
        self.width = inputs["input_ids"].shape[1]
        self.until = wish.until

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        texts = self.tokenizer.batch_decode(input_ids[:, self.width :], skip_special_tokens=True)
        done = [any(end in text for end in self.until) for text in texts]
        import torch

        return torch.tensor(done, device=input_ids.device)


class _Forced:
    """Leaves the next token of each row's chain as the only choice."""

    def __init__(self, chains: Sequence[Tokens], width: int, pad_id: int) -> None:
        self.chains = chains
        self.width = width
        self.pad_id = pad_id

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        import torch

        step = input_ids.shape[1] - self.width
        # What comes last is read by nobody.
        ids = [chain[step] if step < len(chain) else self.pad_id for chain in self.chains]
        forced = torch.full_like(scores, -torch.inf)
        forced[torch.arange(len(ids)), ids] = 0.0
        return forced
