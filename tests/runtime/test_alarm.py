"""The alarm around sync chunks: it strikes in the block and nowhere else, in any thread."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from triggerflow_django.runtime import alarm

# pytest's own timeout would be somebody else's timer.
pytestmark = [pytest.mark.once, pytest.mark.timeout(120, method="thread")]

#: So long that only an alarm ends it.
FOREVER = 60


def spin(seconds: float = FOREVER) -> None:
    """Work that leaves room for the alarm between two byte codes."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.001)


def in_a_thread(work: Callable[[], Any]) -> list[Any]:
    """What the work returned or raised, run outside the main thread."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as raised:
            results.append(raised)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(FOREVER)
    return results


def limited() -> None:
    with alarm.limit(0.05):
        spin()


def test_it_interrupts_the_main_thread_even_in_a_system_call() -> None:
    began = time.monotonic()
    with pytest.raises(alarm.ChunkAlarm), alarm.limit(0.05):
        time.sleep(FOREVER)
    assert time.monotonic() - began < FOREVER / 2


def test_it_interrupts_other_threads_too() -> None:
    [raised] = in_a_thread(limited)
    assert isinstance(raised, alarm.ChunkAlarm)


def test_it_is_no_exception_that_a_chunk_would_catch() -> None:
    assert not issubclass(alarm.ChunkAlarm, Exception)


@pytest.mark.parametrize("where", [lambda work: work(), in_a_thread])
def test_after_the_block_it_does_not_strike(where: Callable[[Callable[[], Any]], Any]) -> None:
    def work() -> str:
        with alarm.limit(0.5):
            """Quick."""
        spin(0.8)
        return "still here"

    assert where(work) in ("still here", ["still here"])


def test_without_a_limit_nothing_is_armed() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with alarm.limit(None):
        assert signal.getsignal(signal.SIGALRM) is before


def test_somebody_elses_timer_goes_on_afterwards() -> None:
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rung.append(number))
    timer = signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(alarm.ChunkAlarm), alarm.limit(0.05):
            spin()
        end = time.monotonic() + 20
        while not rung and time.monotonic() < end:
            time.sleep(0.01)
        assert rung == [signal.SIGALRM]
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *timer)


def test_an_inner_limit_leaves_the_outer_one_armed() -> None:
    began = time.monotonic()
    with pytest.raises(alarm.ChunkAlarm), alarm.limit(0.3):
        limited_and_on()
    assert time.monotonic() - began < FOREVER / 2


def limited_and_on() -> None:
    with pytest.raises(alarm.ChunkAlarm):
        limited()
    spin()
