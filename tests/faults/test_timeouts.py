"""A chunk that runs too long is ended, wherever it runs; one that cannot be ended loses its step."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection

from tests.engine import driving
from tests.faults.crashpoints import IS_POSTGRES
from tests.faults.flows import STUBBORN
from tests.faults.processes import PATIENCE, Crew
from tests.faults.programs import drain_with_little_patience
from tests.faults.soundness import sound
from tests.handles.loops import run
from triggerflow_django import TriggerFlow, TriggerFlowExecution
from triggerflow_django.engine.sweep import sweep
from triggerflow_django.exceptions import ChunkTimeoutError
from triggerflow_django.models import Step, StepStatus

pytestmark = pytest.mark.django_db(transaction=True)

#: Long after a timeout of 0.2 s, long before the chunks below would end by themselves.
SOON = 10.0


def sleep(_data: Any) -> None:
    time.sleep(60)


def spin(_data: Any) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        pass


def swallow_exceptions(_data: Any) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(Exception):
            time.sleep(0.01)


async def sleep_async(_data: Any) -> None:
    await asyncio.sleep(60)


async def swallow_exceptions_async(_data: Any) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(Exception):
            await asyncio.sleep(60)


def one_chunk(function: Callable[[Any], Any], **options: Any) -> TriggerFlow:
    flow = TriggerFlow(name="timeouts")
    flow.to(flow.chunk("slow", timeout=0.2, **options)(function))
    return flow


def is_timed_out(flow: TriggerFlow, start: Callable[[TriggerFlowExecution], Any]) -> None:
    """The call ends soon, with the step failed by its timeout."""
    handle = flow.create_execution(auto_close=False)
    began = time.monotonic()
    with pytest.raises(ChunkTimeoutError, match=r"chunk slow ran longer than its timeout of 0\.2 s"):
        start(handle)
    assert time.monotonic() - began < SOON
    assert sound(handle.pk).status == "failed"
    step = Step.objects.get(execution_id=handle.pk)
    assert step.error is not None
    assert step.error["type"].endswith("ChunkTimeoutError")


@pytest.mark.parametrize("atomic", [False, True], ids=["plain", "atomic"])
@pytest.mark.parametrize("chunk", [sleep, spin, swallow_exceptions])
def test_a_sync_chunk_in_the_main_thread_is_ended(chunk: Callable[[Any], None], atomic: bool) -> None:
    is_timed_out(one_chunk(chunk, atomic=atomic), lambda handle: handle.start())


@pytest.mark.parametrize("chunk", [spin, swallow_exceptions])
def test_a_sync_chunk_in_another_thread_is_ended(chunk: Callable[[Any], None]) -> None:
    async def start(handle: TriggerFlowExecution) -> None:
        await handle.async_start()

    # In a running loop, sync chunks run on the thread that holds the loop's connection.
    is_timed_out(one_chunk(chunk), lambda handle: run(start(handle)))


@pytest.mark.parametrize("chunk", [sleep_async, swallow_exceptions_async])
def test_an_async_chunk_is_ended(chunk: Callable[[Any], Any]) -> None:
    is_timed_out(one_chunk(chunk), lambda handle: handle.start())


@pytest.mark.skipif(not IS_POSTGRES, reason="needs a query that takes long")
@pytest.mark.parametrize("atomic", [False, True], ids=["plain", "atomic"])
def test_a_chunk_that_waits_for_the_database_is_ended_and_the_connection_goes_on(atomic: bool) -> None:
    def query(_data: Any) -> None:
        Group.objects.create(name="of the chunk")
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(60)")

    is_timed_out(one_chunk(query, atomic=atomic), lambda handle: handle.start())
    assert Group.objects.filter(name="of the chunk").exists() is not atomic
    Group.objects.create(name="afterwards")


def test_what_an_atomic_chunk_wrote_before_its_timeout_is_rolled_back() -> None:
    def chunk(data: Any) -> None:
        Group.objects.create(name="written")
        sleep(data)

    is_timed_out(one_chunk(chunk, atomic=True), lambda handle: handle.start())
    assert not Group.objects.exists()


def test_a_chunk_that_timed_out_is_run_again_where_it_says_so() -> None:
    def chunk(data: Any) -> None:
        if data.attempt == 1:
            sleep(data)
        data.set_state("attempt", data.attempt)

    handle = one_chunk(chunk, retries=1, backoff=0.01).create_execution(auto_close=False)
    handle.start()
    assert handle.get_state() == {"attempt": 2}


def test_somebody_elses_timer_goes_on_after_a_chunk() -> None:
    assert threading.current_thread() is threading.main_thread()
    seconds, interval = signal.setitimer(signal.ITIMER_REAL, 100)
    try:
        one_chunk(lambda data: None).create_execution(auto_close=False).start()
        left = signal.getitimer(signal.ITIMER_REAL)[0]
    finally:
        signal.setitimer(signal.ITIMER_REAL, seconds, interval)
    assert 50 < left <= 100


@pytest.mark.parametrize("style", ["sync", "async"])
def test_a_chunk_that_swallows_its_alarm_loses_its_step_to_another_process(crew: Crew, style: str) -> None:
    flow = STUBBORN[style]
    pk = driving.start(flow)
    stubborn = crew.start(drain_with_little_patience, flow.name, pk.hex, LEASE_SECONDS=0.6)
    stubborn.expect("swallowed")

    deadline = time.monotonic() + PATIENCE
    while not sweep(using="default").lost_steps and time.monotonic() < deadline:
        time.sleep(0.02)
    assert stubborn.is_alive
    flow.get_execution(pk).wait(timeout=PATIENCE)
    stubborn.tell("go on")
    assert stubborn.expect("returned") == 1
    sound(pk)
    step = Step.objects.get(execution_id=pk, node="stubborn")
    assert (step.status, step.attempt, step.output) == (StepStatus.DONE, 2, "attempt 2")
    assert driving.state(pk) == {"kept": ["attempt 2"]}
