"""Answer conversations in batches with the model's own `generate`, under an intervention.

A conversation's answer does not depend on what is answered beside it, up to rounding: prompts are
padded on the left, and what is sampled is drawn from a stream of each prompt's own.

Legend: B conversations, T tokens, V vocabulary.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.generation import (
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from wheresight.bridges.inspect.conversation import Conversation
from wheresight.interventions.base import Intervention
from wheresight.lvlm.batching import half
from wheresight.lvlm.intervene import intervene
from wheresight.lvlm.left_padding import left_padded, pad_id
from wheresight.lvlm.memory import release
from wheresight.lvlm.prompts import adds_special_tokens, refuse_placeholder, render_turns
from wheresight.lvlm.wrapper import LVLM


@dataclass(frozen=True)
class How:
    """How to generate; calls that agree in it may share a batch.

    Attributes:
        max_tokens: the longest answer.
        temperature: 0 takes the likeliest token; above it, tokens are drawn.
        top_p, top_k: what may be drawn; None leaves all of the vocabulary.
        stop: texts that end an answer, and are no part of it.
        logprobs: give log-probabilities of the tokens.
        top_logprobs: and of so many likeliest tokens in place of each.
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    top_logprobs: int = 0


@dataclass(frozen=True)
class Prompt:
    """A conversation in the form that the model was trained on.

    Attributes:
        said: the conversation.
        text: rendered by the chat template.
        seed: of what is drawn; not read where nothing is.
    """

    said: Conversation
    text: str
    seed: int = 0


@dataclass(frozen=True)
class TokenProbability:
    """The log-probability of a token, nats, before any temperature, and of its likeliest rivals."""

    token: str
    logprob: float
    likeliest: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Generated:
    """An answer.

    Attributes:
        text: without special tokens, cut where a stop text begins.
        ended: `stop` at a token or text that ends answers, `max_tokens` at the longest asked for,
            `model_length` where the model's context is full.
        prompt_tokens: of the prompt, image tokens included, padding not.
        tokens: generated, the one that ends the answer included.
        logprobs: of each of them, where asked for.
    """

    text: str
    ended: Literal["stop", "max_tokens", "model_length"]
    prompt_tokens: int
    tokens: int
    logprobs: tuple[TokenProbability, ...] | None = None


class Generator:
    """Generates with one model under one intervention.

    Args:
        lvlm: with its processor.
        spec: parsed.
        batch_size: conversations in one batch; halved for good when memory runs out.

    Attributes:
        context: how many tokens of prompt and answer the model takes, or None.
    """

    def __init__(self, lvlm: LVLM, spec: Sequence[Intervention], batch_size: int) -> None:
        self.lvlm = lvlm
        self.spec = tuple(spec)
        self.batch_size = batch_size
        self.processor: Any = lvlm.processor
        self.tokenizer: Any = lvlm.processor.tokenizer
        self._pad = pad_id(self.tokenizer)
        image_id = lvlm.family.image_token(lvlm.core.config)
        self._placeholder: str = self.tokenizer.convert_ids_to_tokens(image_id)
        ends = getattr(lvlm.core.generation_config, "eos_token_id", None)
        if ends is None:
            ends = self.tokenizer.eos_token_id
        self._ends = tuple(ends if isinstance(ends, list | tuple) else [ends])
        texts = lvlm.core.config.get_text_config()
        self.context: int | None = getattr(texts, "max_position_embeddings", None)

    def render(self, said: Conversation) -> str:
        """The prompt's text, by the processor's chat template.

        Raises:
            ModelError: a text with the model's image placeholder in it; a template that cannot
                render these turns, or leaves out a text.
        """
        for text in said.texts:
            refuse_placeholder(text, self._placeholder)
        return render_turns(self.processor, [dict(turn) for turn in said.turns])

    def __call__(self, prompts: Sequence[Prompt], how: How) -> list[Generated]:
        """Answer prompts that have equally many pictures, in order.

        Raises:
            ModelError: an intervention that cannot be applied; memory that does not do for one.
        """
        made: list[Generated] = []
        while len(made) < len(prompts):
            batch = prompts[len(made) : len(made) + self.batch_size]
            try:
                made += self._batch(batch, how)
            except (RuntimeError, MemoryError) as error:
                self.batch_size = half(error, len(batch), "conversation")
            else:
                continue
            # Here the error is forgotten, and with it what its frames held.
            release()
        return made

    def _batch(self, prompts: Sequence[Prompt], how: How) -> list[Generated]:
        inputs = self._inputs(prompts)
        width = inputs["input_ids"].shape[1]
        lengths = inputs["attention_mask"].sum(-1).tolist()
        room = [how.max_tokens if self.context is None else self.context - n for n in lengths]
        most = [min(how.max_tokens, left) for left in room]
        if max(most) < 1:
            return [Generated("", "model_length", n, 0) for n in lengths]
        stop = _StopTexts(self.tokenizer, how.stop, width)
        chosen: dict[str, Any] = {}
        if how.stop:
            chosen["stopping_criteria"] = StoppingCriteriaList([stop])
        if how.temperature > 0:
            chosen["logits_processor"] = LogitsProcessorList([_Draws(how, prompts)])
        with torch.inference_mode(), intervene(self.lvlm, self.spec):
            out = self.lvlm.model.generate(
                **inputs,
                max_new_tokens=max(most),
                # What is drawn, `_Draws` draws, so that a row does not depend on the others.
                do_sample=False,
                use_cache=True,
                return_dict_in_generate=True,
                output_logits=how.logprobs,
                pad_token_id=self._pad,
                **chosen,
            )
        rows = out.sequences[:, width:].tolist()
        logits = torch.stack(out.logits, dim=1) if how.logprobs else None  # (B, T, V)
        made = []
        for n, row in enumerate(rows):
            tokens = row[: max(0, most[n])]
            end = next((t + 1 for t, token in enumerate(tokens) if token in self._ends), None)
            stopped = stop.after.get(n, math.inf)
            count = int(min(len(tokens), stopped, math.inf if end is None else end))
            text = self.tokenizer.decode(tokens[:count], skip_special_tokens=True)
            ended: Literal["stop", "max_tokens", "model_length"] = "stop"
            if count not in (end, stopped):
                ended = "max_tokens" if how.max_tokens <= room[n] else "model_length"
            probabilities = None
            if logits is not None:
                probabilities = self._probabilities(logits[n, :count], tokens[:count], how)
            cut = _first(text, how.stop)
            made.append(Generated(text[:cut], ended, lengths[n], count, probabilities))
        return made

    def _inputs(self, prompts: Sequence[Prompt]) -> dict[str, Any]:
        """Left-padded model inputs, on the model's device."""
        return left_padded(
            self.lvlm,
            [prompt.text for prompt in prompts],
            [prompt.said.pictures for prompt in prompts],
            special=all(adds_special_tokens(self.processor, p.text) for p in prompts),
        )

    def _probabilities(
        self, logits: torch.Tensor, tokens: Sequence[int], how: How
    ) -> tuple[TokenProbability, ...]:
        logp = logits.float().log_softmax(-1)
        top = logp.topk(max(1, how.top_logprobs), dim=-1)
        found = []
        for t, token in enumerate(tokens):
            likeliest = tuple(
                (self.tokenizer.decode([i]), value)
                for i, value in zip(top.indices[t].tolist(), top.values[t].tolist(), strict=True)
            )
            found.append(
                TokenProbability(
                    self.tokenizer.decode([token]),
                    float(logp[t, token]),
                    likeliest if how.top_logprobs else (),
                )
            )
        return tuple(found)


