"""A study that runs is watched over HTTP: it changes as parts appear and ends as the report."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from wheresight.errors import RunError
from wheresight.report.document import watched
from wheresight.runs.evaluate import EvaluateRequest, run_evaluate
from wheresight.runs.serve import is_loopback, serving
from wheresight.runs.study import build, find
from wheresight.runs.watch import Watch


def ask(
    address: str, path: str = "/", method: str = "GET", host: str | None = None
) -> tuple[int, dict[str, str], str]:
    where = urlsplit(address)
    connection = http.client.HTTPConnection("127.0.0.1", where.port, timeout=30)
    try:
        connection.putrequest(method, path, skip_host=host is not None)
        if host is not None:
            connection.putheader("Host", host)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


def test_a_running_probe_is_shown_as_it_goes_and_ends_as_its_report(tmp_path: Path) -> None:
    out, items = tmp_path / "moved", 80
    out.mkdir()
    command = [
        sys.executable, "-m", "wheresight", "probe", "--items", str(items), "--grid", "2x2",
        "--replicates", "100", "--out", str(out),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with serving(Watch([str(out)], replicates=100)) as address:
        assert "<title>Wheresight study</title>" in ask(address)[2]
        first = version(address)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment) as probe:
            # Held still once it has some records, so that the page need not race it.
            wait(lambda: any((out / "records").glob("*.parquet")))
            probe.send_signal(signal.SIGSTOP)
            assert not (out / "report.html").exists()
            wait(lambda: shown_items(address) > 0)
            during, some = version(address), shown_items(address)
            probe.send_signal(signal.SIGCONT)
            assert probe.wait(300) == 0
        final = (out / "report.html").read_text("utf-8")
        wait(lambda: ask(address, "/report.html")[2] == final)
        assert 0 < some < items == shown_items(address)
        assert len({first, during, version(address)}) == 3
        assert ask(address)[2] == watched(final, version(address))


def wait(until: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


def version(address: str) -> str:
    found: str = json.loads(ask(address, "/state")[2])["version"]
    return found


def shown_items(address: str) -> int:
    """How many items the page counts; 0 before there is one."""
    found = re.search(r"([\d,]+) items,", ask(address, "/report.html")[2])
    return int(found[1].replace(",", "")) if found else 0


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asked")
    run_evaluate(
        EvaluateRequest(
            out=str(folder), benchmarks=("2ds#images=34",), interventions=("none", "bapa"),
            blind=False, replicates=100,
        )
    )  # fmt: skip
    return folder


@pytest.fixture
def address(asked: Path) -> Iterator[str]:
    watch = Watch([str(asked)], replicates=100)
    watch.look()
    with serving(watch) as address:
        yield address


def test_only_its_own_few_addresses_are_answered(address: str, asked: Path) -> None:
    status, headers, page = ask(address, "/report.html")
    assert status == 200 and page == (asked / "evaluation.html").read_text("utf-8")
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-store"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert ask(address, "/", "HEAD")[2] == ""
    for path in (
        "/evaluate.json", "/../evaluate.json", "/%2e%2e/evaluate.json", "//etc/passwd",
        "/samples/../../evaluate.json", "/records", f"/{asked}/evaluate.json", "/report.html/..",
    ):  # fmt: skip
        assert ask(address, path)[0] == 404, path
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert ask(address, "/", method)[0] == 501


def test_names_of_other_sites_that_lead_here_are_refused(address: str) -> None:
    port = urlsplit(address).port
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", "localhost", f"[::1]:{port}"):
        assert ask(address, "/state", host=host)[0] == 200, host
    for host in (
        f"evil.example:{port}", "localhost.evil.example", "127.0.0.1.evil.example", "", "[",
        "10.0.0.1",
    ):  # fmt: skip
        assert ask(address, "/state", host=host)[0] == 421, host
    assert is_loopback("127.0.0.53") and is_loopback("::1") and is_loopback("LOCALHOST")
    assert not any(map(is_loopback, ("0.0.0.0", "::", "example.org", "192.168.0.1")))


def test_an_evaluation_that_is_not_done_shows_what_every_intervention_has_answered(
    asked: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "asked"
    shutil.copytree(asked, copy)
    parts = sorted((copy / "records").iterdir())
    assert len(parts) == 4  # two of each intervention
    parts[0].unlink()
    before = {path.name: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    watch = Watch([str(copy)], replicates=100)
    assert watch.look() and not watch.look()
    assert "Does the model know where things are?" in watch.seen.page
    assert " questions about " in watch.seen.page
    whole = build(find([str(asked)]), [str(asked)], replicates=100)
    assert watch.seen.page != whole.page
    assert {p.name: p.read_bytes() for p in copy.rglob("*") if p.is_file()} == before
    for part in parts[1:]:
        part.unlink()
    assert watch.look() and "answered under every intervention yet" in watch.seen.page


def test_the_command_serves_until_it_is_told_to_end(asked: Path) -> None:
    command = [sys.executable, "-m", "wheresight", "serve", str(asked), "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        address = line.rsplit(maxsplit=1)[-1]
        assert address.startswith("http://localhost:") and ask(address)[0] == 200
        server.send_signal(signal.SIGINT)
        assert "No longer served." in server.communicate(timeout=60)[0]
    assert server.returncode == 0


def test_a_port_that_is_taken_is_said_in_a_sentence(address: str, asked: Path) -> None:
    with (
        pytest.raises(RunError, match="Nothing can listen at 127.0.0.1, port"),
        serving(Watch([str(asked)]), port=urlsplit(address).port or 0),
    ):
        pass
