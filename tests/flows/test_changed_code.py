"""Executions that wait while the code changes: an unrelated edit strands nobody, a missing node is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.flows import running
from triggerflow_django import TriggerFlow, TriggerFlowExecution, exceptions
from triggerflow_django.engine import decide, fail, start

pytestmark = pytest.mark.django_db


def ask(data: Any) -> Any:
    return data.pause_for(interrupt_id=f"q{data.input}")


def write(flow: TriggerFlow) -> None:
    """Waits inside a lambda's loop, in a batch, and at a join of two events."""
    body = flow.to(lambda data: data.input).for_each(concurrency=1).batch(("ask", ask), ("quick", running.same))
    body.end_for_each().to(running.keep(), name="keep")
    flow.when(["paid", "keep"]).to(running.append(), name="log")


def written(*edits: Callable[[TriggerFlow], Any]) -> TriggerFlow:
    flow = TriggerFlow(name="changed")
    for edit in edits:
        edit(flow)
    return flow


def again(flow: TriggerFlow, execution: TriggerFlowExecution) -> TriggerFlowExecution:
    """The execution in a process that has this code."""
    return flow.get_execution(execution.id)


def before(flow: TriggerFlow) -> None:
    flow.when("new").to(lambda data: data.input).match().case(1).to(running.same).end_match()


def after(flow: TriggerFlow) -> None:
    flow.to(running.append("new"), name="new chunk").to(lambda data: data.input)


@pytest.mark.parametrize("edits", [(write,), (before, write), (write, after), (before, write, after)])
def test_what_waits_goes_on_under_code_with_unrelated_edits(edits: tuple[Any, ...]) -> None:
    execution = running.begin(written(write), [1, 2, 3])
    execution.emit("paid", "early")
    execution = again(written(*edits), execution)
    for interrupt_id in ("q3", "q1", "q2"):
        running.answer(execution, interrupt_id, "yes")
    joined = [{"ask": "yes", "quick": number} for number in (1, 2, 3)]
    assert execution.get_state() == {"out": joined, "log": [{"event": {"paid": "early", "keep": joined}}]}
    running.nothing_is_left(execution)


def test_new_code_under_an_old_name_is_what_runs() -> None:
    execution = running.begin(written(lambda flow: flow.to(ask).to(running.keep("old"), name="commit")), 1)
    changed = written(lambda flow: flow.to(ask).to(running.keep("new"), name="commit"))
    running.answer(again(changed, execution), "q1", "yes")
    assert execution.get_state() == {"new": "yes"}


def test_a_chunk_added_after_the_gate_runs_too() -> None:
    execution = running.begin(written(lambda flow: flow.to(ask)), 1)
    running.answer(again(written(lambda flow: flow.to(ask).to(running.keep())), execution), "q1", "yes")
    assert execution.get_state() == {"out": "yes"}


def test_an_answer_to_a_gate_the_code_lacks_waits_for_the_gate() -> None:
    whole = written(lambda flow: flow.to(ask).to(running.keep()))
    execution = running.begin(whole, 1)
    without = again(written(lambda flow: flow.to(running.keep(), name="other")), execution)
    with pytest.raises(exceptions.MissingChunkError, match="no node 'ask'"):
        without.continue_with("q1", "yes")
    (failed,) = running.steps(execution, "failed")
    assert "the code has no node 'ask' any more" in failed.error["message"]
    assert execution.get_status() == "failed"
    assert again(whole, execution).retry() == 1
    assert execution.get_state() == {"out": "yes"}
    running.nothing_is_left(execution)


def test_a_chunk_the_code_lacks_fails_by_name_and_runs_once_it_is_back() -> None:
    whole = written(lambda flow: flow.to(ask).to(running.keep(), name="commit"))
    execution = running.begin(whole, 1)
    decide.decide(execution.pk, "q1", "yes", door="code", using="default", graph=whole.graph)
    with pytest.raises(exceptions.MissingChunkError, match="no chunk 'commit'"):
        again(written(lambda flow: flow.to(ask)), execution).wait()
    (failed,) = running.steps(execution, "failed")
    assert failed.error["type"] == f"{exceptions.__name__}.MissingChunkError"
    assert "the code has no chunk 'commit' any more" in failed.error["message"]
    again(whole, execution).retry()
    assert execution.get_state() == {"out": "yes"}
    running.nothing_is_left(execution)


def test_a_loop_whose_step_fails_where_its_flow_is_unknown_goes_on_with_the_next_items() -> None:
    whole = written(
        lambda flow: (
            flow.for_each(concurrency=1)
            .for_each(concurrency=1)
            .to(running.same)
            .end_for_each()
            .end_for_each()
            .to(running.keep())
        )
    )
    execution = whole.create_execution(auto_close=False, skip_exceptions=True)
    start.start(execution.new, [[1, 2], [3]], using="default")
    (step,) = running.steps(execution)
    error = {"type": "builtins.LookupError", "message": "broken"}
    assert fail.for_good(step, error, using="default", failures=1, status="ready")
    running.balanced(execution)
    assert [(each.status, each.source) for each in running.steps(execution)][1:] == [
        ("ready", "item:START/for_each-1/for_each-1")
    ]
    execution.wait()
    running.balanced(execution)
    assert sorted(each.output for each in running.steps(execution, "done") if each.kind == "chunk") == [2, 3]
    execution.retry()
    assert execution.get_state() == {"out": [[1, 2], [3]]}
    running.nothing_is_left(execution)
