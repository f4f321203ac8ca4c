"""Deciding: one function behind every door. In this order, on the locked row: permission, replay, lifecycle, schema,
the conditional update; a refusal changes nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions, signals
from triggerflow_django.engine import lifecycle
from triggerflow_django.models import Decision, Door, Event, EventKind, ExecutionStatus, Interrupt, StepStatus

pytestmark = pytest.mark.django_db

SCHEMA = {
    "type": "object",
    "properties": {"approved": {"type": "boolean"}, "amount": {"type": "integer", "minimum": 1}},
    "required": ["approved"],
}


def asking(**arguments: Any) -> TriggerFlow:
    """A flow that asks once, under the id ``gate``, and then commits."""

    def ask(data: Any) -> Any:
        return data.pause_for(**{"type": "approval", "interrupt_id": "gate", **arguments})

    flow = TriggerFlow(name="refund")
    flow.to(ask).to(lambda data: data.set_state("decision", data.input), name="commit")
    return flow


@pytest.fixture
def flow() -> TriggerFlow:
    return asking()


@pytest.fixture
def pk(flow: TriggerFlow) -> uuid.UUID:
    return driving.settled(flow, {"amount": 120})


@pytest.fixture
def sent() -> Iterator[list[dict[str, Any]]]:
    """What ``interrupt_decided`` told observers."""
    found: list[dict[str, Any]] = []

    def receive(**kwargs: Any) -> None:
        found.append(kwargs)

    signals.interrupt_decided.connect(receive, weak=False)
    yield found
    signals.interrupt_decided.disconnect(receive)


def refused(pk: uuid.UUID, error: type[Exception], said: str, *arguments: Any, **options: Any) -> None:
    """Decide, be refused in these words, and find that nothing has changed."""
    before = driving.everything(pk)
    with pytest.raises(error, match=said):
        driving.decide(pk, *arguments, **options)
    assert driving.everything(pk) == before


# -- an answer that is taken


def test_an_answer_stores_the_decision_and_readies_what_follows(
    flow: TriggerFlow, pk: uuid.UUID, manager: User
) -> None:
    record = driving.decide(
        pk, "gate", {"approved": True}, flow=flow, door=Door.ADMIN, actor=manager, request_id="r-1", comment="fine"
    )
    execution = driving.consistent(pk)
    asked = driving.interrupt(pk, "gate")
    decision = asked.decision
    assert decision is not None
    assert (decision.payload, decision.door, decision.request_id) == ({"approved": True}, Door.ADMIN, "r-1")
    assert (decision.comment, decision.actor_id, decision.actor_label) == ("fine", str(manager.pk), "manager")
    assert asked.status == "resumed"
    assert asked.resolved_at == decision.created_at
    paused = driving.step(pk, "ask")
    assert (paused.status, paused.output) == (StepStatus.DONE, {"approved": True})
    following = driving.step(pk, "commit")
    assert (following.status, following.input, following.cause_id) == ("ready", {"approved": True}, paused.pk)
    assert execution.status == ExecutionStatus.RUNNING
    assert record["status"] == "resumed"
    assert (record["resume_value"], record["resume_request_id"], record["resumed_by"], record["door"]) == (
        {"approved": True}, "r-1", "manager", "admin",
    )  # fmt: skip


def test_history_tells_who_decided_and_through_which_door(pk: uuid.UUID, manager: User) -> None:
    driving.decide(pk, "gate", 1, door=Door.API, actor=manager, comment="fine")
    event = Event.objects.get(execution_id=pk, kind=EventKind.INTERRUPT_DECIDED)
    decision = Decision.objects.get()
    assert (event.name, event.actor_id, event.actor_label) == ("gate", str(manager.pk), "manager")
    assert event.data == {"decision": decision.pk.hex, "door": "api", "comment": "fine"}


@pytest.mark.parametrize("answer", [None, False, 0, "", [], {}])
def test_a_falsy_answer_is_an_answer(flow: TriggerFlow, pk: uuid.UUID, answer: Any) -> None:
    assert driving.decide(pk, "gate", answer, flow=flow)["status"] == "resumed"
    assert driving.step(pk, "commit").input == answer
    assert not driving.drain(pk, flow)
    assert driving.state(pk) == {"decision": answer}


@pytest.mark.django_db(transaction=True)
def test_observers_hear_of_a_decision_after_it_is_committed(pk: uuid.UUID, sent: list[dict[str, Any]]) -> None:
    with transaction.atomic():
        driving.decide(pk, "gate", 1, actor="the import", door=Door.CODE)
        assert sent == []
    (told,) = sent
    assert (told["execution_id"], told["interrupt_id"], told["actor"], told["door"]) == (
        pk.hex, "gate", "the import", "code",
    )  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_a_decision_inside_a_transaction_that_rolls_back_leaves_the_gate_closed(
    pk: uuid.UUID, sent: list[dict[str, Any]]
) -> None:
    before = driving.everything(pk)
    with transaction.atomic():
        driving.decide(pk, "gate", 1)
        transaction.set_rollback(True)
    assert driving.everything(pk) == before
    assert sent == []


# -- unknown, foreign, late


@pytest.mark.parametrize("given", ["no-such-gate", "", "x" * 300, "a\x00b", "\ud800", None, 7, "GATE", "gate "])
def test_an_unknown_interrupt_id_is_refused_naming_id_and_execution(pk: uuid.UUID, given: Any) -> None:
    """Invariant 5."""
    refused(pk, exceptions.UnknownInterruptError, f"execution {pk.hex} has no interrupt", given, 1)
    assert issubclass(exceptions.UnknownInterruptError, KeyError)


def test_the_id_of_another_execution_s_interrupt_is_refused(flow: TriggerFlow) -> None:
    """Invariant 5."""
    unnamed = asking(interrupt_id=None)
    mine, other = driving.settled(unnamed), driving.settled(unnamed)
    foreign = Interrupt.objects.get(execution_id=other)
    refused(mine, exceptions.UnknownInterruptError, mine.hex, foreign.interrupt_id, 1)
    refused(mine, exceptions.UnknownInterruptError, mine.hex, str(foreign.pk), 1)
    assert Interrupt.objects.filter(status="waiting").count() == 2


def test_an_unknown_execution_is_refused() -> None:
    pk = uuid.uuid4()
    with pytest.raises(exceptions.UnknownExecutionError, match=pk.hex) as caught:
        driving.decide(pk, "gate", 1)
    assert isinstance(caught.value, KeyError)


def test_a_late_answer_is_refused_saying_by_whom_and_when(pk: uuid.UUID, manager: User) -> None:
    """Invariants 1 and 5."""
    driving.decide(pk, "gate", {"approved": False}, actor=manager, door=Door.ADMIN)
    when = driving.interrupt(pk, "gate").resolved_at
    assert when is not None
    said = f"'gate' was decided by manager at {when.isoformat(timespec='seconds')}".replace("+", r"\+")
    refused(pk, exceptions.InterruptNotWaitingError, said, "gate", {"approved": True})
    refused(pk, exceptions.InterruptNotWaitingError, said, "gate", {"approved": False}, request_id="r-2")
    assert issubclass(exceptions.InterruptNotWaitingError, ValueError)


def test_an_answer_to_a_cancelled_interrupt_is_refused_saying_when() -> None:
    """Invariant 5."""
    # A close that cancels, but has to wait for a step of another branch, leaves a cancelled interrupt in an execution
    # that is not closed yet.
    two = TriggerFlow(name="two")
    two.to(lambda data: data.pause_for(interrupt_id="gate"), name="ask")
    two.to(driving.nothing(), name="slow")
    other = driving.start(two)
    running = driving.drainer(other, two)
    for step in driving.claim(other, two, token=running.context.token):
        if step.node == "ask":
            driving.run(running, step)
    lifecycle.request_close(other, using="default", seal=False, pending_interrupts="cancel")
    assert driving.row(other).lifecycle == "open"
    refused(other, exceptions.InterruptNotWaitingError, "'gate' was cancelled at 20", "gate", 1)


def test_an_answer_that_loses_the_race_changes_nothing(pk: uuid.UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 1: the conditional update, and not only the look before it."""
    monkeypatch.setattr("triggerflow_django.engine.decide.require_waiting", lambda _interrupt: None)
    driving.decide(pk, "gate", 1)
    refused(pk, exceptions.InterruptNotWaitingError, "is not waiting any more", "gate", 2)


