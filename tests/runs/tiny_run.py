"""A tiny run for tests of faults, as a program: `tiny_run.py OUT [--kills N] [FIELD=VALUE ...]`.

With --kills it starts the run in child processes, kills each with SIGKILL at a random moment, then
runs it to its end; a line of JSON says how many parts were there after each kill. With
--clock-back every look at the clock is an hour earlier than the one before.
"""

from __future__ import annotations

import ast
import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

REQUEST = {
    "items": 200,
    "grid": "1x2",
    "protocol": "paper",
    "interventions": ("none", "bapa"),
    "replicates": 100,
}
UNITS = 40  # ten items each, under two interventions


class Said:
    """Prints what the run says, a line each."""

    def say(self, text: str) -> None:
        print(text, flush=True)

    def start(self, total: int, done: int, unit: str) -> None:
        print(f"START {done}/{total}", flush=True)

    def advance(self, count: int) -> None: ...
    def stop(self) -> None: ...


def main() -> None:
    out, options = sys.argv[1], sys.argv[2:]
    fields = dict(option.split("=", 1) for option in options if "=" in option)
    fields = {name: _value(text) for name, text in fields.items()}
    if "--clock-back" in options:
        now = [time.time()]

        def earlier() -> float:
            now[0] -= 3600
            return now[0]

        time.time = earlier

    from wheresight.errors import WheresightError
    from wheresight.runs.grid_run import GridRequest, run_grid

    request = GridRequest(out=out, **{**REQUEST, **fields})
    if "--kills" in options:
        kill_often(request, int(options[options.index("--kills") + 1]))
    try:
        outcome = run_grid(request, progress=Said())
    except WheresightError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    print(f"DONE results={outcome.results is not None} computed={outcome.rows_computed}")


def kill_often(request: object, times: int) -> None:
    """Kill a run at random moments, a third of them before its first part is there.

    The children share a model that is loaded once; everything else they do themselves.
    """
    from wheresight.lvlm import loading
    from wheresight.runs.grid_run import run_grid

    card = loading.look_up("pocket")
    model = loading.load(card)
    loading.look_up = lambda *given, **options: card
    loading.load = lambda *given, **options: model
    draws = random.Random(os.environ.get("KILL_SEED", "7"))
    parts = Path(request.out) / "records"  # type: ignore[attr-defined]
    seen = []
    for _ in range(times):
        before = len(list(parts.glob("*.parquet")))
        child = os.fork()
        if child == 0:
            try:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                run_grid(request)  # type: ignore[arg-type]
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(3)
        early = draws.random() < 1 / 3
        more = 0 if early else draws.randint(1, 2)
        deadline = time.monotonic() + 60
        while len(list(parts.glob("*.parquet"))) < before + more and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(draws.uniform(0.0, 1.0 if early else 0.2))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), f"the run ended by itself: {status}"
        seen.append(len(list(parts.glob("*.parquet"))))
    print("KILLS " + json.dumps(seen))


def _value(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


if __name__ == "__main__":
    main()
