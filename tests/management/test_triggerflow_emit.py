"""``triggerflow_emit``: an event from outside, under the policy of whatever it answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from tests.management.conftest import refund_flow
from tests.management.shell import run
from triggerflow_django import TriggerFlow, TriggerFlowExecution
from triggerflow_django.models import Decision, Event

pytestmark = pytest.mark.django_db

REASON = ["--reason", "bank statement", "--format", "json"]


def test_its_handlers_become_ready(waiting: TriggerFlowExecution) -> None:
    ran = run("emit", waiting.id, "paid", "--value", "-", *REASON, stdin=b"[120]")
    assert (ran.document["steps"], ran.document["answered"], ran.document["left_to_holder"]) == (1, 0, 1)
    event = Event.objects.get(kind="emitted")
    assert (event.name, event.data) == ("paid", {"value": [120], "reason": "bank statement"})
    waiting.wait()
    assert waiting.get_state("paid") == [120]


def test_an_event_nobody_listens_to_is_told(waiting: TriggerFlowExecution) -> None:
    ran = run("emit", waiting.id, "piad", "--reason", "x")
    assert ran.code == 0
    assert "nothing listens to it now" in " ".join(ran.out.split())


@pytest.mark.parametrize("event", ["", "a" * 300])
def test_a_name_that_is_none_is_refused(waiting: TriggerFlowExecution, event: str) -> None:
    assert run("emit", waiting.id, event, *REASON).code == 6
    assert not Event.objects.filter(kind="emitted").exists()


@pytest.fixture
def for_event(register: Callable[[TriggerFlow], TriggerFlow], user: Callable[..., User]) -> TriggerFlowExecution:
    """It waits for the event ``approved`` from somebody in finance."""
    user("cleo", "emit_event", groups=("finance",))
    user("bob", "emit_event", "resume_interrupt")
    flow = register(refund_flow(resume_to={"event": "approved"}, approvers="group:finance"))
    return flow.start_execution(1, auto_close=False)


def test_it_answers_what_waits_for_it(for_event: TriggerFlowExecution) -> None:
    ran = run("emit", for_event.id, "approved", "--user", "cleo", "--value", "-", "--format", "json", stdin=b"true")
    assert ran.document["answered"] == 1
    decision = Decision.objects.get()
    assert (decision.door, decision.actor_label, decision.payload) == ("event", "cleo", True)


@pytest.mark.parametrize("words", [["--user", "bob"], ["--reason", "I am the shell"]])
def test_who_may_not_answer_may_not_emit_it_either(for_event: TriggerFlowExecution, words: list[str]) -> None:
    ran = run("emit", for_event.id, "approved", *words, "--format", "json")
    assert (ran.code, ran.document["error"]["code"]) == (4, "decision_refused")
    assert for_event.get_status() == "waiting"
    assert not Event.objects.filter(kind="emitted").exists()
