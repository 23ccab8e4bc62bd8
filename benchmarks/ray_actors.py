"""Throughput of two Ray actors of one thread over one, on one machine, and their records.

Run: python benchmarks/ray_actors.py [--repeats 3] [--items 200]. One Ray cluster serves all runs;
runs of one and of two actors take turns. Only the time from "all actors have loaded" to the last
part counts: a warm-up unit on each actor comes first, so that loading is outside.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time

from wheresight.runs.executors import ray_
from wheresight.runs.grid_run import GridRequest, run_grid
from wheresight.runs.progress import Silent
from wheresight.runs.store import RunFolder


class Clock(Silent):
    """Notes when rows are done; the first shard of each actor ends its loading."""

    def __init__(self, actors: int) -> None:
        self.actors, self.times, self.rows = actors, [], []

    def advance(self, count: int) -> None:
        self.times.append(time.perf_counter())
        self.rows.append(count)

    def rate(self) -> float:
        """Rows a second after every actor has done a shard."""
        first = 2 * self.actors - 1
        return sum(self.rows[first + 1 :]) / (self.times[-1] - self.times[first])


def one(actors: int, items: int, out: str) -> tuple[float, list[str]]:
    clock = Clock(actors)
    run_grid(
        GridRequest(
            out=out,
            items=items,
            grid="2x2",
            interventions=("none", "bapa"),
            replicates=100,
            executor="ray",
            workers=actors,
            cores_per_worker=1,
        ),
        progress=clock,
    )
    return clock.rate(), RunFolder(out).place.names("records")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--items", type=int, default=200)
    given = parser.parse_args()
    ratios, rates = [], {1: [], 2: []}
    ray = ray_._ray()
    with ray_._cluster(ray, None), tempfile.TemporaryDirectory() as place:
        for n in range(given.repeats):
            found = {k: one(k, given.items, f"{place}/{n}-{k}") for k in ((1, 2), (2, 1))[n % 2]}
            assert found[1][1] == found[2][1], "the records differ"
            for k in (1, 2):
                rates[k].append(found[k][0])
            ratios.append(found[2][0] / found[1][0])
    print(
        json.dumps(
            {
                "one_actor_rows_per_s": statistics.median(rates[1]),
                "two_actors_rows_per_s": statistics.median(rates[2]),
                "ratios": ratios,
                "median_ratio": statistics.median(ratios),
            }
        )
    )


if __name__ == "__main__":
    main()
