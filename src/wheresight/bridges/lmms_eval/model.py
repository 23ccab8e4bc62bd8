"""The model `wheresight` of lmms-eval: any LVLM that wheresight can load, under an intervention.

lmms-eval eval --model wheresight --model_args pretrained=ID,intervention=bapa --tasks pope
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms
from tqdm import tqdm

from wheresight.bridges.lmms_eval.answering import Answerer
from wheresight.bridges.lmms_eval.arguments import Wish, flag, spec_of, unquoted
from wheresight.bridges.lmms_eval.prompts import Prompt, Prompts
from wheresight.bridges.lmms_eval.shown import Shown
from wheresight.errors import ModelError
from wheresight.interventions.spec import canonical
from wheresight.lvlm.loading import load, look_up

if TYPE_CHECKING:
    from wheresight.lvlm.wrapper import LVLM

_BATCHES = 8  # so many are ordered by length together


class _Model(lmms):
    """What both kinds share.

    Args:
        pretrained: as for `wheresight.load`: `pocket`, a folder, a hub id, `skeleton:NAME`.
        intervention: a spec, in double quotes if it has commas, or its JSON form. Default: what the
            adapter was trained under, else none.
        adapter: folder of a PEFT adapter.
        revision: branch, tag or commit of a hub id.
        dtype, attention, trust_remote_code, allow_pickle: as for `wheresight.load`.
        device: default is the first accelerator, else the CPU.
        batch_size: prompts in one forward pass; halved when memory runs out.
        system_prompt: the text of a system turn before every prompt.
        keep: keep the weights for the next model of this process with the same arguments but for
            the intervention, as `wheresight bench` does.
        pictures: file to which a line is added for each document, with hashes of its pictures.

    Raises:
        WheresightError: anything among these that cannot be; an argument that is not known.
    """

    def __init__(
        self,
        pretrained: str = "pocket",
        intervention: Any = None,
        adapter: str | None = None,
        revision: str | None = None,
        dtype: str = "float32",
        attention: str = "sdpa",
        device: str | None = None,
        batch_size: int | str = 1,
        system_prompt: str = "",
        trust_remote_code: bool = False,
        allow_pickle: bool = False,
        keep: bool = False,
        pictures: str | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()
        if unknown:
            raise ModelError(
                f"The model wheresight does not know {', '.join(sorted(unknown))} among its "
                "arguments; it knows pretrained, intervention, adapter, revision, dtype, "
                "attention, device, batch_size, system_prompt, trust_remote_code, allow_pickle, "
                "keep, pictures."
            )
        if not str(batch_size).isdecimal():
            raise ModelError(
                f"The batch size {batch_size!r} was given; expected a whole number. It is halved "
                "when memory runs out, so it may be too large."
            )
        self.lvlm = _loaded(
            flag("keep", keep),
            pretrained=str(unquoted(pretrained)),
            revision=unquoted(revision),
            adapter=unquoted(adapter),
            dtype=str(unquoted(dtype)),
            device=_device(unquoted(device)),
            attention=str(unquoted(attention)),
            trust_remote_code=flag("trust_remote_code", trust_remote_code),
            allow_pickle=flag("allow_pickle", allow_pickle),
        )
        own = self.lvlm.trained_under if intervention is None else spec_of(intervention)
        self.spec = canonical(own)
        self.device = self.lvlm.device
        self.answerer = Answerer(self.lvlm, self.spec, int(batch_size))
        placeholder = self.answerer.tokenizer.convert_ids_to_tokens(
            self.lvlm.family.image_token(self.lvlm.core.config)
        )
        self.prompts = Prompts(self.lvlm.processor, placeholder, str(unquoted(system_prompt)))
        self.shown = None if pictures is None else Shown(Path(str(unquoted(pictures))))
        self._rank = int(os.environ.get("RANK", 0))
        self._world_size = int(os.environ.get("WORLD_SIZE", 1))

    def generate_until(self, requests: list[Instance]) -> list[GenerationResult]:
        """Greedy texts, in left-padded batches of prompts with as many pictures."""
        found = []
        with self._bar(len(requests)) as bar:
            for some in self._some(requests):
                asked = [self._asked(request) for request in some]
                if self.shown is not None:
                    self.shown.note(
                        (request.args[3], prompt)
                        for request, (prompt, _) in zip(some, asked, strict=True)
                    )
                wishes = [Wish.of(given) for _, given in asked]
                found += self.answerer.texts([prompt for prompt, _ in asked], wishes, bar.update)
        return [
            GenerationResult(
                one.text, TokenCounts(input_tokens=one.read, output_tokens=one.written)
            )
            for one in found
        ]

    def loglikelihood(self, requests: list[Instance]) -> list[GenerationResult]:
        """-log P(the answer begins with the continuation), all its spellings together, in nats.

        The continuations of one document are options of one question: where one begins another, the
        end of the answer counts. The second number says whether greedy decoding would write it.

        A loss, and in a `GenerationResult`: lmms-eval (0.7.3) picks the option with the smallest
        number, and turns a bare pair into a string on its way.
        """
        questions: dict[Any, list[int]] = {}
        for n, request in enumerate(requests):
            if len(request.args) != 6:
                raise ModelError(
                    "Likelihoods without a document (the metric acc_mutual_info) are not offered "
                    "by the model wheresight. Choose the metric acc."
                )
            text, _, _, document, task, split = request.args
            questions.setdefault((task, split, document, text), []).append(n)
        found: dict[int, tuple[float, bool]] = {}
        with self._bar(len(questions)) as bar:
            for some in self._some(list(questions.values())):
                prompts = [self._of_context(requests[own[0]]) for own in some]
                options = [[self._continuation(requests[n]) for n in own] for own in some]
                scored = self.answerer.options(prompts, options, bar.update)
                for own, scores in zip(some, scored, strict=True):
                    both = zip(scores.logp, scores.greedy, strict=True)
                    found.update(zip(own, both, strict=True))
        return [_passed(*found[n]) for n in range(len(requests))]

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        """Not offered."""
        raise ModelError(
            "Tasks of several rounds (generate_until_multi_round) are not offered by the model "
            "wheresight. Choose tasks with output_type generate_until or multiple_choice."
        )

    def clean(self) -> None:
        """Let go of the model, as lmms-eval asks before it reckons."""
        del self.answerer, self.lvlm, self.prompts
        super().clean()

    def _asked(self, request: Instance) -> tuple[Prompt, dict[str, Any]]:
        raise NotImplementedError

    def _of_context(self, request: Instance) -> Prompt:
        text, _, visual, document, task, split = request.args
        visuals = visual(self.task_dict[task][split][document]) if callable(visual) else None
        return self.prompts.of_context(text, visuals)

    def _continuation(self, request: Instance) -> str:
        _, continuation, _, document, task, split = request.args
        if callable(continuation):
            continuation = continuation(self.task_dict[task][split][document])
        return str(continuation)

    def _some(self, requests: Sequence[Any]) -> Iterator[Sequence[Any]]:
        """A few batches' worth at once, because pictures that are open take memory."""
        most = _BATCHES * self.answerer.batch_size
        for start in range(0, len(requests), most):
            yield requests[start : start + most]

    def _bar(self, total: int) -> Any:
        # The words before it are those of lmms-eval's own models.
        return tqdm(total=total, desc="Model Responding", disable=self.rank != 0)


