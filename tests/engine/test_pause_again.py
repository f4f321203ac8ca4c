"""Asking twice: one id has one question at a time, and a chunk resumes itself as often as it may."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Group

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.models import Interrupt, Step

pytestmark = pytest.mark.django_db


def asking(**arguments: Any) -> TriggerFlow:
    """A flow that asks once."""
    flow = TriggerFlow(name="refund")
    flow.to(lambda data: data.pause_for(**arguments), name="ask").to(driving.nothing(), name="after")
    return flow


def refused(flow: TriggerFlow, error: type[Exception], said: str) -> uuid.UUID:
    """The flow's first chunk fails for good by this error, and leaves no interrupt."""
    pk = driving.start(flow)
    (failure,) = driving.drain(pk, flow)
    assert isinstance(failure, error)
    assert said in str(failure)
    execution = driving.consistent(pk)
    assert (execution.status, execution.failed_steps, execution.pending_interrupts) == ("failed", 1, 0)
    assert not Interrupt.objects.filter(execution_id=pk).exists()
    step = Step.objects.get(execution_id=pk)
    assert (step.status, step.output) == ("failed", None)
    assert step.error["type"] == f"{error.__module__}.{error.__qualname__}"
    return pk


# -- one id, one question


def test_the_same_id_in_two_branches_refuses_the_second_and_leaves_the_first() -> None:
    def ask(data: Any) -> Any:
        data.set_state(data.event, "wrote")
        data.emit("asked")
        return data.pause_for(interrupt_id="gate", payload=data.event)

    flow = TriggerFlow(name="refund")
    flow.when("one").to(ask, name="first")
    flow.when("two").to(ask, name="second")
    flow.when("asked").to(lambda data: data.append_state("heard", 1), name="hear")
    flow.to(lambda data: (data.emit("one"), data.emit("two"), None)[-1], name="fork")
    pk = driving.start(flow)
    (failure,) = driving.drain(pk, flow)
    assert isinstance(failure, exceptions.InterruptAlreadyWaitingError)
    assert isinstance(failure, ValueError)
    assert "interrupt 'gate' is waiting already" in str(failure)
    assert pk.hex in str(failure)
    execution = driving.consistent(pk)
    assert (execution.failed_steps, execution.pending_interrupts) == (1, 1)
    assert driving.state(pk) == {"one": "wrote", "heard": [1]}
    assert Interrupt.objects.get(execution_id=pk).payload == "one"
    assert driving.statuses(pk) == {"fork": "done", "first": "paused", "second": "failed", "hear": "done"}


def test_a_refused_pause_of_an_atomic_chunk_leaves_nothing_of_its_own_writes() -> None:
    def ask(data: Any) -> Any:
        Group.objects.create(name=data.event)
        return data.pause_for(interrupt_id="gate")

    flow = TriggerFlow(name="refund")
    flow.when("one").to(flow.chunk(atomic=True)(ask), name="first")
    flow.when("two").to(flow.chunk(atomic=True)(ask), name="second")
    flow.to(lambda data: (data.emit("one"), data.emit("two"), None)[-1], name="fork")
    pk = driving.start(flow)
    (failure,) = driving.drain(pk, flow)
    assert isinstance(failure, exceptions.InterruptAlreadyWaitingError)
    assert [group.name for group in Group.objects.all()] == ["one"]
    assert driving.statuses(pk) == {"fork": "done", "first": "paused", "second": "failed"}
    driving.consistent(pk)


def test_approvers_that_name_nobody_leave_nothing_of_an_atomic_chunk() -> None:
    def ask(data: Any) -> Any:
        Group.objects.create(name="wrote")
        data.set_state("wrote", True)
        data.emit("asked")
        return data.pause_for(approvers="group:no-such")

    flow = TriggerFlow(name="refund")
    flow.to(flow.chunk(atomic=True)(ask))
    flow.when("asked").to(driving.nothing(), name="hear")
    pk = refused(flow, exceptions.ApproversError, "there is no group 'no-such'")
    assert not Group.objects.exists()
    assert driving.state(pk) == {}


def test_a_refused_step_can_be_retried_once_the_id_is_free() -> None:
    flow = TriggerFlow(name="refund")
    for name in ("first", "second"):
        flow.to(lambda data: data.pause_for(interrupt_id="gate"), name=name)
    pk = driving.start(flow)
    assert len(driving.drain(pk, flow)) == 1
    driving.decide(pk, "gate", 1, flow=flow)
    handle = flow.get_execution(pk)
    assert handle.retry() == 1
    assert driving.statuses(pk) == {"first": "done", "second": "paused"}
    assert driving.interrupt(pk, "gate").round == 2
    assert driving.consistent(pk).status == "waiting"


