"""What a chunk puts into its stream, on its way into the table while the chunk still runs.

The process's writer (``stream_writer``) stores it, so that other processes see items before the chunk commits: the
first at once, then what has come together, and the rest before the chunk's commit. ``put`` itself takes no lock (the
alarm of a chunk's time limit may strike anywhere) and does not wait, unless the database falls behind.

Where a second connection could not write (inside somebody's transaction, where it does not see the execution; in an
atomic chunk on SQLite, which blocks all writers; a database in memory), items are kept and written with the commit.

Trouble with the stream never fails a chunk: items that cannot be stored are logged, counted, and readers find a gap.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.db import DatabaseError, InterfaceError, OperationalError, transaction

from triggerflow_django.engine import stream, stream_writer
from triggerflow_django.engine.stream import BATCH, Draft
from triggerflow_django.models import Step, StreamItemKind

logger = logging.getLogger(__name__)

#: Items of one chunk that wait in memory before ``put`` waits.
MOST_WAITING: Final = 500
#: Items of one chunk that are kept for its commit, where they cannot be written before.
MOST_KEPT: Final = 10_000
_NAP: Final = 0.005


class Publisher:
    """The stream of one run of a step. Made by its first ``put``."""

    def __init__(self, step: Step, *, using: str, is_direct: bool) -> None:
        self.step = step
        self.using = using
        #: Written with the commit, on its connection.
        self.is_direct = is_direct
        self.waiting: deque[Draft] = deque()
        self.is_rung = False
        #: Items readers have to be told they will not get.
        self.lost = 0
        #: Nobody would read what is put now: the stream was stopped, or the step is not this run's any more.
        self.is_over = False
        self.is_stopped = False
        self._root: uuid.UUID | None = None
        #: For the writer: when to write next, and since when the database has refused (monotonic).
        self.due = 0.0
        self.refused_since: float | None = None
        self.has_put = False
        self._has_waited = False

    # -- on the chunk's side

    def put(self, item: Any) -> None:
        """Hand over an item that has passed the gate."""
        for _nap in self._naps():
            time.sleep(_NAP)
        self._hand_over(Draft(StreamItemKind.ITEM, item))

    async def async_put(self, item: Any) -> None:
        """See ``put``; where the database falls behind, the loop goes on meanwhile."""
        for _nap in self._naps():
            await asyncio.sleep(_NAP)
        self._hand_over(Draft(StreamItemKind.ITEM, item))

    def stop(self) -> None:
        """No more items; readers end once they have read those before."""
        self._hand_over(Draft(StreamItemKind.STOP, None))
        self.is_stopped = True

    def _naps(self) -> Iterator[None]:
        """As often as to wait for room; in vain once only, until there has been room again."""
        if not self._is_full():
            self._has_waited = False
            return
        until = time.monotonic() + stream_writer.PATIENCE
        while self._is_full() and not self._has_waited and not self.is_over:
            yield
            self._has_waited = time.monotonic() >= until

    def _is_full(self) -> bool:
        return not self.is_direct and len(self.waiting) >= MOST_WAITING

    def _hand_over(self, draft: Draft) -> None:
        if self.is_over or self.is_stopped:
            return
        self.has_put = True
        if self._is_full():
            self._lose(1)
            return
        self.waiting.append(draft)
        if self.is_direct:
            while len(self.waiting) > MOST_KEPT:
                self.waiting.popleft()
                self._lose(1)
        elif not self.is_rung:
            self.is_rung = True
            stream_writer.writer.ring(self)

    def _lose(self, items: int) -> None:
        if not self.lost:
            logger.warning("triggerflow.stream.lost", extra={"step": self.step.pk, "items": items})
        self.lost += items
        stream.counts.lost += items

    # -- around the commit

    @contextmanager
    def delivered(self) -> Iterator[None]:
        """Around the commit (or the failure) of the run: what was put is in the table before readers can see that."""
        if not self.is_direct:
            self.flush()
            if not self.lost:
                yield
                return
        kept, lost = list(self.waiting), self.lost
        try:
            with transaction.atomic(using=self.using):
                self._write_here(kept)
                yield
        except BaseException:
            self.lost = lost  # it will be told again
            raise
        self.waiting.clear()

    def flush(self) -> None:
        """Wait until the writer has written everything, or it has been given up."""
        if self.waiting or self.is_rung:
            stream_writer.writer.flush(self)

    def begin_again(self) -> None:
        """The database undid a try of the chunk, which is run once more."""
        if self.is_direct:
            self.waiting.clear()
        elif self.has_put:
            self.flush()
            self.waiting.append(Draft(StreamItemKind.RESTART, self._facts()))
        self.is_stopped = False

    def _facts(self) -> dict[str, Any]:
        return {"step": self.step.node, "attempt": self.step.attempt}

    def _write_here(self, drafts: list[Draft]) -> None:
        try:
            with transaction.atomic(using=self.using):
                if self._root is None:
                    execution = stream.open_stream(self.step.execution_id, using=self.using)
                    assert execution is not None  # noqa: S101 - it is running
                    self._root = root = stream.root_of(execution)
                    if root != execution.pk:  # the sweep finds streams by their roots; afterwards: one lock at a time
                        opening = functools.partial(stream.open_stream, root, using=self.using)
                        transaction.on_commit(opening, using=self.using, robust=True)
                for start in range(0, max(1, len(drafts)), BATCH):
                    self._append(drafts[start : start + BATCH])
        except (OperationalError, InterfaceError):
            raise  # of the transaction, which is tried again
        except DatabaseError:
            stream.counts.lost += len(drafts)
            logger.warning("triggerflow.stream.lost", exc_info=True, extra={"items": len(drafts)})

    # -- on the writer's side

    def write(self) -> None:
        """Write what waits, up to a batch. (On the writer's thread.)"""
        drafts = [self.waiting[index] for index in range(min(len(self.waiting), BATCH))]
        if not drafts:
            return
        if self._root is None:
            self._open()
        self._append(drafts)
        for _draft in drafts:
            self.waiting.popleft()

    def _open(self) -> None:
        execution = stream.open_stream(self.step.execution_id, using=self.using)
        assert execution is not None  # noqa: S101 - it is running
        root = stream.root_of(execution)
        if root != execution.pk:
            stream.open_stream(root, using=self.using)
        self._root = root

    def _append(self, drafts: list[Draft]) -> None:
        root = self._root
        assert root is not None  # noqa: S101 - opened before
        lost = self.lost
        if lost:
            drafts = [Draft(StreamItemKind.GAP, {**self._facts(), "lost": lost}), *drafts]
        if not drafts or self.is_over:
            return
        look = stream.looking_by(self.step, root, self.using)
        source = self.step.execution_id
        if not stream.append(root, drafts, source=source, using=self.using, look=look, step=self.step):
            self.is_over = True
            self.is_stopped = stream.is_stopped(source, using=self.using)
            logger.info("triggerflow.stream.over", extra={"step": self.step.pk, "items": len(drafts)})
            return
        self.lost -= lost
        if any(draft.kind == StreamItemKind.STOP for draft in drafts):
            stream.stop(source, using=self.using)

    def be_over(self) -> None:
        """The writer does not come to an end: go on without it."""
        self.is_over = True
        self._lose(len(self.waiting))

    def give_up(self) -> None:
        """What waits will not be written. (On the writer's thread.)"""
        items = len(self.waiting)
        for _item in range(items):
            self.waiting.popleft()
        self._lose(items)
