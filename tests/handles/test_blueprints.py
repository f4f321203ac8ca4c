"""A loaded flow pauses and resumes as the original does, and goes on with what the original began."""

from __future__ import annotations

import json
import random
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.flows import random_flows, running
from tests.flows.interpreter import Interpreter
from tests.flows.running import answer, begin, pending
from tests.flows.stepping import Stepper
from tests.flows.test_random_graphs import in_any_order
from triggerflow_django import TriggerFlow

pytestmark = pytest.mark.django_db


def ask(data: Any) -> Any:
    if data.is_resume:
        return {"asked": data.input, "answer": data.resume.value}
    return data.pause_for(interrupt_id=f"q{data.input}", resume_to="self")


def gate(data: Any) -> Any:
    return data.pause_for(interrupt_id="gate")


def keep(data: Any) -> None:
    data.append_state("kept", data.input)


def is_list(data: Any) -> bool:
    return isinstance(data.input, list)


def source() -> TriggerFlow:
    flow = TriggerFlow(name="twin")
    chain = flow.if_condition(is_list).for_each(2).to(ask).end_for_each().end_condition().to(gate).to(keep)
    chain.to_sub_flow(child())
    return flow


def child() -> TriggerFlow:
    flow = TriggerFlow(name="twin child")
    flow.to(("again", ask)).to(keep)
    return flow


def loaded() -> TriggerFlow:
    """The same, from text, in a process that knows the functions only."""
    flow = TriggerFlow().register_condition_handler(is_list)
    for handler in (ask, gate, keep):
        flow.register_chunk_handler(handler)
    return flow.load_json_flow(source().get_json_flow())


def test_a_loaded_flow_pauses_and_resumes_as_the_original() -> None:
    snapshots = []
    for flow in (source(), loaded()):
        execution = begin(flow, [1, 2, 3])
        assert pending(execution) == ["q1", "q2", "q3"]
        for number in (2, 1, 3):
            answer(execution, f"q{number}", number * 10)
        answer(execution, "gate", "ok")
        [question] = pending(execution)
        execution.continue_with(question, "deep")
        snapshots.append(execution.close())
    assert snapshots[0] == snapshots[1] == {"kept": ["ok"]}


def test_an_execution_of_the_original_goes_on_with_the_loaded_flow_and_back() -> None:
    execution = begin(source(), [1, 2, 3])
    execution.continue_with("q1", "one")
    other = loaded().get_execution(execution.id)
    other.continue_with("q2", "two")
    other.continue_with("q3", "three")
    assert pending(execution) == ["gate"]
    execution.continue_with("gate", "open")
    [question] = loaded().get_execution(execution.id).get_pending_interrupts()
    loaded().get_execution(execution.id).continue_with(question, "deep")
    assert loaded().get_execution(execution.id).close() == {"kept": ["open"]}


def test_a_saved_execution_of_the_original_is_loaded_by_the_loaded_flow() -> None:
    saved = json.loads(json.dumps(begin(source(), 7).save()))
    copy = loaded().create_execution(auto_close=False)
    copy.load(saved, as_new=True)
    assert pending(copy) == ["gate"]
    copy.continue_with("gate", "yes")
    assert copy.get_state("kept") == ["yes"]


def test_an_unfinished_load_leaves_the_flow_as_it_was() -> None:
    flow = TriggerFlow(name="f")
    flow.to(keep)
    with pytest.raises(ValueError, match="functions are missing"):
        flow.load_json_flow(source().get_json_flow())
    assert begin(flow, 5).close() == {"kept": [5]}


def twin(flow: TriggerFlow) -> TriggerFlow:
    """A flow from the text of another one."""
    copy = TriggerFlow(name=flow.name)
    for node in flow.graph.nodes.values():
        for each in (flow, copy):
            if node.chunk is not None:
                each.register_chunk_handler(node.chunk.handler, name=f"run {node.id}")
            for number, condition in enumerate(node.conditions):
                if callable(condition):
                    each.register_condition_handler(condition, name=f"{node.id} {number}")
    return copy.load_json_flow(flow.get_json_flow())


@hypothesis.given(random_flows.descriptions, st.integers(0, 2**32))
@hypothesis.settings(max_examples=12, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
def test_a_random_flow_does_loaded_what_the_interpreter_says(description: random_flows.Description, seed: int) -> None:
    flow = twin(random_flows.write(description))
    expected = Interpreter()
    expected.run(description, seed)
    if not 0 < len(expected.log) <= 60:
        raise hypothesis.errors.UnsatisfiedAssumption
    stepper = Stepper(flow, seed, random.Random(seed))  # noqa: S311 - an order, not a secret
    stepper.run()
    running.nothing_is_left(stepper.execution)
    assert in_any_order(stepper.execution.close().pop("log", [])) == in_any_order(expected.log)
