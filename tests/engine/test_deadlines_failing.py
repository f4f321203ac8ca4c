"""Deadlines that fail the step: visible, and to be asked anew."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.engine import driving
from triggerflow_django import TriggerFlow
from triggerflow_django.engine import deadlines
from triggerflow_django.models import Event, EventKind

pytestmark = pytest.mark.django_db

Travel = Callable[[float], None]


def asking(**arguments: Any) -> TriggerFlow:
    """A flow that asks and gives an hour to answer."""
    flow = TriggerFlow(name="refund")
    flow.to(lambda data: data.pause_for(**{"interrupt_id": "gate", "due_in": 3600, **arguments}), name="ask").to(
        lambda data: data.set_state("after", data.input), name="after"
    )
    flow.when("late").to(lambda data: data.append_state("late", data.input), name="on-late")
    return flow


def pass_due(pk: uuid.UUID) -> bool:
    return deadlines.pass_deadline(driving.interrupt(pk, "gate").pk, pk, using="default")


def overdue_events(pk: uuid.UUID) -> list[tuple[str, str, str]]:
    rows = Event.objects.filter(execution_id=pk).exclude(kind=EventKind.STARTED).order_by("sequence")
    return [(str(event.kind), event.name, event.actor_label) for event in rows]


# -- failing


def test_failing_fails_the_step_and_it_can_be_retried_to_ask_anew(travel: Travel) -> None:
    flow = asking(on_due="fail")
    pk = driving.settled(flow)
    travel(3601)
    assert pass_due(pk)
    step = driving.step(pk, "ask")
    assert step.status == "failed"
    assert step.error["type"] == "triggerflow_django.exceptions.DeadlinePassedError"
    assert "'gate': nobody answered before its deadline" in step.error["message"]
    assert overdue_events(pk)[-1] == ("interrupt_expired", "gate", "rule:deadline")
    execution = driving.consistent(pk)
    assert (execution.status, execution.failed_steps, execution.pending_interrupts) == ("failed", 1, 0)
    flow.get_execution(pk).retry()
    assert (driving.interrupt(pk, "gate").round, driving.interrupt(pk, "gate").status) == (2, "waiting")
    assert driving.consistent(pk).status == "waiting"


def test_failing_in_a_flow_that_skips_exceptions_only_ends_the_chain(travel: Travel) -> None:
    flow = asking(on_due="fail")
    pk = driving.settled(flow, skip_exceptions=True)
    travel(3601)
    pass_due(pk)
    assert driving.consistent(pk).failed_steps == 0
    assert driving.row(pk).status == "running"


# -- a person and a deadline at the same moment


def test_a_chunk_that_is_retried_to_ask_anew_may_cause_anew_what_it_caused_before_it_asked(travel: Travel) -> None:
    keys: list[str] = []

    def ask(data: Any) -> Any:
        data.emit("lines", [1, 2])
        return data.pause_for(interrupt_id="gate", due_in=3600, on_due="fail")

    flow = TriggerFlow(name="refund")
    flow.to(ask)
    flow.when("lines").for_each().to(lambda data: keys.append(data.idempotency_key), name="line").end_for_each().to(
        lambda data: data.append_state("lines", data.input), name="end"
    )
    pk = driving.settled(flow)
    travel(3601)
    pass_due(pk)
    flow.get_execution(pk).retry()
    assert driving.interrupt(pk, "gate").round == 2
    assert driving.state(pk) == {"lines": [[None, None], [None, None]]}
    assert len(set(keys)) == 4
    driving.consistent(pk)