# -- the same request again


def test_the_same_request_with_the_same_answer_gives_the_same_record_and_changes_nothing(pk: uuid.UUID) -> None:
    """Invariant 4."""
    first = driving.decide(pk, "gate", {"a": 1, "b": [1, {"c": None}]}, request_id="r-1", comment="fine")
    before = driving.everything(pk)
    again = driving.decide(pk, "gate", {"b": [1, {"c": None}], "a": 1}, request_id="r-1", comment="other words")
    assert again == first
    assert driving.everything(pk) == before


def test_a_repeated_request_does_not_restart_the_clock_of_auto_close(flow: TriggerFlow, travel: Any) -> None:
    """Invariant 4."""
    pk = driving.settled(flow, auto_close=True, auto_close_timeout=60.0)
    driving.decide(pk, "gate", 1, request_id="r-1")
    driving.drain(pk, flow)
    before = driving.everything(pk)
    assert driving.row(pk).auto_close_at is not None
    travel(30)
    driving.decide(pk, "gate", 1, request_id="r-1")
    assert driving.everything(pk) == before


@pytest.mark.parametrize("other", [{"approved": 1}, {"approved": True, "x": 1}, None, [], "true", {"approved": False}])
def test_the_same_request_with_another_answer_is_refused(pk: uuid.UUID, other: Any) -> None:
    """Invariant 4."""
    driving.decide(pk, "gate", {"approved": True}, request_id="r-1")
    said = "'r-1' was used before for interrupt 'gate', with another answer"
    refused(pk, exceptions.RequestIdConflictError, said, "gate", other, request_id="r-1")
    assert issubclass(exceptions.RequestIdConflictError, ValueError)


