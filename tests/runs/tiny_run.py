"""A tiny run for tests of faults, as a program: `tiny_run.py OUT [OPTION ...] [FIELD=VALUE ...]`.

    --kills N      start the run in child processes, kill each with SIGKILL at a random moment, then
                   run it to its end; a line of JSON says how many parts there were after each kill
    --clock-back   every look at the clock is an hour earlier than the one before
    --small-disk   OUT is on a disk of its own that fills up; then it grows, and the run goes on

`tiny_run.py --serve` imports everything and makes one run, then forks a process for each line of
JSON that it is given (`jobs.py` writes them): a run that starts warm, in a process of its own.
"""

from __future__ import annotations

import ast
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
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


def main(out: str, options: list[str]) -> int:
    """Make the run and return the exit code."""
    from wheresight.errors import WheresightError
    from wheresight.runs.grid_run import GridRequest, run_grid

    fields = dict(option.split("=", 1) for option in options if "=" in option)
    fields = {name: _value(text) for name, text in fields.items()}
    request = GridRequest(out=out, **{**REQUEST, **fields})
    if "--clock-back" in options:
        set_clock_back()
    if "--kills" in options:
        kill_often(request, int(options[options.index("--kills") + 1]))
    if "--small-disk" in options:
        fill_disk(request)
    try:
        outcome = run_grid(request, progress=Said())
    except WheresightError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"DONE results={outcome.results is not None} computed={outcome.rows_computed}")
    return 0


def set_clock_back() -> None:
    now = [time.time()]

    def earlier() -> float:
        now[0] -= 3600
        return now[0]

    time.time = earlier


def kill_often(request: object, times: int) -> None:
    """Kill a run at random moments, a third of them before its first part is there.

    The children share a model that is loaded once; everything else they do themselves. Each waits
    before it would write one part more than it is meant to, so that it cannot come to the end on a
    machine that wakes this process late.
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
        early = draws.random() < 1 / 3
        more = 0 if early else draws.randint(1, 2)
        child = os.fork()
        if child == 0:
            try:
                write_at_most(more + (not early))
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                run_grid(request)  # type: ignore[arg-type]
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(3)
        deadline = time.monotonic() + 60
        while len(list(parts.glob("*.parquet"))) < before + more:
            assert time.monotonic() < deadline, "the run wrote nothing for a minute"
            time.sleep(0.002)
        time.sleep(draws.uniform(0.0, 1.0 if early else 0.2))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), f"the run ended by itself: {status}"
        seen.append(len(list(parts.glob("*.parquet"))))
    print("KILLS " + json.dumps(seen))


def write_at_most(parts: int) -> None:
    """Let this process write so many parts; at the next it waits for its end."""
    from wheresight.runs.store import RunFolder

    write, left = RunFolder.write, [parts]

    def written(self: RunFolder, unit: str, table: object) -> None:
        if not left[0]:
            signal.pause()
        left[0] -= 1
        write(self, unit, table)  # type: ignore[arg-type]

    RunFolder.write = written  # type: ignore[method-assign]


def fill_disk(request: object) -> None:
    """Run until a disk of 100 kB is full, then give it room. Mounting needs a namespace of one's
    own: `unshare --map-root-user --mount`."""
    from wheresight.errors import RunError
    from wheresight.runs.grid_run import run_grid

    out = Path(request.out)  # type: ignore[attr-defined]
    disk = ["mount", "-t", "tmpfs", "tmpfs", str(out.parent)]
    subprocess.run([*disk, "-o", "size=100k"], check=True)
    try:
        run_grid(request)  # type: ignore[arg-type]
    except RunError as error:
        print(f"FULL {len(list(out.glob('records/*.parquet')))} {error}", flush=True)
    subprocess.run([*disk, "-o", "remount,size=100m"], check=True)


def serve() -> None:
    """Fork a run for each line of JSON: out, options, environ, and the file of what it says."""
    with tempfile.TemporaryDirectory() as place:
        main(f"{place}/warm", ["items=10"])
    print("READY", flush=True)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _become(json.loads(line))
        print(f"FORKED {child}", flush=True)


def _become(job: dict) -> None:
    said = os.open(job["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.environ.update(job["environ"])
    code = 3
    try:
        code = main(job["out"], job["options"])
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    sys.stderr.flush()
    Path(job["said"] + ".code").write_text(str(code))
    os._exit(0)


def _value(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        sys.exit(main(sys.argv[1], sys.argv[2:]))
