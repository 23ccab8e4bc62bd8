"""What training.json holds: what was trained, on what, how, and how the loss went."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, JsonValue

from wheresight.runs.results import Environment, Model
from wheresight.training.request import LoraOptimisation
from wheresight.training.stage_request import StageOptimisation

FILE_NAME = "training.json"


class BaseModelOf(Model):
    """The model that training began with."""

    name: str = Field(description="As it was asked for.")
    revision: str = Field(description="What identifies its weights.")
    dtype: str = Field(description="Of its weights while training.")
    attention: str = Field(description="Attention implementation.")


class Data(Model):
    """The rows that were trained on."""

    path: str = Field(description="The file.")
    file_sha256: str = Field(description="Hash of the file.")
    rows_sha256: str = Field(description="Hash of the drawn rows and their pictures, in order.")
    rows: int = Field(description="Rows in the file.")
    samples: int = Field(description="Rows that were trained on.")
    text_only: int = Field(description="Those of them without a picture.")
    pictures: int = Field(description="Pictures of the others.")
    tokens: int = Field(description="Their tokens, image tokens included.")
    learned_tokens: int = Field(description="Those of them that are learned.")
    longest: int = Field(description="Tokens of the longest row.")
    max_length: int = Field(description="Tokens that a row might have.")
    left_out: dict[str, int] = Field(description="Rows that were drawn and left out, by why.")
    end_of_answer: str = Field(
        description="What was put behind each answer, as the chat template has no end; or empty."
    )


class Adapted(Model):
    """The weights of an adapter."""

    parameters: int = Field(description="How many numbers were trained.")
    of: int = Field(description="How many the model has besides.")
    modules: str = Field(description="Regular expression of the adapted layers' names.")
    sha256: str = Field(description="Hash of the adapter's weights file.")


class TrainedParts(Model):
    """The weights of the model itself that were trained."""

    parameters: dict[str, int] = Field(description="How many numbers, by part of the model; those "
                                       "of the intervention apart.")  # fmt: skip
    of: int = Field(description="How many the model has besides.")
    dtype: str = Field(description="That all weights are saved in.")
    sha256: dict[str, str] = Field(description="Hash of every weights file.")


class Step(Model):
    """One step of the optimizer."""

    step: int = Field(description="Its number, from 1.")
    epoch: float = Field(description="Passes over the rows after it.")
    loss: float = Field(description="Mean over the step's learned tokens, before it, in nats.")
    learning_rate: float = Field(description="That it was made with.")
    gradient_norm: float = Field(description="Before it was cut.")


class TrainingRecord(Model):
    """What training.json holds of every training."""

    schema_version: Literal[1] = Field(description="Version of this schema.")
    command: str = Field(description="The command or call that made it.")
    request: dict[str, JsonValue] = Field(description="What was asked for, option by option.")
    model: BaseModelOf = Field(description="What training began with.")
    intervention: str = Field(description="Canonical spec that it was trained under.")
    intervention_json: list[dict[str, Any]] = Field(description="The same, defaults written out.")
    micro_batch: int = Field(description="Rows in one forward pass; decides rounding alone.")
    data: Data = Field(description="The rows.")
    curve: list[Step] = Field(description="Every step.")
    begun_at: list[int] = Field(description="Steps that were done when training was begun again.")
    seconds: dict[str, float] = Field(description="Of rows (looking at them) and of training, in "
                                      "the last of these sessions.")  # fmt: skip
    environment: Environment = Field(description="Where the last session ran.")
    identity: dict[str, JsonValue] = Field(description="What decides the result.")

    @property
    def kind(self) -> str:
        """What kind of training it was, as pictures call it."""
        raise NotImplementedError


class Training(TrainingRecord):
    """The whole of training.json, of a LoRA training."""

    preset: str | None = Field(description="The preset that was asked for.")
    preset_note: str = Field(description="What to know of the preset.")
    optimisation: LoraOptimisation = Field(description="Every number that decides what is learned.")
    adapter: Adapted = Field(description="The result.")

    @property
    def kind(self) -> str:
        """LoRA."""
        return "LoRA"


class StageTraining(TrainingRecord):
    """The whole of training.json, of a stage of LLaVA's training."""

    optimisation: StageOptimisation = Field(
        description="Every number that decides what is learned."
    )
    weights: TrainedParts = Field(description="The result.")

    @property
    def kind(self) -> str:
        """Which stage."""
        return self.optimisation.stage.replace("stage", "stage ")