@pytest.mark.parametrize("end", ["close", "cancel"])
def test_a_repeated_request_is_answered_alike_after_the_execution_has_closed(
    flow: TriggerFlow, pk: uuid.UUID, end: str
) -> None:
    """Invariant 4."""
    first = driving.decide(pk, "gate", 5, request_id="r-1")
    driving.drain(pk, flow)
    getattr(flow.get_execution(pk), end)()
    before = driving.everything(pk)
    assert driving.decide(pk, "gate", 5, request_id="r-1") == first
    assert driving.everything(pk) == before
    refused(pk, exceptions.RequestIdConflictError, "another answer", "gate", 6, request_id="r-1")
    refused(pk, exceptions.ExecutionNotOpenError, "is closed", "gate", 5, request_id="r-2")


def test_a_repeated_request_never_answers_the_next_round_of_its_question() -> None:
    """Invariants 1 and 4: the client did not hear the first answer's receipt, and meanwhile the chunk asked again."""
    flow = asking(resume_to="self", max_resumes=None)
    pk = driving.settled(flow)
    first = driving.decide(pk, "gate", {"approved": True}, request_id="r-1")
    driving.drain(pk, flow)
    assert driving.interrupt(pk, "gate").round == 2
    before = driving.everything(pk)
    again = driving.decide(pk, "gate", {"approved": True}, request_id="r-1")
    assert (again["round"], again["pk"]) == (1, first["pk"])
    assert driving.everything(pk) == before
    assert driving.interrupt(pk, "gate").status == "waiting"
    refused(pk, exceptions.RequestIdConflictError, "another answer", "gate", {"approved": False}, request_id="r-1")


def test_request_ids_of_different_interrupts_do_not_meet() -> None:
    flow = TriggerFlow(name="two")
    for name in ("legal", "finance"):
        flow.to(lambda data, name=name: data.pause_for(interrupt_id=name), name=name)
    pk = driving.settled(flow)
    driving.decide(pk, "legal", 1, request_id="r-1")
    assert driving.decide(pk, "finance", 2, request_id="r-1")["resume_value"] == 2


@pytest.mark.parametrize("request_id", ["", "x" * 201, "a\x00b", "\ud800", 7])
def test_a_request_id_that_cannot_be_stored_is_refused(pk: uuid.UUID, request_id: Any) -> None:
    refused(pk, exceptions.JsonValueError, "request id .*1 to 200 characters", "gate", 1, request_id=request_id)


# -- sealed, closing, closed


def test_a_sealed_execution_takes_no_answer(pk: uuid.UUID) -> None:
    lifecycle.seal(pk, using="default")
    refused(pk, exceptions.ExecutionNotOpenError, "is sealed .*answer to interrupt 'gate' refused", "gate", 1)
    assert issubclass(exceptions.ExecutionNotOpenError, RuntimeError)
    lifecycle.unseal(pk, using="default")
    assert driving.decide(pk, "gate", 1)["status"] == "resumed"


@pytest.mark.parametrize("end", ["close", "cancel"])
def test_a_closed_execution_takes_no_answer_and_runs_nothing_after_the_gate(
    flow: TriggerFlow, pk: uuid.UUID, end: str
) -> None:
    """Invariants 6 and 11."""
    handle = flow.get_execution(pk)
    if end == "close":
        handle.close(pending_interrupts="cancel")
    else:
        handle.cancel()
    refused(pk, exceptions.ExecutionNotOpenError, "is closed", "gate", 1)
    driving.drain(pk, flow)
    assert "commit" not in driving.statuses(pk)
    assert driving.consistent(pk).snapshot == {}


# -- the schema


