"""What the database itself refuses, should the code ever try."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from django.db import IntegrityError, connection, transaction

from tests.engine import driving
from triggerflow_django import TriggerFlow
from triggerflow_django.engine import clock, lifecycle
from triggerflow_django.models import Decision, Event, Execution, Interrupt, Join, JoinSlot, Step

pytestmark = pytest.mark.django_db


@pytest.fixture
def pk() -> uuid.UUID:
    """An execution with one decided and one waiting interrupt, and an open join."""
    flow = TriggerFlow(name="refund")
    flow.batch(
        ("one", lambda data: data.pause_for(interrupt_id="one")),
        ("two", lambda data: data.pause_for(interrupt_id="two")),
    ).to(driving.nothing(), name="end")
    pk = driving.settled(flow)
    driving.decide(pk, "one", 1, flow=flow)
    return pk


def refused(change: Callable[[], object]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        change()


def test_resumed_without_a_decision(pk: uuid.UUID) -> None:
    """Invariant 1."""
    refused(lambda: Interrupt.objects.filter(interrupt_id="two").update(status="resumed"))
    refused(lambda: Interrupt.objects.filter(interrupt_id="one").update(decision=None))


@pytest.mark.parametrize("status", ["waiting", "cancelled", "expired"])
def test_a_decision_without_resumed(pk: uuid.UUID, status: str) -> None:
    """Invariant 1."""
    refused(lambda: Interrupt.objects.filter(interrupt_id="one").update(status=status))


def test_one_decision_for_two_interrupts(pk: uuid.UUID) -> None:
    """Invariant 1."""
    decision = Decision.objects.get()
    refused(lambda: Interrupt.objects.filter(interrupt_id="two").update(status="resumed", decision=decision))


def test_a_decision_that_is_not_there(pk: uuid.UUID) -> None:
    def point_nowhere() -> None:
        Interrupt.objects.filter(interrupt_id="two").update(status="resumed", decision=uuid.uuid4())
        connection.check_constraints()  # foreign keys are checked at the end of the transaction

    refused(point_nowhere)


def test_one_round_of_a_question_twice(pk: uuid.UUID) -> None:
    refused(lambda: Interrupt.objects.filter(interrupt_id="two").update(interrupt_id="one"))


def test_a_running_step_without_a_lease(pk: uuid.UUID) -> None:
    """Invariant 10."""
    refused(lambda: Step.objects.update(status="running", lease_token=None))
    refused(lambda: Step.objects.update(status="running", lease_token=uuid.uuid4(), lease_expires_at=None))


def test_closed_without_a_snapshot_or_a_time_and_the_other_way_round(pk: uuid.UUID) -> None:
    """Invariant 11."""
    now = clock.read("default")
    rows = Execution.objects.filter(pk=pk)
    refused(lambda: rows.update(lifecycle="closed"))
    refused(lambda: rows.update(lifecycle="closed", snapshot={}))
    refused(lambda: rows.update(lifecycle="closed", closed_at=now))
    refused(lambda: rows.update(snapshot={}))
    refused(lambda: rows.update(closed_at=now))
    lifecycle.cancel(pk, using="default")
    refused(lambda: rows.update(lifecycle="open"))
    refused(lambda: rows.update(snapshot=None))


def test_one_key_twice_in_a_flow(pk: uuid.UUID) -> None:
    flow = TriggerFlow(name="refund")
    one, two = driving.start(flow, key="7"), driving.start(flow, key="8")
    assert one != two
    refused(lambda: Execution.objects.filter(pk=two).update(key="7"))


def test_one_number_of_history_twice(pk: uuid.UUID) -> None:
    """Invariant 14."""
    event = Event.objects.order_by("sequence")[0]
    refused(lambda: Event(execution_id=pk, sequence=event.sequence, kind="sealed", created_at=event.created_at).save())


def test_one_activation_of_a_join_twice(pk: uuid.UUID) -> None:
    """Invariant 7."""
    join = Join.objects.get()
    refused(
        lambda: Join.objects.create(
            execution_id=pk, node=join.node, activation=join.activation, generation=join.generation, expected=2
        )
    )


def test_one_slot_of_a_join_twice(pk: uuid.UUID) -> None:
    """Invariant 7."""
    slot = JoinSlot.objects.get()
    refused(lambda: JoinSlot.objects.create(join_id=slot.join_id, slot=slot.slot, value=2))


@pytest.mark.parametrize("counter", ["active_steps", "pending_interrupts", "failed_steps"])
def test_a_counter_below_zero(pk: uuid.UUID, counter: str) -> None:
    refused(lambda: Execution.objects.filter(pk=pk).update(**{counter: -1}))
