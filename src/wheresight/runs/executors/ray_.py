"""Executor `ray`: one actor a GPU, or a few cores, on a Ray cluster.

Ray does what a cluster needs: it places the actors, hands shards to those that are free, starts
dead actors again and repeats what they were doing. A repeated shard does not harm: its parts are
named by what decides them, and each is whole or absent.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wheresight.errors import RunError, WheresightError
from wheresight.runs.launch import Share
from wheresight.runs.places.place import first_line
from wheresight.runs.store import RunFolder

if TYPE_CHECKING:
    from wheresight.probes.grid import GridSettings
    from wheresight.runs.engine import Shard
    from wheresight.runs.request import GridRequest
    from wheresight.runs.work import Work, Worker

# A worker that dies at every try would else be started for ever.
_RESTARTS = 20
_RETRIES = 10
# Shards are kilobytes and parts are written by the workers, so nothing large goes through Ray.
_STORE_BYTES = 200 * 2**20
_KNOCK_SECONDS = 10


class Ray:
    """See Executor. The process that starts the run plans, waits and makes the report."""

    def share(self, environ: Mapping[str, str]) -> Share:
        _ray()
        return Share()

    def compute(self, work: Work) -> None:
        if not work.folder.place.shared:
            raise RunError(
                f"The output {work.folder.name!r} is in the memory of one process, and Ray's "
                "workers are others. Choose a folder or a URL that all of them see."
            )
        ray = _ray()
        with _cluster(ray, work.request.address):
            try:
                _compute(ray, work)
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, WheresightError):
                    raise error.cause from None
                raise RunError(f"A worker failed: {error.cause!r}.") from error
            except ray.exceptions.RayError as error:
                raise RunError(
                    f"Ray gave up on a worker ({type(error).__name__}) after starting it "
                    f"{_RESTARTS} times or trying its units {_RETRIES} times. Finished records are "
                    "kept: repeat the same command, with fewer workers if memory was short."
                ) from error


class Remote:
    """The actor: opens model and pairs when it is first asked for something, keeps them after.

    Args:
        request: what was asked for, with the cores of one worker.
        settings: what the driver has planned with.
        out: the run's folder, as every machine sees it.
        directory: where the driver runs, for relative paths of models and sources.
    """

    def __init__(
        self, request: GridRequest, settings: GridSettings, out: str, directory: str
    ) -> None:
        with suppress(OSError):
            os.chdir(directory)
        self._request, self._settings, self._out = request, settings, out
        self._worker: Worker | None = None

    def do(self, shard: Shard) -> tuple[int, dict[str, Any]]:
        """Write the parts of a shard; return its number of questions, and where it was done."""
        folder = RunFolder(self._out, self._settings.model_dump(mode="json"))
        worker = self._open()
        worker.do([shard], folder)
        return shard.rows, worker.environment

    def _open(self) -> Worker:
        from wheresight.runs.work import Worker

        if self._worker is None:
            self._worker = Worker.open(self._request, self._settings)
        return self._worker


def _compute(ray: Any, work: Work) -> None:
    from ray.util import ActorPool

    request = work.request
    gpus = _gpus_wanted(ray, request.device)
    cores = request.cores_per_worker or 1
    room = _room(ray, gpus, cores)
    if not room or (request.workers or 1) > room:
        kind = "a GPU" if gpus else f"{cores} cores"
        raise RunError(
            f"{request.workers or 1} workers with {kind} each were asked for, and the cluster has "
            f"room for {room}. Change --workers or --cores-per-worker."
        )
    count = min(request.workers or room, len(work.shards))
    actor = ray.remote(Remote).options(
        num_cpus=cores, num_gpus=int(gpus), max_restarts=_RESTARTS, max_task_retries=_RETRIES
    )
    work.progress.say(f"Starting {count} workers on Ray, each with {request.model}")
    told = replace(request, cores_per_worker=cores)
    place = work.folder.place.everywhere()
    actors = [actor.remote(told, work.probe.settings, place, os.getcwd()) for _ in range(count)]
    work.progress.start(work.rows_total, work.rows_done, "questions")
    try:
        pool: Any = ActorPool(actors)
        done = pool.map_unordered(lambda actor, shard: actor.do.remote(shard), list(work.shards))
        for n, (rows, environment) in enumerate(done):
            if n == 0:
                work.folder.note_environment(environment)
            work.progress.advance(rows)
    finally:
        work.progress.stop()
        for each in actors:
            ray.kill(each)


def _room(ray: Any, gpus: bool, cores: int) -> int:
    """How many workers fit, machine by machine."""
    fits = 0
    for node in ray.nodes():
        if node["Alive"]:
            has = node["Resources"]
            here = int(has.get("CPU", 0)) // cores
            fits += min(here, int(has.get("GPU", 0))) if gpus else here
    return fits


def _gpus_wanted(ray: Any, device: str | None) -> bool:
    if device is None:
        return bool(ray.cluster_resources().get("GPU"))
    if ":" in device:
        raise RunError(
            f"The device {device!r} was given, and Ray chooses each worker's GPU. Say "
            f"{device.partition(':')[0]!r}, or leave --device out."
        )
    return device != "cpu"


def _ray() -> Any:
    # Before the import, which reads them: no reports to Ray's makers, no advice on the screen.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise RunError(
            "The executor ray needs Ray, which is not installed: pip install 'wheresight[ray]'."
        ) from None
    return ray


@contextmanager
def _cluster(ray: Any, address: str | None) -> Iterator[None]:
    """Join the cluster at an address, or start one here that ends with the run."""
    if ray.is_initialized():  # by the program that calls us
        yield
        return
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        options |= {"address": "local", "include_dashboard": False}
        options |= {"object_store_memory": _STORE_BYTES}
    else:
        options |= {"address": address}
        _knock(address)
    try:
        ray.init(**options)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        raise _unreachable(address, first_line(error)) from None
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Ask first whether anyone listens: Ray itself would try for many minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not (colon and port.isdecimal()):
        return  # such as auto, for which Ray looks on this machine
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, first_line(error)) from None


def _unreachable(address: str | None, reason: str) -> RunError:
    where = f"at {address!r}" if address else "on this machine"
    return RunError(
        f"No Ray cluster could be reached {where} ({reason}). Start one with `ray start --head` "
        "and give its address, or leave --address out to use this machine."
    )
