"""Controls: the same benchmark changed so that one reason for right answers is taken away.

| control | what is changed | one who knows where |
|---|---|---|
| `blank` | an empty canvas of the same size | falls to chance: what is left is a prior |
| `mirror` | the picture left for right, words and answer with it | is as good as before |
| `swap` | two things trade places (2DS alone), the answer with them | is as good as before |
| `permute` | the options in another order | gives the same answer |
| `added` | one more option, which is wrong | gives the same answer |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from PIL import Image, ImageOps

from wheresight.errors import StimulusError, unknown_name
from wheresight.stimuli.benchmarks.draws import Draws
from wheresight.stimuli.benchmarks.files import digest
from wheresight.stimuli.benchmarks.question import (
    LETTERS,
    Benchmark,
    Question,
    check_questions,
    listed,
)

_LEFT_RIGHT = re.compile(r"\b(left|right)\b", re.IGNORECASE)
_DIRECTIONS = {"left", "right", "on", "under", "above", "below", "top", "bottom", "front", "behind"}

Change = Callable[[Question], Question | None]


class Controlled:
    """A benchmark under a control.

    Questions that the control cannot change are left out.

    Args:
        benchmark: the benchmark itself.
        control: one of CONTROLS.

    Attributes:
        control: its name.
        fingerprint: of the benchmark and the control.

    Raises:
        StimulusError: an unknown control, or one that changes nothing here.
    """

    def __init__(self, benchmark: Benchmark, control: str) -> None:
        if control not in CONTROLS:
            raise StimulusError(unknown_name("control", control, CONTROLS))
        self.control = control
        self.name = benchmark.name
        self.fingerprint = digest(benchmark.fingerprint, control)
        self._benchmark = benchmark
        change = CONTROLS[control](benchmark)
        changed = [found for q in benchmark.questions() if (found := change(q)) is not None]
        if not changed:
            raise StimulusError(
                f"The control {control!r} can change no question of {benchmark.name!r}. Choose "
                f"another: {', '.join(CONTROLS)}."
            )
        self._questions = check_questions(changed, benchmark.name)

    def questions(self) -> Sequence[Question]:
        """Those that the control changes, in the benchmark's order."""
        return self._questions

    def picture(self, question: Question) -> Image.Image:
        """The picture under the control."""
        picture = self._benchmark.picture(question)
        if self.control == "blank":
            return Image.new("RGB", picture.size, "white")
        return ImageOps.mirror(picture) if self.control == "mirror" else picture


def _blank(benchmark: Benchmark) -> Change:
    return lambda question: question


def _mirror(benchmark: Benchmark) -> Change:
    return mirrored


def _permute(benchmark: Benchmark) -> Change:
    return permuted


def _swap(benchmark: Benchmark) -> Change:
    change: Change | None = getattr(benchmark, "swapped", None)
    if change is None:
        raise StimulusError(
            f"Things cannot trade places in the pictures of {benchmark.name!r}, which are not "
            "drawn from recipes of their things. Use the control swap with 2ds."
        )
    return change


def _added(benchmark: Benchmark) -> Change:
    extra: Callable[[Question], str | None] = getattr(benchmark, "extra_option", _extra_word)
    return lambda question: added(question, extra(question))


CONTROLS: Mapping[str, Callable[[Benchmark], Change]] = {
    "blank": _blank,
    "mirror": _mirror,
    "swap": _swap,
    "permute": _permute,
    "added": _added,
}


def mirrored(question: Question) -> Question:
    """The question about the picture left for right.

    The words left and right are exchanged in the question. Where the options are the same words
    before and after (left, right, on, under), their list stays as it is and the answer changes;
    where they are not about left and right at all (yes, no; colours), the answer stays.
    Category, set and pair stay those of the question that was mirrored.
    """
    options = tuple(exchange(option) for option in question.options)
    if options != question.options and set(options) == set(question.options):
        stem = exchange(question.stem)
        text = question.text.replace(question.stem, stem)
        right = question.options.index(exchange(question.answer))
        options = question.options
    else:
        stem, text, right = exchange(question.stem), exchange(question.text), question.right
    return replace(question, stem=stem, text=text, options=options, right=right, boxes=(),
                   box_labels=())  # fmt: skip


def exchange(text: str) -> str:
    """Left for right and right for left, in whole words.

    >>> exchange("Is the left cup right of the bright lamp?")
    'Is the right cup left of the bright lamp?'
    """

    def other(found: re.Match[str]) -> str:
        word = found[0]
        new = "right" if word.lower() == "left" else "left"
        return new.upper() if word.isupper() else new.title() if word[0].isupper() else new

    return _LEFT_RIGHT.sub(other, text)


def permuted(question: Question) -> Question:
    """The options in another order, drawn from the question's id, no option where it was.

    Raises:
        StimulusError: if the question does not name its options.
    """
    count = len(question.options)
    places = list(range(count))
    draws = Draws(f"permute\0{question.id}")
    while any(n == place for n, place in enumerate(places)):
        places = draws.shuffled(places)
    options = tuple(question.options[place] for place in places)
    return _listing(question, options)


def added(question: Question, word: str | None) -> Question | None:
    """One more option, which is wrong, in a place drawn from the question's id; None without one.

    Raises:
        StimulusError: if the question does not name its options.
    """
    if word is None or len(question.options) == len(LETTERS):
        return None
    place = Draws(f"added\0{question.id}").below(len(question.options) + 1)
    options = (*question.options[:place], word, *question.options[place:])
    return _listing(question, options)


def _extra_word(question: Question) -> str | None:
    """A word that is never right: `inside` among directions, `unsure` beside yes and no."""
    options = {option.casefold() for option in question.options}
    if options <= _DIRECTIONS:
        return "inside"
    return "unsure" if options == {"yes", "no"} else None


def _listing(question: Question, options: tuple[str, ...]) -> Question:
    before = listed(question.options)
    if before not in question.text:
        raise StimulusError(
            f"The question {question.id!r} does not name its options ({question.text!r}), so "
            "another list of them changes nothing. Expected a wording that names them."
        )
    right = options.index(question.answer)
    text = question.text.replace(before, listed(options))
    return replace(question, text=text, options=options, right=right)
