"""``triggerflow_resume``: the command's door, with the same policy as every other, or past it and recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.management.conftest import refund_flow
from tests.management.shell import Ran, run
from triggerflow_django import TriggerFlow, TriggerFlowExecution
from triggerflow_django.management import acting
from triggerflow_django.models import Decision, Event, Step, StepStatus

pytestmark = pytest.mark.django_db

ANSWER = b'{"approved": true}'
OVERRIDE = ["--override", "--reason", "the manager is ill"]


def resume(target: TriggerFlowExecution, *words: object, answer: bytes = ANSWER, interrupt: str = "gate") -> Ran:
    return run("resume", target.id, interrupt, "--answer", "-", "--format", "json", *words, stdin=answer)


@pytest.fixture
def named(register: Callable[[TriggerFlow], TriggerFlow], user: Callable[..., User]) -> TriggerFlowExecution:
    """It waits for the group finance, and not for ann, who started it."""
    ann = user("ann", "resume_interrupt", groups=("finance",))
    user("bob", "resume_interrupt")
    user("cleo", groups=("finance",))
    flow = register(refund_flow(approvers="group:finance", exclude_starter=True))
    return flow.start_execution(1, auto_close=False, started_by=ann)


def test_a_user_whom_the_policy_allows_decides(named: TriggerFlowExecution) -> None:
    ran = resume(named, "--user", "cleo", "--reason", "checked")
    assert ran.code == 0, ran.error
    decision = Decision.objects.get()
    assert (decision.door, decision.actor_label, decision.payload) == ("command", "cleo", {"approved": True})
    assert decision.actor_id == str(User.objects.get(username="cleo").pk)
    assert decision.comment == f"checked [cmd:{acting.shell_name()}]"
    assert ran.document["interrupt"]["status"] == "resumed"
    assert ran.document["interrupt"]["resumed_by"] == "cleo"


@pytest.mark.parametrize(
    ("name", "told"), [("bob", "only the group finance may decide this"), ("ann", "you started this execution")]
)
def test_a_user_whom_the_policy_refuses_gives_exit_code_4(named: TriggerFlowExecution, name: str, told: str) -> None:
    ran = resume(named, "--user", name, "--reason", "I am at the shell")
    assert (ran.code, ran.document["error"]["code"]) == (4, "decision_refused")
    assert told in ran.error
    assert named.get_status() == "waiting"
    assert not Decision.objects.exists()


def test_where_nobody_is_named_the_permission_decides(waiting: TriggerFlowExecution, user: Callable[..., User]) -> None:
    user("ann", "emit_event", "close_execution")
    user("bob", "resume_interrupt")
    assert resume(waiting, "--user", "ann").code == 4
    assert resume(waiting, "--user", "bob").code == 0


def test_an_override_goes_past_the_policy_and_is_recorded(named: TriggerFlowExecution) -> None:
    ran = resume(named, *OVERRIDE)
    assert ran.code == 0, ran.error
    decision = Decision.objects.get()
    assert (decision.door, decision.actor_id) == ("command", "")
    assert decision.actor_label == f"override:{acting.shell_name()}"
    assert decision.comment == "the manager is ill"
    event = Event.objects.get(kind="interrupt_decided")
    assert event.actor_label == decision.actor_label
    assert event.data["comment"] == "the manager is ill"


@pytest.mark.parametrize(
    "words",
    [
        ["--override"],
        ["--override", "--reason", "  "],
        [],
        ["--reason", "x"],
        ["--override", "--reason", "x", "--user", "cleo"],
    ],
)
def test_an_override_needs_a_reason_and_no_user(named: TriggerFlowExecution, words: list[str]) -> None:
    # What argparse refuses ends a shell's command with 2 and call_command's with 1.
    assert resume(named, *words).code in (1, 2)
    assert named.get_status() == "waiting"
    assert not Decision.objects.exists()


def test_an_override_does_not_go_past_the_schema(register: Callable[[TriggerFlow], TriggerFlow]) -> None:
    schema = {"type": "object", "required": ["approved"], "properties": {"approved": {"type": "boolean"}}}
    execution = register(refund_flow(response_schema=schema)).start_execution(1, auto_close=False)
    ran = resume(execution, *OVERRIDE, answer=b'{"approved": "yes"}')
    assert (ran.code, ran.document["error"]["code"]) == (6, "answer_schema")
    assert ran.document["error"]["errors"][0]["path"] == "$.approved"
    assert execution.get_status() == "waiting"


def test_an_override_does_not_go_past_a_seal(named: TriggerFlowExecution) -> None:
    named.seal()
    ran = resume(named, *OVERRIDE)
    assert (ran.code, ran.document["error"]["code"]) == (5, "execution_not_open")


def test_a_late_answer_is_refused_and_says_who_was_first(named: TriggerFlowExecution) -> None:
    resume(named, "--user", "cleo")
    ran = resume(named, *OVERRIDE)
    assert (ran.code, ran.document["error"]["code"]) == (5, "interrupt_not_waiting")
    assert "cleo" in ran.error


def test_the_same_request_id_is_answered_alike_and_another_answer_refused(named: TriggerFlowExecution) -> None:
    one = resume(named, "--user", "cleo", "--request-id", "r1")
    assert resume(named, "--user", "cleo", "--request-id", "r1").document["interrupt"] == one.document["interrupt"]
    ran = resume(named, "--user", "cleo", "--request-id", "r1", answer=b'{"approved": false}')
    assert (ran.code, ran.document["error"]["code"]) == (5, "request_id_conflict")
    assert Decision.objects.count() == 1


def test_an_unknown_interrupt_names_those_that_wait(waiting: TriggerFlowExecution) -> None:
    ran = resume(waiting, *OVERRIDE, interrupt="door")
    assert (ran.code, ran.document["error"]["code"]) == (3, "unknown_interrupt")
    assert "waiting: gate" in ran.error


def test_an_interrupt_may_be_named_by_how_it_begins_if_only_one_does(
    register: Callable[[TriggerFlow], TriggerFlow],
) -> None:
    flow = register(TriggerFlow(name="refund"))
    for name in ("approval-of-order-1", "approval-of-order-2", "approval-of-payment"):
        flow.to((name, lambda data, name=name: data.pause_for(interrupt_id=name)))
    execution = flow.start_execution(1, auto_close=False)
    for beginning in ("approval", "approval-of", "appr"):
        assert resume(execution, *OVERRIDE, interrupt=beginning).code == 3
    assert resume(execution, *OVERRIDE, interrupt="approval-of-p").code == 0
    assert list(execution.get_pending_interrupts()) == ["approval-of-order-1", "approval-of-order-2"]


def test_what_comes_after_is_left_to_the_holder_and_the_output_says_so(waiting: TriggerFlowExecution) -> None:
    ran = run("resume", waiting.id, "gate", "--answer", "-", *OVERRIDE, stdin=ANSWER)
    assert "1 ready step left to the process that holds it" in " ".join(ran.out.split())
    assert "triggerflow_handover" in ran.out
    assert Step.objects.get(node="settle").status == StepStatus.READY
    assert waiting.get_state("decision") is None
    waiting.wait()
    assert waiting.get_state("decision") == {"approved": True}


def test_the_comment_of_a_user_without_a_reason_says_whose_shell_it_was(named: TriggerFlowExecution) -> None:
    resume(named, "--user", "cleo")
    assert Decision.objects.get().comment == f"[cmd:{acting.shell_name()}]"


def test_an_answer_is_required(waiting: TriggerFlowExecution) -> None:
    ran: Any = run("resume", waiting.id, "gate", *OVERRIDE)
    assert ran.code
    assert "--answer" in ran.error


def test_an_answer_to_an_earlier_question_is_not_taken_for_the_next(
    register: Callable[[TriggerFlow], TriggerFlow],
) -> None:
    flow = register(TriggerFlow(name="refund"))
    flow.to(("ask", lambda data: data.pause_for(interrupt_id="gate", resume_to="self", max_resumes=None)))
    execution = flow.start_execution(1, auto_close=False)
    execution.continue_with("gate", "the first")
    ran = resume(execution, *OVERRIDE, "--round", 1)
    assert (ran.code, ran.document["error"]["code"]) == (5, "interrupt_not_waiting")
    assert resume(execution, *OVERRIDE, "--round", 3).code == 3
    assert execution.get_status() == "waiting"
    assert resume(execution, *OVERRIDE, "--round", 2).document["interrupt"]["round"] == 2
