"""Closing by itself: the clock of an idle execution, and everything that stops it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import emit, lifecycle, start
from triggerflow_django.models import Event, Execution, Step
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


def work(pk: uuid.UUID, flow: TriggerFlow, event: str = "work") -> tuple[Any, Step]:
    """A step of that event's handler, running."""
    emit.emit(pk, event, "x", using="default", graph=flow.graph)
    return driving.claimed(pk, flow)


def last(pk: uuid.UUID) -> Event:
    return Event.objects.filter(execution_id=pk).order_by("sequence").reverse()[0]


@pytest.fixture
def self_closing(flow: TriggerFlow) -> uuid.UUID:
    """Closes by itself after a minute of idleness; an interrupt waits."""
    return driving.settled(flow, auto_close=True, auto_close_timeout=60.0)


def auto_close(pk: uuid.UUID) -> bool:
    return lifecycle.auto_close(pk, using="default")


# -- closing by itself


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
