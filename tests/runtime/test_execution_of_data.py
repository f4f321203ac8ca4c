"""``data.execution``: the execution's handle, also where nobody else could find the flow."""

from __future__ import annotations

from typing import Any

import pytest

from triggerflow_django import TriggerFlow, exceptions

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
