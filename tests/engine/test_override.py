"""The override: past an interrupt's policy, through the command's door, with a reason, and nowhere else."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from triggerflow_django import TriggerFlow, TriggerFlowExecution, exceptions
from triggerflow_django.engine import decide, emit
from triggerflow_django.engine.actor import Actor, rule
from triggerflow_django.engine.authority import Override
from triggerflow_django.models import Decision, Door, Event

pytestmark = pytest.mark.django_db

OVERRIDE = Override("ops@host", "the manager is ill")


@pytest.fixture
def execution() -> TriggerFlowExecution:
    from django.contrib.auth.models import Group, User

    User.objects.create_user("cleo").groups.add(Group.objects.create(name="finance"))
    flow = TriggerFlow(name="refund")
    flow.to(
        lambda data: data.pause_for(
            interrupt_id="gate", resume_event="paid", resume_to="next", approvers="group:finance", exclude_starter=True
        )
    )
    return flow.start_execution(1, auto_close=False)


def through(door: Door, pk: uuid.UUID, actor: Any = OVERRIDE, comment: str = "") -> Any:
    return decide.decide(pk, "gate", True, door=door, using="default", actor=actor, comment=comment)


def test_it_decides_through_the_door_command(execution: TriggerFlowExecution) -> None:
    through(Door.COMMAND, execution.pk)
    decision = Decision.objects.get()
    assert (decision.door, decision.actor_id, decision.actor_label) == ("command", "", "override:ops@host")


def test_its_reason_is_the_comment_whatever_else_is_said(execution: TriggerFlowExecution) -> None:
    through(Door.COMMAND, execution.pk, comment="nothing to see here")
    assert Decision.objects.get().comment == "the manager is ill"


@pytest.mark.parametrize("door", [door for door in Door if door != Door.COMMAND])
def test_no_other_door_takes_it(execution: TriggerFlowExecution, door: Door) -> None:
    with pytest.raises(exceptions.DecisionRefusedError, match="an override is for the command line"):
        through(door, execution.pk)
    assert not Decision.objects.exists()


def test_the_handle_does_not_take_it(execution: TriggerFlowExecution) -> None:
    with pytest.raises(exceptions.DecisionRefusedError, match="an override is for the command line"):
        execution.continue_with("gate", True, actor=OVERRIDE)
    assert not Decision.objects.exists()


def test_an_emit_does_not_take_it(execution: TriggerFlowExecution) -> None:
    with pytest.raises(AttributeError):
        emit.emit(execution.pk, "paid", True, using="default", actor=OVERRIDE)
    assert not Decision.objects.exists()
    assert not Event.objects.filter(kind="emitted").exists()


@pytest.mark.parametrize("actor", [None, "override:ops@host", Actor(label="override:ops@host"), rule("override")])
def test_nothing_else_passes_the_door_command_without_a_user(execution: TriggerFlowExecution, actor: Any) -> None:
    with pytest.raises(exceptions.DecisionRefusedError):
        through(Door.COMMAND, execution.pk, actor=actor)
    assert not Decision.objects.exists()


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_there_is_none_without_a_reason(reason: str) -> None:
    with pytest.raises(exceptions.DecisionRefusedError, match="needs a reason"):
        Override("ops@host", reason)


@pytest.mark.parametrize(("by", "reason"), [("ops\0", "x"), ("ops", "x\0"), ("ops", "\ud800")])
def test_there_is_none_with_text_that_cannot_be_stored(by: str, reason: str) -> None:
    with pytest.raises(exceptions.JsonValueError):
        Override(by, reason)
