"""Sealing, closing and cancelling: close is a state, it runs nothing after a gate, and a snapshot never changes."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import emit, lifecycle, retry, start
from triggerflow_django.models import Event, EventKind, Step
from triggerflow_django.runtime.state import StateChange

pytestmark = pytest.mark.django_db

Travel = Callable[[float], None]


def asking() -> TriggerFlow:
    """A flow that asks, writes state on the way, and has a second branch that only works."""
    flow = TriggerFlow(name="refund")

    def ask(data: Any) -> Any:
        data.set_state("asked", True)
        return data.pause_for(interrupt_id="gate")

    flow.to(ask).to(lambda data: data.set_state("after", data.input), name="after")
    flow.when("work").to(lambda data: data.set_state("worked", data.input), name="work")
    flow.when("question").to(ask, name="late-ask")
    return flow


@pytest.fixture
def flow() -> TriggerFlow:
    return asking()


@pytest.fixture
def waiting(flow: TriggerFlow) -> uuid.UUID:
    """An execution of which nothing is active and one interrupt waits."""
    return driving.settled(flow)


@pytest.fixture
def idle(flow: TriggerFlow, waiting: uuid.UUID) -> uuid.UUID:
    """An execution of which nothing is active and nothing waits."""
    driving.decide(waiting, "gate", 1, flow=flow)
    driving.drain(waiting, flow)
    return waiting


def close(pk: uuid.UUID, **options: Any) -> bool:
    return lifecycle.request_close(pk, using="default", **options)


def work(pk: uuid.UUID, flow: TriggerFlow, event: str = "work") -> tuple[Any, Step]:
    """A step of that event's handler, running."""
    emit.emit(pk, event, "x", using="default", graph=flow.graph)
    return driving.claimed(pk, flow)


def last(pk: uuid.UUID) -> Event:
    return Event.objects.filter(execution_id=pk).order_by("sequence").reverse()[0]


# -- seal and unseal


def test_sealing_refuses_what_comes_from_outside_and_lets_accepted_work_go_on(flow: TriggerFlow) -> None:
    pk = driving.start(flow)
    lifecycle.seal(pk, using="default", reason="audit")
    driving.drain(pk, flow)
    execution = driving.consistent(pk)
    assert (execution.lifecycle, execution.status, execution.pending_interrupts) == ("sealed", "waiting", 1)
    assert execution.sealed_at is not None
    for refused in (
        lambda: driving.decide(pk, "gate", 1),
        lambda: emit.emit(pk, "work", 1, using="default"),
    ):
        with pytest.raises(exceptions.ExecutionNotOpenError, match="is sealed"):
            refused()
    emit.write_state(pk, [StateChange("set", "note", 1)], using="default", graph=flow.graph)
    assert driving.state(pk)["note"] == 1


def test_sealing_and_unsealing_are_history_with_actor_and_reason(waiting: uuid.UUID, clerk: User) -> None:
    lifecycle.seal(waiting, using="default", actor=clerk, reason="audit")
    sealed = last(waiting)
    assert (sealed.kind, sealed.actor_label, sealed.data) == ("sealed", "clerk", {"reason": "audit"})
    lifecycle.unseal(waiting, using="default", actor="the audit", reason="done")
    unsealed = last(waiting)
    assert (unsealed.kind, unsealed.actor_label, unsealed.data) == ("unsealed", "the audit", {"reason": "done"})
    execution = driving.consistent(waiting)
    assert (execution.lifecycle, execution.sealed_at) == ("open", None)


@pytest.mark.parametrize("verb", [lifecycle.seal, lifecycle.unseal])
def test_doing_it_twice_changes_nothing(waiting: uuid.UUID, verb: Any) -> None:
    verb(waiting, using="default")
    before = driving.everything(waiting)
    verb(waiting, using="default")
    assert driving.everything(waiting) == before


def test_an_unsealed_execution_takes_answers_again(flow: TriggerFlow, waiting: uuid.UUID) -> None:
    lifecycle.seal(waiting, using="default")
    lifecycle.unseal(waiting, using="default")
    assert driving.decide(waiting, "gate", 1)["status"] == "resumed"


def test_a_closing_execution_is_not_unsealed(flow: TriggerFlow, idle: uuid.UUID) -> None:
    work(idle, flow)
    close(idle)
    with pytest.raises(exceptions.ExecutionNotOpenError, match="is closing: unseal refused"):
        lifecycle.unseal(idle, using="default")


# -- close


def test_an_idle_execution_closes_at_once_with_its_state(idle: uuid.UUID, clerk: User) -> None:
    assert close(idle, reason="done", actor=clerk) is True
    execution = driving.consistent(idle)
    assert (execution.lifecycle, execution.status, execution.close_reason) == ("closed", "completed", "done")
    assert execution.snapshot == {"asked": True, "after": 1}
    assert execution.closed_at is not None
    requested, closed = Event.objects.filter(execution_id=idle).order_by("sequence").reverse()[:2][::-1]
    assert (requested.kind, requested.actor_label) == ("close_requested", "clerk")
    assert requested.data == {"reason": "done", "pending_interrupts": "error"}
    assert (closed.kind, closed.data) == ("closed", {"reason": "done", "status": "completed"})


