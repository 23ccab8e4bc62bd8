"""Conversations to train on, in one form: from a row of LLaVA's JSON or of TRL's messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wheresight.errors import StimulusError
from wheresight.stimuli.benchmarks.files import inside

PLACEHOLDER = "<image>"  # where a picture stands in a text of LLaVA's
_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}


@dataclass(frozen=True)
class Turn:
    """What one side says: texts, and None for each picture, in order."""

    role: str
    parts: tuple[str | None, ...]

    @property
    def text(self) -> str:
        """Its texts, without its pictures."""
        return "".join(part for part in self.parts if part is not None)


@dataclass(frozen=True)
class Conversation:
    """Turns of a user and an assistant, perhaps after a system's; the last is the assistant's.

    Attributes:
        name: what to call it in messages.
        turns: in order.
        pictures: a name in the folder of images, or an encoded picture, for each None in a turn.
    """

    name: str
    turns: tuple[Turn, ...]
    pictures: tuple[str | bytes, ...]

    def messages(self, end: str = "") -> list[dict[str, Any]]:
        """The turns as chat templates want them; `end` is put behind each of the assistant's."""
        written = []
        for turn in self.turns:
            content = [
                {"type": "image"} if part is None else {"type": "text", "text": part}
                for part in turn.parts
            ]
            if turn.role == "assistant":
                content = [{"type": "text", "text": turn.text + end}]
            written.append({"role": turn.role, "content": content})
        return written


def conversation_of(row: object, name: str) -> Conversation:
    """Read one row.

    LLaVA's form (as of its 665K file): `conversations`, a list of {"from": "human" or "gpt",
    "value": text}; `image`, a file's name or a list of them, absent from rows of text alone; and
    `<image>` in a text where a picture stands. As in LLaVA's own code, a picture that is alone in
    its turn comes before the text, and what the assistant says before the first question is left
    out.

    TRL's form: `messages`, a list of {"role", "content"}, where content is a text or a list of
    {"type": "text", "text"} and {"type": "image"}; and `images`, a list of files' names or of
    {"bytes"}. Where no message says where the images stand, they come before the first question.

    In both, what the user says behind the last answer is left out, as nothing is learned from it.

    Raises:
        StimulusError: what was found, what was expected, and in which row.
    """
    if not isinstance(row, Mapping):
        raise StimulusError(f"{name} is a {type(row).__name__}; expected an object.")
    if row.get("conversations") is not None:
        turns = [_llava_turn(turn, name) for turn in _list(row, "conversations", name)]
        pictures = _pictures(row.get("image"), name)
    elif row.get("messages") is not None:
        given = row.get("images") if row.get("images") is not None else row.get("image")
        pictures = _pictures(given, name)
        turns = [_message(turn, name) for turn in _list(row, "messages", name)]
        turns = _with_pictures_first(turns, len(pictures))
    else:
        raise StimulusError(
            f"{name} has neither conversations (LLaVA's form) nor messages (TRL's); its fields are "
            f"{', '.join(map(str, row)) or 'none'}."
        )
    turns = _trained(turns)
    _check_order(turns, name)
    wanted = sum(part is None for turn in turns for part in turn.parts)
    if wanted != len(pictures):
        raise StimulusError(
            f"{name} has {len(pictures)} pictures, and its turns have {wanted} places for pictures "
            f"({PLACEHOLDER} in LLaVA's form). Expected as many."
        )
    return Conversation(name, tuple(turns), pictures)


def _list(row: Mapping[str, Any], key: str, name: str) -> Sequence[Any]:
    found = row[key]
    if not isinstance(found, list | tuple) or not found:
        raise StimulusError(f"{name} has {key} {found!r:.80}; expected a list of turns.")
    return found


def _role(given: object, name: str) -> str:
    if not isinstance(given, str) or given not in _ROLES:
        raise StimulusError(
            f"{name} has a turn of {given!r:.80}; expected human and gpt (LLaVA's form), or user, "
            "assistant and system (TRL's)."
        )
    return _ROLES[given]


