"""get_execution, attach and row: the handle of what is stored, whichever process started it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.handles.loops import in_a_loop
from triggerflow_django import TriggerFlow, TriggerFlowExecution, exceptions
from triggerflow_django.models import Execution

pytestmark = pytest.mark.django_db(transaction=True)


def asking(name: str = "asking") -> TriggerFlow:
    flow = TriggerFlow(name)

    async def record(data: Any) -> None:
        await data.async_set_state("answer", [data.input, data.get_resource("who")])

    flow.to(("ask", lambda data: data.pause_for(type="approval", interrupt_id="gate"))).to(record)
    return flow


def test_a_found_handle_goes_on_where_the_first_one_stopped() -> None:
    flow = asking()
    started = flow.start_execution(auto_close=False, skip_exceptions=True)
    found = asking().get_execution(started.id)
    assert found is not started
    assert found.id == started.id
    assert (found.auto_close, found.runs_inline, found.new.skip_exceptions) == (False, True, True)
    found.continue_with("gate", "yes")
    assert started.close() == found.get_snapshot() == {"answer": ["yes", None]}


@in_a_loop
async def test_both_spellings_find_by_text_and_by_uuid() -> None:
    flow = asking()
    started = await flow.async_start_execution()
    row = await started.async_row()
    assert row is not None
    for key in (started.id, str(row.pk), row.pk):
        assert flow.get_execution(key).id == started.id
        assert (await flow.async_get_execution(key)).id == started.id


@pytest.mark.parametrize("unknown", ["0" * 32, str(uuid.UUID(int=7)), uuid.UUID(int=7), "no id", "", None, 7])
def test_an_unknown_id_is_refused(unknown: Any) -> None:
    flow = asking()
    with pytest.raises(exceptions.UnknownExecutionError) as caught:
        flow.get_execution(unknown)
    assert isinstance(caught.value, KeyError)
    with pytest.raises(exceptions.UnknownExecutionError):
        TriggerFlow.attach(unknown)


def test_an_execution_of_another_flow_is_refused() -> None:
    started = asking("mine").start_execution()
    with pytest.raises(exceptions.UnknownExecutionError, match=f"flow 'yours' has no execution {started.id}"):
        asking("yours").get_execution(started.id)


@in_a_loop
async def test_attach_finds_the_flow_by_its_registered_name(
    registered: Callable[[TriggerFlow], TriggerFlow],
) -> None:
    flow = registered(asking())
    flow.update_runtime_resources(who="a clerk")
    started = await flow.async_start_execution(auto_close=False)
    for attached in (TriggerFlow.attach(started.id), await TriggerFlow.async_attach(started.id)):
        assert isinstance(attached, TriggerFlowExecution)
        assert attached.flow is flow
    await attached.async_continue_with("gate", "yes")
    assert await attached.async_get_state() == {"answer": ["yes", "a clerk"]}


def test_attach_needs_a_registered_flow() -> None:
    started = asking().start_execution()
    with pytest.raises(exceptions.UnknownFlowError, match="asking"):
        TriggerFlow.attach(started.id)


def test_row_is_the_model_instance_as_committed() -> None:
    execution = asking().create_execution(auto_close_timeout=5)
    assert execution.row() is None
    execution.set_state("note", 1)
    row = execution.row()
    assert isinstance(row, Execution)
    assert (row.flow_name, row.status, row.auto_close_timeout) == ("asking", "created", 5)


def test_an_answer_to_an_execution_that_was_never_stored_is_refused() -> None:
    with pytest.raises(exceptions.UnknownExecutionError):
        asking().create_execution().continue_with("gate", "yes")


def test_a_handle_shows_what_it_is() -> None:
    execution = asking().create_execution()
    assert repr(execution) == f"<TriggerFlowExecution {execution.id} of 'asking'>"
