"""What an atomic chunk asks, emits and answers is part of its commit; conditions after it are asked outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection

from triggerflow_django import TriggerFlow
from triggerflow_django.models import Execution, Interrupt, Step, StepKind

pytestmark = pytest.mark.django_db(transaction=True)

Chunk = Callable[[Any], Any]


def atomic_flow(chunk: Chunk, **options: Any) -> TriggerFlow:
    """One atomic chunk named ``chunk``, and one after it that notes its value."""
    flow = TriggerFlow("atomic")
    flow.to(flow.chunk("chunk", atomic=True, **options)(chunk)).to(
        ("after", lambda data: data.append_state("log", data.input))
    )
    return flow


def _books(data: Any) -> str:
    assert connection.in_atomic_block
    Group.objects.create(name="booked")
    data.set_state("booked", True)
    return "booked"


def test_it_may_pause_and_its_rows_stay() -> None:
    flow = TriggerFlow("atomic")

    @flow.chunk(atomic=True)
    def book_and_ask(data: Any) -> Any:
        if data.is_resume:
            Group.objects.filter(name="booked").update(name=f"approved: {data.resume.value}")
            return data.resume.value
        _books(data)
        return data.pause_for(type="approval", resume_to="self", interrupt_id="gate")

    flow.to(book_and_ask).to(("after", lambda data: data.set_state("answer", data.input)))
    execution = flow.start_execution(auto_close=False)
    assert Group.objects.get().name == "booked"
    assert Interrupt.objects.get().status == "waiting"
    execution.continue_with("gate", "yes")
    assert Group.objects.get().name == "approved: yes"
    assert execution.get_state() == {"booked": True, "answer": "yes"}


def test_its_events_and_state_writes_follow_its_commit_in_order() -> None:
    def chunk(data: Any) -> str:
        data.emit("one", 1)
        data.append_state("key", 2)
        data.emit_nowait("one", 3)
        return "done"

    flow = atomic_flow(chunk)
    flow.when("one").to(("one", lambda data: data.append_state("log", data.input)))
    flow.when({"runtime_data": "key"}).to(("key", lambda data: data.append_state("log", data.input)))
    assert flow.start()["log"] == [1, [2], 3, "done"]


def test_an_event_of_it_answers_what_waits_for_that_event() -> None:
    flow = TriggerFlow("atomic")
    flow.to(("wait", lambda data: data.pause_for(type="payment", resume_event="paid"))).to(
        ("after", lambda data: data.append_state("log", data.input))
    )

    @flow.chunk(atomic=True)
    def pay(data: Any) -> None:
        data.emit("paid", data.input)

    flow.when("go").to(pay)
    execution = flow.start_execution(auto_close=False)
    execution.emit("go", 12)
    assert execution.get_pending_interrupts() == {}


def test_a_condition_after_it_is_asked_by_a_step_of_its_own_outside_the_transaction() -> None:
    flow, asked_in_a_transaction = TriggerFlow("atomic"), []

    @flow.chunk(atomic=True)
    def book(data: Any) -> int:
        _books(data)
        return 12

    def is_large(data: Any) -> bool:
        asked_in_a_transaction.append(connection.in_atomic_block)
        return bool(data.input > 10 and data.get_state("booked"))

    flow.to(book).if_condition(is_large).to(("large", lambda data: data.set_state("size", "large"))).end_condition()
    assert flow.start() == {"booked": True, "size": "large"}
    assert asked_in_a_transaction == [False]
    kinds = list(Step.objects.order_by("pk").values_list("kind", flat=True))
    assert kinds == [StepKind.CHUNK, StepKind.ROUTE, StepKind.CHUNK]


@pytest.mark.parametrize("fails", [False, True])
def test_an_answer_it_gives_and_a_start_it_makes_are_part_of_its_transaction(fails: bool) -> None:
    flow, other = TriggerFlow("atomic"), TriggerFlow("other")
    other.to(("note", lambda data: data.set_state("note", data.input)))
    flow.to(("ask", lambda data: data.pause_for(type="approval", interrupt_id="gate"))).to(
        ("after", lambda data: data.set_state("answer", data.input))
    )

    @flow.chunk(atomic=True)
    def decide(data: Any) -> None:
        assert data.continue_with("gate", "yes")["status"] == "resumed"
        assert other.start(1) == {"note": 1}
        if fails:
            raise LookupError("after all that")

    flow.when("go").to(decide)
    execution = flow.start_execution(auto_close=False)
    if fails:
        with pytest.raises(LookupError):
            execution.emit("go")
    else:
        execution.emit("go")
    assert list(execution.get_pending_interrupts()) == (["gate"] if fails else [])
    assert execution.get_state() == ({} if fails else {"answer": "yes"})
    assert Execution.objects.filter(flow_name="other").exists() is not fails