def _llava_turn(turn: object, name: str) -> Turn:
    if not isinstance(turn, Mapping) or not isinstance(turn.get("value"), str):
        raise StimulusError(f'{name} has the turn {turn!r:.80}; expected {{"from", "value"}}.')
    role = _role(turn.get("from"), name)
    text: str = turn["value"]
    if PLACEHOLDER not in text:
        return Turn(role, (text,))
    texts = text.split(PLACEHOLDER)
    if len(texts) == 2:
        return Turn(role, (None, "".join(texts).strip()))
    parts: list[str | None] = []
    for number, piece in enumerate(texts):
        parts += [None] if number else []
        parts += [piece.strip()] if piece.strip() else []
    return Turn(role, tuple(parts))


def _message(turn: object, name: str) -> Turn:
    if not isinstance(turn, Mapping):
        raise StimulusError(f'{name} has the message {turn!r:.80}; expected {{"role", "content"}}.')
    role, content = _role(turn.get("role"), name), turn.get("content")
    if isinstance(content, str):
        return Turn(role, (content,))
    if not isinstance(content, list | tuple):
        raise StimulusError(
            f"{name} has the content {content!r:.80}; expected a text, or a list of parts."
        )
    parts: list[str | None] = []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text" and isinstance(part.get("text"), str):
            parts.append(part["text"])
        elif kind == "image":
            parts.append(None)
        else:
            raise StimulusError(
                f'{name} has the part {part!r:.80}; expected {{"type": "text", "text": ...}} or '
                '{"type": "image"}.'
            )
    return Turn(role, tuple(parts))


def _with_pictures_first(turns: list[Turn], count: int) -> list[Turn]:
    """Put the pictures before the first question where no message says where they stand."""
    if any(part is None for turn in turns for part in turn.parts):
        return turns
    asked = next((n for n, turn in enumerate(turns) if turn.role == "user"), None)
    if asked is None:
        return turns
    first = Turn("user", (None,) * count + turns[asked].parts)
    return [*turns[:asked], first, *turns[asked + 1 :]]


def _trained(turns: list[Turn]) -> list[Turn]:
    """Without what stands before the first question, but for a system's turn, or behind the last
    answer, if no picture is lost."""
    system = turns[:1] if turns and turns[0].role == "system" else []
    rest = turns[len(system) :]
    while rest and rest[0].role == "assistant" and None not in rest[0].parts:
        rest = rest[1:]
    while rest and rest[-1].role == "user" and None not in rest[-1].parts:
        rest = rest[:-1]
    return [*system, *rest]


def _check_order(turns: Sequence[Turn], name: str) -> None:
    roles = [turn.role for turn in turns if turn.role != "system"]
    systems = [n for n, turn in enumerate(turns) if turn.role == "system"]
    wanted = ["user", "assistant"] * (len(roles) // 2)
    if not roles or roles != wanted or systems not in ([], [0]):
        said = ", ".join(turn.role for turn in turns) or "none"
        raise StimulusError(
            f"{name} has turns of {said}; expected user and assistant by turns, an assistant's "
            "last, and a system's only before them."
        )
    if any(part is None for turn in turns if turn.role != "user" for part in turn.parts):
        raise StimulusError(f"{name} has a picture in a turn that is not the user's.")


def _pictures(given: object, name: str) -> tuple[str | bytes, ...]:
    if given is None:
        return ()
    listed: Iterable[object] = given if isinstance(given, list | tuple) else [given]
    return tuple(_picture(one, name) for one in listed)


def _picture(one: object, name: str) -> str | bytes:
    if isinstance(one, Mapping):
        data, path = one.get("bytes"), one.get("path")
        if isinstance(data, bytes | bytearray):
            return bytes(data)
        one = path
    if isinstance(one, bytes | bytearray):
        return bytes(one)
    return inside(one, name)
