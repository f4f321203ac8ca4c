"""Deciding: one function behind every door, on the locked row; a refusal changes nothing."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions, signals
from triggerflow_django.engine import lifecycle
from triggerflow_django.models import Decision, Door, Event, EventKind, ExecutionStatus, Interrupt, StepStatus

pytestmark = pytest.mark.django_db


def asking(**arguments: Any) -> TriggerFlow:
    """A flow that asks once, under the id ``gate``, and then commits."""

    def ask(data: Any) -> Any:
        return data.pause_for(**{"type": "approval", "interrupt_id": "gate", **arguments})

    flow = TriggerFlow(name="refund")
    flow.to(ask).to(lambda data: data.set_state("decision", data.input), name="commit")
    return flow


@pytest.fixture
def flow() -> TriggerFlow:
    return asking()


@pytest.fixture
def pk(flow: TriggerFlow) -> uuid.UUID:
    return driving.settled(flow, {"amount": 120})


@pytest.fixture
def sent() -> Iterator[list[dict[str, Any]]]:
    """What ``interrupt_decided`` told observers."""
    found: list[dict[str, Any]] = []

    def receive(**kwargs: Any) -> None:
        found.append(kwargs)

    signals.interrupt_decided.connect(receive, weak=False)
    yield found
    signals.interrupt_decided.disconnect(receive)


def refused(pk: uuid.UUID, error: type[Exception], said: str, *arguments: Any, **options: Any) -> None:
    """Decide, be refused in these words, and find that nothing has changed."""
    before = driving.everything(pk)
    with pytest.raises(error, match=said):
        driving.decide(pk, *arguments, **options)
    assert driving.everything(pk) == before


# -- an answer that is taken


def test_an_answer_stores_the_decision_and_readies_what_follows(
    flow: TriggerFlow, pk: uuid.UUID, manager: User
) -> None:
    record = driving.decide(
        pk, "gate", {"approved": True}, flow=flow, door=Door.ADMIN, actor=manager, request_id="r-1", comment="fine"
    )
    execution = driving.consistent(pk)
    asked = driving.interrupt(pk, "gate")
    decision = asked.decision
    assert decision is not None
    assert (decision.payload, decision.door, decision.request_id) == ({"approved": True}, Door.ADMIN, "r-1")
    assert (decision.comment, decision.actor_id, decision.actor_label) == ("fine", str(manager.pk), "manager")
    assert asked.status == "resumed"
    assert asked.resolved_at == decision.created_at
    paused = driving.step(pk, "ask")
    assert (paused.status, paused.output) == (StepStatus.DONE, {"approved": True})
    following = driving.step(pk, "commit")
    assert (following.status, following.input, following.cause_id) == ("ready", {"approved": True}, paused.pk)
    assert execution.status == ExecutionStatus.RUNNING
    assert record["status"] == "resumed"
    assert (record["resume_value"], record["resume_request_id"], record["resumed_by"], record["door"]) == (
        {"approved": True}, "r-1", "manager", "admin",
    )  # fmt: skip


def test_history_tells_who_decided_and_through_which_door(pk: uuid.UUID, manager: User) -> None:
    driving.decide(pk, "gate", 1, door=Door.API, actor=manager, comment="fine")
    event = Event.objects.get(execution_id=pk, kind=EventKind.INTERRUPT_DECIDED)
    decision = Decision.objects.get()
    assert (event.name, event.actor_id, event.actor_label) == ("gate", str(manager.pk), "manager")
    assert event.data == {"decision": decision.pk.hex, "door": "api", "comment": "fine"}


@pytest.mark.parametrize("answer", [None, False, 0, "", [], {}])
def test_a_falsy_answer_is_an_answer(flow: TriggerFlow, pk: uuid.UUID, answer: Any) -> None:
    assert driving.decide(pk, "gate", answer, flow=flow)["status"] == "resumed"
    assert driving.step(pk, "commit").input == answer
    assert not driving.drain(pk, flow)
    assert driving.state(pk) == {"decision": answer}


@pytest.mark.django_db(transaction=True)
def test_observers_hear_of_a_decision_after_it_is_committed(pk: uuid.UUID, sent: list[dict[str, Any]]) -> None:
    with transaction.atomic():
        driving.decide(pk, "gate", 1, actor="the import", door=Door.CODE)
        assert sent == []
    (told,) = sent
    assert (told["execution_id"], told["interrupt_id"], told["actor"], told["door"]) == (
        pk.hex, "gate", "the import", "code",
    )  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_a_decision_inside_a_transaction_that_rolls_back_leaves_the_gate_closed(
    pk: uuid.UUID, sent: list[dict[str, Any]]
) -> None:
    before = driving.everything(pk)
    with transaction.atomic():
        driving.decide(pk, "gate", 1)
        transaction.set_rollback(True)
    assert driving.everything(pk) == before
    assert sent == []


# -- unknown, foreign, late


@pytest.mark.parametrize("given", ["no-such-gate", "", "x" * 300, "a\x00b", "\ud800", None, 7, "GATE", "gate "])
def test_an_unknown_interrupt_id_is_refused_naming_id_and_execution(pk: uuid.UUID, given: Any) -> None:
    """Invariant 5."""
    refused(pk, exceptions.UnknownInterruptError, f"execution {pk.hex} has no interrupt", given, 1)
    assert issubclass(exceptions.UnknownInterruptError, KeyError)


def test_the_id_of_another_execution_s_interrupt_is_refused(flow: TriggerFlow) -> None:
    """Invariant 5."""
    unnamed = asking(interrupt_id=None)
    mine, other = driving.settled(unnamed), driving.settled(unnamed)
    foreign = Interrupt.objects.get(execution_id=other)
    refused(mine, exceptions.UnknownInterruptError, mine.hex, foreign.interrupt_id, 1)
    refused(mine, exceptions.UnknownInterruptError, mine.hex, str(foreign.pk), 1)
    assert Interrupt.objects.filter(status="waiting").count() == 2


def test_an_unknown_execution_is_refused() -> None:
    pk = uuid.uuid4()
    with pytest.raises(exceptions.UnknownExecutionError, match=pk.hex) as caught:
        driving.decide(pk, "gate", 1)
    assert isinstance(caught.value, KeyError)


def test_a_late_answer_is_refused_saying_by_whom_and_when(pk: uuid.UUID, manager: User) -> None:
    """Invariants 1 and 5."""
    driving.decide(pk, "gate", {"approved": False}, actor=manager, door=Door.ADMIN)
    when = driving.interrupt(pk, "gate").resolved_at
    assert when is not None
    said = f"'gate' was decided by manager at {when.isoformat(timespec='seconds')}".replace("+", r"\+")
    refused(pk, exceptions.InterruptNotWaitingError, said, "gate", {"approved": True})
    refused(pk, exceptions.InterruptNotWaitingError, said, "gate", {"approved": False}, request_id="r-2")
    assert issubclass(exceptions.InterruptNotWaitingError, ValueError)


def test_an_answer_to_a_cancelled_interrupt_is_refused_saying_when() -> None:
    """Invariant 5."""
    # A close that cancels, but has to wait for a step of another branch, leaves a cancelled interrupt in an execution
    # that is not closed yet.
    two = TriggerFlow(name="two")
    two.to(lambda data: data.pause_for(interrupt_id="gate"), name="ask")
    two.to(driving.nothing(), name="slow")
    other = driving.start(two)
    running = driving.drainer(other, two)
    for step in driving.claim(other, two, token=running.context.token):
        if step.node == "ask":
            driving.run(running, step)
    lifecycle.request_close(other, using="default", seal=False, pending_interrupts="cancel")
    assert driving.row(other).lifecycle == "open"
    refused(other, exceptions.InterruptNotWaitingError, "'gate' was cancelled at 20", "gate", 1)


def test_an_answer_that_loses_the_race_changes_nothing(pk: uuid.UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 1: the conditional update, and not only the look before it."""
    monkeypatch.setattr("triggerflow_django.engine.decide.require_waiting", lambda _interrupt: None)
    driving.decide(pk, "gate", 1)
    refused(pk, exceptions.InterruptNotWaitingError, "is not waiting any more", "gate", 2)
