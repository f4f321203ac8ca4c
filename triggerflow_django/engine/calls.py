"""Call user code: within its time limit, marked as a chunk of its execution, sync or async.

A chunk that runs too long ends by our own alarm (sync) or by cancellation (async); neither is ever armed around a
commit.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections

from triggerflow_django import conf, exceptions
from triggerflow_django.definition.chunk import ChunkOptions, Handler, _Unset, is_async
from triggerflow_django.runtime import alarm, current
from triggerflow_django.runtime.data import TriggerFlowRuntimeData

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Db:
    """Run this on the thread that holds the database connection."""

    function: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Call:
    """Run this user code with its data, within its time limit (seconds; ``None``: as long as it likes)."""

    handler: Handler
    data: TriggerFlowRuntimeData
    timeout: float | None


def timeout_of(options: ChunkOptions) -> float | None:
    """The seconds one call may take."""
    return conf.get_settings().CHUNK_TIMEOUT if isinstance(options.timeout, _Unset) else options.timeout


def run(call: Call) -> Any:
    """Call it from sync code. What it returns as an awaitable is awaited in a loop of its own.

    Raises: ChunkTimeoutError; whatever the code raises, ``StopIteration`` and what is no ``Exception`` as RuntimeError.
    """
    value = run_sync(call)
    return async_to_sync(_awaited)(call, value) if inspect.isawaitable(value) else value


def run_sync(call: Call) -> Any:
    """Call sync code under its alarm, on this thread. May return an awaitable (a lambda around an async method)."""
    with current.running(call.data.execution_id):
        try:
            with alarm.limit(call.timeout):
                return call.handler(call.data)
        except alarm.ChunkAlarm:
            _drop_connections()
            raise _timed_out(call) from None
        except StopIteration as error:
            raise RuntimeError(f"the chunk raised {error!r}") from error
        except (Exception, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # SystemExit, or one of the chunk's own: it fails the step like any other
            raise RuntimeError(f"the chunk raised {error!r}") from error


async def run_async(call: Call) -> Any:
    """Call it from an event loop: async code there, sync code on the loop's database thread. Raises as ``run``."""
    if is_async(call.handler):
        return await _awaited(call, call.handler(call.data))
    value = await on_database_thread(lambda: run_sync(call))
    return await _awaited(call, value) if inspect.isawaitable(value) else value


async def on_database_thread(function: Callable[[], T]) -> T:
    """Run a function on the one thread whose database connection belongs to this loop's caller."""
    return await sync_to_async(function, thread_sensitive=True)()


async def _awaited(call: Call, awaitable: Awaitable[Any]) -> Any:
    with current.running(call.data.execution_id):
        try:
            async with asyncio.timeout(call.timeout) as limit:
                return await awaitable
        except TimeoutError:
            if limit.expired():
                raise _timed_out(call) from None
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise RuntimeError("the chunk's own work was cancelled") from error
        except StopIteration as error:
            raise RuntimeError(f"the chunk raised {error!r}") from error
        except (Exception, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # SystemExit, or one of the chunk's own: it fails the step like any other
            raise RuntimeError(f"the chunk raised {error!r}") from error


def _drop_connections() -> None:
    """Let this thread begin on new database connections: the alarm may have struck in the middle of a query, and a
    connection with a query under way refuses everything else.

    One that is inside a transaction is left to whoever began it.
    """
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


def _timed_out(call: Call) -> exceptions.ChunkTimeoutError:
    return exceptions.ChunkTimeoutError(
        f"chunk {call.data._frame.node} ran longer than its timeout of {call.timeout:g} s"
    )
