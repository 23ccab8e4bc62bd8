"""What every diagnostic is: an experiment inside the model, as data.

A diagnostic is a frozen dataclass, like an intervention: its class says which question it answers
and where it was published, its fields are its options. It knows nothing of files. To add one:

1. Write `probes/NAME.py` with a subclass of Diagnostic: its class attributes, its fields with
   defaults, a `__post_init__` that checks their ranges (`interventions/ranges.py`), and the methods
   `steps`, `measure` and `findings`. Modules that need torch are imported inside of functions, so
   that a list of diagnostics and a bad option are answered at once.
2. Write `report/diagnostics/NAME.py` with `pictures(tool, tables, context, findings)`, which yields
   `report.figures.Picture`s, drawn from the records alone; `drawing` names it.
3. Add one line to `probes/registry.py`, or in a package of your own an entry point of the group
   `wheresight.diagnostics`.

    @dataclass(frozen=True)
    class Norms(Diagnostic):
        \"\"\"Norms of embeddings and of the residual stream by layer and token group.\"\"\"

        name: ClassVar[str] = "norms"
        ...
        items: int = 8

        @abstractmethod
    def measure(self, bench, advance):
            for item in bench.items:
                ...
                advance(1)
            return {"item": [...], "key": [...], "layer": np.array(...), "norm": np.array(...)}
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from wheresight.interventions.parameters import WithParameters

if TYPE_CHECKING:
    from wheresight.interventions.host import Host
    from wheresight.probes.bench import Bench
    from wheresight.probes.grid import GridSettings
    from wheresight.stimuli.benchmarks.question import Benchmark

# Columns of equal length by name. A column of lists is an array (rows, n), or, where lengths
# differ, an array of objects with one array a row. Texts are arrays of objects.
Columns = Mapping[str, Sequence[Any] | np.ndarray]
Records = Mapping[str, np.ndarray]


class Column(NamedTuple):
    """One column of a diagnostic's records.

    Attributes:
        kind: `string`, `bool`, `int32`, `int64`, `float32`, `float64`, or `list<float32>` and the
            like for a list in each row. A float that is not defined is NaN.
        meaning: what it says, with its unit.
    """

    kind: str
    meaning: str


# The value of an option `benchmark` that asks about the bench's own items.
PROBE = "probe"

# What nearly every diagnostic's records begin with.
ITEM = Column("string", "Id of the item.")
KEY = Column("string", "Id of the key picture; intervals are clustered by it.")
CELL = Column("int32", "Where the key stands, row-major from 0.")


@dataclass(frozen=True)
class Context:
    """What findings and pictures may know beside the records.

    Attributes:
        settings: the grid, model, source and question; None where there is none.
        replicates, level, seed: of the bootstrap.
    """

    settings: GridSettings | None = None
    replicates: int = 2000
    level: float = 0.95
    seed: int = 0


@dataclass(frozen=True)
class Finding:
    """One number with its interval.

    Attributes:
        name: for programs, such as `psi.full`; a dot goes down one level. Names with the same
            `where`, `intervention` and `versus` are different.
        label: for people, a few words.
        value: NaN where it is undefined; `note` says why.
        low, high: the interval's ends, clustered by key picture; NaN where there is none.
        unit: `share` (0 to 1, shown as percent), `percent`, `squared` (percent squared), `index`
            (three decimals), `z`, `nats`, or empty (three figures).
        intervention: canonical spec that it was measured under.
        versus: the spec it is compared with, of a paired difference; empty otherwise.
        where: where in the model or picture, such as {"layer": 3, "head": 0} or {"cell": 4}.
        definition: `ours`, or `paper` for a quantity as a paper defines it.
        headline: whether the page shows it in its main table; all others are folded away.
        note: what to keep in mind with this number.
    """

    name: str
    label: str
    value: float
    low: float = float("nan")
    high: float = float("nan")
    unit: str = "index"
    intervention: str = "none"
    versus: str = ""
    where: Mapping[str, int | str] = field(default_factory=dict)
    definition: str = "ours"
    headline: bool = True
    note: str = ""


@dataclass(frozen=True)
class Diagnostic(WithParameters, ABC):
    """An experiment. Subclasses set the class attributes and write the three methods.

    A field called `items` says how many items of the bench it wants, one called `protocol` is
    `balanced` or `paper`, one called `benchmark` is PROBE or the spec of a labelled benchmark:
    `--items`, `--protocol` and `--benchmark` of the command line set them for every diagnostic that
    has them.

    Attributes:
        name: how a spec calls it.
        title: two or three words for headings.
        question: the one question that it answers, a sentence.
        reading: how to read its pictures, a few sentences.
        caveats: what its numbers do not say, a sentence each.
        paper: where it was published and in which section; empty for our own.
        unit: what `advance` counts, such as `pictures`.
        columns: what its records are made of, in order. A change of meaning needs a higher
            `version`.
        version: counts the meanings that its records have had.
        drawing: `module:function` that makes its pictures.
        once: True if it chooses interventions itself, so that it runs once whatever is asked for.
    """

    title: ClassVar[str] = ""
    question: ClassVar[str] = ""
    reading: ClassVar[str] = ""
    caveats: ClassVar[tuple[str, ...]] = ()
    paper: ClassVar[str] = ""
    unit: ClassVar[str] = "pictures"
    columns: ClassVar[Mapping[str, Column]] = {}
    version: ClassVar[int] = 1
    drawing: ClassVar[str] = ""
    once: ClassVar[bool] = False

    def refuses(self, host: Host) -> str | None:
        """One sentence on why it cannot be done with a model, or None. Asked before weights load.

        A diagnostic that was asked for by name is then an error; one of all of them is left out.
        """
        return None

    def refuses_benchmark(self, benchmark: Benchmark) -> str | None:
        """One sentence on why it cannot ask a benchmark's questions, or None; as `refuses`."""
        return None

    @property
    def asks_benchmark(self) -> str:
        """The spec of the benchmark whose questions it asks; empty where it asks about items."""
        spec = str(getattr(self, "benchmark", PROBE))
        return "" if spec == PROBE else spec

    def specs(self, intervention: str) -> tuple[str, ...]:
        """Every spec it will run the model under where this intervention is asked for.

        All are parsed, and checked against the model, before weights load.
        """
        return (intervention,)

    def wants(self) -> int:
        """How many items of the bench it needs."""
        return 0 if self.asks_benchmark else int(getattr(self, "items", 0))

    @abstractmethod
    def steps(self, bench: Bench) -> int:
        """How often `advance` will have counted in `measure`, in its `unit`."""

    @abstractmethod
    def measure(self, bench: Bench, advance: Callable[[int], None]) -> Columns:
        """Run the experiment under `bench.spec` and return its records, one row each.

        It must give the same records whenever and wherever it is called: all draws come from
        `bench.seed`, and the items are `bench.items`.

        Args:
            bench: what it runs on.
            advance: to be called with the number of steps just finished.

        Returns:
            The columns that `columns` names.
        """

    @abstractmethod
    def findings(self, tables: Mapping[str, Records], context: Context) -> list[Finding]:
        """What the records say, from them alone.

        Args:
            tables: the records by intervention (canonical spec), in the order asked for; the first
                is the one that others are compared with. With `once` there is one, under `none`.
            context: of the run.
        """
