"""Where a pause may stand, and where nobody could answer it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import start
from triggerflow_django.models import Event, Execution, Interrupt

pytestmark = pytest.mark.django_db


def asking(**arguments: Any) -> TriggerFlow:
    """A flow that asks once."""
    flow = TriggerFlow(name="refund")
    flow.to(lambda data: data.pause_for(**arguments), name="ask").to(driving.nothing(), name="after")
    return flow


# -- nobody holds it


def test_a_pause_in_an_execution_nobody_holds_fails_the_step() -> None:
    flow = asking(interrupt_id="gate")
    pk, _ = start.start(driving.new(flow, interactive=False), None, using="default")
    (failure,) = driving.drain(pk, flow)
    assert isinstance(failure, exceptions.NoHandleError)
    assert isinstance(failure, RuntimeError)
    assert not Interrupt.objects.exists()
    assert driving.consistent(pk).status == "failed"


def test_the_commit_refuses_it_too_should_the_chunk_have_got_past_the_first_look() -> None:
    flow = asking(interrupt_id="gate")
    pk, _ = start.start(driving.new(flow, interactive=False), None, using="default")
    running, step = driving.claimed(pk, flow)
    facts = running.context.facts[pk]
    running.context.facts[pk] = type(facts)(
        id=facts.id, flow_name=facts.flow_name, interactive=True, skip_exceptions=False
    )
    driving.run(running, step)
    assert isinstance(running.failures[0], exceptions.NoHandleError)
    assert not Interrupt.objects.exists()


def test_flow_start_that_meets_a_pause_raises_and_leaves_nothing_in_anybody_s_inbox() -> None:
    flow = asking(interrupt_id="gate")
    with pytest.raises(exceptions.NoHandleError, match="nobody a handle"):
        flow.start(1)
    execution = Execution.objects.get()
    assert (execution.lifecycle, execution.active_steps, execution.pending_interrupts) == ("closed", 0, 0)
    assert not Interrupt.objects.exists()
    assert Event.objects.filter(execution=execution).exists()


def in_a_batch(ask: Callable[[Any], Any]) -> TriggerFlow:
    flow = TriggerFlow(name="batch")
    flow.batch(("one", ask), ("two", driving.nothing())).to(lambda data: data.set_state("end", data.input), name="end")
    return flow


def in_a_for_each(ask: Callable[[Any], Any]) -> TriggerFlow:
    flow = TriggerFlow(name="for_each")
    flow.for_each().to(ask, name="one").end_for_each().to(lambda data: data.set_state("end", data.input), name="end")
    return flow


# -- where it may pause


def test_a_pause_in_a_batch_holds_back_the_join_and_nothing_else() -> None:
    flow = in_a_batch(lambda data: data.pause_for(interrupt_id="gate"))
    pk = driving.settled(flow)
    assert driving.statuses(pk) == {"one": "paused", "two": "done"}
    driving.decide(pk, "gate", 1, flow=flow)
    driving.drain(pk, flow)
    assert driving.state(pk) == {"end": {"one": 1, "two": None}}
    driving.consistent(pk)


def test_each_item_of_a_for_each_asks_its_own_question_and_the_answers_keep_the_order_of_the_items() -> None:
    flow = in_a_for_each(lambda data: data.pause_for(interrupt_id=f"gate-{data.input}"))
    pk = driving.settled(flow, [0, 1, 2])
    assert driving.consistent(pk).pending_interrupts == 3
    for item in (1, 2, 0):
        driving.decide(pk, f"gate-{item}", f"answer {item}", flow=flow)
        driving.drain(pk, flow)
    assert driving.state(pk) == {"end": ["answer 0", "answer 1", "answer 2"]}
    driving.consistent(pk)
