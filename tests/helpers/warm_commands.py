"""Commands of wheresight for tests: processes of their own that start with everything imported.

A process that imports torch and transformers takes several seconds before it does anything, and
tests start hundreds of them. One process imports once and forks the others, which have their own
exit code, output, working folder and environment. What belongs to the start or the end of a process
(imports, time to `--help`, signals, threads) is tested with real ones.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import traceback
from functools import cache
from pathlib import Path
from typing import Any


def wheresight(
    *arguments: str, cwd: str | Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command, and wait for its end.

    Args:
        arguments: what comes after `wheresight`.
        cwd: the folder it runs in.
        environment: variables beside the tests' own.
    """
    server = _started()
    with tempfile.TemporaryDirectory() as place:
        job = {
            "arguments": arguments,
            "cwd": str(cwd or Path.cwd()),
            "environment": {**os.environ, **environment},
            "place": place,
        }
        server.stdin.write(json.dumps(job) + "\n")
        server.stdin.flush()
        code = server.stdout.readline()
        if not code:
            raise AssertionError("the process that forks commands has ended")
        said = [(Path(place) / name).read_text() for name in ("stdout", "stderr")]
    return subprocess.CompletedProcess(["wheresight", *arguments], int(code), *said)


@cache
def _started() -> Any:
    process = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Both are read at import, so they are the same for all commands. Byte-equal records need
        # equal rounding, and so one thread.
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )
    assert process.stdin is not None
    atexit.register(process.stdin.close)
    return process


def _serve() -> None:
    """Fork a command for each line of JSON, and say its exit code when it has ended."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    with tempfile.TemporaryDirectory() as place:
        given = ["--items", "1", "--grid", "1x2", "--replicates", "100", "--device", "cpu"]
        code = _run(["probe", *given, "--out", f"{place}/warm"])
    assert code == 0, "the first command failed"
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


def _become(job: dict[str, Any]) -> None:
    code = 70
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(f"{job['place']}/{name}", os.O_WRONLY | os.O_CREAT), number)
        os.environ.clear()
        os.environ.update(job["environment"])
        os.chdir(job["cwd"])
        code = _run(job["arguments"])
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(arguments: list[str]) -> int:
    """As the entry point; the exit code."""
    from wheresight.cli.main import run

    sys.argv = ["wheresight", *arguments]
    try:
        run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


if __name__ == "__main__":
    _serve()