class ChatModel(_Model):
    """Takes a task's turns as they are, pictures among the words."""

    is_simple = False

    def _asked(self, request: Instance) -> tuple[Prompt, dict[str, Any]]:
        _, messages, given, document, task, split = request.args
        return self.prompts.of_messages(messages(self.task_dict[task][split][document])), given


class SimpleModel(_Model):
    """Takes a task's text behind its pictures; the kind that is asked for likelihoods."""

    is_simple = True

    def _asked(self, request: Instance) -> tuple[Prompt, dict[str, Any]]:
        return self._of_context(request), request.args[1]


def _passed(logp: float, greedy: bool) -> GenerationResult:
    pair: Any = (-logp, greedy)
    return GenerationResult(pair)


# The weights that were read last, and the arguments that they were read with.
_KEPT: dict[tuple[Any, ...], LVLM] = {}


def _loaded(keep: bool, *, pretrained: str, revision: Any, adapter: Any, **options: Any) -> LVLM:
    """A model; the kept one, if it was read with the same arguments."""
    arguments = (pretrained, revision, adapter, *sorted(options.items()))
    found = _KEPT.get(arguments)
    if found is not None:
        return found
    _KEPT.clear()
    card = look_up(
        _fetched(pretrained, revision),
        adapter=adapter,
        trust_remote_code=options["trust_remote_code"],
    )
    lvlm = load(card, **options)
    if keep:
        _KEPT[arguments] = lvlm
    return lvlm


def _fetched(name: str, revision: Any) -> str:
    """A hub id's files at a revision, as a folder; everything else as it is."""
    if revision is None:
        return name
    if Path(name).expanduser().is_dir() or name.count("/") != 1:
        raise ModelError(
            f"revision={revision} was given for {name!r}, which is no hub id. Leave it out, or "
            "give owner/name."
        )
    from huggingface_hub import snapshot_download

    try:
        return snapshot_download(name, revision=str(revision))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"The model {name!r} at revision {revision!r} could not be fetched: {reason}"
        ) from None


def _device(asked: Any) -> str | None:
    """As asked; where several processes share the work, each has the GPU of its local number."""
    if asked is not None or "LOCAL_RANK" not in os.environ:
        return None if asked is None else str(asked)
    import torch

    if torch.cuda.is_available():
        return f"cuda:{int(os.environ['LOCAL_RANK'])}"
    return None
