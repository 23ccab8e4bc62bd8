"""Planning and resuming at scale: time an item and memory, from 1,000 to 100,000 composites.

Run: python benchmarks/planning.py [--repeats 3]. Each size runs in a process of its own, which
reports its peak memory. The source has 5,000 pairs with siblings, as many as COCO's validation
captions have pictures; no pixel is read. "index" is what is paid once for the source, "plan" draws
the items and names every unit under four interventions; "resume" plans, checks the bytes of the
parts in a folder that holds half of them, and says what is left.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = (1_000, 3_000, 10_000, 30_000, 90_000, 100_000)
CELLS = 9
PAIRS = 5_000
PART_BYTES = 12_000  # of 270 records
INTERVENTIONS = ("none", "bapa", "scalingvis:alpha=0.8", "adaptvis")


def source(pairs: int):
    """Pairs without pictures: four a group of siblings."""
    from wheresight.stimuli.pairs import Pair

    def sibling(n: int) -> str:
        return f"picture-{n ^ 1:06d}"

    class Planned:
        name = "planned"
        fingerprint = "0" * 32

        def pairs(self):
            return made

        def image(self, pair_id: str):
            raise AssertionError("planning reads no picture")

    made = [
        Pair(
            id=f"picture-{n:06d}",
            caption=f"a picture of thing number {n} on a table",
            group=f"group-{n}",
            siblings=(sibling(n),) if (n ^ 1) < pairs else (),
        )
        for n in range(pairs)
    ]
    return Planned()


def settings():
    """The paper's grid under the balanced protocol."""
    from wheresight.probes.grid import GridSettings

    return GridSettings(
        model="planned", model_revision="0", dtype="bfloat16", attention="sdpa",
        source="planned", source_fingerprint="0" * 32, protocol="balanced",
        question="Is there {caption}?", scoring="first_token", max_new_tokens=None,
        rows=3, columns=3, layout="swap", canvas=336, tile=112, background="white",
        jitter=0, seed=0,
    )  # fmt: skip


def measure(composites: int) -> dict[str, float]:
    """Time planning and resuming in this process."""
    from wheresight.probes.grid import GridProbe
    from wheresight.runs.engine import plan
    from wheresight.runs.store import RunFolder

    items = -(-composites // CELLS)
    pairs = source(PAIRS)
    plan(GridProbe(settings(), pairs, 1), INTERVENTIONS)  # imports and caches
    before = _peak()

    def planned(count=items):
        return plan(GridProbe(settings(), pairs, count), INTERVENTIONS)

    start = time.perf_counter()
    planned(1)
    index_seconds = time.perf_counter() - start
    start = time.perf_counter()
    whole = planned()
    plan_seconds = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder(place)
        folder.parts.mkdir()
        units = whole.units()
        for unit in units[: len(units) // 2]:
            data = random.randbytes(PART_BYTES)
            sha = hashlib.sha256(data).hexdigest()[:16]
            (folder.parts / f"{unit}-{sha}.parquet").write_bytes(data)
        start = time.perf_counter()
        again = planned()
        if folder.damaged():
            raise SystemExit("A part is said to be damaged.")
        left = again.left(folder.units())
        resume_seconds = time.perf_counter() - start
    if len(left.units()) != len(units) - len(units) // 2:
        raise SystemExit("The resumed plan is not the other half.")
    return {
        "composites": composites,
        "items": items,
        "units": len(units),
        "plan_s": plan_seconds,
        "index_s": index_seconds,
        "plan_us_per_composite": 1e6 * (plan_seconds - index_seconds) / composites,
        "resume_s": resume_seconds,
        "peak_mb": _peak(),
        "grown_mb": _peak() - before,
    }


def _peak() -> float:
    """Of this program alone; getrusage would count what its parent held before exec."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one)))
        return
    print(
        "| composites | units | index, s | plan, s | µs a composite, index aside | resume, s "
        "| µs a composite | peak memory, MB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for size in SIZES:
        command = [sys.executable, str(Path(__file__)), "--one", str(size)]
        runs = [
            json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            for _ in range(given.repeats)
        ]
        best = min(runs, key=lambda run: run["plan_s"])
        resume = min(run["resume_s"] for run in runs)
        peak = max(run["peak_mb"] for run in runs)
        print(
            f"| {size:,} | {best['units']:,} | {best['index_s']:.3f} | {best['plan_s']:.3f} | "
            f"{best['plan_us_per_composite']:.1f} | {resume:.3f} | "
            f"{1e6 * (resume - best['index_s']) / size:.1f} | {peak:.0f} |"
        )


if __name__ == "__main__":
    main()
