"""Who may decide: held against the locked row, whatever the door, with the rights people have at that moment."""

from __future__ import annotations

import logging
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, Permission, User

from tests.approvals import rules
from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.models import Decision, Door

pytestmark = pytest.mark.django_db

#: The doors at which a person stands.
PERSONAL = [Door.ADMIN, Door.API, Door.COMMAND, Door.LINK]

RULES = rules.__name__


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


# -- nobody named


@pytest.mark.parametrize("door", [*PERSONAL, Door.CODE])
def test_nobody_named_the_permission_decides(clerk: User, manager: User, door: Door) -> None:
    pk = asked()
    refused(pk, clerk, r"you need the permission triggerflow\.resume_interrupt", door)
    decision = accepted(pk, manager, door)
    assert (decision.actor_id, decision.actor_label, decision.door) == (str(manager.pk), "manager", door)


def test_a_superuser_has_every_permission(root: User) -> None:
    assert accepted(asked(), root, Door.ADMIN).actor_label == "root"


@pytest.mark.parametrize("door", Door.values)
def test_somebody_who_is_not_signed_in_decides_nowhere(door: Door) -> None:
    refused(asked(), AnonymousUser(), "sign in to decide", door)


@pytest.mark.parametrize("who", [object(), 7, b"clerk", ["clerk"], {"pk": 1}])
def test_what_is_no_user_decides_nothing(who: Any) -> None:
    refused(asked(), who, "sign in to decide")


def test_a_user_of_somebody_else_s_making_decides_nothing(manager: User) -> None:
    class Impostor:
        is_authenticated = True
        pk = manager.pk

    refused(asked(), Impostor(), "only a user of this site")


def test_a_user_that_was_never_saved_decides_nothing() -> None:
    refused(asked(), User(username="ghost", is_superuser=True), "only a user of this site can decide")


def test_a_permission_taken_away_after_the_pause_counts_as_it_is_now(manager: User) -> None:
    pk = asked()
    manager.has_perm("triggerflow.resume_interrupt")  # the instance remembers it
    manager.user_permissions.clear()
    refused(pk, manager, "you need the permission")


def test_a_deactivated_user_decides_nothing(manager: User, root: User) -> None:
    pk = asked()
    User.objects.update(is_active=False)
    refused(pk, manager, "your account is not active")
    refused(pk, root, "your account is not active")


def test_a_deleted_user_decides_nothing(manager: User) -> None:
    pk = asked()
    gone = User.objects.get(pk=manager.pk)
    manager.delete()
    refused(pk, gone, "your account no longer exists")


# -- somebody named


def test_only_the_named_user_decides_superusers_not_excepted(clerk: User, manager: User, root: User) -> None:
    pk = asked(approvers="user:clerk")
    for other in (manager, root):
        for door in PERSONAL:
            refused(pk, other, "only clerk may decide", door)
    assert accepted(pk, clerk).actor_label == "clerk"


def test_a_named_user_needs_no_permission_and_may_be_renamed(clerk: User) -> None:
    pk = asked(approvers=[clerk])
    User.objects.filter(pk=clerk.pk).update(username="accountant")
    assert accepted(pk, User.objects.get(pk=clerk.pk), Door.API).actor_label == "accountant"


def test_a_new_user_under_the_name_of_a_named_one_is_not_the_named_one(clerk: User) -> None:
    pk = asked(approvers="user:clerk")
    User.objects.filter(pk=clerk.pk).update(username="former")
    refused(pk, User.objects.create_user("clerk"), "only clerk may decide")


def test_a_member_of_the_named_group_decides(finance: Group, clerk: User, manager: User, root: User) -> None:
    pk = asked(approvers="group:finance")
    refused(pk, manager, "only the group finance may decide")
    refused(pk, root, "only the group finance may decide")
    accepted(pk, clerk)


def test_who_left_the_group_since_may_not_decide_and_an_emptied_group_is_nobody(
    finance: Group, clerk: User, root: User
) -> None:
    pk = asked(approvers=finance)
    finance.user_set.clear()
    refused(pk, clerk, "only the group finance may decide")
    refused(pk, root, "only the group finance may decide")


def test_who_joined_the_group_since_may_decide(finance: Group, manager: User) -> None:
    pk = asked(approvers="group:finance")
    manager.groups.add(finance)
    accepted(pk, manager)


def test_a_deleted_group_is_nobody_and_one_of_the_same_name_is_another(finance: Group, clerk: User) -> None:
    pk = asked(approvers="group:finance")
    finance.delete()
    refused(pk, clerk, "only the group finance may decide")
    clerk.groups.add(Group.objects.create(name="finance"))
    if Group.objects.get(name="finance").pk != finance.pk:
        refused(pk, clerk, "only the group finance may decide")


def test_who_has_the_named_permission_decides(clerk: User, manager: User, root: User) -> None:
    pk = asked(approvers="perm:auth.view_user")
    refused(pk, manager, r"only whoever has the permission auth\.view_user")
    clerk.user_permissions.add(Permission.objects.get(codename="view_user"))
    accepted(pk, User.objects.get(pk=clerk.pk))


def test_a_rule_decides_by_the_interrupt_s_own_payload(clerk: User, manager: User) -> None:
    pk = asked(approvers=rules.asked_amount, payload={"amount": 5000})
    refused(pk, clerk, f"only whom the rule {RULES}.asked_amount accepts")
    accepted(asked(approvers=rules.asked_amount, payload={"amount": 5}), clerk)


def test_a_rule_that_raises_is_a_no_and_is_logged(clerk: User, caplog: pytest.LogCaptureFixture) -> None:
    pk = asked(approvers=f"call:{RULES}.is_broken")
    with caplog.at_level(logging.ERROR):
        refused(pk, clerk, f"the rule {RULES}.is_broken failed when asked, which counts as no")
    assert caplog.records


def test_a_rule_whose_query_fails_leaves_the_transaction_usable(clerk: User) -> None:
    pk = asked(approvers=[f"call:{RULES}.breaks_the_query", "user:clerk"])
    accepted(pk, clerk)


def test_several_named_any_of_them_decides(finance: Group, manager: User, root: User) -> None:
    pk = asked(approvers=["group:finance", manager])
    refused(pk, root, "only the group finance, manager may decide")
    accepted(pk, manager)


# -- the starter


def test_the_starter_is_excluded_also_where_named_and_also_as_superuser(clerk: User, root: User) -> None:
    refused(asked(started_by=clerk, exclude_starter=True, approvers=[clerk, root]), clerk, "you started this execution")
    refused(asked(started_by=root, exclude_starter=True), root, "you started this execution")
