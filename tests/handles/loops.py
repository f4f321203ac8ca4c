"""Run a test in an event loop of its own, and leave no database connection behind in asgiref's threads."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Like ``asyncio.run``; at the end nothing runs any more and the loop's database thread closes its connections."""

    async def whole() -> T:
        try:
            return await main
        finally:
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            # After whatever the thread is still busy with.
            await sync_to_async(connections.close_all)()

    return asyncio.run(whole())


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make an async test function a test: each call gets a running loop."""

    @functools.wraps(test)
    def run_test(*arguments: Any, **fixtures: Any) -> None:
        run(test(*arguments, **fixtures))

    return run_test


async def in_database_thread(function: Callable[[], T]) -> T:
    """What the ORM says, from async code."""
    return await sync_to_async(function)()
