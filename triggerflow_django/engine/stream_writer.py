"""The thread of a process that stores what its chunks put into streams, on a connection of its own.

It writes for each chunk every 50 ms at most, and waits for a database that is busy or away as long as patience lasts.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from typing import TYPE_CHECKING, Final

from django.db import DatabaseError, InterfaceError, OperationalError, connections

from triggerflow_django.engine.stream import BATCH

if TYPE_CHECKING:
    from triggerflow_django.engine.publisher import Publisher

logger = logging.getLogger(__name__)

#: Seconds between two writes of one chunk's items.
INTERVAL: Final = 0.05
#: Seconds a ``put`` or a commit waits for a database that falls behind, or does not answer, before items are given up.
PATIENCE: Final = 5.0
#: Seconds the writer keeps its connection without work.
_LINGER: Final = 0.25


class Writer:
    """The process's thread that writes what chunks put."""

    def __init__(self) -> None:
        # Safe to use from where a signal has struck.
        self._bell: queue.SimpleQueue[tuple[Publisher, threading.Event | None]] = queue.SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._due: dict[Publisher, list[threading.Event]] = {}
        self._is_connected = False

    def ring(self, publisher: Publisher) -> None:
        """There are items to write."""
        self._bell.put((publisher, None))
        self._ensure_thread(0.0)

    def flush(self, publisher: Publisher) -> None:
        """Wait until all its items are written or given up."""
        done = threading.Event()
        publisher.is_rung = True
        self._bell.put((publisher, done))
        self._ensure_thread(1.0)
        if not done.wait(PATIENCE * 2):
            logger.warning("triggerflow.stream.late", extra={"step": publisher.step.pk})
            publisher.be_over()

    def _ensure_thread(self, seconds: float) -> None:
        if self._thread is not None:
            return
        # Where the alarm of a chunk struck just here, the lock may never be released: a flush goes on without it.
        held = self._starting.acquire(timeout=seconds)
        try:
            if self._thread is None and (held or seconds):
                self._thread = threading.Thread(target=self._run, name="triggerflow-stream", daemon=True)
                self._thread.start()
        finally:
            if held:
                self._starting.release()

    def _run(self) -> None:
        while True:
            self._hear()
            now = time.monotonic()
            for publisher in [one for one in self._due if one.due <= now]:
                self._serve(publisher)

    def _hear(self) -> None:
        """Take in bells until something is due."""
        while True:
            timeout = None
            if self._due:
                timeout = max(0.0, min(one.due for one in self._due) - time.monotonic())
            elif self._is_connected:
                timeout = _LINGER
            try:
                publisher, done = self._bell.get(timeout=timeout)
            except queue.Empty:
                if self._due:
                    return
                connections.close_all()
                self._is_connected = False
                continue
            waiters = self._due.setdefault(publisher, [])
            if done is not None:
                waiters.append(done)
                publisher.due = 0.0

    def _serve(self, publisher: Publisher) -> None:
        publisher.is_rung = False
        try:
            self._is_connected = True
            _connect(publisher.using)
            publisher.write()
            publisher.refused_since = None
        except (OperationalError, InterfaceError) as error:
            self._refused(publisher, error)
        except Exception:
            logger.warning("triggerflow.stream.failed", exc_info=True, extra={"step": publisher.step.pk})
            _disconnect(publisher.using)
            publisher.give_up()
        else:
            publisher.due = time.monotonic() + (INTERVAL if len(publisher.waiting) < BATCH else 0.0)
        if publisher.is_over:
            publisher.waiting.clear()
        waiters = self._due[publisher]
        if publisher.waiting:
            if waiters and publisher.refused_since is None:
                publisher.due = 0.0
            return
        del self._due[publisher]
        for done in waiters:
            done.set()

    def _refused(self, publisher: Publisher, error: Exception) -> None:
        """The database is busy or away: try again, until patience ends."""
        _disconnect(publisher.using)
        now = time.monotonic()
        if publisher.refused_since is None:
            publisher.refused_since = now
        if now - publisher.refused_since >= PATIENCE:
            logger.warning("triggerflow.stream.failed", extra={"step": publisher.step.pk, "reason": str(error)})
            publisher.give_up()
            publisher.refused_since = None
        publisher.due = now + 2 * INTERVAL


def _connect(using: str) -> None:
    connection = connections[using]
    if connection.connection is None:
        connection.ensure_connection()
        if connection.vendor == "postgresql":
            # One chunk that holds on to its execution's row must not keep the items of others waiting.
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '1s'")


def _disconnect(using: str) -> None:
    try:
        connections[using].close()
    except DatabaseError:
        logger.debug("triggerflow.stream.close_failed", exc_info=True)


writer = Writer()


def _after_fork() -> None:
    global writer  # noqa: PLW0603 - threads do not survive a fork
    writer = Writer()


os.register_at_fork(after_in_child=_after_fork)
