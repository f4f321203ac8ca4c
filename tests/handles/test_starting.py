"""create_execution, start_execution, start: what each returns, and what a second one does."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.test import override_settings

from tests.handles.loops import in_a_loop, in_database_thread
from triggerflow_django import TriggerFlow, TriggerFlowExecution, exceptions
from triggerflow_django.models import Execution, Step

pytestmark = pytest.mark.django_db(transaction=True)


def counting() -> TriggerFlow:
    """Adds one to its input; the state shows how often it ran."""
    flow = TriggerFlow("counting")

    def add(data: Any) -> int:
        data.append_state("runs", data.input)
        return int(data.input) + 1

    flow.to(add)
    return flow


def asking() -> TriggerFlow:
    flow = TriggerFlow("asking")

    async def ask(data: Any) -> Any:
        return await data.async_pause_for(type="approval", payload={"question": "go on?"})

    async def record(data: Any) -> None:
        await data.async_set_state("answer", data.input)

    flow.to(ask).to(record)
    return flow


def test_create_execution_stores_nothing() -> None:
    execution = counting().create_execution()
    assert isinstance(execution, TriggerFlowExecution)
    assert len(execution.id) == 32
    assert execution.row() is None
    assert (execution.get_status(), execution.get_lifecycle_state()) == ("created", "open")
    assert execution.get_state() == {}
    assert execution.get_snapshot() is None
    assert execution.get_pending_interrupts() == {}
    assert not Execution.objects.exists()


def test_start_with_auto_close_returns_the_snapshot() -> None:
    execution = counting().create_execution(auto_close_timeout=0.0)
    assert execution.start(1) == {"runs": [1]}
    assert execution.is_closed()
    assert execution.get_snapshot() == {"runs": [1]}


def test_start_without_auto_close_returns_the_handle_once_it_has_settled() -> None:
    execution = counting().create_execution(auto_close=False)
    assert execution.start(1) is execution
    assert execution.get_state() == {"runs": [1]}
    assert execution.is_open()
    assert execution.get_snapshot() is None


@in_a_loop
async def test_async_start_returns_what_start_returns() -> None:
    flow = counting()
    assert await flow.create_execution(auto_close_timeout=0.0).async_start(1) == {"runs": [1]}
    execution = flow.create_execution(auto_close=False)
    assert await execution.async_start(1) is execution
    assert await execution.async_get_state() == {"runs": [1]}


def test_start_execution_returns_the_handle_without_waiting_for_the_close() -> None:
    execution = counting().start_execution(1)
    assert isinstance(execution, TriggerFlowExecution)
    assert execution.get_state("runs") == [1]
    assert execution.is_open()


@in_a_loop
async def test_async_start_execution_returns_the_handle_of_a_paused_execution() -> None:
    execution = await asking().async_start_execution({"amount": 1})
    assert await execution.async_is_waiting()
    assert len(await execution.async_get_pending_interrupts()) == 1


def test_flow_start_returns_the_snapshot_and_closes() -> None:
    assert counting().start(1) == {"runs": [1]}
    row = Execution.objects.get()
    assert (row.lifecycle, row.status, row.snapshot) == ("closed", "completed", {"runs": [1]})


@in_a_loop
async def test_flow_async_start_returns_the_snapshot_and_closes() -> None:
    assert await counting().async_start(1) == {"runs": [1]}
    row = await Execution.objects.aget()
    assert (row.lifecycle, row.status) == ("closed", "completed")


def test_flow_start_does_not_wait_for_the_idle_time() -> None:
    began = time.monotonic()
    counting().start(1, auto_close_timeout=3600)
    counting().start(1, timeout=3600)
    counting().start(1, auto_close_timeout=None)
    assert time.monotonic() - began < 60


def test_flow_start_always_closes() -> None:
    with pytest.raises(ValueError, match="start_execution"):
        counting().start(1, auto_close=False)
    assert not Execution.objects.exists()


def test_a_second_start_does_nothing() -> None:
    execution = counting().create_execution(auto_close=False)
    execution.start(1)
    assert execution.start(2) is execution
    assert execution.get_state("runs") == [1]
    row = execution.row()
    assert row is not None
    assert row.input == 1


@in_a_loop
async def test_a_second_async_start_does_nothing() -> None:
    execution = counting().create_execution(auto_close=False)
    await execution.async_start(1)
    assert await execution.async_start(2) is execution
    assert await execution.async_get_state("runs") == [1]


def test_a_start_after_the_close_does_nothing() -> None:
    execution = counting().create_execution(auto_close=False)
    execution.close()
    assert execution.start(1) is execution
    assert execution.get_snapshot() == {}
    assert not Step.objects.exists()
    closing_itself = counting().create_execution()
    closing_itself.close()
    assert closing_itself.start(1) == {}


def test_a_sealed_execution_is_not_started() -> None:
    execution = counting().create_execution(auto_close=False)
    execution.seal()
    with pytest.raises(exceptions.ExecutionNotOpenError, match="sealed"):
        execution.start(1)
    execution.unseal()
    execution.start(1)
    assert execution.get_state("runs") == [1]


def test_timeout_is_the_idle_time_of_this_execution() -> None:
    execution = counting().create_execution(auto_close_timeout=3600)
    assert execution.start(1, timeout=0.0) == {"runs": [1]}
    row = execution.row()
    assert row is not None
    assert row.auto_close_timeout == 0.0


def test_timeout_counts_too_where_a_state_write_had_inserted_the_row() -> None:
    execution = counting().create_execution(auto_close_timeout=3600)
    execution.set_state("note", "written before the start")
    assert execution.start(1, timeout=0.0) == {"note": "written before the start", "runs": [1]}


def test_a_timeout_that_is_no_time_is_refused() -> None:
    execution = counting().create_execution()
    for wrong in (-1, "soon", True):
        with pytest.raises(ValueError, match="auto_close_timeout"):
            execution.start(1, timeout=wrong)  # type: ignore[arg-type]
    assert execution.row() is None


def test_an_input_that_is_not_json_is_refused_by_its_path() -> None:
    with pytest.raises(exceptions.JsonValueError, match=r"input\.order\.when"):
        counting().start_execution({"order": {"when": object()}})
    assert not Execution.objects.exists()


def test_the_idle_time_comes_from_the_settings_unless_it_is_given() -> None:
    with override_settings(TRIGGERFLOW={"AUTO_CLOSE_TIMEOUT": 77}):
        default, given = counting().create_execution(), counting().create_execution(auto_close_timeout=5)
        never = counting().create_execution(auto_close_timeout=None)
    assert (default.new.auto_close_timeout, given.new.auto_close_timeout) == (77, 5)
    assert never.new.auto_close_timeout is None


@in_a_loop
async def test_an_execution_that_closes_itself_is_started_while_its_answer_is_still_awaited() -> None:
    import asyncio

    execution = asking().create_execution(auto_close_timeout=0.0)
    starting = asyncio.create_task(execution.async_start(1))
    while not await execution.async_is_waiting():
        assert not starting.done()
        await asyncio.sleep(0.01)
    [interrupt_id] = await execution.async_get_pending_interrupts()
    await execution.async_continue_with(interrupt_id, "yes")
    assert await starting == {"answer": "yes"}
    assert await in_database_thread(lambda: Execution.objects.get().status) == "completed"
