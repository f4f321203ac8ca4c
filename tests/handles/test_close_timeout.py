"""``close(timeout=)`` closes when its time is over, whoever runs what does not end."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.handles.loops import in_a_loop
from triggerflow_django import TriggerFlow, TriggerFlowExecution
from triggerflow_django.models import Event, EventKind

pytestmark = pytest.mark.django_db(transaction=True)

#: Longer than any test may take.
FOREVER = 3600
#: Time enough to begin, also on a busy machine.
TIME = 1.0


def endless() -> tuple[TriggerFlow, list[str]]:
    flow, seen = TriggerFlow("endless"), []

    async def work(data: Any) -> None:
        seen.append("began")
        data.set_state("too late", True)
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    flow.when("go").to(work)
    return flow, seen


async def require_cut(execution: TriggerFlowExecution) -> None:
    event = await Event.objects.aget(kind=EventKind.CLOSED, execution_id=execution.pk)
    assert [cut["node"] for cut in event.data["cancelled_steps"]] == ["work"]


@in_a_loop
async def test_work_that_emit_nowait_left_in_this_loop_is_cancelled() -> None:
    flow, seen = endless()
    execution = flow.create_execution(auto_close=False)
    await execution.async_start()
    await execution.async_emit_nowait("go")
    while not seen:
        await asyncio.sleep(0.001)
    assert await execution.async_close(timeout=0.05) == {}
    assert seen == ["began", "cancelled"]
    await require_cut(execution)


@in_a_loop
async def test_work_that_the_closing_call_itself_runs_is_cancelled() -> None:
    flow, seen = endless()
    execution = flow.create_execution(auto_close=False)
    await execution.async_start()
    other = await flow.async_get_execution(execution.id)
    await execution.async_emit_nowait("go")
    for task in execution.background_drains:
        task.cancel()
    assert await other.async_close(timeout=TIME) == {}
    assert seen == ["began", "cancelled"]
    await require_cut(execution)


def test_in_sync_code_too() -> None:
    flow, seen = endless()
    execution = flow.start_execution(auto_close=False)
    execution.emit_nowait("go")
    assert execution.close(timeout=TIME) == {}
    assert seen == ["began", "cancelled"]


def test_a_chain_of_sync_chunks_ends_after_the_one_that_runs() -> None:
    flow, seen = TriggerFlow("chain"), []
    over = time.monotonic() + TIME * 1.5

    def first(data: Any) -> None:
        seen.append("first")
        while time.monotonic() < over:
            time.sleep(0.01)

    flow.when("go").to(first).to(lambda data: seen.append("second"))
    execution = flow.start_execution(auto_close=False)
    execution.emit_nowait("go")
    assert execution.close(timeout=TIME) == {}
    assert seen == ["first"]
    assert Event.objects.get(kind=EventKind.CLOSED).data["cancelled_steps"][0]["status"] == "ready"


def test_what_ends_in_time_is_not_cut() -> None:
    flow = TriggerFlow("quick")

    async def work(data: Any) -> None:
        data.set_state("done", True)

    flow.when("go").to(work)
    execution = flow.start_execution(auto_close=False)
    execution.emit_nowait("go")
    assert execution.close(timeout=60) == {"done": True}


def test_with_no_time_at_all_nothing_is_begun() -> None:
    flow, seen = endless()
    execution = flow.start_execution(auto_close=False)
    execution.emit_nowait("go")
    assert execution.close(timeout=0) == {}
    assert seen == []
