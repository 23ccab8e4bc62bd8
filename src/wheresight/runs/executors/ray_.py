"""Executor `ray`: one actor a GPU, or a few cores, on a Ray cluster.

Ray does what a cluster needs: it places the actors, hands shards to those that are free, starts
dead actors again and repeats what they were doing. A repeated shard does not harm: its parts are
named by what decides them, and each is whole or absent.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wheresight.errors import RunError, WheresightError
from wheresight.runs.launch import Share
from wheresight.runs.places.place import first_line
from wheresight.runs.preparation import automatic
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
_SHARDS_AHEAD = 4
_CLOSE_SECONDS = 30


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
        batch_size: what `auto` has come to, or None.
    """

    def __init__(
        self,
        request: GridRequest,
        settings: GridSettings,
        out: str,
        directory: str,
        batch_size: int | None = None,
    ) -> None:
        with suppress(OSError):
            os.chdir(directory)
        self._request, self._settings, self._out = request, settings, out
        self._batch_size = batch_size
        self._worker: Worker | None = None

    def do(self, shards: Sequence[Shard]) -> int:
        """Write the parts of some shards; return how many questions they have."""
        folder = RunFolder(self._out, self._settings.model_dump(mode="json"))
        # Of several shards, an actor that died may have done some.
        done = folder.units() if len(shards) > 1 else set()
        left = [shard.without(done) for shard in shards]
        self._open().do([shard for shard in left if shard.todo], folder)
        return sum(shard.rows for shard in shards)

    def settle(self, shard: Shard) -> int:
        """Find the batch size on a shard."""
        return self._open().settle(shard.items, [unit.intervention for unit in shard.todo])

    def close(self) -> None:
        """End the processes beside this one, which keep files that nobody else would remove."""
        if self._worker is not None:
            self._worker.close()

    def _open(self) -> Worker:
        from wheresight.runs.work import Worker

        if self._worker is None:
            self._worker = Worker.open(self._request, self._settings, self._batch_size)
        return self._worker


def _compute(ray: Any, work: Work) -> None:
    from ray.util import ActorPool

    from wheresight.runs.work import recorded_batch_size

    request = work.request
    gpus = _gpus_wanted(ray, request.device)
    cores = request.cores_per_worker or 1
    helpers = _picture_workers(ray, request, gpus, cores)
    room = _room(ray, gpus, cores + helpers)
    if not room or (request.workers or 1) > room:
        kind = "a GPU" if gpus else f"{cores} cores"
        kind += f" and {helpers} more for pictures" if helpers else ""
        raise RunError(
            f"{request.workers or 1} workers with {kind} each were asked for, and the cluster has "
            f"room for {room}. Change --workers or --cores-per-worker."
        )
    count = min(request.workers or room, len(work.shards))
    actor = ray.remote(Remote).options(
        num_cpus=cores + helpers,
        num_gpus=int(gpus),
        max_restarts=_RESTARTS,
        max_task_retries=_RETRIES,
    )
    told = replace(request, cores_per_worker=cores, picture_workers=helpers)
    opened = (told, work.probe.settings, work.folder.place.everywhere(), os.getcwd())
    size = recorded_batch_size(request, work.folder)
    if request.batch_size == "auto" and size is None:
        # By an actor of its own: all others, also those that start again, must know the result.
        work.progress.say("Trying batch sizes")
        first = actor.remote(*opened)
        try:
            size = ray.get(first.settle.remote(work.shards[0]))
            _close(ray, [first])
        finally:
            ray.kill(first)
    work.progress.say(f"Starting {count} workers on Ray, each with {request.model}")
    actors = [actor.remote(*opened, size) for _ in range(count)]
    work.progress.start(work.rows_total, work.rows_done, "questions")
    try:
        pool: Any = ActorPool(actors)
        # Where pictures are prepared ahead, an actor has to know what comes next.
        each = max(1, min(_SHARDS_AHEAD, len(work.shards) // (4 * count))) if helpers else 1
        tasks = [work.shards[n : n + each] for n in range(0, len(work.shards), each)]
        for rows in pool.map_unordered(lambda actor, shards: actor.do.remote(shards), tasks):
            work.progress.advance(rows)
        _close(ray, actors)
    finally:
        work.progress.stop()
        for each in actors:
            ray.kill(each)


def _close(ray: Any, actors: Sequence[Any]) -> None:
    with suppress(ray.exceptions.RayError):  # all is written: an actor that dies now does no harm
        ray.get([each.close.remote() for each in actors], timeout=_CLOSE_SECONDS)


def _room(ray: Any, gpus: bool, cores: int) -> int:
    """How many workers fit, machine by machine."""
    fits = 0
    for node in ray.nodes():
        if node["Alive"]:
            has = node["Resources"]
            here = int(has.get("CPU", 0)) // cores
            fits += min(here, int(has.get("GPU", 0))) if gpus else here
    return fits


def _picture_workers(ray: Any, request: GridRequest, gpus: bool, cores: int) -> int:
    """Processes beside each actor, for which Ray sets cores aside."""
    if request.picture_workers is not None:
        return request.picture_workers
    if not gpus:
        return 0
    total = ray.cluster_resources()
    beside = int(total["CPU"] // total["GPU"])
    return max(0, min(automatic(beside, True), beside - cores))


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
    # Ray sends its token to an address that was given only where it is told to.
    token = " Where the cluster asks for Ray's token, set RAY_AUTH_MODE=token." if address else ""
    return RunError(
        f"No Ray cluster could be reached {where} ({reason}). Start one with `ray start --head` "
        f"and give its address, or leave --address out to use this machine.{token}"
    )