def stream(seed: int | None, said: Conversation, repeat: int) -> int:
    """The seed of what is drawn for a conversation, below 2**63.

    Args:
        seed: of the run.
        said: the conversation.
        repeat: how often it was asked before.
    """
    digest = hashlib.sha256(repr((seed, repeat, said.turns)).encode())
    for shown in said.pictures:
        digest.update(repr(shown.size).encode() + shown.tobytes())
    return int.from_bytes(digest.digest()[:8], "big") >> 1


def _first(text: str, stops: Sequence[str]) -> int | None:
    """Where the first of some texts begins in a text, or None."""
    return min((at for stop in stops if (at := text.find(stop)) >= 0), default=None)


class _StopTexts(StoppingCriteria):
    """Ends a row once its new text contains one of some texts.

    Attributes:
        after: by row, how many tokens were there when it did.
    """

    def __init__(self, tokenizer: Any, stops: Sequence[str], width: int) -> None:
        self.tokenizer = tokenizer
        self.stops = stops
        self.width = width
        self.after: dict[int, int] = {}

    def __call__(self, input_ids: torch.LongTensor, scores: Any, **kwargs: Any) -> torch.BoolTensor:
        new = input_ids[:, self.width :]
        for n, text in enumerate(self.tokenizer.batch_decode(new, skip_special_tokens=True)):
            if n not in self.after and _first(text, self.stops) is not None:
                self.after[n] = new.shape[1]
        done = [n in self.after for n in range(len(new))]
        return torch.tensor(done, device=input_ids.device)  # type: ignore[return-value]


class _Draws(LogitsProcessor):
    """Makes the likeliest token of each row a draw from the row's distribution.

    A logit plus noise of the Gumbel distribution is largest at each token with just its
    probability (Gumbel 1954). A row's noise comes from a generator of its own.
    """

    def __init__(self, how: How, prompts: Sequence[Prompt]) -> None:
        self.warpers: list[LogitsProcessor] = [TemperatureLogitsWarper(how.temperature)]
        if how.top_k is not None:
            self.warpers.append(TopKLogitsWarper(how.top_k))
        if how.top_p is not None and how.top_p < 1:
            self.warpers.append(TopPLogitsWarper(how.top_p))
        self.seeds = [prompt.seed for prompt in prompts]
        self.generators: list[torch.Generator] = []

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> Any:
        found: Any = scores.float()
        for warp in self.warpers:
            found = warp(input_ids, found)
        if not self.generators:
            for seed in self.seeds:
                self.generators.append(torch.Generator(found.device).manual_seed(seed))
        noise = torch.empty_like(found)
        for row, generator in zip(noise, self.generators, strict=True):
            row.exponential_(generator=generator)
        return found - noise.log()
