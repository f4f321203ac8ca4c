"""The RQ worker classes: one queue, JSON, bells only; forking (``TriggerFlowWorker``) or not (``UnforkedWorker``).

The forking parent never touches a database: a connection it held would be shared by all its children. What RQ itself
keeps in Redis about jobs (retries, results, registries) carries no meaning here; its own maintenance only tidies up.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
import time
from types import FrameType
from typing import Any, Final

from django.db import connections
from rq import Queue, SimpleWorker, Worker
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import now
from rq.worker import BaseWorker

from triggerflow_django import conf, wakeups
from triggerflow_django.worker import entry
from triggerflow_django.worker.job import BellJob

logger = logging.getLogger(__name__)

#: Seconds between two rounds of RQ's own tidying.
_TIDYING_SECONDS: Final = 600
#: RQ's dequeue waits for this many seconds less than the time to live it gives a worker.
_RQ_MARGIN: Final = 15
_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None) if sys.platform == "linux" else None


class _BellWorker(BaseWorker):
    """What both workers share: their one queue, the sweep bell, and maintenance that cannot end them."""

    def __init__(self, queue: Queue, **options: Any) -> None:
        # Its loop has to turn about once a sweep, since that is where it rings for one.
        turn = max(1, round(conf.get_settings().SWEEP_SECONDS))
        super().__init__(
            [queue],
            job_class=BellJob,
            serializer=JSONSerializer,
            worker_ttl=turn + _RQ_MARGIN,
            maintenance_interval=_TIDYING_SECONDS,
            log_job_description=False,
            **options,
        )
        self._next_sweep = 0.0

    @property
    def should_run_maintenance_tasks(self) -> bool:
        """Whether it is time to tidy up or to ring for a sweep."""
        return time.monotonic() >= self._next_sweep or super().should_run_maintenance_tasks

    def run_maintenance_tasks(self) -> None:
        """Ring for a sweep, and now and then let RQ tidy its registries.

        Nothing that lies in Redis can end the worker here.
        """
        if time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + conf.get_settings().SWEEP_SECONDS
            self._ring_for_sweep()
        if super().should_run_maintenance_tasks:
            try:
                super().run_maintenance_tasks()
            except Exception:
                logger.warning("triggerflow.worker.tidying_failed", exc_info=True, extra={"queue": self.queues[0].name})
                self._skip_tidying()

    def clean_group_registries(self) -> None:
        """Nothing: bells belong to no group."""

    def _skip_tidying(self) -> None:
        self.last_cleaned_at = now()  # type: ignore[assignment]  # rq annotates only its first value
        with contextlib.suppress(Exception):
            self.queues[0].release_maintenance_lock()

    def _ring_for_sweep(self) -> None:
        """One sweep bell for all workers of a queue: they share a key that lives as long as the sweep's interval."""
        queue = self.queues[0]
        milliseconds = round(conf.get_settings().SWEEP_SECONDS * 900)
        try:
            if self.connection.set(f"triggerflow:sweep:{queue.name}", self.name, nx=True, px=milliseconds):
                wakeups.push(queue, wakeups.SWEEP)
        except Exception:
            logger.warning("triggerflow.bell.failed", exc_info=True, extra={"queue": queue.name})


class TriggerFlowWorker(_BellWorker, Worker):
    """Forks a child for each bell."""

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        """Fork, with no database connection or pool open that both sides would then use."""
        for connection in connections.all(initialized_only=True):
            connection.close()
            if hasattr(connection, "close_pool"):
                connection.close_pool()
        super().fork_work_horse(job, queue)

    def handle_warm_shutdown_request(self) -> None:
        """Told to stop: the child ends its drain after the current step."""
        super().handle_warm_shutdown_request()
        if self.horse_pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.horse_pid, signal.SIGTERM)

    def setup_work_horse_signals(self) -> None:
        """In the child: Ctrl-C is the parent's business; SIGTERM ends the drain after the current step, and so does
        the parent's death (on Linux): nobody would watch over the next one.
        """
        entry.stop_requested.clear()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, _request_stop)
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
            if os.getppid() != self.pid:  # it died before the kernel was asked
                entry.stop_requested.set()


class UnforkedWorker(_BellWorker, SimpleWorker):
    """Runs bells in its own process: faster, but a chunk that crashes takes the worker with it."""

    def handle_warm_shutdown_request(self) -> None:
        """Told to stop: the drain ends after the current step."""
        super().handle_warm_shutdown_request()
        entry.stop_requested.set()


def _request_stop(_number: int, _frame: FrameType | None) -> None:
    entry.stop_requested.set()
