"""Events and state writes from outside: what they cause, what they leave in history, and when they are refused."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import emit, lifecycle, start
from triggerflow_django.models import Event, EventKind, Execution, State, Step
from triggerflow_django.runtime.state import StateChange

pytestmark = pytest.mark.django_db


def listening() -> TriggerFlow:
    """A flow that listens to two events and to a state key."""
    flow = TriggerFlow(name="order")
    for event in ("paid", "shipped"):
        flow.when(event).to(lambda data: data.append_state("heard", [data.event, data.input]), name=f"on-{event}")
    flow.when({"runtime_data": "total"}).to(lambda data: data.set_state("seen", data.input), name="on-total")
    flow.when(["paid", "shipped"]).to(lambda data: data.set_state("both", data.input), name="both")
    return flow


@pytest.fixture
def flow() -> TriggerFlow:
    return listening()


@pytest.fixture
def pk(flow: TriggerFlow) -> uuid.UUID:
    return driving.settled(flow)


def outside(pk: uuid.UUID, flow: TriggerFlow, event: Any, value: Any = None, **options: Any) -> list[int]:
    return emit.emit(pk, event, value, using="default", graph=flow.graph, **options)


def write(pk: uuid.UUID, *changes: StateChange, flow: TriggerFlow, **options: Any) -> None:
    emit.write_state(pk, changes, using="default", graph=flow.graph, **options)


def refused(pk: uuid.UUID, error: type[Exception], said: str, call: Any) -> None:
    before = driving.everything(pk)
    with pytest.raises(error, match=said):
        call()
    assert driving.everything(pk) == before


# -- events


def test_an_event_readies_its_handlers_and_returns_their_steps(flow: TriggerFlow, pk: uuid.UUID) -> None:
    (step_id,) = outside(pk, flow, "paid", {"amount": 5})
    step = Step.objects.get(pk=step_id)
    assert (step.node, step.status, step.input, step.source) == ("on-paid", "ready", {"amount": 5}, "event:paid")
    assert driving.consistent(pk).status == "running"


def test_an_event_nobody_listens_to_is_history_and_nothing_else(flow: TriggerFlow, pk: uuid.UUID) -> None:
    assert outside(pk, flow, "unheard", 5) == []
    assert not Step.objects.exists()
    assert driving.history(pk) == ["started", "emitted"]


def test_each_emit_is_an_event_of_its_own(flow: TriggerFlow, pk: uuid.UUID) -> None:
    for value in (1, 1, 2):
        outside(pk, flow, "paid", value)
    driving.drain(pk, flow)
    assert driving.state(pk) == {"heard": [["paid", 1], ["paid", 1], ["paid", 2]]}


def test_events_of_different_moments_meet_in_a_join_at_the_top(flow: TriggerFlow, pk: uuid.UUID) -> None:
    outside(pk, flow, "paid", 1)
    driving.drain(pk, flow)
    outside(pk, flow, "shipped", 2)
    driving.drain(pk, flow)
    assert driving.state(pk)["both"] == {"event": {"paid": 1, "shipped": 2}}
    driving.consistent(pk)


def test_an_event_that_comes_again_before_the_join_is_full_overwrites_its_value_and_fills_no_other_place(
    flow: TriggerFlow, pk: uuid.UUID
) -> None:
    """Invariant 7."""
    for value in (1, 2, 3):
        outside(pk, flow, "paid", value)
    driving.drain(pk, flow)
    assert "both" not in driving.state(pk)
    outside(pk, flow, "shipped", 4)
    outside(pk, flow, "shipped", 5)
    driving.drain(pk, flow)
    assert driving.state(pk)["both"] == {"event": {"paid": 3, "shipped": 4}}
    assert Step.objects.filter(node="both").count() == 1


def test_an_event_may_come_before_the_start() -> None:
    flow = listening()
    new = driving.new(flow)
    start.ensure(new, using="default")
    outside(new.id, flow, "paid", 1)
    driving.drain(new.id, flow)
    execution = driving.consistent(new.id)
    assert (execution.status, execution.started_at) == ("created", None)
    assert driving.state(new.id) == {"heard": [["paid", 1]]}


def test_who_emitted_is_history(flow: TriggerFlow, pk: uuid.UUID, clerk: User) -> None:
    outside(pk, flow, "paid", 5, actor=clerk)
    event = Event.objects.get(execution_id=pk, kind=EventKind.EMITTED)
    assert (event.actor_id, event.actor_label, event.data) == (str(clerk.pk), "clerk", {"value": 5})


@pytest.mark.parametrize("event", ["", None, 7, "x" * 201, "a\x00b", "\ud800", ["paid"]])
def test_what_is_no_event_name_is_refused(flow: TriggerFlow, pk: uuid.UUID, event: Any) -> None:
    refused(pk, exceptions.JsonValueError, "event name .*1 to 200 characters", lambda: outside(pk, flow, event))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": object()}, r"^event paid\.a: object is not JSON"),
        (float("nan"), "^event paid: NaN"),
        ("\x00", "^event paid: .*NUL"),
        ("\ud800", "^event paid: .*surrogate"),
        ("x" * 65537, "^event paid: .*65537 bytes"),
    ],
)
def test_a_value_that_cannot_be_stored_is_refused_with_its_path(
    flow: TriggerFlow, pk: uuid.UUID, value: Any, said: str
) -> None:
    refused(pk, exceptions.JsonValueError, said, lambda: outside(pk, flow, "paid", value))


def test_an_unknown_execution_hears_nothing(flow: TriggerFlow) -> None:
    with pytest.raises(exceptions.UnknownExecutionError):
        outside(uuid.uuid4(), flow, "paid")


def test_a_sealed_and_a_closed_execution_hear_nothing(flow: TriggerFlow, pk: uuid.UUID) -> None:
    """Invariant 11."""
    lifecycle.seal(pk, using="default")
    refused(pk, exceptions.ExecutionNotOpenError, "is sealed .*event 'paid' refused", lambda: outside(pk, flow, "paid"))
    lifecycle.cancel(pk, using="default")
    refused(pk, exceptions.ExecutionNotOpenError, "is closed .*event 'paid' refused", lambda: outside(pk, flow, "paid"))


def test_where_the_flow_is_not_known_the_event_waits_for_a_process_that_knows_it(pk: uuid.UUID) -> None:
    emit.emit(pk, "paid", 5, using="default")
    step = Step.objects.get()
    assert (step.kind, step.node, step.source, step.input) == ("route", "", "event:paid", 5)
    assert driving.consistent(pk).status == "running"
    driving.drain(pk, listening())
    assert driving.state(pk) == {"heard": [["paid", 5]]}


@pytest.mark.django_db(transaction=True)
def test_an_event_inside_a_transaction_that_rolls_back_was_never_heard(flow: TriggerFlow, pk: uuid.UUID) -> None:
    before = driving.everything(pk)
    with transaction.atomic():
        outside(pk, flow, "paid", 5)
        transaction.set_rollback(True)
    assert driving.everything(pk) == before


# -- state


def test_a_state_write_from_outside_is_stored_told_and_heard(flow: TriggerFlow, pk: uuid.UUID, clerk: User) -> None:
    write(pk, StateChange("set", "total", 5), flow=flow, actor=clerk)
    assert driving.state(pk) == {"total": 5}
    event = Event.objects.get(execution_id=pk, kind=EventKind.STATE_CHANGED)
    assert (event.name, event.actor_label, event.data) == ("total", "clerk", {"keys": ["total"]})
    driving.drain(pk, flow)
    assert driving.state(pk) == {"total": 5, "seen": 5}
    assert driving.row(pk).state_revision == State.objects.get().revision == 2


def test_a_silent_write_is_stored_and_not_heard(flow: TriggerFlow, pk: uuid.UUID) -> None:
    write(pk, StateChange("set", "total", 5), flow=flow, signal=False)
    assert driving.state(pk) == {"total": 5}
    assert not Step.objects.exists()


def test_several_writes_act_in_their_order(flow: TriggerFlow, pk: uuid.UUID) -> None:
    write(
        pk,
        StateChange("set", "total", 1),
        StateChange("append", "total", 2),
        StateChange("set", "order.lines", [1]),
        StateChange("append", "order.lines", 2),
        StateChange("set", "gone", 1),
        StateChange("delete", "gone"),
        flow=flow,
    )
    assert driving.state(pk) == {"total": [1, 2], "order": {"lines": [1, 2]}}
    driving.drain(pk, flow)
    assert driving.state(pk)["seen"] == [1, 2]


def test_deleting_tells_none_and_deleting_what_is_absent_does_nothing(flow: TriggerFlow, pk: uuid.UUID) -> None:
    write(pk, StateChange("delete", "total"), flow=flow)
    assert driving.history(pk) == ["started"]
    assert driving.row(pk).state_revision == 0
    write(pk, StateChange("set", "total", 1), flow=flow, signal=False)
    write(pk, StateChange("delete", "total"), flow=flow)
    driving.drain(pk, flow)
    assert driving.state(pk) == {"seen": None}


def test_a_state_that_grows_too_large_is_refused_as_a_whole(flow: TriggerFlow, pk: uuid.UUID, settings: Any) -> None:
    settings.TRIGGERFLOW = {"VALUE_MAX_BYTES": 1000}
    write(pk, StateChange("set", "one", "x" * 600), flow=flow)
    refused(
        pk,
        exceptions.JsonValueError,
        "^state: .*more than the 1000 allowed",
        lambda: write(pk, StateChange("set", "two", "x" * 600), flow=flow),
    )


def test_a_sealed_execution_takes_state_writes_and_a_closed_one_does_not(flow: TriggerFlow, pk: uuid.UUID) -> None:
    """Invariant 11."""
    lifecycle.seal(pk, using="default")
    write(pk, StateChange("set", "total", 1), flow=flow, signal=False)
    lifecycle.request_close(pk, using="default")
    refused(
        pk,
        exceptions.ExecutionNotOpenError,
        "is closed: its state does not change any more",
        lambda: write(pk, StateChange("set", "total", 2), flow=flow),
    )
    assert driving.row(pk).snapshot == {"total": 1}


def test_a_write_before_the_start_makes_the_row_and_is_kept_by_the_start() -> None:
    flow = listening()
    new = driving.new(flow)
    start.ensure(new, using="default")
    write(new.id, StateChange("set", "total", 1), flow=flow, signal=False)
    start.start(new, "order", using="default")
    assert driving.state(new.id) == {"total": 1}
    assert Execution.objects.get().input == "order"
    driving.consistent(new.id)