def test_an_id_may_be_asked_again_once_it_was_answered_and_counts_its_rounds() -> None:
    flow = TriggerFlow(name="review")
    flow.when("ask").to(lambda data: data.pause_for(interrupt_id="gate", payload=data.input), name="ask")
    pk = driving.settled(flow)
    for round_ in range(1, 4):
        flow.get_execution(pk).emit("ask", round_)
        asked_now = driving.interrupt(pk, "gate")
        assert (asked_now.round, asked_now.payload, asked_now.status) == (round_, round_, "waiting")
        driving.decide(pk, "gate", f"answer {round_}")
    answers = Interrupt.objects.filter(execution_id=pk).order_by("round").values_list("decision__payload", flat=True)
    assert list(answers) == ["answer 1", "answer 2", "answer 3"]
    driving.consistent(pk)


def test_an_id_may_be_used_in_every_execution() -> None:
    flow = asking(interrupt_id="gate")
    one, other = driving.settled(flow), driving.settled(flow)
    driving.decide(one, "gate", 1)
    assert driving.interrupt(other, "gate").status == "waiting"


def self_asking(max_resumes: Any, rounds: list[Any]) -> TriggerFlow:
    """A flow whose chunk asks until it hears "enough"."""

    def review(data: Any) -> Any:
        rounds.append((data.input, data.is_resume, data.resume.value))
        if data.is_resume and data.resume.value == "enough":
            return "done"
        return data.pause_for(interrupt_id="gate", resume_to="self", max_resumes=max_resumes)

    flow = TriggerFlow(name="review")
    flow.to(review).to(lambda data: data.set_state("end", (data.input, data.is_resume)), name="after")
    return flow


# -- a chunk that resumes itself


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_chunk_resumes_itself_at_most_max_resumes_times(most: int) -> None:
    rounds: list[Any] = []
    flow = self_asking(most, rounds)
    pk = driving.settled(flow, "order")
    for count in range(1, most + 1):
        driving.decide(pk, "gate", count, flow=flow)
        again = driving.step(pk, "review")
        assert (again.resume_count, again.attempt, again.input) == (count, 0, "order")
        failures = driving.drain(pk, flow)
    (failure,) = failures
    assert isinstance(failure, exceptions.MaxResumesError)
    assert isinstance(failure, RuntimeError)
    assert f"has resumed itself {most} times, max_resumes={most}" in str(failure)
    assert rounds == [("order", False, None), *(("order", True, count) for count in range(1, most + 1))]
    execution = driving.consistent(pk)
    assert (execution.status, execution.pending_interrupts) == ("failed", 0)


def test_a_chunk_that_may_never_resume_itself_fails_when_it_asks() -> None:
    refused(self_asking(0, []), exceptions.MaxResumesError, "max_resumes=0")


def test_without_a_limit_a_chunk_resumes_itself_as_often_as_it_asks() -> None:
    rounds: list[Any] = []
    flow = self_asking(None, rounds)
    pk = driving.settled(flow)
    for answer in [1, None, False, "enough"]:
        driving.decide(pk, "gate", answer, flow=flow)
        assert not driving.drain(pk, flow)
    assert [answer for _, _, answer in rounds] == [None, 1, None, False, "enough"]
    # The gate after it does not see the answer as its own.
    assert driving.state(pk) == {"end": ["done", False]}
    assert driving.step(pk, "after").resume_count == 0


def test_a_retry_does_not_lose_the_answer_the_chunk_resumed_with() -> None:
    heard: list[Any] = []

    def review(data: Any) -> Any:
        heard.append((data.is_resume, data.resume.value, data.attempt))
        if not data.is_resume:
            return data.pause_for(interrupt_id="gate", resume_to="self")
        if data.attempt == 1:
            raise ConnectionError("try again")
        return None

    flow = TriggerFlow(name="review")
    flow.to(review)
    pk = driving.settled(flow)
    driving.decide(pk, "gate", "yes", flow=flow)
    assert len(driving.drain(pk, flow)) == 1
    flow.get_execution(pk).retry()
    assert heard == [(False, None, 1), (True, "yes", 1), (True, "yes", 2)]
