"""Pausing: the interrupt is opened by the commit of the step that paused, or refused with all that step did."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import start
from triggerflow_django.models import Event, Execution, Interrupt, Step

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


# -- one id, one question


def test_the_same_id_in_two_branches_refuses_the_second_and_leaves_the_first() -> None:
    def ask(data: Any) -> Any:
        data.set_state(data.event, "wrote")
        data.emit("asked")
        return data.pause_for(interrupt_id="gate", payload=data.event)

    flow = TriggerFlow(name="refund")
    flow.when("one").to(ask, name="first")
    flow.when("two").to(ask, name="second")
    flow.when("asked").to(lambda data: data.append_state("heard", 1), name="hear")
    flow.to(lambda data: (data.emit("one"), data.emit("two"), None)[-1], name="fork")
    pk = driving.start(flow)
    (failure,) = driving.drain(pk, flow)
    assert isinstance(failure, exceptions.InterruptAlreadyWaitingError)
    assert isinstance(failure, ValueError)
    assert "interrupt 'gate' is waiting already" in str(failure)
    assert pk.hex in str(failure)
    execution = driving.consistent(pk)
    assert (execution.failed_steps, execution.pending_interrupts) == (1, 1)
    assert driving.state(pk) == {"one": "wrote", "heard": [1]}
    assert Interrupt.objects.get(execution_id=pk).payload == "one"
    assert driving.statuses(pk) == {"fork": "done", "first": "paused", "second": "failed", "hear": "done"}


def test_a_refused_pause_of_an_atomic_chunk_leaves_nothing_of_its_own_writes() -> None:
    def ask(data: Any) -> Any:
        Group.objects.create(name=data.event)
        return data.pause_for(interrupt_id="gate")

    flow = TriggerFlow(name="refund")
    flow.when("one").to(flow.chunk(atomic=True)(ask), name="first")
    flow.when("two").to(flow.chunk(atomic=True)(ask), name="second")
    flow.to(lambda data: (data.emit("one"), data.emit("two"), None)[-1], name="fork")
    pk = driving.start(flow)
    (failure,) = driving.drain(pk, flow)
    assert isinstance(failure, exceptions.InterruptAlreadyWaitingError)
    assert [group.name for group in Group.objects.all()] == ["one"]
    assert driving.statuses(pk) == {"fork": "done", "first": "paused", "second": "failed"}
    driving.consistent(pk)


def test_approvers_that_name_nobody_leave_nothing_of_an_atomic_chunk() -> None:
    def ask(data: Any) -> Any:
        Group.objects.create(name="wrote")
        data.set_state("wrote", True)
        data.emit("asked")
        return data.pause_for(approvers="group:no-such")

    flow = TriggerFlow(name="refund")
    flow.to(flow.chunk(atomic=True)(ask))
    flow.when("asked").to(driving.nothing(), name="hear")
    pk = refused(flow, exceptions.ApproversError, "there is no group 'no-such'")
    assert not Group.objects.exists()
    assert driving.state(pk) == {}


def test_a_refused_step_can_be_retried_once_the_id_is_free() -> None:
    flow = TriggerFlow(name="refund")
    for name in ("first", "second"):
        flow.to(lambda data: data.pause_for(interrupt_id="gate"), name=name)
    pk = driving.start(flow)
    assert len(driving.drain(pk, flow)) == 1
    driving.decide(pk, "gate", 1, flow=flow)
    handle = flow.get_execution(pk)
    assert handle.retry() == 1
    assert driving.statuses(pk) == {"first": "done", "second": "paused"}
    assert driving.interrupt(pk, "gate").round == 2
    assert driving.consistent(pk).status == "waiting"


def test_an_id_may_be_asked_again_once_it_was_answered_and_counts_its_rounds() -> None:
    flow = TriggerFlow(name="review")
    flow.when("ask").to(lambda data: data.pause_for(interrupt_id="gate", payload=data.input), name="ask")
    pk = driving.settled(flow)
    for round_ in range(1, 4):
        flow.get_execution(pk).emit("ask", round_)
        asked_now = driving.interrupt(pk, "gate")
        assert (asked_now.round, asked_now.payload, asked_now.status) == (round_, round_, "waiting")
        driving.decide(pk, "gate", f"answer {round_}")
    answers = Interrupt.objects.filter(execution_id=pk).order_by("round").values_list("decision__payload", flat=True)
    assert list(answers) == ["answer 1", "answer 2", "answer 3"]
    driving.consistent(pk)


def test_an_id_may_be_used_in_every_execution() -> None:
    flow = asking(interrupt_id="gate")
    one, other = driving.settled(flow), driving.settled(flow)
    driving.decide(one, "gate", 1)
    assert driving.interrupt(other, "gate").status == "waiting"


# -- a chunk that resumes itself


def self_asking(max_resumes: Any, rounds: list[Any]) -> TriggerFlow:
    """A flow whose chunk asks until it hears "enough"."""

    def review(data: Any) -> Any:
        rounds.append((data.input, data.is_resume, data.resume.value))
        if data.is_resume and data.resume.value == "enough":
            return "done"
        return data.pause_for(interrupt_id="gate", resume_to="self", max_resumes=max_resumes)

    flow = TriggerFlow(name="review")
    flow.to(review).to(lambda data: data.set_state("end", (data.input, data.is_resume)), name="after")
    return flow


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_chunk_resumes_itself_at_most_max_resumes_times(most: int) -> None:
    rounds: list[Any] = []
    flow = self_asking(most, rounds)
    pk = driving.settled(flow, "order")
    for count in range(1, most + 1):
        driving.decide(pk, "gate", count, flow=flow)
        again = driving.step(pk, "review")
        assert (again.resume_count, again.attempt, again.input) == (count, 0, "order")
        failures = driving.drain(pk, flow)
    (failure,) = failures
    assert isinstance(failure, exceptions.MaxResumesError)
    assert isinstance(failure, RuntimeError)
    assert f"has resumed itself {most} times, max_resumes={most}" in str(failure)
    assert rounds == [("order", False, None), *(("order", True, count) for count in range(1, most + 1))]
    execution = driving.consistent(pk)
    assert (execution.status, execution.pending_interrupts) == ("failed", 0)


def test_a_chunk_that_may_never_resume_itself_fails_when_it_asks() -> None:
    refused(self_asking(0, []), exceptions.MaxResumesError, "max_resumes=0")


def test_without_a_limit_a_chunk_resumes_itself_as_often_as_it_asks() -> None:
    rounds: list[Any] = []
    flow = self_asking(None, rounds)
    pk = driving.settled(flow)
    for answer in [1, None, False, "enough"]:
        driving.decide(pk, "gate", answer, flow=flow)
        assert not driving.drain(pk, flow)
    assert [answer for _, _, answer in rounds] == [None, 1, None, False, "enough"]
    # The gate after it does not see the answer as its own.
    assert driving.state(pk) == {"end": ["done", False]}
    assert driving.step(pk, "after").resume_count == 0


def test_a_retry_does_not_lose_the_answer_the_chunk_resumed_with() -> None:
    heard: list[Any] = []

    def review(data: Any) -> Any:
        heard.append((data.is_resume, data.resume.value, data.attempt))
        if not data.is_resume:
            return data.pause_for(interrupt_id="gate", resume_to="self")
        if data.attempt == 1:
            raise ConnectionError("try again")
        return None

    flow = TriggerFlow(name="review")
    flow.to(review)
    pk = driving.settled(flow)
    driving.decide(pk, "gate", "yes", flow=flow)
    assert len(driving.drain(pk, flow)) == 1
    flow.get_execution(pk).retry()
    assert heard == [(False, None, 1), (True, "yes", 1), (True, "yes", 2)]


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


# -- where it may pause


def in_a_batch(ask: Callable[[Any], Any]) -> TriggerFlow:
    flow = TriggerFlow(name="batch")
    flow.batch(("one", ask), ("two", driving.nothing())).to(lambda data: data.set_state("end", data.input), name="end")
    return flow


def in_a_for_each(ask: Callable[[Any], Any]) -> TriggerFlow:
    flow = TriggerFlow(name="for_each")
    flow.for_each().to(ask, name="one").end_for_each().to(lambda data: data.set_state("end", data.input), name="end")
    return flow


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
