"""Answers that are refused for what they are or for when they come, and in which order that is asked."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import lifecycle

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


def refused(pk: uuid.UUID, error: type[Exception], said: str, *arguments: Any, **options: Any) -> None:
    """Decide, be refused in these words, and find that nothing has changed."""
    before = driving.everything(pk)
    with pytest.raises(error, match=said):
        driving.decide(pk, *arguments, **options)
    assert driving.everything(pk) == before


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
