"""Events that chunks emit: what they answer, and what they never answer."""

from __future__ import annotations

import logging
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.engine import driving
from triggerflow_django import TriggerFlow
from triggerflow_django.engine import emit
from triggerflow_django.models import Door

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


def test_an_answer_to_an_event_is_emitted_and_the_chunk_s_own_chain_does_not_go_on() -> None:
    flow = waiting_for_payment()
    pk = driving.settled(flow)
    driving.decide(pk, "gate", 5, flow=flow)
    driving.drain(pk, flow)
    assert driving.state(pk) == {"handled": [5]}
    assert driving.step(pk, "ask").status == "done"
    driving.consistent(pk)


def emitting(**arguments: Any) -> TriggerFlow:
    """A flow of which one chunk waits for ``paid`` and another emits it."""
    flow = waiting_for_payment(**arguments)
    flow.when("pay").to(lambda data: data.emit("paid", data.input), name="pay")
    return flow


# -- an event of a chunk


def test_a_chunk_s_own_event_answers_and_its_handlers_run_once() -> None:
    flow = emitting()
    pk = driving.settled(flow)
    outside(pk, "pay", 5, flow=flow)
    driving.drain(pk, flow)
    decision = driving.interrupt(pk, "gate").decision
    assert decision is not None
    assert (decision.payload, decision.door, decision.actor_id, decision.actor_label) == (
        5, Door.EVENT, "", "rule:event:paid",
    )  # fmt: skip
    assert driving.state(pk) == {"handled": [5]}
    driving.consistent(pk)


@pytest.mark.parametrize("arguments", [{"approvers": "user:clerk"}, {"exclude_starter": True}])
def test_a_chunk_s_own_event_never_answers_in_place_of_a_named_approver(clerk: User, arguments: dict[str, Any]) -> None:
    flow = emitting(**arguments)
    pk = driving.settled(flow, started_by=clerk)
    outside(pk, "pay", 5, flow=flow)
    assert not driving.drain(pk, flow)
    assert driving.interrupt(pk, "gate").status == "waiting"
    assert driving.state(pk) == {"handled": [5]}
    assert driving.consistent(pk).status == "waiting"


def test_a_chunk_s_own_event_that_fails_the_schema_leaves_the_interrupt_waiting_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    flow = emitting(response_schema={"type": "integer"})
    pk = driving.settled(flow)
    outside(pk, "pay", "five", flow=flow)
    with caplog.at_level(logging.WARNING):
        assert not driving.drain(pk, flow)
    assert "triggerflow.interrupt.event_refused" in caplog.messages
    assert driving.interrupt(pk, "gate").status == "waiting"
    assert driving.state(pk) == {"handled": ["five"]}


def test_a_chunk_s_own_event_does_not_answer_the_question_it_asks_in_the_same_run() -> None:
    def ask(data: Any) -> Any:
        data.emit("paid", 5)
        return data.pause_for(interrupt_id="gate", resume_event="paid")

    flow = TriggerFlow(name="order")
    flow.to(ask)
    pk = driving.settled(flow)
    assert driving.interrupt(pk, "gate").status == "waiting"


def test_a_chunk_that_failed_has_emitted_nothing() -> None:
    def pay(data: Any) -> None:
        data.emit("paid", 5)
        raise ValueError("after all not")

    flow = waiting_for_payment()
    flow.when("pay").to(pay)
    pk = driving.settled(flow)
    outside(pk, "pay", flow=flow)
    assert len(driving.drain(pk, flow)) == 1
    assert driving.interrupt(pk, "gate").status == "waiting"
