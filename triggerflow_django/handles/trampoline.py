"""Drive a verb: a generator that yields ``Db``, ``Drain``, ``Sleep`` and ``Gather``, in sync code or in an event loop
(design.md 5.13).

Without a running loop everything happens on the caller's thread and connection, so the caller's ``atomic()`` holds. In
a loop, database work goes to the loop's database thread. A sync call in a running loop reads through that thread; one
that runs chunks gets a thread and a loop of its own.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from django.db import connections

from triggerflow_django import exceptions
from triggerflow_django.engine.calls import Db, on_database_thread
from triggerflow_django.engine.drain import InlineDrain
from triggerflow_django.runtime import bridge

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Drain:
    """Run the execution's steps until nothing is left to do. Answers with the errors of steps that failed for good."""

    drain: InlineDrain
    #: Stop after so long and give back what is left.
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Gather:
    """Wait for work of this event loop, and cancel what is not done in time. Without a running loop there is none."""

    tasks: frozenset[asyncio.Task[None]]
    seconds: float | None = None


#: Runs a database function for an event loop.
Database = Callable[[Callable[[], Any]], Awaitable[Any]]
Verb = Generator[Db | Drain | Sleep | Gather, Any, T]

#: How many drains of which executions run in an event loop.
_drains: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, Counter[uuid.UUID]]] = WeakKeyDictionary()
#: Executions whose chunks stand still until the sync call we run for is over: it blocks their loop.
_stopped: Final[ContextVar[frozenset[uuid.UUID]]] = ContextVar("triggerflow_stopped_executions", default=frozenset())


def stands_still(execution_id: uuid.UUID) -> bool:
    """Whether a sync call that waits for this execution's running chunks would never end."""
    return execution_id in _stopped.get()


def run_sync(verb: Verb[T], *, using: str, runs_chunks: bool, name: str) -> T:
    """Drive a verb from sync code.

    Raises: SyncInLoopError for a verb that runs chunks, called in a running loop under an open transaction.
    """
    if not bridge.in_running_loop():
        return _drive(verb)
    if not runs_chunks:
        return bridge.call(lambda: _drive(verb))
    if bridge.call(lambda: connections[using].in_atomic_block):
        verb.close()
        raise exceptions.SyncInLoopError(
            f"{name}() runs chunks and cannot do so in a running event loop under an open transaction; await "
            f"async_{name}() instead"
        )
    work = in_thread(verb)
    try:
        return work.result()
    finally:
        wait([work])


def in_thread(verb: Verb[T]) -> Future[T]:
    """Drive a verb on a thread of its own, with its own connection: the loop's database thread may be needed by what it
    runs.
    """
    # In a copy of the context, so that what it runs knows the chunk it was called by.
    context = contextvars.copy_context()
    if bridge.in_running_loop():
        context.run(_stopped.set, _stopped.get() | frozenset(_drains.get(asyncio.get_running_loop(), ())))
    helper = ThreadPoolExecutor(max_workers=1, thread_name_prefix="triggerflow-sync")
    try:
        return helper.submit(context.run, _drive_and_disconnect, verb)
    finally:
        helper.shutdown(wait=False)


def _drive(verb: Verb[T]) -> T:
    answer: Any = None
    error: BaseException | None = None
    while True:
        try:
            operation = verb.throw(error) if error is not None else verb.send(answer)
        except StopIteration as finished:
            result: T = finished.value
            return result
        answer, error = None, None
        try:
            match operation:
                case Db():
                    answer = operation.function()
                case Drain():
                    operation.drain.run(operation.seconds)
                    answer = operation.drain.failures
                case Sleep():
                    time.sleep(operation.seconds)
        except BaseException as raised:
            error = raised


def _drive_and_disconnect(verb: Verb[T]) -> T:
    try:
        return _drive(verb)
    finally:
        connections.close_all()


async def run_async(verb: Verb[T], *, database: Database = on_database_thread) -> T:
    """Drive a verb in this event loop. ``database``: runs its database functions, on the loop's database thread unless
    told otherwise.
    """
    answer: Any = None
    error: BaseException | None = None
    while True:
        try:
            operation = verb.throw(error) if error is not None else verb.send(answer)
        except StopIteration as finished:
            result: T = finished.value
            return result
        answer, error = None, None
        try:
            match operation:
                case Db():
                    answer = await database(operation.function)
                case Drain():
                    with _counted(operation.drain.execution_id):
                        await operation.drain.run_async(operation.seconds)
                    answer = operation.drain.failures
                case Sleep():
                    await asyncio.sleep(operation.seconds)
                case Gather():
                    await _gather(operation)
        except BaseException as raised:
            error = raised


@contextmanager
def _counted(execution_id: uuid.UUID) -> Iterator[None]:
    drains = _drains.setdefault(asyncio.get_running_loop(), Counter())
    drains[execution_id] += 1
    try:
        yield
    finally:
        drains[execution_id] -= 1
        if not drains[execution_id]:
            del drains[execution_id]


async def _gather(operation: Gather) -> None:
    if not operation.tasks:
        return
    _done, late = await asyncio.wait(operation.tasks, timeout=operation.seconds)
    for task in late:
        task.cancel()
    await asyncio.gather(*operation.tasks, return_exceptions=bool(late))
