"""Who may decide, beside the people named: the starter, code that says who it is, and names that name nobody."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine.actor import Actor
from triggerflow_django.models import Decision, Door, Interrupt

pytestmark = pytest.mark.django_db

#: The doors at which a person stands.
PERSONAL = [Door.ADMIN, Door.API, Door.COMMAND, Door.LINK]


def asking(**arguments: Any) -> TriggerFlow:
    """A flow that asks once, under the id ``gate``."""
    flow = TriggerFlow(name="refund")
    flow.to(lambda data: data.pause_for(**{"interrupt_id": "gate", **arguments}), name="ask")
    return flow


def asked(started_by: Any = None, **arguments: Any) -> uuid.UUID:
    """An execution that waits."""
    flow = asking(**arguments)
    pk = driving.start(flow, {"amount": 120}, started_by=started_by)
    failures = driving.drain(pk, flow)
    assert not failures
    return pk


def refused(pk: uuid.UUID, actor: Any, said: str, door: Door = Door.CODE) -> None:
    """Not allowed, in these words; and nothing has changed."""
    before = driving.everything(pk)
    with pytest.raises(exceptions.DecisionRefusedError, match=said) as caught:
        driving.decide(pk, "gate", 1, actor=actor, door=door)
    assert isinstance(caught.value, PermissionError)
    assert f"interrupt 'gate' of execution {pk.hex}: not allowed to decide: " in str(caught.value)
    assert driving.everything(pk) == before


def accepted(pk: uuid.UUID, actor: Any, door: Door = Door.CODE) -> Decision:
    """Allowed; the stored decision."""
    assert driving.decide(pk, "gate", 1, actor=actor, door=door)["status"] == "resumed"
    return Decision.objects.get(execution_id=pk)


# -- the starter


def test_the_starter_is_excluded_where_the_question_says_so(manager: User, root: User) -> None:
    pk = asked(started_by=manager, exclude_starter=True)
    for door in [*PERSONAL, Door.CODE]:
        refused(pk, manager, "you started this execution", door)
    accepted(pk, root)


def test_without_the_exclusion_the_starter_may_decide(manager: User) -> None:
    accepted(asked(started_by=manager), manager)


def test_an_execution_nobody_is_known_to_have_started_excludes_nobody(manager: User) -> None:
    accepted(asked(exclude_starter=True), manager)
    accepted(asked(started_by="manager", exclude_starter=True), manager)


# -- code


def test_code_without_a_user_is_trusted_and_recorded_as_such(clerk: User) -> None:
    decision = accepted(asked(approvers=[clerk], exclude_starter=True), None)
    assert (decision.actor_id, decision.actor_label, decision.door) == ("", "", Door.CODE)


@pytest.mark.parametrize("door", PERSONAL)
def test_code_without_a_user_is_trusted_through_no_door_of_persons(door: Door) -> None:
    refused(asked(), None, "nobody is named as the one who decides", door)
    refused(asked(), Actor("7", "clerk"), "nobody is named as the one who decides", door)


def test_a_bare_name_is_recorded_where_nobody_is_named() -> None:
    decision = accepted(asked(), "the nightly import")
    assert (decision.actor_id, decision.actor_label) == ("", "the nightly import")


@pytest.mark.parametrize("door", PERSONAL)
def test_a_bare_name_passes_no_door_of_persons(door: Door) -> None:
    refused(asked(), "manager", "a name alone does not show who decides", door)


@pytest.mark.parametrize("arguments", [{"approvers": "user:clerk"}, {"exclude_starter": True}])
def test_a_bare_name_never_stands_in_for_a_named_approver(clerk: User, arguments: dict[str, Any]) -> None:
    refused(asked(**arguments), "clerk", "'clerk' is only a name: pass the user object")


@pytest.mark.parametrize("label", ["a\x00b", "\ud800"])
def test_a_name_that_cannot_be_stored_is_refused(label: str) -> None:
    pk = asked()
    before = driving.everything(pk)
    with pytest.raises(exceptions.JsonValueError, match=r"^actor: "):
        driving.decide(pk, "gate", 1, actor=label)
    assert driving.everything(pk) == before


def test_a_long_name_is_kept_as_far_as_it_fits() -> None:
    assert accepted(asked(), "x" * 300).actor_label == "x" * 255


# -- named but empty: the pause is refused


@pytest.mark.parametrize(
    ("approvers", "said"),
    [
        ([], "approvers= is empty"),
        ("user:nobody", "there is no user 'nobody'"),
        ("group:nothing", "there is no group 'nothing'"),
        ("group:empty", "the group 'empty' has no active member"),
        ("group:sleepers", "the group 'sleepers' has no active member"),
        ("user:sleeper", "the user 'sleeper' is not active"),
        ("perm:auth.no_such", "there is no permission 'auth.no_such'"),
        ("call:os.system", "'os.system' is not a registered rule"),
        (["user:clerk", "user:nobody"], "there is no user 'nobody'"),
        ("clerk", "'clerk' names no approver"),
        (7, "a int names no approver"),
    ],
)
def test_approvers_that_name_nobody_fail_the_step_and_leave_no_interrupt(
    clerk: User, approvers: Any, said: str
) -> None:
    Group.objects.create(name="empty")
    sleepers = Group.objects.create(name="sleepers")
    sleepers.user_set.add(User.objects.create_user("sleeper", is_active=False))
    flow = asking(approvers=approvers)
    pk = driving.start(flow)
    (failure,) = driving.drain(pk, flow)
    assert isinstance(failure, exceptions.ApproversError)
    assert isinstance(failure, ValueError)
    assert said in str(failure)
    assert driving.consistent(pk).status == "failed"
    assert not Interrupt.objects.exists()
    step = driving.step(pk, "ask")
    assert (step.status, step.output) == ("failed", None)
    assert said in step.error["message"]
