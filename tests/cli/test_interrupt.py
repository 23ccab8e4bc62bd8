"""What is said when somebody has had enough."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path


def test_an_interrupt_says_what_is_kept(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "wheresight", "probe", "--items", "300"]
    run = subprocess.Popen(
        [*command, "--out", str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    for line in run.stdout:
        if "Loading pocket" in line:
            break
    run.send_signal(signal.SIGINT)
    _, wrong = run.communicate(timeout=120)
    assert run.returncode == 130
    assert "Stopped. Finished records are kept" in wrong and "Traceback" not in wrong
