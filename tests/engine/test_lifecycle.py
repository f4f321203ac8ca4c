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
from triggerflow_django.models import Event, EventKind, Execution, Interrupt, Step
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


# -- closing while something is active


def test_closing_while_active_seals_and_the_last_commit_freezes(flow: TriggerFlow, idle: uuid.UUID) -> None:
    running, step = work(idle, flow)
    assert close(idle, reason="soon") is False
    execution = driving.consistent(idle)
    assert (execution.lifecycle, execution.closing, execution.snapshot) == ("sealed", True, None)
    with pytest.raises(exceptions.ExecutionNotOpenError, match="is closing"):
        emit.emit(idle, "work", 1, using="default")
    assert close(idle, reason="again") is False
    driving.run(running, step)
    execution = driving.consistent(idle)
    assert (execution.lifecycle, execution.status, execution.close_reason) == ("closed", "completed", "soon")
    assert (execution.closing, execution.close_by) == (False, None)
    assert execution.snapshot["worked"] == "x"


def test_closing_without_sealing_lets_events_in_until_the_work_is_done(flow: TriggerFlow, idle: uuid.UUID) -> None:
    running, step = work(idle, flow)
    assert close(idle, seal=False) is False
    assert driving.row(idle).lifecycle == "open"
    emit.emit(idle, "work", "more", using="default", graph=flow.graph)
    driving.run(running, step)
    assert driving.row(idle).lifecycle == "open"
    driving.drain(idle, flow)
    assert driving.consistent(idle).snapshot["worked"] == "more"


def test_work_that_pauses_while_it_closes_reopens_and_says_so(flow: TriggerFlow, idle: uuid.UUID) -> None:
    running, step = work(idle, flow, "question")
    assert close(idle) is False
    driving.run(running, step)
    execution = driving.consistent(idle)
    assert (execution.lifecycle, execution.closing, execution.status) == ("open", False, "waiting")
    refused = last(idle)
    assert (refused.kind, refused.actor_label) == ("close_refused", "rule:close")
    assert refused.data == {"reason": "manual", "pending_interrupts": 1}
    assert driving.decide(idle, "gate", 1)["status"] == "resumed"


def test_work_that_pauses_while_it_closes_with_cancel_is_cancelled(flow: TriggerFlow, idle: uuid.UUID) -> None:
    """Invariant 6."""
    running, step = work(idle, flow, "question")
    assert close(idle, pending_interrupts="cancel") is False
    driving.run(running, step)
    execution = driving.consistent(idle)
    assert (execution.lifecycle, execution.status) == ("closed", "cancelled")
    assert driving.interrupt(idle, "gate").status == "cancelled"


def test_a_second_close_may_turn_the_policy_to_cancel(flow: TriggerFlow, idle: uuid.UUID) -> None:
    running, step = work(idle, flow, "question")
    close(idle)
    close(idle, pending_interrupts="cancel")
    driving.run(running, step)
    assert driving.consistent(idle).lifecycle == "closed"


def test_a_close_that_cancelled_interrupts_ends_cancelled_also_when_the_rest_ends_well(
    flow: TriggerFlow, waiting: uuid.UUID
) -> None:
    running, step = work(waiting, flow)
    assert close(waiting, pending_interrupts="cancel") is False
    assert driving.interrupt(waiting, "gate").status == "cancelled"
    assert close(waiting, pending_interrupts="error") is False
    assert close(waiting, pending_interrupts="cancel") is False
    driving.run(running, step)
    assert driving.consistent(waiting).status == "cancelled"


def test_a_timeout_that_passes_cancels_and_fences_the_rest_and_says_what_it_cut(
    flow: TriggerFlow, idle: uuid.UUID, travel: Travel
) -> None:
    """Invariants 6 and 8."""
    running, step = work(idle, flow)
    emit.emit(idle, "work", 2, using="default", graph=flow.graph)
    assert close(idle, timeout=60) is False
    assert lifecycle.force_close(idle, using="default") is False
    travel(61)
    assert lifecycle.force_close(idle, using="default") is True
    execution = driving.consistent(idle)
    assert (execution.lifecycle, execution.status) == ("closed", "completed")
    assert last(idle).data["cancelled_steps"] == [
        {"node": "work", "status": "running"},
        {"node": "work", "status": "ready"},
    ]
    before = driving.everything(idle)
    driving.run(running, step)
    assert driving.everything(idle) == before


