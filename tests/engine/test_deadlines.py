"""Deadlines: what happens when nobody answers in time, always recorded as the system's act."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions, signals
from triggerflow_django.engine import deadlines, sweep
from triggerflow_django.models import Decision, Door, Event, EventKind

pytestmark = pytest.mark.django_db

Travel = Callable[[float], None]


def asking(**arguments: Any) -> TriggerFlow:
    """A flow that asks and gives an hour to answer."""
    flow = TriggerFlow(name="refund")
    flow.to(lambda data: data.pause_for(**{"interrupt_id": "gate", "due_in": 3600, **arguments}), name="ask").to(
        lambda data: data.set_state("after", data.input), name="after"
    )
    flow.when("late").to(lambda data: data.append_state("late", data.input), name="on-late")
    return flow


def pass_due(pk: uuid.UUID) -> bool:
    return deadlines.pass_deadline(driving.interrupt(pk, "gate").pk, pk, using="default")


def overdue_events(pk: uuid.UUID) -> list[tuple[str, str, str]]:
    rows = Event.objects.filter(execution_id=pk).exclude(kind=EventKind.STARTED).order_by("sequence")
    return [(str(event.kind), event.name, event.actor_label) for event in rows]


@pytest.fixture
def sent() -> Iterator[list[str]]:
    """The interrupts that ``interrupt_overdue`` told observers."""
    found: list[str] = []

    def receive(interrupt_id: str, **_kwargs: Any) -> None:
        found.append(interrupt_id)

    signals.interrupt_overdue.connect(receive, weak=False)
    yield found
    signals.interrupt_overdue.disconnect(receive)


# -- when


def test_before_its_time_nothing_happens(travel: Travel) -> None:
    pk = driving.settled(asking(on_due="fail"))
    travel(3590)
    before = driving.everything(pk)
    assert pass_due(pk) is False
    assert sweep.sweep(using="default").total() == 0
    assert driving.everything(pk) == before


def test_a_deadline_acts_once(travel: Travel) -> None:
    pk = driving.settled(asking())
    travel(3601)
    assert pass_due(pk) is True
    before = driving.everything(pk)
    assert pass_due(pk) is False
    assert sweep.sweep(using="default").total() == 0
    assert driving.everything(pk) == before


def test_a_deadline_of_an_answered_interrupt_does_nothing(travel: Travel) -> None:
    flow = asking(on_due="fail")
    pk = driving.settled(flow)
    driving.decide(pk, "gate", 1, flow=flow)
    travel(3601)
    before = driving.everything(pk)
    assert pass_due(pk) is False
    assert driving.everything(pk) == before


# -- overdue


@pytest.mark.parametrize("arguments", [{}, {"on_due": "overdue"}])
def test_overdue_is_marked_told_and_still_to_be_answered(
    travel: Travel, sent: list[str], django_capture_on_commit_callbacks: Any, arguments: Any
) -> None:
    flow = asking(**arguments)
    pk = driving.settled(flow)
    travel(3601)
    with django_capture_on_commit_callbacks(execute=True):
        assert pass_due(pk)
    asked = driving.interrupt(pk, "gate")
    assert asked.overdue_at is not None
    assert asked.overdue_at >= asked.due_at
    assert asked.status == "waiting"
    assert overdue_events(pk) == [("interrupt_overdue", "gate", "rule:deadline")]
    assert sent == ["gate"]
    assert driving.consistent(pk).status == "waiting"
    driving.decide(pk, "gate", 1, flow=flow)
    driving.drain(pk, flow)
    assert driving.state(pk) == {"after": 1}


# -- a default answer


@pytest.mark.parametrize("answer", [None, False, {"approved": False}])
def test_a_default_answer_is_the_system_s_decision(travel: Travel, answer: Any) -> None:
    flow = asking(on_due={"answer": answer})
    pk = driving.settled(flow)
    travel(3601)
    assert pass_due(pk)
    decision = Decision.objects.get(interrupt__execution_id=pk)
    assert (decision.payload, decision.door) == (answer, Door.DEADLINE)
    assert (decision.actor_id, decision.actor_label, decision.request_id) == ("", "rule:deadline", "")
    assert overdue_events(pk) == [
        ("interrupt_overdue", "gate", "rule:deadline"),
        ("interrupt_decided", "gate", "rule:deadline"),
    ]
    driving.consistent(pk)
    driving.drain(pk, flow)
    assert driving.state(pk) == {"after": answer}


def test_a_default_answer_also_answers_where_persons_are_named(travel: Travel, clerk: User) -> None:
    flow = asking(on_due={"answer": False}, approvers=[clerk], exclude_starter=True)
    pk = driving.settled(flow, started_by=clerk)
    travel(3601)
    assert pass_due(pk)
    assert driving.interrupt(pk, "gate").status == "resumed"


def test_a_default_answer_that_fails_the_schema_fails_the_step(travel: Travel) -> None:
    flow = asking(on_due={"answer": "no"}, response_schema={"type": "boolean"})
    pk = driving.settled(flow)
    travel(3601)
    assert pass_due(pk)
    assert driving.interrupt(pk, "gate").status == "expired"
    step = driving.step(pk, "ask")
    assert step.status == "failed"
    assert "default answer does not match its schema" in step.error["message"]
    assert not Decision.objects.exists()
    assert driving.consistent(pk).status == "failed"


def test_a_person_who_answers_after_the_default_answer_hears_by_whom_it_was_decided(travel: Travel) -> None:
    pk = driving.settled(asking(on_due={"answer": False}))
    travel(3601)
    pass_due(pk)
    with pytest.raises(exceptions.InterruptNotWaitingError, match="was decided by rule:deadline at"):
        driving.decide(pk, "gate", True)


# -- an event


def test_an_event_expires_the_interrupt_and_its_handlers_run(travel: Travel) -> None:
    flow = asking(on_due={"event": "late", "value": 7})
    pk = driving.settled(flow)
    travel(3601)
    assert deadlines.pass_deadline(driving.interrupt(pk, "gate").pk, pk, using="default")
    assert driving.interrupt(pk, "gate").status == "expired"
    assert driving.step(pk, "ask").status == "done"
    assert not Decision.objects.exists()
    assert overdue_events(pk) == [
        ("interrupt_overdue", "gate", "rule:deadline"),
        ("interrupt_expired", "gate", "rule:deadline"),
        ("emitted", "late", "rule:deadline"),
    ]
    driving.consistent(pk)
    driving.drain(pk, flow)
    assert driving.state(pk) == {"late": [7]}
    with pytest.raises(exceptions.InterruptNotWaitingError, match="was expired at"):
        driving.decide(pk, "gate", True)


def test_an_event_of_a_deadline_answers_what_waits_for_it_but_no_named_approver(travel: Travel, clerk: User) -> None:
    flow = asking(on_due={"event": "late"})
    flow.to(lambda data: data.pause_for(interrupt_id="open", resume_event="late"), name="two")
    flow.to(lambda data: data.pause_for(interrupt_id="named", resume_event="late", approvers=[clerk]), name="three")
    pk = driving.settled(flow)
    travel(3601)
    pass_due(pk)
    assert driving.interrupt(pk, "open").status == "resumed"
    assert driving.interrupt(pk, "named").status == "waiting"
    driving.drain(pk, flow)
    assert driving.state(pk) == {"late": [None]}
    driving.consistent(pk)


def test_an_event_of_a_deadline_keeps_the_scope_of_the_item_that_asked(travel: Travel) -> None:
    flow = TriggerFlow(name="lines")
    flow.for_each().to(
        lambda data: data.pause_for(interrupt_id=f"gate-{data.input}", due_in=3600, on_due={"event": "late"}),
        name="ask",
    ).end_for_each().to(driving.nothing(), name="end")
    flow.when("late").to(driving.nothing(), name="on-late")
    pk = driving.settled(flow, [0, 1])
    travel(3601)
    sweep.sweep(using="default")
    driving.drain(pk, flow)
    scopes = [driving.step(pk, "on-late").scope]
    assert scopes[0][0][0] == "START/for_each-1"
    driving.consistent(pk)
