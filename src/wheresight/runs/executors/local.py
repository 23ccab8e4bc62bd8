"""Executor `local`: in this process; where a launcher started several, each does its share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from wheresight.runs.launch import Share, share_of_launcher

if TYPE_CHECKING:
    from wheresight.runs.work import Work


class Local:
    """See Executor. torchrun and Slurm are read by `wheresight.runs.launch`."""

    def share(self, environ: Mapping[str, str]) -> Share:
        return share_of_launcher(environ)

    def compute(self, work: Work) -> None:
        from wheresight.runs.work import Worker, recorded_batch_size

        size = recorded_batch_size(work.request, work.folder)
        worker = Worker(
            work.request, work.card, work.probe, work.share, work.progress, batch_size=size
        )
        first = work.shards[0]
        try:
            worker.settle(first.items, [unit.intervention for unit in first.todo])
            work.progress.start(work.rows_total, work.rows_done, "questions")
            try:
                worker.do(work.shards, work.folder, work.progress.advance)
            finally:
                work.progress.stop()
        finally:
            worker.close()
