"""Close is a state, not a wait: what happens while something is active, what a timeout cuts, and cancelling."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import emit, lifecycle
from triggerflow_django.models import Event, Interrupt, Step

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
