"""``travel``: move the engine's clock."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager

from triggerflow_django.engine import clock

_NO_TIME = dt.timedelta()


@contextmanager
def travel(by: dt.timedelta = _NO_TIME, /, **timedelta_arguments: float) -> Iterator[None]:
    """In the block, the engine's clock is ahead: ``with travel(days=3): run_until_idle()``.

    Takes what ``datetime.timedelta`` takes, or one. Nested blocks add up; leaving one restores what was before. Moving
    the clock runs nothing: ``run_until_idle`` in the block does. Can also decorate a function.

    Moves what the engine goes by in this process: deadlines, retries, leases, auto-close, and the times it stores. Does
    not move ``django.utils.timezone.now()``, ``time.time()``, the database's ``NOW()`` in queries of your own, or any
    clock in another process.

    Raises: TypeError for what is no argument of ``timedelta``.
    """
    before = clock.offset()
    clock.set_offset(before + by + dt.timedelta(**timedelta_arguments))
    try:
        yield
    finally:
        clock.set_offset(before)
