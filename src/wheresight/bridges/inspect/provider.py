"""The provider `wheresight/NAME`: any model that wheresight loads, under an intervention."""

from __future__ import annotations

import copy
import gc
import logging
import os
import re
import time
from collections.abc import Sequence
from typing import Any

from anyio.lowlevel import RunVar
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    Logprob,
    Logprobs,
    ModelAPI,
    ModelCall,
    ModelInfo,
    ModelOutput,
    ModelUsage,
    TopLogprob,
    set_model_info,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from wheresight.bridges.inspect.conversation import Conversation, conversation
from wheresight.bridges.inspect.gathering import Gathering
from wheresight.bridges.inspect.generation import (
    Generated,
    Generator,
    How,
    Prompt,
    TokenProbability,
    stream,
)
from wheresight.errors import ModelError, WheresightError, unknown_name
from wheresight.interventions.host import refuse_unhosted
from wheresight.interventions.spec import canonical, parse
from wheresight.lvlm.loading import check_precision, load, look_up

logger = logging.getLogger(__name__)

PROVIDER = "wheresight"
# Of an answer whose length nobody says; models end theirs long before.
MAX_TOKENS = 2048
BATCH_SIZE = 32

# What of Inspect's generation options would change an answer, and is not done here.
_NOT_DONE = (
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "best_of",
    "prompt_logprobs",
    "response_schema",
    "modalities",
    "batch",
)
_DEFAULTS: dict[str, Any] = {
    "model_path": None,
    "intervention": None,
    "adapter": None,
    "batch_size": BATCH_SIZE,
    "dtype": "float32",
    "device": None,
    "attention": "sdpa",
    "trust_remote_code": False,
    "allow_pickle": False,
}


