"""Deadlines: what happens when nobody answers in time, always recorded as the system's act."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions, signals
from triggerflow_django.engine import deadlines, emit, lifecycle, sweep, transition
from triggerflow_django.models import Decision, Door, Event, EventKind, Execution

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


@pytest.fixture
def sent() -> Iterator[list[str]]:
    """The interrupts that ``interrupt_overdue`` told observers."""
    found: list[str] = []

    def receive(interrupt_id: str, **_kwargs: Any) -> None:
        found.append(interrupt_id)

    signals.interrupt_overdue.connect(receive, weak=False)
    yield found
    signals.interrupt_overdue.disconnect(receive)


# -- when


def test_before_its_time_nothing_happens(travel: Travel) -> None:
    pk = driving.settled(asking(on_due="fail"))
    travel(3590)
    before = driving.everything(pk)
    assert pass_due(pk) is False
    assert sweep.sweep(using="default").total() == 0
    assert driving.everything(pk) == before


def test_a_deadline_acts_once(travel: Travel) -> None:
    pk = driving.settled(asking())
    travel(3601)
    assert pass_due(pk) is True
    before = driving.everything(pk)
    assert pass_due(pk) is False
    assert sweep.sweep(using="default").total() == 0
    assert driving.everything(pk) == before


def test_a_deadline_of_an_answered_interrupt_does_nothing(travel: Travel) -> None:
    flow = asking(on_due="fail")
    pk = driving.settled(flow)
    driving.decide(pk, "gate", 1, flow=flow)
    travel(3601)
    before = driving.everything(pk)
    assert pass_due(pk) is False
    assert driving.everything(pk) == before


# -- overdue


@pytest.mark.parametrize("arguments", [{}, {"on_due": "overdue"}])
def test_overdue_is_marked_told_and_still_to_be_answered(
    travel: Travel, sent: list[str], django_capture_on_commit_callbacks: Any, arguments: Any
) -> None:
    flow = asking(**arguments)
    pk = driving.settled(flow)
    travel(3601)
    with django_capture_on_commit_callbacks(execute=True):
        assert pass_due(pk)
    asked = driving.interrupt(pk, "gate")
    assert asked.overdue_at is not None
    assert asked.overdue_at >= asked.due_at
    assert asked.status == "waiting"
    assert overdue_events(pk) == [("interrupt_overdue", "gate", "rule:deadline")]
    assert sent == ["gate"]
    assert driving.consistent(pk).status == "waiting"
    driving.decide(pk, "gate", 1, flow=flow)
    driving.drain(pk, flow)
    assert driving.state(pk) == {"after": 1}


# -- a default answer


@pytest.mark.parametrize("answer", [None, False, {"approved": False}])
def test_a_default_answer_is_the_system_s_decision(travel: Travel, answer: Any) -> None:
    flow = asking(on_due={"answer": answer})
    pk = driving.settled(flow)
    travel(3601)
    assert pass_due(pk)
    decision = Decision.objects.get(interrupt__execution_id=pk)
    assert (decision.payload, decision.door) == (answer, Door.DEADLINE)
    assert (decision.actor_id, decision.actor_label, decision.request_id) == ("", "rule:deadline", "")
    assert overdue_events(pk) == [
        ("interrupt_overdue", "gate", "rule:deadline"),
        ("interrupt_decided", "gate", "rule:deadline"),
    ]
    driving.consistent(pk)
    driving.drain(pk, flow)
    assert driving.state(pk) == {"after": answer}


def test_a_default_answer_also_answers_where_persons_are_named(travel: Travel, clerk: User) -> None:
    flow = asking(on_due={"answer": False}, approvers=[clerk], exclude_starter=True)
    pk = driving.settled(flow, started_by=clerk)
    travel(3601)
    assert pass_due(pk)
    assert driving.interrupt(pk, "gate").status == "resumed"


def test_a_default_answer_that_fails_the_schema_fails_the_step(travel: Travel) -> None:
    flow = asking(on_due={"answer": "no"}, response_schema={"type": "boolean"})
    pk = driving.settled(flow)
    travel(3601)
    assert pass_due(pk)
    assert driving.interrupt(pk, "gate").status == "expired"
    step = driving.step(pk, "ask")
    assert step.status == "failed"
    assert "default answer does not match its schema" in step.error["message"]
    assert not Decision.objects.exists()
    assert driving.consistent(pk).status == "failed"


def test_a_person_who_answers_after_the_default_answer_hears_by_whom_it_was_decided(travel: Travel) -> None:
    pk = driving.settled(asking(on_due={"answer": False}))
    travel(3601)
    pass_due(pk)
    with pytest.raises(exceptions.InterruptNotWaitingError, match="was decided by rule:deadline at"):
        driving.decide(pk, "gate", True)


# -- an event


def test_an_event_expires_the_interrupt_and_its_handlers_run(travel: Travel) -> None:
    flow = asking(on_due={"event": "late", "value": 7})
    pk = driving.settled(flow)
    travel(3601)
    assert deadlines.pass_deadline(driving.interrupt(pk, "gate").pk, pk, using="default")
    assert driving.interrupt(pk, "gate").status == "expired"
    assert driving.step(pk, "ask").status == "done"
    assert not Decision.objects.exists()
    assert overdue_events(pk) == [
        ("interrupt_overdue", "gate", "rule:deadline"),
        ("interrupt_expired", "gate", "rule:deadline"),
        ("emitted", "late", "rule:deadline"),
    ]
    driving.consistent(pk)
    driving.drain(pk, flow)
    assert driving.state(pk) == {"late": [7]}
    with pytest.raises(exceptions.InterruptNotWaitingError, match="was expired at"):
        driving.decide(pk, "gate", True)


def test_an_event_of_a_deadline_answers_what_waits_for_it_but_no_named_approver(travel: Travel, clerk: User) -> None:
    flow = asking(on_due={"event": "late"})
    flow.to(lambda data: data.pause_for(interrupt_id="open", resume_event="late"), name="two")
    flow.to(lambda data: data.pause_for(interrupt_id="named", resume_event="late", approvers=[clerk]), name="three")
    pk = driving.settled(flow)
    travel(3601)
    pass_due(pk)
    assert driving.interrupt(pk, "open").status == "resumed"
    assert driving.interrupt(pk, "named").status == "waiting"
    driving.drain(pk, flow)
    assert driving.state(pk) == {"late": [None]}
    driving.consistent(pk)


def test_an_event_of_a_deadline_keeps_the_scope_of_the_item_that_asked(travel: Travel) -> None:
    flow = TriggerFlow(name="lines")
    flow.for_each().to(
        lambda data: data.pause_for(interrupt_id=f"gate-{data.input}", due_in=3600, on_due={"event": "late"}),
        name="ask",
    ).end_for_each().to(driving.nothing(), name="end")
    flow.when("late").to(driving.nothing(), name="on-late")
    pk = driving.settled(flow, [0, 1])
    travel(3601)
    sweep.sweep(using="default")
    driving.drain(pk, flow)
    scopes = [driving.step(pk, "on-late").scope]
    assert scopes[0][0][0] == "START/for_each-1"
    driving.consistent(pk)


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
