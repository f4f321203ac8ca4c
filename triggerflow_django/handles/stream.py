"""``RuntimeStream`` and ``AsyncRuntimeStream``: iterators over an execution's runtime stream, one implementation for
both.

Reading changes nothing about an execution, except that one that was not started is started: by workers, or here, beside
the reader. A reader that ends early leaves it running.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import math
import os
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError, connections

from triggerflow_django.engine.calls import Db
from triggerflow_django.engine.stream_reading import Cursor, Entry
from triggerflow_django.handles import reading, trampoline, verbs
from triggerflow_django.handles.trampoline import Sleep, Verb

if TYPE_CHECKING:
    from triggerflow_django.handles.execution import TriggerFlowExecution

T = TypeVar("T")

#: Seconds between two looks: at first after an item, and at most.
_FIRST_NAP: Final = 0.02
_LONGEST_NAP: Final = 0.25
#: Seconds a reader whose time is over waits for an execution that is about to close by itself.
_NEARLY_CLOSED: Final = 1.0
#: Seconds a database may be away before a reader without a timeout gives up.
_PATIENCE: Final = 30.0
_TASK: Final = "triggerflow-stream"


class _Stream:
    """What both iterators are."""

    def __init__(
        self, handle: TriggerFlowExecution, value: Any, *, timeout: float | None, position: int, is_hidden: bool
    ) -> None:
        if timeout is not None and not timeout >= 0:
            raise ValueError(f"timeout={timeout!r}: give seconds, or None to wait as long as it takes")
        if not isinstance(position, int) or position < 0:
            raise ValueError(f"position={position!r}: give a position of this stream, or 0 for all of it")
        #: The position of the item that was given last; a new reader goes on behind it.
        self.position = position
        self._handle = handle
        self._value = value
        self._timeout = timeout
        self._is_hidden = is_hidden
        self._is_begun = False
        self._is_over = False
        self._cursor: Cursor | None = None
        self._position = position

    def _started(self) -> bool:
        """Whether it is started already. (A database function.)"""
        row = None if self._handle.is_fresh else reading.row(self._handle.pk, self._handle.using)
        return row is not None and row.started_at is not None

    def _start_verb(self) -> Verb[Any]:
        if self._is_hidden:
            return verbs.start_hidden(self._handle, self._value)
        return verbs.start_execution(self._handle, self._value)

    def _must_come_first(self) -> bool:
        """Whether the execution cannot run beside the reader: another connection would not see it, or not get in."""
        connection: Any = connections[self._handle.using]
        in_memory = connection.vendor == "sqlite" and connection.is_in_memory_db()
        return bool(connection.in_atomic_block or in_memory)

    def _next(self, failure: Callable[[], tuple[bool, BaseException | None]]) -> Verb[Entry | None]:
        """The next item, ``None`` at the end. ``failure``: whether what was started is done, and how it failed."""
        deadline = math.inf if self._timeout is None else time.monotonic() + self._timeout
        trouble_since = None
        nap = _FIRST_NAP
        while True:
            done, error = failure()
            cursor = self._cursor
            if cursor is None or cursor.execution_id != self._handle.pk:  # a key has led to another execution
                cursor = self._cursor = Cursor(self._handle.pk, position=self._position, using=self._handle.using)
            if not cursor.entries and not cursor.is_ended:
                try:
                    yield Db(cursor.look)
                    trouble_since = None
                except (OperationalError, InterfaceError):
                    now = time.monotonic()
                    trouble_since = trouble_since or now
                    if (yield Db(self._in_trouble)) or now >= min(deadline, trouble_since + _PATIENCE):
                        raise
            if cursor.entries:
                return cursor.entries.popleft()
            if cursor.is_ended and (done or not cursor.is_closed or time.monotonic() >= deadline):
                self._is_over = True
                if error is not None:
                    raise error
                return None
            if done and error is not None:
                self._is_over = True
                raise error
            left = deadline - time.monotonic()
            if cursor.closes_in is not None and cursor.closes_in < _NEARLY_CLOSED and not cursor.is_ended:
                left = max(left, cursor.closes_in + 0.1)
            if left <= 0:
                self._is_over = True
                warnings.warn(
                    f"no item of execution {self._handle.id} came within {self._timeout:g} s: the stream ends here, "
                    f"the execution does not; go on from position {self.position}",
                    RuntimeWarning,
                    stacklevel=2,
                )
                return None
            yield Sleep(min(nap, left))
            nap = min(nap * 1.5, _LONGEST_NAP)

    def _in_trouble(self) -> bool:
        """After a database error: a new connection, unless somebody's transaction depends on this one."""
        connection = connections[self._handle.using]
        if connection.in_atomic_block:
            return True
        connection.close()
        return False

    def _given(self, entry: Entry) -> Any:
        self.position = entry.position
        return entry.item