class WheresightAPI(ModelAPI):
    """A model of wheresight for Inspect.

    Args:
        model_name: what `wheresight.load` takes: `pocket`, a folder, a hub id.
        config: of every call that does not say otherwise.
        **model_args: those of `-M`: `model_path` (instead of the name), `intervention`, `adapter`,
            `batch_size`, `dtype`, `device`, `attention`, `trust_remote_code`, `allow_pickle`.

    Attributes:
        intervention: the canonical spec that every answer is given under.
        picture_size: side of the square picture that the vision tower is fed, or None.
        weights: what identifies the weights, those of an adapter included.
        adapter_under: what an adapter was trained under; None without one.
        dtype, attention: as given.

    Raises:
        PrerequisiteError: what was given, what was expected, what to do; before weights are read
            wherever that is possible.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        try:
            self._open(**_checked(model_args))
        except WheresightError as error:
            raise PrerequisiteError(str(error)) from None

    def _open(
        self,
        *,
        model_path: str | None,
        intervention: Any,
        adapter: str | None,
        batch_size: int,
        dtype: str,
        device: str | int | None,
        attention: str,
        trust_remote_code: bool,
        allow_pickle: bool,
    ) -> None:
        check_precision(dtype, attention)
        given = None if intervention is None else parse(_specs(intervention))
        card = look_up(
            str(model_path or self.model_name),
            adapter=adapter,
            trust_remote_code=trust_remote_code,
        )
        if given is not None:
            refuse_unhosted(given, card.host(attention))
        self.picture_size = card.picture_size
        self.weights, self.dtype, self.attention = card.weights, dtype, attention
        self.adapter_under = card.adapter.trained_under if card.adapter else None
        lvlm = load(
            card,
            dtype=dtype,
            device=None if device is None else str(device),
            attention=attention,
            trust_remote_code=trust_remote_code,
            allow_pickle=allow_pickle,
        )
        # Where none is given, it is the one that the model or its adapter was trained under.
        spec = parse(lvlm.trained_under) if given is None else given
        self.intervention = canonical(spec)
        if lvlm.trained_under not in ("none", self.intervention):
            logger.warning(
                "%s was trained under %s, and answers under %s.",
                adapter or self.model_name,
                lvlm.trained_under,
                self.intervention,
            )
        self._generator: Generator | None = Generator(lvlm, spec, batch_size)
        # A copy: a tokenizer is not for several threads at once.
        self._counting = copy.deepcopy(lvlm.processor.tokenizer)
        # Else Inspect would make a second instance, with its weights, to ask for a name.
        info = ModelInfo(model=self.model_name, context_length=self._generator.context)
        set_model_info(f"{PROVIDER}/{self.model_name}", info)
        self._gathering: Gathering[tuple[Prompt, How], Generated] = Gathering(
            self._run, lambda: self._open_generator().batch_size
        )
        # How often each conversation was asked, so that epochs draw anew; from 0 in each run.
        self._asked: RunVar[dict[int, int]] = RunVar("asked")

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> tuple[ModelOutput, ModelCall]:
        """Answer a conversation.

        Raises:
            ModelError: tools, content that is neither text nor picture, an option that is not
                done here, a template that cannot render the turns.
        """
        if tools:
            raise ModelError(
                f"The tool {tools[0].name!r} was given; wheresight's models take no tools."
            )
        how = _how(config)
        said = conversation(input)
        generator = self._open_generator()
        seed = self._seed(said, config.seed) if how.temperature > 0 else 0
        prompt = Prompt(said, generator.render(said), seed)
        start = time.monotonic()
        made = await self._gathering.submit((how, len(said.pictures)), (prompt, how))
        call = ModelCall.create(
            {"prompt": prompt.text, "pictures": len(said.pictures), **vars(how)},
            {"text": made.text, "ended": made.ended},
        )
        return self._output(made, time.monotonic() - start), call

    def close(self) -> None:
        """Let the model go."""
        self._generator = None
        gc.collect()

    async def count_text_tokens(self, text: str) -> int:
        """By the model's own tokenizer; Inspect's default asks the network for another."""
        return len(self._counting(text, add_special_tokens=False)["input_ids"])

    def max_tokens(self) -> int:
        """The longest answer where nobody says how long."""
        return MAX_TOKENS

    def max_connections(self) -> int:
        """Calls at once: one batch runs, another gathers."""
        return 2 * self._open_generator().batch_size

    def connection_key(self) -> str:
        """Each model under each intervention has connections of its own."""
        return f"{self.model_name} {self.weights} {self.intervention}"

    def collapse_user_messages(self) -> bool:
        """Chat templates want turns that take turns."""
        return True

    def collapse_assistant_messages(self) -> bool:
        """As for user messages."""
        return True

    def collapse_system_messages(self) -> bool:
        """As for user messages."""
        return True

    def _open_generator(self) -> Generator:
        if self._generator is None:
            raise ModelError(f"The model {self.model_name!r} was closed. Get it anew.")
        return self._generator

    def _run(self, calls: Sequence[tuple[Prompt, How]]) -> list[Generated]:
        return self._open_generator()([prompt for prompt, _ in calls], calls[0][1])

    def _seed(self, said: Conversation, seed: int | None) -> int:
        if seed is None:
            return int.from_bytes(os.urandom(8), "big") >> 1
        asked = self._asked.get(None)
        if asked is None:
            asked = {}
            self._asked.set(asked)
        first = stream(seed, said, 0)
        repeat = asked.get(first, 0)
        asked[first] = repeat + 1
        return stream(seed, said, repeat)

    def _output(self, made: Generated, seconds: float) -> ModelOutput:
        message = ChatMessageAssistant(content=made.text, model=self.model_name, source="generate")
        logprobs = None
        if made.logprobs is not None:
            logprobs = Logprobs(content=[_logprob(token) for token in made.logprobs])
        return ModelOutput(
            model=self.model_name,
            choices=[
                ChatCompletionChoice(message=message, stop_reason=made.ended, logprobs=logprobs)
            ],
            usage=ModelUsage(
                input_tokens=made.prompt_tokens,
                output_tokens=made.tokens,
                total_tokens=made.prompt_tokens + made.tokens,
            ),
            time=seconds,
            metadata={"intervention": self.intervention},
        )


def _checked(given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `-M` with their defaults."""
    for name in given:
        if name not in _DEFAULTS:
            raise ModelError(unknown_name("model argument", name, _DEFAULTS))
    found = {**_DEFAULTS, **given}
    size = found["batch_size"]
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ModelError(f"The batch size {size!r} was given; expected 1 or more.")
    for name in ("trust_remote_code", "allow_pickle"):
        if not isinstance(found[name], bool):
            raise ModelError(f"{name}={found[name]!r} was given; expected true or false.")
    return found


def _specs(given: Any) -> Any:
    """An intervention as it was typed: Inspect's command line splits a value at its commas."""
    if not isinstance(given, list | tuple) or not all(isinstance(one, str) for one in given):
        return given
    specs: list[str] = []
    for one in given:
        if specs and re.match(r"\w+=", one):  # a parameter of the one before
            specs[-1] += f",{one}"
        else:
            specs.append(one)
    return specs


def _how(config: GenerateConfig) -> How:
    """What Inspect asks for, as far as it is done here.

    Raises:
        ModelError: an option that would change the answer, and is not done here.
    """
    asked = [name for name in _NOT_DONE if getattr(config, name, None) not in (None, False)]
    if (config.num_choices or 1) > 1:
        asked.append("num_choices")
    if asked:
        raise ModelError(
            f"The generation option {asked[0]} was given, which wheresight's models do not follow. "
            "Leave it out."
        )
    return How(
        max_tokens=config.max_tokens or MAX_TOKENS,
        temperature=config.temperature or 0.0,
        top_p=config.top_p,
        top_k=config.top_k,
        stop=tuple(config.stop_seqs or ()),
        logprobs=bool(config.logprobs),
        top_logprobs=config.top_logprobs or 0,
    )


def _logprob(token: TokenProbability) -> Logprob:
    return Logprob(
        token=token.token,
        logprob=token.logprob,
        top_logprobs=[TopLogprob(token=text, logprob=logp) for text, logp in token.likeliest]
        or None,
    )
