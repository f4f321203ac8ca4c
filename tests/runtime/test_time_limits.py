"""A chunk's time limit: sync ones are interrupted by our alarm, async ones cancelled."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.handles.loops import in_a_loop
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.models import Step, StepStatus

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_sync_chunk_that_runs_too_long_is_interrupted_in_the_main_thread() -> None:
    flow, caught = TriggerFlow("slow"), []

    @flow.chunk(timeout=0.05)
    def slow(data: Any) -> None:
        try:
            time.sleep(60)
        except Exception as error:  # its own net does not hold the alarm
            caught.append(error)

    flow.to(slow)
    began = time.monotonic()
    with pytest.raises(exceptions.ChunkTimeoutError, match=r"chunk slow ran longer than its timeout of 0\.05 s"):
        flow.start()
    assert time.monotonic() - began < 30
    assert caught == []
    assert Step.objects.get().status == StepStatus.FAILED


@in_a_loop
async def test_a_sync_chunk_is_interrupted_in_a_database_thread_too() -> None:
    flow = TriggerFlow("slow")

    @flow.chunk(timeout=0.05)
    def slow(data: Any) -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            time.sleep(0.001)

    flow.to(slow)
    with pytest.raises(TimeoutError, match="slow"):
        await flow.async_start()


def test_an_async_chunk_that_runs_too_long_is_cancelled() -> None:
    flow, cleaned = TriggerFlow("slow"), []

    @flow.chunk(timeout=0.05)
    async def slow(data: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    flow.to(slow)
    with pytest.raises(exceptions.ChunkTimeoutError):
        flow.start()
    assert cleaned == [True]


def test_a_timeout_of_the_chunks_own_stays_its_own() -> None:
    flow, error = TriggerFlow("own timeout"), TimeoutError("the shop did not answer")

    async def own(data: Any) -> None:
        raise error

    flow.to(own)
    with pytest.raises(TimeoutError) as caught:
        flow.start()
    assert caught.value is error