def test_an_execution_that_was_never_started_closes_empty(flow: TriggerFlow) -> None:
    new = driving.new(flow)
    start.ensure(new, using="default")
    assert close(new.id) is True
    assert driving.consistent(new.id).snapshot == {}


def test_closing_again_changes_nothing(idle: uuid.UUID) -> None:
    close(idle, reason="first")
    before = driving.everything(idle)
    assert close(idle, reason="second", pending_interrupts="cancel") is True
    assert lifecycle.cancel(idle, using="default") is False
    assert lifecycle.abandon(idle, using="default", reason="x") is False
    assert lifecycle.auto_close(idle, using="default") is False
    assert lifecycle.force_close(idle, using="default") is False
    assert driving.everything(idle) == before


def test_closing_over_a_waiting_interrupt_is_refused_and_leaves_it_open(waiting: uuid.UUID) -> None:
    before = driving.everything(waiting)
    with pytest.raises(exceptions.PendingInterruptsError, match="has 1 waiting interrupt; answer them") as caught:
        close(waiting)
    assert isinstance(caught.value, RuntimeError)
    assert driving.everything(waiting) == before


def test_closing_with_cancel_cancels_the_interrupt_and_runs_nothing_after_the_gate(
    flow: TriggerFlow, waiting: uuid.UUID
) -> None:
    """Invariant 6."""
    assert close(waiting, pending_interrupts="cancel") is True
    execution = driving.consistent(waiting)
    assert (execution.status, execution.snapshot) == ("cancelled", {"asked": True})
    assert driving.interrupt(waiting, "gate").status == "cancelled"
    assert driving.statuses(waiting) == {"ask": "cancelled"}
    assert driving.history(waiting) == ["started", "close_requested", "interrupt_cancelled", "cancelled"]
    driving.drain(waiting, flow)
    assert driving.statuses(waiting) == {"ask": "cancelled"}


@pytest.mark.parametrize("policy", ["", "ignore", None, True, "ERROR"])
def test_a_policy_that_does_not_exist_is_refused(idle: uuid.UUID, policy: Any) -> None:
    before = driving.everything(idle)
    with pytest.raises(exceptions.InvalidPolicyError, match="use 'error' or 'cancel'") as caught:
        close(idle, pending_interrupts=policy)
    assert isinstance(caught.value, ValueError)
    assert driving.everything(idle) == before


@pytest.mark.parametrize("timeout", ["5", True, float("nan"), float("inf"), 10**12, []])
def test_a_timeout_that_is_no_time_is_refused(idle: uuid.UUID, timeout: Any) -> None:
    with pytest.raises(exceptions.InvalidPolicyError, match=r"timeout=.*give seconds"):
        close(idle, timeout=timeout)
    assert driving.row(idle).lifecycle == "open"


# -- a closed execution accepts nothing


def test_a_closed_execution_accepts_nothing_and_its_snapshot_never_changes(
    flow: TriggerFlow, idle: uuid.UUID, travel: Travel
) -> None:
    """Invariant 11."""
    close(idle)
    before = driving.everything(idle)
    travel(10**6)
    for verb in (
        lambda: driving.decide(idle, "gate", 2),
        lambda: emit.emit(idle, "work", 1, using="default", graph=flow.graph),
        lambda: emit.write_state(idle, [StateChange("set", "after", 2)], using="default"),
        lambda: emit.write_state(idle, [StateChange("delete", "after")], using="default"),
        lambda: lifecycle.seal(idle, using="default"),
        lambda: lifecycle.unseal(idle, using="default"),
        lambda: retry.retry(idle, using="default"),
    ):
        with pytest.raises(exceptions.ExecutionNotOpenError, match="is closed"):
            verb()
    assert driving.everything(idle) == before


@pytest.mark.parametrize("reason", ["a\x00b", "\ud800", "x" * 65537])
def test_a_reason_that_cannot_be_stored_is_refused_at_every_verb(idle: uuid.UUID, reason: str) -> None:
    before = driving.everything(idle)
    for verb in (lifecycle.seal, lifecycle.unseal, lifecycle.request_close, lifecycle.cancel, retry.retry):
        with pytest.raises(exceptions.JsonValueError, match=r"^reason: "):
            verb(idle, using="default", reason=reason)
    assert driving.everything(idle) == before


def test_a_long_reason_is_kept_whole_in_history(idle: uuid.UUID) -> None:
    close(idle, reason="x" * 500)
    assert driving.row(idle).close_reason == "x" * 200
    assert Event.objects.get(kind=EventKind.CLOSE_REQUESTED).data["reason"] == "x" * 500


def test_an_unknown_execution_is_refused_by_every_verb() -> None:
    pk = uuid.uuid4()
    for verb in (lifecycle.seal, lifecycle.unseal, lifecycle.request_close, lifecycle.cancel, retry.retry):
        with pytest.raises(exceptions.UnknownExecutionError, match=pk.hex):
            verb(pk, using="default")
