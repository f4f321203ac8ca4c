"""The same request again: the first result again, also after close; never the answer to another question."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.models import Interrupt

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


# -- the schema


def test_a_repeated_request_is_not_held_against_the_schema_again() -> None:
    pk = driving.settled(asking(response_schema=SCHEMA))
    driving.decide(pk, "gate", {"approved": True}, request_id="r-1")
    Interrupt.objects.filter(execution_id=pk).update(response_schema=False)
    assert driving.decide(pk, "gate", {"approved": True}, request_id="r-1")["status"] == "resumed"


# -- the order


def test_permission_comes_before_the_replay_of_a_request(pk: uuid.UUID, clerk: User) -> None:
    driving.decide(pk, "gate", 1, request_id="r-1")
    refused(pk, exceptions.DecisionRefusedError, "permission", "gate", 1, request_id="r-1", actor=clerk)
