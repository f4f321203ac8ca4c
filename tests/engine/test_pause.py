"""Pausing: the interrupt is opened by the commit of the step that paused, or refused with all that step did."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.models import Interrupt, Step

pytestmark = pytest.mark.django_db


def asking(**arguments: Any) -> TriggerFlow:
    """A flow that asks once."""
    flow = TriggerFlow(name="refund")
    flow.to(lambda data: data.pause_for(**arguments), name="ask").to(driving.nothing(), name="after")
    return flow


def asked(**arguments: Any) -> Interrupt:
    """The interrupt such a flow opens."""
    pk = driving.settled(asking(**arguments))
    driving.consistent(pk)
    return Interrupt.objects.get(execution_id=pk)


def refused(flow: TriggerFlow, error: type[Exception], said: str) -> uuid.UUID:
    """The flow's first chunk fails for good by this error, and leaves no interrupt."""
    pk = driving.start(flow)
    (failure,) = driving.drain(pk, flow)
    assert isinstance(failure, error)
    assert said in str(failure)
    execution = driving.consistent(pk)
    assert (execution.status, execution.failed_steps, execution.pending_interrupts) == ("failed", 1, 0)
    assert not Interrupt.objects.filter(execution_id=pk).exists()
    step = Step.objects.get(execution_id=pk)
    assert (step.status, step.output) == ("failed", None)
    assert step.error["type"] == f"{error.__module__}.{error.__qualname__}"
    return pk


# -- what is stored


def test_a_pause_is_stored_as_it_was_asked() -> None:
    interrupt = asked(
        type="approval",
        payload={"amount": 120},
        resume_to="self",
        interrupt_id="gate",
        max_resumes=3,
        response_schema={"type": "boolean"},
        due_in=dt.timedelta(hours=1),
        on_due={"answer": False},
    )
    assert (interrupt.type, interrupt.payload, interrupt.resume_to, interrupt.interrupt_id) == (
        "approval", {"amount": 120}, "self", "gate",
    )  # fmt: skip
    assert (interrupt.max_resumes, interrupt.response_schema, interrupt.round) == (3, {"type": "boolean"}, 1)
    assert interrupt.due_at == interrupt.created_at + dt.timedelta(hours=1)
    assert interrupt.on_due == {"do": "answer", "answer": False}
    assert (interrupt.status, interrupt.decision, interrupt.approvers) == ("waiting", None, [])


def test_without_an_id_the_primary_key_is_the_id() -> None:
    interrupt = asked()
    assert interrupt.interrupt_id == interrupt.pk.hex
    assert (interrupt.type, interrupt.resume_to, interrupt.due_at, interrupt.on_due) == ("pause", "next", None, None)


def test_a_pause_holds_no_place_and_counts_as_pending() -> None:
    pk = driving.settled(asking())
    execution = driving.consistent(pk)
    assert (execution.active_steps, execution.pending_interrupts, execution.status) == (0, 1, "waiting")
    assert driving.step(pk, "ask").status == "paused"


@pytest.mark.parametrize("returns", ["marker", "nothing", "something else"])
def test_a_chunk_that_pauses_does_not_complete_whatever_it_returns(returns: str) -> None:
    def ask(data: Any) -> Any:
        marker = data.pause_for()
        return {"marker": marker, "nothing": None}.get(returns, {"sent": "on"})

    flow = TriggerFlow(name="refund")
    flow.to(ask).to(driving.nothing(), name="after")
    pk = driving.settled(flow)
    assert driving.statuses(pk) == {"ask": "paused"}


def test_what_a_chunk_wrote_and_emitted_before_it_paused_is_kept() -> None:
    def ask(data: Any) -> Any:
        data.set_state("asked", True)
        data.emit("asked", 7)
        return data.pause_for()

    flow = TriggerFlow(name="refund")
    flow.to(ask)
    flow.when("asked").to(lambda data: data.set_state("heard", data.input), name="hear")
    pk = driving.settled(flow)
    assert driving.state(pk) == {"asked": True, "heard": 7}


