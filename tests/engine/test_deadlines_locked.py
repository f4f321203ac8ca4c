"""Deadlines of executions that are sealed, closing or closed, and of those a person answers at the same moment."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import deadlines, emit, lifecycle, sweep, transition
from triggerflow_django.models import Decision, Door, Execution

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


# -- sealed and closing


@pytest.mark.parametrize("on_due", ["fail", {"answer": 1}, {"event": "late"}, "overdue"])
def test_a_sealed_execution_only_marks_it_overdue(travel: Travel, on_due: Any) -> None:
    """Invariant 6: nothing opens a gate of a sealed execution, a deadline neither."""
    pk = driving.settled(asking(on_due=on_due))
    lifecycle.seal(pk, using="default")
    travel(3601)
    assert pass_due(pk)
    asked = driving.interrupt(pk, "gate")
    assert (asked.status, asked.overdue_at is not None) == ("waiting", True)
    assert driving.history(pk) == ["started", "sealed", "interrupt_overdue"]
    assert driving.consistent(pk).pending_interrupts == 1


@pytest.mark.parametrize("reopened", ["unsealed", "close refused"])
def test_a_deadline_that_passed_while_nothing_was_accepted_acts_once_it_is_open_again(
    travel: Travel, reopened: str
) -> None:
    if reopened == "unsealed":
        pk = driving.settled(asking(on_due={"answer": "default"}))
        lifecycle.seal(pk, using="default")
        travel(3601)
        assert sweep.sweep(using="default").deadlines == 1
        lifecycle.unseal(pk, using="default")
    else:
        flow = TriggerFlow(name="refund")
        flow.when("work").to(
            lambda data: data.pause_for(interrupt_id="gate", due_in=30, on_due={"answer": "default"}), name="work"
        )
        pk = driving.settled(flow)
        for _ in range(2):
            emit.emit(pk, "work", 1, using="default", graph=flow.graph)
        running = driving.drainer(pk, flow)
        first, second = driving.claim(pk, flow, token=running.context.token)
        lifecycle.request_close(pk, using="default", graph=flow.graph)
        driving.run(running, first)
        travel(31)
        assert sweep.sweep(using="default").deadlines == 1
        driving.run(running, second)  # fails, since the id waits; with it nothing is active any more
        assert driving.step(pk, "work").status == "failed"
    assert driving.row(pk).lifecycle == "open"
    assert driving.interrupt(pk, "gate").status == "waiting"
    assert sweep.sweep(using="default").deadlines == 1
    assert driving.interrupt(pk, "gate").decision.payload == "default"  # type: ignore[union-attr]
    assert sweep.sweep(using="default").deadlines == 0
    driving.consistent(pk)


def test_an_interrupt_that_is_only_marked_overdue_is_marked_once_however_often_it_is_sealed(travel: Travel) -> None:
    pk = driving.settled(asking())
    lifecycle.seal(pk, using="default")
    travel(3601)
    sweep.sweep(using="default")
    lifecycle.unseal(pk, using="default")
    assert sweep.sweep(using="default").deadlines == 0
    assert driving.history(pk).count("interrupt_overdue") == 1


def test_a_closed_execution_has_no_deadlines(travel: Travel) -> None:
    """Invariant 6."""
    pk = driving.settled(asking(on_due={"answer": 1}))
    lifecycle.request_close(pk, using="default", pending_interrupts="cancel")
    travel(3601)
    before = driving.everything(pk)
    assert pass_due(pk) is False
    assert sweep.sweep(using="default").total() == 0
    assert driving.everything(pk) == before


# -- a person and a deadline at the same moment


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("first", ["person", "deadline"])
def test_of_a_person_and_a_deadline_the_first_to_lock_wins_and_the_other_hears_of_it(
    travel: Travel, first: str
) -> None:
    """Invariant 1."""
    flow = asking(on_due={"answer": "default"})
    pk = driving.settled(flow)
    interrupt_pk = driving.interrupt(pk, "gate").pk
    travel(3601)
    began, release = threading.Event(), threading.Event()
    save = transition.Transition.save

    def slow_save(self: transition.Transition) -> None:
        if not began.is_set():
            began.set()
            assert release.wait(30)
        save(self)

    def person() -> Any:
        try:
            return driving.decide(pk, "gate", "mine", flow=flow)["status"]
        except exceptions.InterruptNotWaitingError as error:
            return str(error)
        finally:
            connection.close()

    def deadline() -> Any:
        try:
            return deadlines.pass_deadline(interrupt_pk, pk, using="default")
        finally:
            connection.close()

    calls = [person, deadline] if first == "person" else [deadline, person]
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setattr(transition.Transition, "save", slow_save)
        one = pool.submit(calls[0])
        assert began.wait(30)
        two = pool.submit(calls[1])
        release.set()
        results = dict(zip(["one", "two"], [one.result(30), two.result(30)], strict=True))
    decision = Decision.objects.get(interrupt__execution_id=pk)
    if first == "person":
        assert results == {"one": "resumed", "two": False}
        assert (decision.payload, decision.door) == ("mine", Door.CODE)
    else:
        assert results["one"] is True
        assert "was decided by rule:deadline" in results["two"]
        assert (decision.payload, decision.door) == ("default", Door.DEADLINE)
    driving.consistent(pk)
    assert Execution.objects.get(pk=pk).pending_interrupts == 0
