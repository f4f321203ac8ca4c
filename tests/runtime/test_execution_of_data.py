"""``data.execution``: the execution's handle, also where nobody else could find the flow, and where a worker runs."""

from __future__ import annotations

from typing import Any

import pytest

from triggerflow_django import TriggerFlow, exceptions, register
from triggerflow_django.definition import registry
from triggerflow_django.runtime import data as runtime_data
from triggerflow_django.runtime.data import Frame, TriggerFlowRuntimeData
from triggerflow_django.runtime.journal import Journal
from triggerflow_django.runtime.resources import Resources

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_chunk_of_a_flow_that_is_not_registered_has_its_executions_handle() -> None:
    flow = TriggerFlow(name="closure")
    seen: dict[str, Any] = {}

    def ask(data: Any) -> Any:
        return data.pause_for(type="approval", interrupt_id="q")

    def look(data: Any) -> None:
        seen.update(id=data.execution.id, pending=list(data.get_pending_interrupts()), one=data.get_interrupt("q"))

    flow.to(ask)
    flow.when("look").to(look)
    execution = flow.start_execution(auto_close=False)
    execution.emit("look")
    assert (seen["id"], seen["pending"]) == (execution.id, ["q"])
    assert seen["one"]["type"] == "approval"


def test_a_chunk_may_answer_another_interrupt_of_its_execution() -> None:
    flow = TriggerFlow(name="closure")
    flow.to(lambda data: data.pause_for(interrupt_id="q")).to(lambda data: data.set_state("answer", data.input))
    flow.when("decide").to(lambda data: data.continue_with("q", data.input)["status"])
    execution = flow.start_execution(auto_close=False)
    assert execution.emit("decide", "yes") == ["resumed"]
    assert execution.close() == {"answer": "yes"}


@pytest.mark.parametrize("name", ["wait", "close", "start"])
def test_a_chunk_that_would_wait_for_itself_is_refused(name: str) -> None:
    flow = TriggerFlow(name="closure")
    flow.to(lambda data: getattr(data.execution, name)())
    with pytest.raises(exceptions.InsideChunkError, match=f"{name}\\(\\) was called by a chunk"):
        flow.create_execution(auto_close_timeout=0).start()


def data_of_a_worker(execution_id: str, using: str) -> TriggerFlowRuntimeData:
    frame = Frame(
        execution_id=execution_id,
        using=using,
        node="chunk",
        source=("event", "START"),
        input=None,
        attempt=1,
        idempotency_key=f"{execution_id}:1",
        interactive=True,
        resume_count=0,
        resume=None,
        is_cancelled=lambda: False,
        interventions=list,
        resources=Resources({}),
    )
    return TriggerFlowRuntimeData(frame, Journal(dict))


def test_a_worker_finds_it_by_its_id() -> None:
    flow = register(TriggerFlow("handles"))
    try:
        execution = flow.start_execution(auto_close=False)
        found = data_of_a_worker(execution.id, "default").execution
        assert (found.id, found.flow, found.using) == (execution.id, flow, "default")
        assert found.get_status() == "running"
    finally:
        registry.unregister("handles")


def test_a_worker_looks_for_it_in_the_database_of_the_execution(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        runtime_data, "handle_factory", lambda execution_id, *, using: asked.append((execution_id, using))
    )
    data_of_a_worker("0" * 32, "second").execution  # noqa: B018 - the property looks
    assert asked == [("0" * 32, "second")]