# -- bad arguments


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"resume_to": "nxt"}, "resume_to='nxt': use 'next', 'self' or {'event': name}"),
        ({"resume_to": "event"}, "resume_to='event'"),
        ({"resume_to": ["next"]}, "resume_to=['next']"),
        ({"resume_to": {}}, "resume_to={}"),
        ({"resume_to": {"event": "e", "x": 1}}, "resume_to="),
        ({"resume_to": {"event": ""}}, "resume_to['event']='': give a text"),
        ({"resume_to": {"event": 5}}, "resume_to['event']=5"),
        ({"resume_to": {"event": "a\x00"}}, "resume_to['event']="),
        ({"resume_to": {"event": "x" * 201}}, "resume_to['event']="),
        ({"resume_to": True}, "resume_to=True"),
        ({"resume_to": 0}, "resume_to=0"),
        ({"resume_event": ""}, "resume_event=''"),
        ({"resume_event": 7}, "resume_event=7"),
        ({"resume_to": "self", "resume_event": "x" * 201}, "resume_event="),
        ({"max_resumes": -1}, "max_resumes=-1: give a whole number, 0 or more, or None"),
        ({"max_resumes": 1.5}, "max_resumes=1.5"),
        ({"max_resumes": True}, "max_resumes=True"),
        ({"max_resumes": "1"}, "max_resumes='1'"),
        ({"max_resumes": 2**31}, "max_resumes="),
        ({"interrupt_id": ""}, "interrupt_id=''"),
        ({"interrupt_id": 7}, "interrupt_id=7"),
        ({"interrupt_id": "x" * 201}, "interrupt_id="),
        ({"interrupt_id": "a\nb"}, "interrupt_id="),
        ({"interrupt_id": "a\x00b"}, "interrupt_id="),
        ({"interrupt_id": "\ud800"}, "interrupt_id="),
        ({"type": ""}, "type=''"),
        ({"type": None}, "type=None"),
        ({"type": "x" * 101}, "type="),
        ({"response_schema": {"type": "nonsense"}}, "response_schema: $.type"),
        ({"response_schema": {"$ref": "#/$defs/gone"}}, "response_schema: $ref '#/$defs/gone' leads nowhere"),
        ({"response_schema": {"$ref": "https://example.org/schema"}}, "leads nowhere"),
        ({"response_schema": []}, "response_schema"),
        ({"response_schema": {"minimum": float("nan")}}, "response_schema.minimum: NaN"),
        ({"due_in": 0}, "due_in=0: give seconds or a timedelta, more than 0"),
        ({"due_in": -5}, "due_in=-5"),
        ({"due_in": "soon"}, "due_in='soon'"),
        ({"due_in": True}, "due_in=True"),
        ({"due_in": float("nan")}, "due_in=nan"),
        ({"due_in": float("inf")}, "due_in=inf"),
        ({"due_in": dt.timedelta(days=-1)}, "due_in="),
        ({"on_due": "fail"}, "on_due= needs due_in="),
        ({"due_in": 5, "on_due": "explode"}, "on_due='explode'"),
        ({"due_in": 5, "on_due": {}}, "on_due={}"),
        ({"due_in": 5, "on_due": {"answer": 1, "event": "e"}}, "on_due="),
        ({"due_in": 5, "on_due": {"event": ""}}, "on_due['event']=''"),
        ({"due_in": 5, "on_due": {"answer": object()}}, "on_due.answer: object is not JSON"),
        ({"payload": {"when": object()}}, "payload.when: object is not JSON"),
        ({"payload": float("inf")}, "payload: Infinity"),
        ({"payload": "\ud800"}, "payload: the string contains a lone surrogate"),
    ],
)
def test_an_argument_under_which_the_gate_could_not_open_fails_the_step(arguments: Any, said: str) -> None:
    flow = asking(**arguments)
    pk = driving.start(flow)
    (failure,) = driving.drain(pk, flow)
    assert isinstance(failure, ValueError)
    assert isinstance(failure, exceptions.TriggerFlowError)
    assert said in str(failure)
    assert driving.consistent(pk).status == "failed"
    assert not Interrupt.objects.exists()


def test_one_run_of_a_chunk_asks_one_question() -> None:
    def ask(data: Any) -> None:
        data.pause_for()
        data.pause_for()

    flow = TriggerFlow(name="refund")
    flow.to(ask)
    refused(flow, exceptions.PauseError, "this chunk has paused already")
