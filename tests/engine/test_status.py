"""The status follows from counters and lifecycle, in one order: outcome, failed, running, waiting, idle, created."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from tests.engine import driving
from triggerflow_django import TriggerFlow
from triggerflow_django.engine import lifecycle, start, status
from triggerflow_django.models import Execution

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize("outcome", ["completed", "failed", "cancelled"])
def test_a_closed_execution_keeps_its_outcome_whatever_its_counters_say(outcome: str) -> None:
    execution = Execution(lifecycle="closed", status=outcome, failed_steps=1, active_steps=1, pending_interrupts=1)
    assert status.derive(execution) == outcome


@pytest.mark.parametrize("lifecycle_state", ["open", "sealed"])
@pytest.mark.parametrize(
    ("failed", "active", "pending", "started", "expected"),
    [
        (1, 1, 1, NOW, "failed"),
        (1, 0, 1, NOW, "failed"),
        (1, 0, 0, NOW, "failed"),
        (2, 3, 0, None, "failed"),
        (0, 1, 1, NOW, "running"),
        (0, 1, 0, NOW, "running"),
        (0, 1, 0, None, "running"),
        (0, 0, 1, NOW, "waiting"),
        (0, 0, 1, None, "waiting"),
        (0, 0, 0, NOW, "running"),
        (0, 0, 0, None, "created"),
    ],
)
def test_the_first_that_holds_counts(
    lifecycle_state: str, failed: int, active: int, pending: int, started: Any, expected: str
) -> None:
    execution = Execution(
        lifecycle=lifecycle_state,
        status="running",
        failed_steps=failed,
        active_steps=active,
        pending_interrupts=pending,
        started_at=started,
    )
    assert status.derive(execution) == expected


@pytest.mark.django_db
def test_waiting_is_never_shown_while_a_step_is_active() -> None:
    """Invariant 12."""
    flow = TriggerFlow(name="two")
    flow.to(lambda data: data.pause_for(interrupt_id="gate"), name="ask")
    flow.to(driving.nothing(), name="one").to(driving.nothing(), name="two")
    new = driving.new(flow)
    start.ensure(new, using="default")
    seen = [driving.row(new.id).status]
    start.start(new, None, using="default")
    running = driving.drainer(new.id, flow)
    todo = driving.claim(new.id, flow, token=running.context.token)
    while todo:
        seen.append(driving.consistent(new.id).status)
        todo.extend(
            driving.run(running, todo.pop(0)).carried or driving.claim(new.id, flow, token=running.context.token)
        )
    seen.append(driving.consistent(new.id).status)
    driving.decide(new.id, "gate", 1, flow=flow)
    seen.append(driving.consistent(new.id).status)
    lifecycle.request_close(new.id, using="default")
    seen.append(driving.consistent(new.id).status)
    assert seen == ["created", "running", "running", "running", "waiting", "running", "completed"]
