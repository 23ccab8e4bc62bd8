"""What a command sets for libraries before it imports them."""

from __future__ import annotations

import os
import subprocess
import sys

_LOOK = """
import os, sys
from wheresight.cli import main
main._prepare_environment()
assert "torch" not in sys.modules and "transformers" not in sys.modules
print(os.environ.get("GOMP_SPINCOUNT"), os.environ["HF_HUB_DISABLE_PROGRESS_BARS"])
from transformers.utils import logging
print(logging.is_progress_bar_enabled())
"""


def _seen(**given: str) -> list[str]:
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "HF_HUB_DISABLE_PROGRESS_BARS")
    env = {k: v for k, v in os.environ.items() if k not in names} | given
    done = subprocess.run(
        [sys.executable, "-c", _LOOK], capture_output=True, text=True, check=True, env=env
    )
    return done.stdout.split()


def test_waiting_threads_spin_briefly_and_files_get_no_bars():
    assert _seen() == ["1000", "1", "False"]


def test_what_the_user_has_set_stays():
    given = {"OMP_WAIT_POLICY": "ACTIVE", "HF_HUB_DISABLE_PROGRESS_BARS": "0"}
    assert _seen(**given) == ["None", "0", "True"]
    assert _seen(GOMP_SPINCOUNT="7")[0] == "7"