class RuntimeStream(_Stream):
    """The items of an execution's runtime stream, as they come. ``position`` is that of the last one given."""

    _work: Future[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._is_over:
            raise StopIteration
        if not self._is_begun:
            self._begin()
        verb = self._next(self._failure)
        entry = trampoline.run_sync(verb, using=self._handle.using, runs_chunks=False, name="get_runtime_stream")
        if entry is None:
            raise StopIteration
        return self._given(entry)

    def positions(self) -> Iterator[tuple[int, Any]]:
        """The same with positions: ``(position, item)``."""
        for item in self:
            yield self.position, item

    def close(self) -> None:
        """Read no more. The execution goes on."""
        self._is_over = True

    def _begin(self) -> None:
        self._is_begun = True

        def look() -> Verb[tuple[bool, bool]]:
            found: tuple[bool, bool] = yield Db(lambda: (self._started(), self._must_come_first()))
            return found

        using = self._handle.using
        started, comes_first = trampoline.run_sync(look(), using=using, runs_chunks=False, name="get_runtime_stream")
        if started:
            return
        if comes_first:
            self._work = Future()
            try:
                self._work.set_result(self._handle._sync(self._start_verb(), "get_runtime_stream"))
            except Exception as error:
                self._work.set_exception(error)
            return
        self._work = trampoline.in_thread(self._start_verb())

    def _failure(self) -> tuple[bool, BaseException | None]:
        if self._work is None:
            return True, None
        return (True, self._work.exception()) if self._work.done() else (False, None)


class AsyncRuntimeStream(_Stream):
    """See ``RuntimeStream``; for ``async for``."""

    _work: asyncio.Task[Any] | None = None
    _is_reading = False
    #: Whether the loop's database thread reads, since others would not see what it is in the middle of.
    _on_database_thread = False

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        if self._is_over:
            raise StopAsyncIteration
        try:
            if not self._is_begun:
                await self._begin()
            entry = await trampoline.run_async(self._next(self._failure), database=self._on_some_thread)
        except BaseException:
            self._leave()
            raise
        if entry is None:
            self._leave()
            raise StopAsyncIteration
        return self._given(entry)

    async def positions(self) -> AsyncIterator[tuple[int, Any]]:
        """The same with positions: ``(position, item)``."""
        async for item in self:
            yield self.position, item

    async def aclose(self) -> None:
        """Read no more. The execution goes on."""
        self._is_over = True
        self._leave()

    def __del__(self) -> None:
        self._leave()

    async def _begin(self) -> None:
        self._is_begun = True
        started, self._on_database_thread = await sync_to_async(
            lambda: (self._started(), self._must_come_first()), thread_sensitive=True
        )()
        if not self._on_database_thread:
            _readers.enter()
            self._is_reading = True
        if started:
            return
        self._work = asyncio.get_running_loop().create_task(self._handle._async(self._start_verb()), name=_TASK)
        self._work.add_done_callback(_retrieved)
        self._handle._keep(self._work)
        if self._on_database_thread:
            await asyncio.wait([self._work])

    def _failure(self) -> tuple[bool, BaseException | None]:
        if self._work is None:
            return True, None
        if not self._work.done():
            return False, None
        return True, asyncio.CancelledError() if self._work.cancelled() else self._work.exception()

    async def _on_some_thread(self, function: Callable[[], Any]) -> Any:
        if self._on_database_thread:
            return await sync_to_async(function, thread_sensitive=True)()
        return await _readers.call(function)

    def _leave(self) -> None:
        if self._is_reading:
            self._is_reading = False
            _readers.leave()


def _retrieved(task: asyncio.Task[Any]) -> None:
    """Its error is the reader's; a reader that has left does not want it."""
    if not task.cancelled():
        task.exception()


class _Readers:
    """The thread on which async readers look, with a connection of its own.

    Not the loop's database thread: where an execution runs inline, that is busy with sync chunks while they put items.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._count = 0

    def enter(self) -> None:
        """One more reader."""
        self._count += 1
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="triggerflow-readers")

    def leave(self) -> None:
        """One less; the last closes the connection, and the thread ends."""
        self._count -= 1
        if not self._count and self._pool is not None:
            pool, self._pool = self._pool, None
            with contextlib.suppress(RuntimeError):  # the interpreter is ending
                pool.submit(connections.close_all)
            pool.shutdown(wait=False)

    async def call(self, function: Callable[[], T]) -> T:
        """Run a function there."""
        assert self._pool is not None  # noqa: S101 - whoever calls has entered
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._pool, context.run, function)


_readers = _Readers()


def _after_fork() -> None:
    global _readers  # noqa: PLW0603 - threads do not survive a fork
    _readers = _Readers()


os.register_at_fork(after_in_child=_after_fork)