@pytest.mark.parametrize("resume_to", ["next", "self", {"event": "answered"}])
def test_an_answer_that_fails_the_schema_names_every_path_and_the_interrupt_still_waits(resume_to: Any) -> None:
    flow = asking(response_schema=SCHEMA, resume_to=resume_to)
    pk = driving.settled(flow)
    before = driving.everything(pk)
    with pytest.raises(exceptions.AnswerSchemaError, match="does not match its schema") as caught:
        driving.decide(pk, "gate", {"amount": 0, "approved": "yes"})
    assert [error["path"] for error in caught.value.errors] == ["$.amount", "$.approved"]
    assert all(path in str(caught.value) for path in ("$.amount", "$.approved"))
    assert isinstance(caught.value, ValueError)
    assert driving.everything(pk) == before
    assert driving.decide(pk, "gate", {"amount": 1, "approved": True})["status"] == "resumed"


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    ],
)
def test_a_schema_that_runs_in_circles_is_a_refusal_and_no_crash(schema: Any) -> None:
    pk = driving.settled(asking(response_schema=schema))
    refused(pk, exceptions.AnswerSchemaError, "circles", "gate", 1)


def test_a_schema_may_refer_to_the_standard_s_own_schema() -> None:
    pk = driving.settled(asking(response_schema={"$ref": "https://json-schema.org/draft/2020-12/schema"}))
    refused(pk, exceptions.AnswerSchemaError, r"\$\.type", "gate", {"type": 5})
    assert driving.decide(pk, "gate", {"type": "string"})["status"] == "resumed"


def test_a_repeated_request_is_not_held_against_the_schema_again() -> None:
    pk = driving.settled(asking(response_schema=SCHEMA))
    driving.decide(pk, "gate", {"approved": True}, request_id="r-1")
    Interrupt.objects.filter(execution_id=pk).update(response_schema=False)
    assert driving.decide(pk, "gate", {"approved": True}, request_id="r-1")["status"] == "resumed"


# -- the gate of values


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"when": object()}, r"^answer\.when: object is not JSON"),
        ([float("nan")], r"^answer\[0\]: NaN"),
        ({"a": "\x00"}, r"^answer\.a: .*NUL"),
        ("\udfff", "^answer: .*lone surrogate"),
        ("x" * 65537, "^answer: .*65537 bytes"),
        ([0] * 10_001, "^answer: more than the 10000"),
        (["x" * 60_000] * 5, "^answer: .*262144"),
    ],
)
def test_an_answer_that_cannot_be_stored_is_refused_with_its_path(pk: uuid.UUID, answer: Any, said: str) -> None:
    refused(pk, exceptions.JsonValueError, said, "gate", answer)


@pytest.mark.parametrize("comment", ["a\x00b", "\ud800", "x" * 65537])
def test_a_comment_that_cannot_be_stored_is_refused(pk: uuid.UUID, comment: str) -> None:
    refused(pk, exceptions.JsonValueError, "^comment: ", "gate", 1, comment=comment)


def test_an_answer_is_stored_as_a_copy(flow: TriggerFlow, pk: uuid.UUID) -> None:
    answer: dict[str, Any] = {"lines": [1]}
    record = driving.decide(pk, "gate", answer)
    answer["lines"].append(2)
    record["payload"] = record["resume_value"] = "changed"
    assert driving.interrupt(pk, "gate").decision.payload == {"lines": [1]}  # type: ignore[union-attr]


# -- the order


def test_permission_comes_before_the_replay_of_a_request(pk: uuid.UUID, clerk: User) -> None:
    driving.decide(pk, "gate", 1, request_id="r-1")
    refused(pk, exceptions.DecisionRefusedError, "permission", "gate", 1, request_id="r-1", actor=clerk)


def test_permission_comes_before_the_lifecycle(flow: TriggerFlow, pk: uuid.UUID, clerk: User) -> None:
    flow.get_execution(pk).cancel()
    refused(pk, exceptions.DecisionRefusedError, "permission", "gate", 1, actor=clerk)


def test_the_replay_comes_before_the_lifecycle_and_the_lifecycle_before_the_schema() -> None:
    flow = asking(response_schema=SCHEMA)
    pk = driving.settled(flow)
    lifecycle.seal(pk, using="default")
    refused(pk, exceptions.ExecutionNotOpenError, "sealed", "gate", "no object")
    lifecycle.unseal(pk, using="default")
    driving.decide(pk, "gate", {"approved": True}, request_id="r-1")
    lifecycle.seal(pk, using="default")
    assert driving.decide(pk, "gate", {"approved": True}, request_id="r-1")["status"] == "resumed"
    refused(pk, exceptions.RequestIdConflictError, "another", "gate", {"approved": False}, request_id="r-1")


def test_permission_comes_before_the_schema(clerk: User) -> None:
    pk = driving.settled(asking(response_schema=SCHEMA))
    refused(pk, exceptions.DecisionRefusedError, "permission", "gate", "no object", actor=clerk)


def test_a_late_answer_hears_that_it_is_late_rather_than_that_it_is_wrong() -> None:
    pk = driving.settled(asking(response_schema=SCHEMA))
    driving.decide(pk, "gate", {"approved": True})
    refused(pk, exceptions.InterruptNotWaitingError, "was decided by code", "gate", "no object")
