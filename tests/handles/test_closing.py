"""seal, unseal, close, cancel and closing by itself, as a caller sees them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.handles.loops import in_a_loop
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import sweep
from triggerflow_django.models import Event, EventKind, Execution
from triggerflow_django.testing import travel

pytestmark = pytest.mark.django_db(transaction=True)


def asking() -> TriggerFlow:
    flow = TriggerFlow("asking")
    flow.to(("ask", lambda data: data.pause_for(type="approval", interrupt_id="gate"))).to(
        ("record", lambda data: data.set_state("answer", data.input))
    )
    return flow


def test_close_returns_the_snapshot_and_closing_again_the_same() -> None:
    execution = asking().create_execution()
    execution.set_state("total", 1)
    assert execution.close() == {"total": 1}
    assert execution.close(reason="again", pending_interrupts="cancel") == {"total": 1}
    row = execution.row()
    assert row is not None
    assert (row.status, row.close_reason) == ("completed", "manual")


def test_close_with_an_answer_awaited_is_refused_and_it_stays_open() -> None:
    execution = asking().start_execution()
    with pytest.raises(exceptions.PendingInterruptsError, match="1 waiting interrupt;"):
        execution.close()
    assert execution.is_open()
    execution.continue_with("gate", "yes")
    assert execution.close() == {"answer": "yes"}


@in_a_loop
async def test_close_can_cancel_what_is_awaited() -> None:
    execution = await asking().async_start_execution()
    assert await execution.async_close(pending_interrupts="cancel", reason="withdrawn") == {}
    assert await execution.async_get_status() == "cancelled"
    interrupt = await execution.async_get_interrupt("gate")
    assert interrupt is not None
    assert interrupt["status"] == "cancelled"
    with pytest.raises(exceptions.ExecutionNotOpenError):
        await execution.async_continue_with("gate", "yes")


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(exceptions.InvalidPolicyError, match="pending_interrupts='ask'"):
        asking().start_execution().close(pending_interrupts="ask")  # type: ignore[arg-type]


def test_a_sealed_execution_takes_no_answer_but_state_writes() -> None:
    execution = asking().start_execution()
    execution.seal(reason="month end")
    assert execution.is_sealed()
    assert not execution.is_open()
    with pytest.raises(exceptions.ExecutionNotOpenError, match="sealed"):
        execution.continue_with("gate", "yes")
    execution.set_state("note", "sealed")
    execution.unseal()
    execution.continue_with("gate", "yes")
    assert execution.close() == {"note": "sealed", "answer": "yes"}


def test_a_closed_execution_takes_nothing() -> None:
    execution = asking().create_execution()
    execution.close()
    for call in (
        lambda: execution.set_state("x", 1),
        lambda: execution.append_state("x", 1),
        lambda: execution.del_state("x"),
        execution.seal,
        execution.unseal,
        lambda: execution.emit("x"),
        execution.retry,
    ):
        with pytest.raises(exceptions.ExecutionNotOpenError, match="closed"):
            call()
    assert execution.get_snapshot() == {}


def test_cancel_ends_it_now_and_returns_the_snapshot() -> None:
    execution = asking().start_execution()
    execution.set_state("note", 1)
    assert execution.cancel(reason="withdrawn") == {"note": 1}
    assert execution.cancel() == {"note": 1}
    assert (execution.get_status(), execution.get_pending_interrupts()) == ("cancelled", {})
    assert Event.objects.filter(kind=EventKind.CANCELLED).count() == 1


@in_a_loop
async def test_cancel_fences_a_running_chunk() -> None:
    flow, running, go = TriggerFlow("long"), asyncio.Event(), asyncio.Event()

    async def long(data: Any) -> None:
        data.set_state("too late", True)
        running.set()
        await go.wait()

    flow.to(long)
    execution = flow.create_execution(auto_close=False)
    starting = asyncio.create_task(execution.async_start())
    await running.wait()
    assert await execution.async_cancel() == {}
    go.set()
    assert await starting is execution
    assert await execution.async_get_snapshot() == {}


@in_a_loop
async def test_close_with_a_timeout_cuts_what_does_not_end() -> None:
    flow, running, go = TriggerFlow("long"), asyncio.Event(), asyncio.Event()

    async def long(data: Any) -> None:
        data.set_state("too late", True)
        running.set()
        await go.wait()

    flow.to(long)
    execution = flow.create_execution(auto_close=False)
    starting = asyncio.create_task(execution.async_start())
    await running.wait()
    assert await execution.async_close(timeout=0.0) == {}
    go.set()
    await starting
    event = await Event.objects.aget(kind=EventKind.CLOSED)
    assert event.data["cancelled_steps"] == [{"node": "long", "status": "running"}]


# -- closing by itself


@in_a_loop
async def test_in_a_loop_an_idle_execution_closes_when_its_time_is_over() -> None:
    execution = await asking().async_start_execution(auto_close_timeout=0.05)
    await execution.async_continue_with("gate", "yes")
    while not await execution.async_is_closed():
        await asyncio.sleep(0.01)
    assert await execution.async_get_snapshot() == {"answer": "yes"}
    row = await execution.async_row()
    assert row is not None
    assert row.close_reason == "auto_close"


@in_a_loop
async def test_in_a_loop_so_does_one_that_was_started_by_the_sync_spelling() -> None:
    execution = asking().start_execution(auto_close_timeout=0.05)
    execution.continue_with("gate", "yes")
    while not execution.is_closed():
        await asyncio.sleep(0.01)
    assert execution.get_snapshot() == {"answer": "yes"}


@in_a_loop
async def test_in_a_loop_a_waiting_execution_keeps_no_task() -> None:
    await asking().async_start_execution(auto_close_timeout=0.0)
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)
    row = await Execution.objects.aget()
    assert (row.lifecycle, row.auto_close_at) == ("open", None)


def test_in_a_script_the_sweep_closes_it() -> None:
    flow = asking()
    waiting = flow.start_execution(auto_close_timeout=60)
    idle = flow.start_execution(auto_close_timeout=60)
    idle.continue_with("gate", "yes")
    with travel(seconds=59):
        assert sweep.sweep(using="default").auto_closed == 0
    with travel(seconds=61):
        assert sweep.sweep(using="default").auto_closed == 1
    assert (idle.is_closed(), waiting.is_open()) == (True, True)


def test_the_idle_time_begins_anew_with_the_last_answer() -> None:
    execution = asking().start_execution(auto_close_timeout=60)
    with travel(days=3):
        assert sweep.sweep(using="default").auto_closed == 0
        execution.continue_with("gate", "yes")
        assert sweep.sweep(using="default").auto_closed == 0
    with travel(days=3, seconds=61):
        sweep.sweep(using="default")
    assert execution.is_closed()


def test_without_an_idle_time_it_never_closes_by_itself() -> None:
    execution = asking().start_execution(auto_close_timeout=None)
    execution.continue_with("gate", "yes")
    with travel(days=365):
        assert sweep.sweep(using="default").auto_closed == 0
    assert execution.is_open()
