"""The payment that arrived before the wait: when an outside event answers a question that is asked later."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from tests.engine import driving
from triggerflow_django import TriggerFlow
from triggerflow_django.engine import emit
from triggerflow_django.models import Door, Step

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


def early(**arguments: Any) -> tuple[TriggerFlow, uuid.UUID, Any, Step]:
    """An execution whose step is claimed and has not paused yet."""
    flow = waiting_for_payment(**{"resume_to": "next", **arguments})
    pk = driving.start(flow)
    return flow, pk, *driving.claimed(pk, flow)


# -- the payment that arrived before the wait


def test_an_outside_event_after_the_step_s_first_claim_answers_at_once_and_its_handlers_do_not_run_again() -> None:
    flow, pk, running, step = early()
    outside(pk, "paid", 5, flow=flow, actor="the bank")
    driving.finish(running, step)
    decision = driving.interrupt(pk, "gate").decision
    assert decision is not None
    assert (decision.payload, decision.door, decision.actor_label) == (5, Door.EVENT, "the bank")
    driving.drain(pk, flow)
    assert driving.state(pk) == {"after": [5], "handled": [5]}
    assert driving.consistent(pk).pending_interrupts == 0


def test_an_outside_event_before_the_step_s_first_claim_does_not_count() -> None:
    flow = waiting_for_payment(resume_to="next")
    pk = driving.start(flow)
    outside(pk, "paid", 5, flow=flow)
    driving.drain(pk, flow)
    assert driving.interrupt(pk, "gate").status == "waiting"


def test_the_first_claim_counts_also_when_the_step_is_run_again() -> None:
    tries: list[int] = []

    def ask(data: Any) -> Any:
        tries.append(data.attempt)
        if data.attempt == 1:
            raise ConnectionError("try again")
        return data.pause_for(interrupt_id="gate", resume_event="paid")

    flow = TriggerFlow(name="order")
    flow.to(ask)
    pk = driving.start(flow)
    running, step = driving.claimed(pk, flow)
    outside(pk, "paid", 5, flow=flow)
    driving.run(running, step)
    assert driving.step(pk, "ask").status == "failed"
    flow.get_execution(pk).retry()
    assert tries == [1, 2]
    assert driving.interrupt(pk, "gate").status == "resumed"


def test_a_step_carried_on_by_the_commit_before_it_counts_from_that_commit() -> None:
    flow = TriggerFlow(name="order")
    flow.to(driving.nothing(), name="first").to(
        lambda data: data.pause_for(interrupt_id="gate", resume_event="paid"), name="ask"
    )
    pk = driving.start(flow)
    running, step = driving.claimed(pk, flow)
    outside(pk, "paid", "too early", flow=flow)
    (carried,) = driving.run(running, step).carried
    assert carried.first_claim_sequence == driving.row(pk).event_sequence
    outside(pk, "paid", "in time", flow=flow)
    driving.run(running, carried)
    decision = driving.interrupt(pk, "gate").decision
    assert decision is not None
    assert decision.payload == "in time"


def test_the_first_event_that_may_answer_counts_not_simply_the_first(clerk: User, manager: User) -> None:
    flow, pk, running, step = early(approvers="user:clerk", response_schema={"type": "integer"})
    outside(pk, "paid", 1, flow=flow, actor=manager)
    outside(pk, "paid", "two", flow=flow, actor=clerk)
    outside(pk, "paid", 3, flow=flow, actor=clerk)
    outside(pk, "paid", 4, flow=flow, actor=clerk)
    driving.run(running, step)
    decision = driving.interrupt(pk, "gate").decision
    assert decision is not None
    assert (decision.payload, decision.actor_label) == (3, "clerk")


def test_an_early_event_of_somebody_who_may_not_decide_does_not_count(clerk: User, manager: User) -> None:
    flow, pk, running, step = early(approvers="user:clerk")
    for actor in (manager, "clerk"):
        outside(pk, "paid", 5, flow=flow, actor=actor)
    driving.run(running, step)
    assert driving.interrupt(pk, "gate").status == "waiting"
    assert driving.consistent(pk).pending_interrupts == 1


def test_an_early_event_counts_by_the_rights_its_emitter_has_when_the_question_is_asked(
    finance: Group, clerk: User, manager: User
) -> None:
    manager.groups.add(finance)
    flow, pk, running, step = early(approvers="group:finance")
    outside(pk, "paid", 5, flow=flow, actor=clerk)
    clerk.groups.clear()
    driving.run(running, step)
    assert driving.interrupt(pk, "gate").status == "waiting"


@pytest.mark.parametrize("arguments", [{}, {"exclude_starter": True}])
def test_an_early_event_of_a_user_deleted_since_does_not_count(clerk: User, arguments: dict[str, Any]) -> None:
    flow, pk, running, step = early(**arguments)
    outside(pk, "paid", 5, flow=flow, actor=clerk)
    clerk.delete()
    driving.run(running, step)
    assert driving.interrupt(pk, "gate").status == "waiting"


def test_an_early_event_of_another_name_or_of_a_chunk_does_not_count() -> None:
    flow = waiting_for_payment(resume_to="next")
    flow.when("pay").to(lambda data: data.emit("paid", 1), name="pay")
    pk = driving.start(flow)
    running, step = driving.claimed(pk, flow)
    outside(pk, "PAID", 5, flow=flow)
    outside(pk, "pay", flow=flow)
    driving.drain(pk, flow)
    driving.run(running, step)
    assert driving.interrupt(pk, "gate").status == "waiting"


def test_an_early_event_answers_a_chunk_that_resumes_itself_once() -> None:
    flow, pk, running, step = early(resume_to="self", max_resumes=None)
    outside(pk, "paid", 5, flow=flow)
    (carried,) = driving.run(running, step).carried
    assert (carried.node, carried.resume_count) == ("ask", 1)
    driving.run(running, carried)
    assert driving.interrupt(pk, "gate").round == 2
    assert driving.interrupt(pk, "gate").status == "waiting"