def test_of_two_timeouts_the_shorter_counts(flow: TriggerFlow, idle: uuid.UUID) -> None:
    work(idle, flow)
    close(idle, timeout=60)
    first = driving.row(idle).close_by
    close(idle, timeout=600)
    assert driving.row(idle).close_by == first
    close(idle, timeout=1)
    assert driving.row(idle).close_by < first


def test_a_failed_step_makes_the_closed_outcome_failed(flow: TriggerFlow) -> None:
    broken = TriggerFlow(name="broken")
    broken.to(lambda data: data.input["missing"], name="breaks")
    pk = driving.settled(broken, {})
    assert close(pk) is True
    assert driving.consistent(pk).status == "failed"


# -- cancel


def test_cancelling_fences_what_runs_and_cancels_what_waits(flow: TriggerFlow, waiting: uuid.UUID, clerk: User) -> None:
    """Invariants 6, 8 and 11."""
    running, step = work(waiting, flow)
    emit.emit(waiting, "work", 2, using="default", graph=flow.graph)
    assert lifecycle.cancel(waiting, using="default", reason="withdrawn", actor=clerk) is True
    execution = driving.consistent(waiting)
    assert (execution.lifecycle, execution.status, execution.close_reason) == ("closed", "cancelled", "withdrawn")
    assert set(Step.objects.values_list("status", flat=True)) == {"cancelled"}
    assert set(Interrupt.objects.values_list("status", flat=True)) == {"cancelled"}
    told = last(waiting)
    assert (told.kind, told.actor_label, told.data["reason"]) == ("cancelled", "clerk", "withdrawn")
    before = driving.everything(waiting)
    driving.run(running, step)
    driving.drain(waiting, flow)
    assert driving.everything(waiting) == before
    assert execution.snapshot == {"asked": True}


def test_a_running_chunk_can_see_that_it_was_cancelled() -> None:
    seen: list[bool] = []

    def slow(data: Any) -> None:
        seen.append(data.is_cancelled())
        lifecycle.cancel(uuid.UUID(data.execution_id), using="default")
        seen.append(data.is_cancelled())
        data.set_state("worked", True)

    slow_flow = TriggerFlow(name="slow")
    slow_flow.to(slow).to(driving.nothing(), name="after")
    pk = driving.start(slow_flow)
    running, step = driving.claimed(pk, slow_flow)
    driving.run(running, step)
    assert seen == [False, True]
    assert driving.consistent(pk).snapshot == {}
    assert driving.statuses(pk) == {"slow": "cancelled"}


@pytest.mark.django_db(transaction=True)
def test_a_chunk_that_fails_after_the_cancel_changes_nothing() -> None:
    def slow(data: Any) -> None:
        lifecycle.cancel(uuid.UUID(data.execution_id), using="default")
        raise ValueError("too late to matter")

    slow_flow = TriggerFlow(name="slow")
    slow_flow.to(slow_flow.chunk(retries=2)(slow))
    pk = driving.start(slow_flow)
    assert driving.drain(pk, slow_flow) == []
    assert driving.consistent(pk).status == "cancelled"
    assert driving.step(pk, "slow").status == "cancelled"


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


# -- closing by itself


@pytest.fixture
def self_closing(flow: TriggerFlow) -> uuid.UUID:
    """Closes by itself after a minute of idleness; an interrupt waits."""
    return driving.settled(flow, auto_close=True, auto_close_timeout=60.0)


def auto_close(pk: uuid.UUID) -> bool:
    return lifecycle.auto_close(pk, using="default")


def test_an_execution_that_has_been_idle_for_its_time_closes_by_itself(
    flow: TriggerFlow, self_closing: uuid.UUID, travel: Travel
) -> None:
    driving.decide(self_closing, "gate", 1, flow=flow)
    driving.drain(self_closing, flow)
    travel(59)
    assert auto_close(self_closing) is False
    travel(2)
    assert auto_close(self_closing) is True
    execution = driving.consistent(self_closing)
    assert (execution.status, execution.close_reason, execution.auto_close_at) == ("completed", "auto_close", None)
    assert last(self_closing).data == {"reason": "auto_close", "status": "completed"}


