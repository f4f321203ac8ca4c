"""``key=``: one business key, one execution; and what ``flow.start`` makes of a key that is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.models import Execution, Runner

pytestmark = pytest.mark.django_db(transaction=True)


def noting() -> TriggerFlow:
    flow = TriggerFlow("noting")

    def note(data: Any) -> None:
        data.append_state("seen", data.input)

    flow.to(note)
    return flow


def asking() -> TriggerFlow:
    flow = TriggerFlow("asking")
    flow.to(("ask", lambda data: data.pause_for(type="approval")))
    return flow


def test_the_same_key_and_input_lead_to_the_same_execution() -> None:
    flow = noting()
    first = flow.start_execution(1, key="order-7", auto_close=False)
    second = flow.start_execution(1, key="order-7", auto_close=False)
    assert second.id == first.id
    assert Execution.objects.count() == 1
    assert second.get_state("seen") == [1]


def test_the_same_key_with_another_input_is_refused() -> None:
    flow = noting()
    flow.start_execution(1, key="order-7")
    with pytest.raises(exceptions.KeyConflictError, match="order-7"):
        flow.start_execution(2, key="order-7")


def test_a_handle_led_to_an_execution_by_its_key_takes_over_what_that_one_is(
    registered: Callable[[TriggerFlow], TriggerFlow],
) -> None:
    flow = registered(noting())
    flow.start_execution(1, key="order-7", runner="rq", auto_close=False)
    execution = flow.start_execution(1, key="order-7", runner="inline", auto_close=True)
    assert execution.new.runner == Runner.RQ
    assert not execution.auto_close
    assert execution.get_state() == {}, "its steps are a worker's business"


def test_a_write_before_the_start_does_not_take_a_key_that_is_taken() -> None:
    flow = noting()
    first = flow.start_execution(1, key="order-7", auto_close=False)
    with pytest.raises(exceptions.KeyConflictError, match=first.id):
        flow.create_execution(key="order-7").set_state("note", "x")
    assert Execution.objects.count() == 1


def test_flow_start_twice_with_one_key_gives_one_snapshot() -> None:
    flow = noting()
    assert flow.start(1, key="order-7") == flow.start(1, key="order-7") == {"seen": [1]}
    assert Execution.objects.count() == 1


def test_flow_start_with_the_key_of_a_failed_one_fails_again() -> None:
    flow = TriggerFlow("failing")

    def fail(data: Any) -> None:
        raise LookupError("no such order")

    flow.to(fail)
    with pytest.raises(LookupError, match="no such order"):
        flow.start(1, key="order-7")
    with pytest.raises(exceptions.StepFailedError, match="no such order"):
        flow.start(1, key="order-7")
    assert Execution.objects.count() == 1


def test_flow_start_leaves_an_execution_alone_that_somebody_holds() -> None:
    flow = asking()
    held = flow.start_execution(1, key="order-7")
    with pytest.raises(exceptions.KeyConflictError, match=held.id):
        flow.start(1, key="order-7")
    assert held.is_waiting()
    assert len(held.get_pending_interrupts()) == 1


def test_flow_start_gives_the_snapshot_of_an_execution_that_somebody_held_and_closed() -> None:
    flow = noting()
    held = flow.start_execution(1, key="order-7", auto_close=False)
    held.close()
    assert flow.start(1, key="order-7") == {"seen": [1]}


def test_a_key_is_a_text() -> None:
    for wrong in ("", 7, "x" * 201, "\x00"):
        with pytest.raises(exceptions.InvalidPolicyError, match="key="):
            noting().create_execution(key=wrong)  # type: ignore[arg-type]
