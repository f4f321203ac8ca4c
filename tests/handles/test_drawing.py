"""The diagram of an execution says what its rows say."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.diagrams.test_svg import assert_safe
from tests.flows.running import begin
from tests.handles.loops import in_a_loop
from triggerflow_django import TriggerFlow
from triggerflow_django.handles.drawing import diagram_states

pytestmark = pytest.mark.django_db


def pass_on(data: Any) -> Any:
    return data.input


def gate(data: Any) -> Any:
    return data.pause_for(interrupt_id=f"g{data.input}")


def fail(data: Any) -> Any:
    if data.input == 2:
        raise LookupError("no")
    return data.input


def told(svg: str) -> dict[str, str]:
    """What the drawing says of each box that has a state."""
    assert_safe(svg)
    found = re.findall(r'<g class="tf-(?:chunk|sub_flow) tf-(\w+)"><title>(.*?): (?:.*?)</title>', svg)
    return {name: state for state, name in found}


def test_done_waiting_and_not_reached() -> None:
    flow = TriggerFlow(name="f")
    flow.to(pass_on).to(gate).to(("after", pass_on))
    execution = flow.create_execution(auto_close=False)
    assert told(execution.to_svg()) == {}
    execution.start(1)
    assert told(execution.to_svg()) == {"pass_on": "done", "gate": "waiting"}
    assert told(execution.to_svg("simplified")) == {"pass_on": "done", "gate": "waiting"}
    execution.continue_with("g1", None)
    assert told(execution.to_svg()) == {"pass_on": "done", "gate": "done", "after": "done"}


def test_items_are_counted_and_the_most_urgent_state_is_shown() -> None:
    flow = TriggerFlow(name="f", skip_exceptions=False)
    flow.for_each().to(pass_on).to(fail).to(gate).end_for_each().to(("after", pass_on))
    execution = flow.create_execution(auto_close=False)
    with pytest.raises(LookupError):
        execution.start([1, 2, 3])
    svg = execution.to_svg()
    assert told(svg) == {"pass_on": "done", "fail": "failed", "gate": "waiting"}
    assert "pass_on: done, 3 times" in svg
    assert "fail: failed, 3 times" in svg
    assert "gate: waiting, 2 times" in svg
    found = diagram_states(execution.pk, flow.graph, using="default")
    assert found.states["START/for_each-1"] == "done"
    assert found.states["START/for_each-1/end"] == "running"


def test_what_a_cancel_stopped_is_cancelled() -> None:
    flow = TriggerFlow(name="f")
    flow.batch(("one", gate), ("two", pass_on))
    execution = begin(flow, 1)
    execution.cancel()
    assert told(execution.to_svg()) == {"one": "cancelled", "two": "done"}


def test_a_question_below_shows_at_the_sub_flow() -> None:
    inner, middle, outer = TriggerFlow(name="inner"), TriggerFlow(name="middle"), TriggerFlow(name="outer")
    inner.to(gate)
    middle.to_sub_flow(inner, name="in it")
    outer.to(pass_on).to_sub_flow(middle, name="below").to(("after", pass_on))
    execution = begin(outer, 1)
    assert told(execution.to_svg()) == {"pass_on": "done", "below": "waiting"}
    [question] = execution.get_pending_interrupts()
    execution.continue_with(question, 5)
    assert told(execution.to_svg()) == {"pass_on": "done", "below": "done", "after": "done"}


def test_a_node_the_code_has_no_more_is_left_out() -> None:
    flow = TriggerFlow(name="f")
    flow.for_each().to(pass_on).end_for_each().to(("first", lambda data: 1)).to(gate)
    execution = begin(flow, [1])
    changed = TriggerFlow(name="f")
    changed.to(("other", pass_on)).to(gate)
    assert told(changed.get_execution(execution.id).to_svg()) == {"gate": "waiting"}


def test_it_costs_two_statements(django_assert_num_queries: Any) -> None:
    flow = TriggerFlow(name="f")
    flow.for_each().to(pass_on).end_for_each().to(gate)
    execution = begin(flow, list(range(20)))
    with django_assert_num_queries(2):
        execution.to_svg()


@pytest.mark.django_db(transaction=True)
@in_a_loop
async def test_it_is_the_same_in_a_running_loop() -> None:
    flow = TriggerFlow(name="f")
    flow.to(pass_on).to(gate)
    execution = flow.create_execution(auto_close=False)
    await execution.async_start(1)
    one, other = await execution.async_to_svg(), execution.to_svg()
    assert one == other
    assert told(one) == {"pass_on": "done", "gate": "waiting"}
