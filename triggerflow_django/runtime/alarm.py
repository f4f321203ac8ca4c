"""A time limit around sync user code: our own alarm, a ``BaseException``, armed around that code only.

In the main thread SIGALRM interrupts even blocking system calls. Elsewhere the exception is raised in the thread at its
next byte code, so a call that blocks in C is not interrupted; its step loses its heartbeat instead.
"""

from __future__ import annotations

import ctypes
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class ChunkAlarm(BaseException):
    """The chunk's time is over. Not an ``Exception``, so that a chunk's own ``except Exception`` lets it through."""


@contextmanager
def limit(seconds: float | None) -> Iterator[None]:
    """Raise ``ChunkAlarm`` in the block once ``seconds`` have passed; ``None``: no limit."""
    if seconds is None:
        yield
    elif threading.current_thread() is threading.main_thread():
        with _by_signal(seconds):
            yield
    else:
        with _by_thread(seconds):
            yield


@contextmanager
def _by_signal(seconds: float) -> Iterator[None]:
    def ring(_number: int, _frame: FrameType | None) -> None:
        raise ChunkAlarm

    began = time.monotonic()
    former_handler = signal.signal(signal.SIGALRM, ring)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former_handler)
        if left:  # somebody else's timer was running: let it go on, at the latest at once
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - began), 0.001), interval)


@contextmanager
def _by_thread(seconds: float) -> Iterator[None]:
    victim = ctypes.c_ulong(threading.get_ident())
    guard = threading.Lock()
    state = {"armed": True, "rung": False}

    def ring() -> None:
        with guard:
            if state["armed"]:
                state["rung"] = True
                ctypes.pythonapi.PyThreadState_SetAsyncExc(victim, ctypes.py_object(ChunkAlarm))

    timer = threading.Timer(seconds, ring)
    timer.daemon = True
    timer.start()
    delivered = False
    try:
        yield
    except ChunkAlarm:
        delivered = True
        raise
    finally:
        timer.cancel()
        with guard:
            state["armed"] = False
        if state["rung"] and not delivered:
            # Rung, but not raised yet: it must not hit the code after the block.
            ctypes.pythonapi.PyThreadState_SetAsyncExc(victim, None)
