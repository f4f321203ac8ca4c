"""From sync code in a running event loop to the thread that holds the database connection.

Django refuses the ORM in a thread that runs a loop. ``sync_to_async(thread_sensitive=True)`` knows the one thread whose
connection belongs to this call (the caller's under ``async_to_sync``, else asgiref's), but can only be awaited.
``call`` takes the way round a helper thread, so that TriggerFlow's sync spellings work inside async code, and blocks
the loop for the moment it takes.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from asgiref.sync import AsyncToSync, sync_to_async

T = TypeVar("T")


def in_running_loop() -> bool:
    """Whether this thread runs an event loop right now, so that the ORM is closed to it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def call(function: Callable[[], T]) -> T:
    """Call a short database function from wherever we are: directly, or in the loop's database thread.

    The function must not wait for the loop, which stands still meanwhile.
    """
    if not in_running_loop():
        return function()
    context = contextvars.copy_context()
    caller = getattr(AsyncToSync.executors, "current", None)
    if caller is not None:
        # The thread that waits in async_to_sync. From 3.12 on, asgiref lets no other thread see it, the helper neither.
        answer: T = caller.submit(context.run, function).result()
        return answer

    async def hop() -> T:
        return await sync_to_async(function, thread_sensitive=True)()

    # A copy of the context leads asgiref to the executor that belongs to this call.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="triggerflow-bridge") as helper:
        return helper.submit(context.run, asyncio.run, hop()).result()