def test_its_clock_stands_still_while_anything_is_pending_and_starts_from_zero_after_the_last_answer(
    flow: TriggerFlow, self_closing: uuid.UUID, travel: Travel
) -> None:
    assert driving.row(self_closing).auto_close_at is None
    travel(10**6)
    assert auto_close(self_closing) is False
    driving.decide(self_closing, "gate", 1, flow=flow)
    assert driving.row(self_closing).auto_close_at is None
    driving.drain(self_closing, flow)
    travel(59)
    assert auto_close(self_closing) is False
    travel(2)
    assert auto_close(self_closing) is True


def test_its_clock_stands_still_while_a_step_is_active(
    flow: TriggerFlow, self_closing: uuid.UUID, travel: Travel
) -> None:
    driving.decide(self_closing, "gate", 1, flow=flow)
    driving.drain(self_closing, flow)
    running, step = work(self_closing, flow)
    assert driving.row(self_closing).auto_close_at is None
    travel(10**6)
    assert auto_close(self_closing) is False
    driving.run(running, step)
    assert driving.row(self_closing).auto_close_at is not None


@pytest.mark.parametrize("active", [True, False])
def test_a_due_time_alone_closes_nothing_that_is_active_or_waits(
    flow: TriggerFlow, self_closing: uuid.UUID, active: bool
) -> None:
    """Checked again under the lock, whatever the due time says."""
    if active:
        work(self_closing, flow)
    Execution.objects.update(auto_close_at=driving.row(self_closing).created_at)
    assert auto_close(self_closing) is False
    assert driving.row(self_closing).lifecycle == "open"


def test_activity_from_outside_starts_its_clock_anew_and_a_look_does_not(
    flow: TriggerFlow, self_closing: uuid.UUID, travel: Travel
) -> None:
    driving.decide(self_closing, "gate", 1, flow=flow)
    driving.drain(self_closing, flow)
    first = driving.row(self_closing).auto_close_at
    travel(30)
    assert auto_close(self_closing) is False
    with pytest.raises(exceptions.UnknownInterruptError):
        driving.decide(self_closing, "nothing", 1)
    assert start.start(driving.new(flow), 1, using="default")
    assert driving.row(self_closing).auto_close_at == first
    emit.write_state(self_closing, [StateChange("set", "note", 1)], using="default", graph=flow.graph)
    assert driving.row(self_closing).auto_close_at > first


def test_a_sealed_execution_does_not_close_by_itself(
    flow: TriggerFlow, self_closing: uuid.UUID, travel: Travel
) -> None:
    driving.decide(self_closing, "gate", 1, flow=flow)
    driving.drain(self_closing, flow)
    lifecycle.seal(self_closing, using="default")
    travel(10**6)
    assert auto_close(self_closing) is False
    lifecycle.unseal(self_closing, using="default")
    assert auto_close(self_closing) is False
    travel(61)
    assert auto_close(self_closing) is True


@pytest.mark.parametrize("options", [{"auto_close_timeout": None}, {"auto_close": False, "auto_close_timeout": 1.0}])
def test_without_a_timeout_it_never_closes_by_itself(flow: TriggerFlow, travel: Travel, options: Any) -> None:
    quiet = TriggerFlow(name="quiet")
    quiet.to(driving.nothing(), name="one")
    pk = driving.settled(quiet, **{"auto_close": True, **options})
    assert driving.row(pk).auto_close_at is None
    travel(10**8)
    assert auto_close(pk) is False


def test_an_execution_that_was_never_started_does_not_close_by_itself(flow: TriggerFlow, travel: Travel) -> None:
    new = driving.new(flow, auto_close=True, auto_close_timeout=1.0)
    start.ensure(new, using="default")
    travel(10**6)
    assert auto_close(new.id) is False
    assert Execution.objects.get().lifecycle == "open"


def test_a_timeout_of_zero_closes_as_soon_as_it_is_idle(flow: TriggerFlow) -> None:
    quiet = TriggerFlow(name="quiet")
    quiet.to(driving.nothing(), name="one")
    pk = driving.settled(quiet, auto_close=True, auto_close_timeout=0.0)
    assert auto_close(pk) is True
