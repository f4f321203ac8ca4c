"""What a chunk is told about the signal it runs for."""

from __future__ import annotations

from typing import Any

import pytest

from triggerflow_django import TriggerFlow, TriggerFlowEventData, TriggerFlowRuntimeData

pytestmark = pytest.mark.django_db(transaction=True)


class Recorder:
    """Collects what chunks see."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def __call__(self, data: Any) -> Any:
        """A chunk."""
        self.seen.append(
            {
                "kind": type(data).__name__,
                "values": [data.input, data.value, data.inputs],
                "trigger": (data.type, data.event),
                "same": (data.trigger_type, data.trigger_event) == (data.type, data.event),
                "info": data.signal_info,
                "id": data.execution_id,
                "resume": (data.is_resume, data.resume.value, data.resume.interrupt_id),
            }
        )
        return data.input


def test_the_input_has_three_names_and_the_old_class_its_old_one() -> None:
    flow, recorder = TriggerFlow("signal"), Recorder()
    flow.to(recorder)
    execution = flow.start_execution({"amount": 1})
    [seen] = recorder.seen
    assert seen["values"] == [{"amount": 1}] * 3
    assert seen["id"] == execution.id
    assert seen["kind"] == "TriggerFlowRuntimeData"
    assert TriggerFlowEventData is TriggerFlowRuntimeData
    assert seen["resume"] == (False, None, None)


def test_start_event_state_key_and_predecessor_are_named() -> None:
    flow, recorder = TriggerFlow("signal"), Recorder()
    flow.to(("first", recorder)).to(("second", recorder))
    flow.when("paid").to(("paid", recorder))
    flow.when({"runtime_data": "order.total"}).to(("total", recorder))
    execution = flow.start_execution(1, auto_close=False)
    execution.emit("paid", 2)
    execution.set_state("order.total", 3)
    assert [(seen["trigger"], seen["same"]) for seen in recorder.seen] == [
        (("event", "START"), True),
        (("event", "first"), True),
        (("event", "paid"), True),
        (("runtime_data", "order.total"), True),
    ]
    assert recorder.seen[2]["info"] == {
        "trigger_type": "event",
        "trigger_event": "paid",
        "value": 2,
        "layer_marks": [],
    }


def test_inside_a_fan_out_the_layer_marks_tell_the_item() -> None:
    flow, recorder = TriggerFlow("signal"), Recorder()
    flow.for_each().to(recorder).end_for_each()
    flow.start(["a", "b"])
    marks = [seen["info"]["layer_marks"] for seen in recorder.seen]
    assert [len(mark) for mark in marks] == [1, 1]
    assert marks[0] != marks[1]
    assert marks[0][0][:2] == marks[1][0][:2], "one activation of the loop, two items"


def test_a_condition_sees_the_value_it_is_asked_about() -> None:
    flow, recorder = TriggerFlow("signal"), Recorder()

    def is_large(data: Any) -> bool:
        recorder(data)
        data.set_state("condition", "writes nothing")
        data.emit("nothing")
        return bool(data.input > 10)

    flow.when("nothing").to(("never", lambda data: pytest.fail("a condition emits nothing")))
    flow.to(("double", lambda data: data.input * 2)).if_condition(is_large).to(
        ("large", lambda data: data.set_state("size", "large"))
    ).else_condition().to(("small", lambda data: data.set_state("size", "small"))).end_condition()
    assert flow.start(6) == {"size": "large"}
    assert recorder.seen[0]["values"] == [12] * 3


def test_a_resumed_chunk_is_told_the_answer_and_where_it_came_from() -> None:
    flow, seen = TriggerFlow("signal"), []

    def ask(data: Any) -> Any:
        if data.is_resume:
            seen.append(data.resume)
            return data.resume.value
        return data.pause_for(type="approval", payload="why?", resume_to="self", interrupt_id="gate")

    flow.to(ask).to(("after", lambda data: seen.append(data.resume)))
    execution = flow.start_execution({"amount": 1})
    execution.continue_with("gate", None, comment="no reason", actor="a script")
    resume, afterwards = seen
    assert (resume.interrupt_id, resume.value) == ("gate", None)
    assert (resume.interrupt["payload"], resume.interrupt["comment"]) == ("why?", "no reason")
    assert (resume.interrupt["status"], resume.interrupt["resumed_by"]) == ("resumed", "a script")
    assert resume.origin_signal["value"] == {"amount": 1}
    assert (afterwards.interrupt_id, afterwards.interrupt) == (None, None), "the chunk after a gate is no resume"
