"""Changed code: a step whose chunk is gone waits, burns no attempt, fails by name, and goes on once it is back."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.definition import registry
from triggerflow_django.engine import missing, retry
from triggerflow_django.models import Decision, Step, StepKind

pytestmark = pytest.mark.django_db

Travel = Callable[[float], None]


def version_1() -> TriggerFlow:
    """A flow that asks and commits."""
    flow = TriggerFlow(name="refund")
    flow.to(lambda data: data.pause_for(interrupt_id="gate"), name="ask").to(
        lambda data: data.set_state("decision", data.input), name="commit"
    )
    return flow


def version_2(*, with_ask: bool = False) -> TriggerFlow:
    """The same flow after a deployment that took chunks away."""
    flow = TriggerFlow(name="refund")
    flow.to(driving.nothing(), name="greet")
    if with_ask:
        flow.to(lambda data: data.pause_for(interrupt_id="gate"), name="ask")
    return flow


# -- a chunk


def test_a_step_whose_chunk_is_gone_is_left_alone_and_burns_no_attempt(travel: Travel) -> None:
    pk = driving.start(version_1())
    new = version_2()
    for _ in range(3):
        assert driving.claim(pk, new, grace=600) == []
        step = driving.step(pk, "ask")
        assert (step.status, step.attempt, step.failures, step.lost) == ("ready", 0, 0, 0)
        assert step.missing_since is not None
        travel(31)
    assert driving.consistent(pk).status == "running"


def test_it_is_looked_at_again_later_and_not_in_a_busy_loop(travel: Travel) -> None:
    pk = driving.start(version_1())
    driving.claim(pk, version_2(), grace=600)
    step = driving.step(pk, "ask")
    assert step.available_at > step.missing_since
    assert driving.claim(pk, version_1()) == []
    travel(31)
    assert len(driving.claim(pk, version_1())) == 1


def test_it_never_blocks_other_steps(travel: Travel) -> None:
    old, new = version_1(), version_2()
    old.when("other").to(driving.nothing(), name="greet")
    pk = driving.start(old)
    flow_with_both = version_2()
    from triggerflow_django.engine import emit

    emit.emit(pk, "other", 1, using="default", graph=old.graph)
    (taken,) = driving.claim(pk, new, grace=600)
    assert taken.node == "greet"
    assert flow_with_both.graph.chunk("ask") is None


def test_it_runs_as_if_nothing_had_been_once_its_chunk_is_back(travel: Travel) -> None:
    pk = driving.start(version_1())
    driving.claim(pk, version_2(), grace=600)
    travel(31)
    (step,) = driving.claim(pk, version_1())
    assert (step.attempt, step.missing_since) == (1, None)


def test_after_the_grace_it_fails_by_name_and_can_be_retried_after_a_fix(travel: Travel) -> None:
    pk = driving.start(version_1())
    new = version_2()
    driving.claim(pk, new, grace=600)
    travel(601)
    assert driving.claim(pk, new, grace=600) == []
    step = driving.step(pk, "ask")
    assert (step.status, step.attempt) == ("failed", 0)
    assert step.error["type"] == "triggerflow_django.exceptions.MissingChunkError"
    assert "has no chunk 'ask' any more; bring it back" in step.error["message"]
    execution = driving.consistent(pk)
    assert (execution.status, execution.failed_steps) == ("failed", 1)
    fixed = version_1()
    retry.retry(pk, using="default", graph=fixed.graph)
    assert driving.step(pk, "ask").missing_since is None
    driving.drain(pk, fixed)
    assert driving.interrupt(pk, "gate").status == "waiting"


def test_the_grace_begins_anew_after_a_retry(travel: Travel) -> None:
    pk = driving.start(version_1())
    new = version_2()
    driving.claim(pk, new, grace=600)
    travel(601)
    driving.claim(pk, new, grace=600)
    retry.retry(pk, using="default")
    driving.claim(pk, new, grace=600)
    assert driving.step(pk, "ask").status == "ready"


def test_inline_it_fails_at_once() -> None:
    pk = driving.start(version_1())
    driving.drain(pk, version_2())
    assert driving.step(pk, "ask").status == "failed"
    assert driving.consistent(pk).status == "failed"


# -- an answer


def answered_without_the_chunk(*, with_ask: bool = False) -> tuple[uuid.UUID, TriggerFlow]:
    """An interrupt of version 1, answered in a process that runs version 2."""
    pk = driving.settled(version_1())
    new = version_2(with_ask=with_ask)
    driving.decide(pk, "gate", {"approved": True}, flow=new)
    return pk, new


def test_an_answer_given_while_the_asking_chunk_is_gone_waits_for_it() -> None:
    pk, new = answered_without_the_chunk()
    step = Step.objects.get(execution_id=pk, kind=StepKind.ROUTE)
    assert (step.node, step.source, step.input, step.status) == ("", "done:ask", {"approved": True}, "ready")
    assert driving.claim(pk, new, grace=600) == []
    assert driving.consistent(pk).status == "running"
    assert Decision.objects.get(execution_id=pk).payload == {"approved": True}


def test_it_then_fails_by_name_rather_than_vanish_and_the_decision_stands(travel: Travel) -> None:
    pk, new = answered_without_the_chunk()
    driving.claim(pk, new, grace=600)
    travel(601)
    driving.claim(pk, new, grace=600)
    step = Step.objects.get(execution_id=pk, kind=StepKind.ROUTE)
    assert step.status == "failed"
    assert "has no node 'ask' any more" in step.error["message"]
    assert driving.consistent(pk).status == "failed"
    assert driving.interrupt(pk, "gate").status == "resumed"
    fixed = version_1()
    retry.retry(pk, using="default", graph=fixed.graph)
    driving.drain(pk, fixed)
    assert driving.state(pk) == {"decision": {"approved": True}}
    driving.consistent(pk)


def test_an_answer_routes_by_the_new_wiring_where_the_chunk_is_still_there() -> None:
    pk, new = answered_without_the_chunk(with_ask=True)
    assert driving.drain(pk, new) == []
    assert "commit" not in driving.statuses(pk)
    assert driving.consistent(pk).failed_steps == 0


def test_an_answer_to_a_chunk_that_resumes_itself_waits_for_that_chunk(travel: Travel) -> None:
    flow = TriggerFlow(name="refund")
    flow.to(lambda data: data.pause_for(interrupt_id="gate", resume_to="self"), name="ask")
    pk = driving.settled(flow)
    new = version_2()
    driving.decide(pk, "gate", 1, flow=new)
    assert driving.claim(pk, new, grace=600) == []
    assert driving.step(pk, "ask").status == "ready"
    travel(31)
    (step,) = driving.claim(pk, flow)
    assert step.resumed_from_id is not None


def test_a_value_from_a_branch_or_a_join_that_is_gone_waits_too() -> None:
    for source, place in (
        ("branch:START/match-1/0", "START/match-1"),
        ("fired:START/batch-1/end", "START/batch-1/end"),
        ("item:START/for_each-1", "START/for_each-1"),
        ("done:START/lambda-1", "START/lambda-1"),
    ):
        step = Step(kind=StepKind.ROUTE, source=source)
        assert missing.standing_on(step) == place
        assert missing.is_known(step, version_2().graph) is False
    for source in ("event:START", "event:no/such", "runtime_data:a", "flow_data:a"):
        step = Step(kind=StepKind.ROUTE, source=source)
        assert missing.standing_on(step) == ""
        assert missing.is_known(step, version_2().graph) is True
    assert missing.is_known(Step(kind=StepKind.ROUTE, source="event:START"), None) is False


# -- where the flow as a whole is not known


def test_a_verb_in_a_process_without_the_flow_leaves_the_routing_to_one_that_has_it() -> None:
    flow = version_1()
    pk = driving.settled(flow)
    assert registry.find("refund") is None
    driving.decide(pk, "gate", 5)
    assert driving.statuses(pk) == {"ask": "done", "": "ready"}
    driving.drain(pk, flow)
    assert driving.state(pk) == {"decision": 5}


def test_a_verb_in_a_process_with_another_shape_of_the_flow_does_the_same() -> None:
    flow = version_1()
    pk = driving.settled(flow)
    other = version_1()
    other.when("more").to(driving.nothing(), name="more")
    assert other.graph.fingerprint != flow.graph.fingerprint
    driving.decide(pk, "gate", 5, flow=other)
    assert driving.statuses(pk) == {"ask": "done", "": "ready"}
    driving.drain(pk, other)
    assert driving.state(pk) == {"decision": 5}
    assert driving.row(pk).flow_fingerprint == other.graph.fingerprint


def test_an_unregistered_flow_does_not_run_on_workers_and_a_registered_one_is_found_by_name() -> None:
    flow = version_1()
    with pytest.raises(exceptions.UnregisteredFlowError, match="is not registered, so no worker could find it"):
        flow.create_execution(runner="rq")
    with pytest.raises(exceptions.UnknownFlowError, match=r"no flow named 'refund' is registered here .*flows\.py"):
        registry.get("refund")


def test_a_value_for_a_join_that_is_gone_fails_by_name_and_not_at_the_person_who_decided() -> None:
    """The person hears that the answer was taken; the step that had to route it fails, visible."""
    flow = TriggerFlow(name="lines")

    def ask(data: Any) -> Any:
        return data.pause_for(interrupt_id=f"gate-{data.input}")

    flow.for_each().to(ask).end_for_each().to(driving.nothing(), name="end")
    pk = driving.settled(flow, [0])
    from triggerflow_django.models import Join

    Join.objects.update(status="fired")
    driving.decide(pk, "gate-0", 1, flow=flow)
    (failure,) = driving.drain(pk, flow)
    assert isinstance(failure, exceptions.JoinClosedError)
    assert driving.interrupt(pk, "gate-0").status == "resumed"
    assert driving.consistent(pk).status == "failed"
