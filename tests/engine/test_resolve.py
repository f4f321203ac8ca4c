"""Interrupts and events: who an event answers for, when one that came early counts, and that handlers run once."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import emit, lifecycle
from triggerflow_django.models import Decision, Door, Event, EventKind, Step

pytestmark = pytest.mark.django_db


def outside(pk: uuid.UUID, event: str, value: Any = None, *, flow: TriggerFlow, actor: Any = None) -> list[int]:
    """Emit from outside and run nothing of what follows."""
    return emit.emit(pk, event, value, using="default", actor=actor, graph=flow.graph)


def waiting_for_payment(**arguments: Any) -> TriggerFlow:
    """A flow that waits for an answer or for the event ``paid``, and whose handler of ``paid`` counts."""

    def ask(data: Any) -> Any:
        return data.pause_for(**{"interrupt_id": "gate", "resume_event": "paid", **arguments})

    flow = TriggerFlow(name="order")
    flow.to(ask).to(lambda data: data.append_state("after", data.input), name="after")
    flow.when("paid").to(lambda data: data.append_state("handled", data.input), name="handle")
    return flow


# -- where an answer goes


@pytest.mark.parametrize(
    ("arguments", "target", "event"),
    [
        ({}, "next", ""),
        ({"resume_to": "next"}, "next", ""),
        ({"resume_to": "self"}, "self", ""),
        ({"resume_to": {"event": "paid"}}, "event", "paid"),
        ({"resume_event": "paid"}, "event", "paid"),
        ({"resume_to": "next", "resume_event": "paid"}, "next", "paid"),
        ({"resume_to": "self", "resume_event": "paid"}, "self", "paid"),
        ({"resume_to": {"event": "paid"}, "resume_event": "other"}, "event", "paid"),
    ],
)
def test_an_explicit_resume_to_wins_over_the_event(arguments: Any, target: str, event: str) -> None:
    flow = TriggerFlow(name="order")
    flow.to(lambda data: data.pause_for(interrupt_id="gate", **arguments), name="ask")
    asked = driving.interrupt(driving.settled(flow), "gate")
    assert (asked.resume_to, asked.resume_event) == (target, event)


def test_an_answer_to_next_is_not_emitted_as_the_event_that_could_have_answered_too() -> None:
    flow = waiting_for_payment(resume_to="next")
    pk = driving.settled(flow)
    driving.decide(pk, "gate", 5, flow=flow)
    driving.drain(pk, flow)
    assert driving.state(pk) == {"after": [5]}


def test_answering_one_of_several_that_wait_for_an_event_leaves_the_others_waiting() -> None:
    flow = TriggerFlow(name="order")
    for name in ("one", "two"):
        flow.to(lambda data, name=name: data.pause_for(interrupt_id=name, resume_event="paid"), name=name)
    flow.when("paid").to(lambda data: data.append_state("handled", data.input), name="handle")
    pk = driving.settled(flow)
    driving.decide(pk, "one", 5, flow=flow)
    driving.drain(pk, flow)
    assert driving.interrupt(pk, "two").status == "waiting"
    assert driving.state(pk) == {"handled": [5]}


# -- an event from outside


def test_an_event_from_outside_answers_and_its_handlers_run_once() -> None:
    flow = waiting_for_payment()
    pk = driving.settled(flow)
    assert len(outside(pk, "paid", 5, flow=flow, actor="the bank")) == 1
    driving.drain(pk, flow)
    assert driving.state(pk) == {"handled": [5]}
    decision = driving.interrupt(pk, "gate").decision
    assert decision is not None
    assert (decision.payload, decision.door, decision.actor_label) == (5, Door.EVENT, "the bank")
    assert Step.objects.filter(execution_id=pk, node="handle").count() == 1
    driving.consistent(pk)


def test_an_event_from_outside_answers_and_what_stands_after_the_gate_runs_beside_the_handlers() -> None:
    flow = waiting_for_payment(resume_to="next")
    pk = driving.settled(flow)
    outside(pk, "paid", 5, flow=flow)
    driving.drain(pk, flow)
    assert driving.state(pk) == {"after": [5], "handled": [5]}


def test_an_event_from_outside_answers_every_interrupt_that_waits_for_it_and_no_other() -> None:
    flow = TriggerFlow(name="order")
    for name, event in (("one", "paid"), ("two", "paid"), ("other", "shipped")):
        flow.to(
            lambda data, name=name, event=event: data.pause_for(
                interrupt_id=name, resume_to="next", resume_event=event
            ),
            name=name,
        ).to(lambda data, name=name: data.set_state(name, data.input), name=f"after-{name}")
    flow.when("paid").to(lambda data: data.append_state("handled", data.input), name="handle")
    pk = driving.settled(flow)
    outside(pk, "paid", 5, flow=flow)
    driving.drain(pk, flow)
    assert driving.state(pk) == {"one": 5, "two": 5, "handled": [5]}
    assert Decision.objects.filter(execution_id=pk).count() == 2
    assert driving.interrupt(pk, "other").status == "waiting"
    driving.consistent(pk)


def test_an_event_from_outside_that_somebody_may_not_answer_with_is_refused_whole(clerk: User, manager: User) -> None:
    flow = TriggerFlow(name="order")
    flow.to(lambda data: data.pause_for(interrupt_id="anybody", resume_event="paid"), name="one")
    flow.to(lambda data: data.pause_for(interrupt_id="clerk", resume_event="paid", approvers="user:clerk"), name="two")
    flow.when("paid").to(driving.nothing(), name="handle")
    pk = driving.settled(flow)
    before = driving.everything(pk)
    for actor in (manager, "clerk"):
        with pytest.raises(exceptions.DecisionRefusedError, match="interrupt 'clerk'"):
            outside(pk, "paid", 5, flow=flow, actor=actor)
        assert driving.everything(pk) == before
    with pytest.raises(exceptions.DecisionRefusedError, match=r"'anybody'.*permission"):
        outside(pk, "paid", 5, flow=flow, actor=clerk)
    assert driving.everything(pk) == before


def test_an_event_from_outside_by_a_named_approver_answers_in_that_name(clerk: User) -> None:
    flow = waiting_for_payment(approvers="user:clerk")
    pk = driving.settled(flow)
    outside(pk, "paid", 5, flow=flow, actor=clerk)
    decision = driving.interrupt(pk, "gate").decision
    assert decision is not None
    assert (decision.actor_id, decision.actor_label, decision.door) == (str(clerk.pk), "clerk", Door.EVENT)


def test_the_starter_s_event_does_not_pass_a_gate_that_excludes_the_starter(manager: User) -> None:
    flow = waiting_for_payment(exclude_starter=True)
    pk = driving.settled(flow, started_by=manager)
    with pytest.raises(exceptions.DecisionRefusedError, match="you started this execution"):
        outside(pk, "paid", 5, flow=flow, actor=manager)


def test_an_event_from_outside_with_an_answer_that_fails_the_schema_is_refused_whole() -> None:
    flow = waiting_for_payment(response_schema={"type": "integer"})
    pk = driving.settled(flow)
    before = driving.everything(pk)
    with pytest.raises(exceptions.AnswerSchemaError, match=r"'gate'.*\$: 'five' is not of type 'integer'"):
        outside(pk, "paid", "five", flow=flow)
    assert driving.everything(pk) == before


# -- the rest


def test_the_same_event_twice_answers_once() -> None:
    flow = waiting_for_payment(resume_to="next")
    pk = driving.settled(flow)
    for value in (5, 6):
        outside(pk, "paid", value, flow=flow)
    driving.drain(pk, flow)
    assert driving.state(pk) == {"after": [5], "handled": [5, 6]}
    assert Decision.objects.filter(execution_id=pk).count() == 1


def test_a_sealed_execution_hears_no_event_and_its_interrupts_wait_on() -> None:
    flow = waiting_for_payment()
    pk = driving.settled(flow)
    lifecycle.seal(pk, using="default")
    before = driving.everything(pk)
    with pytest.raises(exceptions.ExecutionNotOpenError, match="event 'paid' refused"):
        outside(pk, "paid", 5, flow=flow)
    assert driving.everything(pk) == before


def test_history_tells_the_event_and_then_what_it_answered(clerk: User) -> None:
    flow = waiting_for_payment(approvers="user:clerk")
    pk = driving.settled(flow)
    outside(pk, "paid", {"amount": 5}, flow=flow, actor=clerk)
    assert driving.history(pk) == ["started", "emitted", "interrupt_decided"]
    emitted = Event.objects.get(execution_id=pk, kind=EventKind.EMITTED)
    assert (emitted.name, emitted.data, emitted.actor_label) == ("paid", {"value": {"amount": 5}}, "clerk")
