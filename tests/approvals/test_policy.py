"""Who may decide: what can be named, what is stored, and who is refused and why."""

from __future__ import annotations

import functools
import logging
import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.utils.functional import SimpleLazyObject
from pytest_django import DjangoAssertNumQueries

from tests.approvals import rules
from triggerflow_django import exceptions
from triggerflow_django.approvals import policy

pytestmark = pytest.mark.django_db

RULES = rules.__name__
INTERRUPT = SimpleNamespace(payload={"amount": 50})


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann")


@pytest.fixture
def ben() -> User:
    return User.objects.create_user("ben")


@pytest.fixture
def root() -> User:
    return User.objects.create_superuser("root")


@pytest.fixture
def finance(ann: User) -> Group:
    group = Group.objects.create(name="finance")
    group.user_set.add(ann)
    return group


@pytest.fixture
def resume_permission() -> Permission:
    content_type, _ = ContentType.objects.get_or_create(app_label="triggerflow", model="interrupt")
    permission, _ = Permission.objects.get_or_create(
        codename="resume_interrupt", content_type=content_type, defaults={"name": "Can decide"}
    )
    return permission


def stored(*approvers: object) -> list[dict[str, str]]:
    return policy.resolve(policy.normalise(list(approvers)), using="default")


def refusal(actor: object, *approvers: object, starter: str = "", **kwargs: Any) -> str | None:
    arguments = {
        "approvers": stored(*approvers) if approvers else [],
        "exclude_starter": bool(starter),
        "started_by_id": starter,
        "interrupt": INTERRUPT,
        **kwargs,
    }
    return policy.refusal(actor, **arguments)


# -- approver --------------------------------------------------------------------------------------


def test_a_rule_stays_the_function_it_was() -> None:
    def plain(user: Any, interrupt: Any) -> bool:
        return True

    plain.__qualname__ = "plain"
    assert policy.approver(plain) is plain


def test_only_a_function_that_its_name_finds_can_be_a_rule() -> None:
    def local(user: Any, interrupt: Any) -> bool:
        return True

    class Rule:
        def __call__(self, user: Any, interrupt: Any) -> bool:
            return True

    for func in (local, lambda user, interrupt: True, Rule, Rule(), functools.partial(local)):
        with pytest.raises(exceptions.ApproversError, match="module level"):
            policy.approver(func)  # type: ignore[type-var]


def test_an_async_function_is_no_rule() -> None:
    async def answers(user: Any, interrupt: Any) -> bool:
        return False

    answers.__qualname__ = "answers"
    with pytest.raises(exceptions.ApproversError, match="sync function"):
        policy.approver(answers)  # type: ignore[type-var]


# -- normalise -------------------------------------------------------------------------------------


def test_nobody_named_is_an_empty_list() -> None:
    assert policy.normalise(None) == []


@pytest.mark.parametrize(
    "text",
    ["user:ann", "user:a:b@example.org", "group:The Board", "perm:shop.refund", "call:a.b.c"],
)
def test_canonical_strings_stay_as_they_are(text: str) -> None:
    assert policy.normalise(text) == [text]


def test_everything_nameable_becomes_a_string_without_a_database(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    with django_assert_num_queries(0):
        assert policy.normalise(
            (
                User(username="ann"),
                SimpleLazyObject(lambda: User(username="ben")),
                Group(name="finance"),
                "perm:shop.refund",
                rules.is_line_manager,
            )
        ) == [
            "user:ann",
            "user:ben",
            "group:finance",
            "perm:shop.refund",
            f"call:{RULES}.is_line_manager",
        ]


def test_a_registered_rule_can_be_given_by_its_bare_name() -> None:
    assert policy.normalise(f"{RULES}.is_broken") == [f"call:{RULES}.is_broken"]


def test_naming_somebody_twice_counts_once() -> None:
    named = ["user:ann", User(username="ann"), "group:x", "user:ann"]
    assert policy.normalise(named) == ["user:ann", "group:x"]


@pytest.mark.parametrize("nobody", [[], ()])
def test_an_empty_list_is_named_but_empty(nobody: object) -> None:
    with pytest.raises(exceptions.ApproversError, match="nobody could decide") as caught:
        policy.normalise(nobody)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "item",
    [
        "ann",
        "",
        "user:",
        "user:  ",
        "usr:ann",
        "User:ann",
        "perm:refund",
        "perm:.refund",
        "perm:shop.",
        "os.system",
        f"{RULES}.not_registered",
        7,
        True,
        {"kind": "user"},
        {"user:ann"},
        ["user:ann"],
        None,
        User,
        object(),
    ],
)
def test_another_form_is_refused_with_the_right_ones(item: object) -> None:
    with pytest.raises(exceptions.ApproversError, match=r"write 'user:<username>'"):
        policy.normalise(["user:ben", item])


@pytest.mark.parametrize("text", ["user:a\0b", "group:\ud800", "user:" + "x" * 70_000])
def test_text_no_database_can_look_up_is_refused(text: str) -> None:
    with pytest.raises(exceptions.ApproversError, match=r"^approvers: "):
        policy.normalise(text)


def test_an_anonymous_user_cannot_be_named() -> None:
    with pytest.raises(exceptions.ApproversError, match="anonymous"):
        policy.normalise(AnonymousUser())


def test_an_unmarked_function_is_refused() -> None:
    with pytest.raises(exceptions.ApproversError, match=f"{RULES}.not_registered is not a reg"):
        policy.normalise(rules.not_registered)


def test_a_wrapper_is_not_taken_for_the_rule_inside() -> None:
    @functools.wraps(rules.is_line_manager)
    def stricter(user: Any, interrupt: Any) -> bool:
        return False

    with pytest.raises(exceptions.ApproversError, match="above other decorators"):
        policy.normalise(stricter)


# -- resolve ---------------------------------------------------------------------------------------


def test_who_is_named_is_stored_by_id(ann: User, finance: Group, resume_permission: Permission) -> None:
    assert stored("user:ann", finance, "perm:triggerflow.resume_interrupt", rules.is_line_manager) == [
        {"kind": "user", "id": str(ann.pk), "label": "ann"},
        {"kind": "group", "id": str(finance.pk), "label": "finance"},
        {"kind": "permission", "label": "triggerflow.resume_interrupt"},
        {"kind": "callable", "label": f"{RULES}.is_line_manager"},
    ]


def test_nobody_named_resolves_to_nobody() -> None:
    assert policy.resolve([], using="default") == []


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("user:zoe", "there is no user 'zoe' to decide"),
        ("user:Ann", "there is no user 'Ann' to decide"),
        ("user:gone", "the user 'gone' is not active, so could not decide"),
        ("group:sales", "there is no group 'sales' to decide"),
        ("group:empty", "the group 'empty' has no active member, so nobody could decide"),
        ("perm:shop.refund", "there is no permission 'shop.refund'"),
        ("call:os.system", "'os.system' is not a registered rule: put @approver on it"),
    ],
)
def test_whoever_could_not_decide_is_refused_by_name(ann: User, item: str, message: str) -> None:
    gone = User.objects.create_user("gone", is_active=False)
    Group.objects.create(name="empty").user_set.add(gone)
    with pytest.raises(exceptions.ApproversError) as caught:
        policy.resolve(["user:ann", item], using="default")
    assert str(caught.value) == message


@pytest.mark.parametrize("item", ["ann", "usr:ann", ""])
def test_a_spec_of_another_form_is_refused(item: str) -> None:
    with pytest.raises(exceptions.ApproversError, match="names no approver"):
        policy.resolve([item], using="default")


# -- refusal: the account --------------------------------------------------------------------------


@pytest.mark.parametrize("actor", [None, AnonymousUser(), "ann", 7])
def test_whoever_is_not_signed_in_is_refused(actor: object, ann: User) -> None:
    assert refusal(actor, "user:ann") == "sign in to decide this"


def test_a_foreign_account_with_the_key_of_a_user_is_refused(ann: User) -> None:
    token = SimpleNamespace(pk=ann.pk, is_authenticated=True, is_active=True, is_superuser=True)
    assert refusal(token, "user:ann") == "only a user of this site can decide this"


def test_an_unsaved_user_is_refused(ann: User) -> None:
    actor = User(username="ann", is_superuser=True)
    assert refusal(actor) == "only a user of this site can decide this"


def test_the_lazy_user_of_a_request_may_decide(ann: User) -> None:
    assert refusal(SimpleLazyObject(lambda: ann), "user:ann") is None


def test_an_account_closed_since_sign_in_is_refused(ann: User) -> None:
    named = stored("user:ann")
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert ann.is_active
    assert refusal(ann, approvers=named) == "your account is not active"


def test_an_account_deleted_since_sign_in_is_refused(ann: User) -> None:
    named = stored("user:ann")
    User.objects.filter(pk=ann.pk).delete()
    assert refusal(ann, approvers=named) == "your account no longer exists"


def test_an_inactive_superuser_is_refused(root: User) -> None:
    User.objects.filter(pk=root.pk).update(is_active=False)
    assert refusal(root) == "your account is not active"


# -- refusal: nobody named -------------------------------------------------------------------------


def test_nobody_named_takes_the_permission(ann: User, resume_permission: Permission) -> None:
    assert refusal(ann) == "you need the permission triggerflow.resume_interrupt to decide this"
    ann.user_permissions.add(resume_permission)
    assert refusal(ann) is None


def test_a_permission_taken_back_counts_at_once(ann: User, resume_permission: Permission) -> None:
    ann.user_permissions.add(resume_permission)
    assert ann.has_perm("triggerflow.resume_interrupt")  # fills the cache of this instance
    ann.user_permissions.remove(resume_permission)
    assert ann.has_perm("triggerflow.resume_interrupt")
    assert refusal(ann) is not None


def test_a_superuser_may_decide_where_nobody_is_named(root: User) -> None:
    assert refusal(root) is None


# -- refusal: named --------------------------------------------------------------------------------


def test_only_the_named_user_may_decide(ann: User, ben: User) -> None:
    assert refusal(ann, "user:ann") is None
    assert refusal(ben, "user:ann") == "only ann may decide this"


def test_being_named_excludes_superusers_and_the_permission(
    ann: User, ben: User, root: User, resume_permission: Permission
) -> None:
    ben.user_permissions.add(resume_permission)
    assert refusal(root, "user:ann") == "only ann may decide this"
    assert refusal(ben, "user:ann") == "only ann may decide this"


def test_a_renamed_user_stays_named_and_the_name_goes_to_nobody_else(ann: User, ben: User) -> None:
    named = stored("user:ann")
    User.objects.filter(pk=ann.pk).update(username="anna")
    User.objects.filter(pk=ben.pk).update(username="ann")
    assert refusal(ann, approvers=named) is None
    assert refusal(ben, approvers=named) == "only ann may decide this"


def test_members_of_a_named_group_may_decide(ann: User, ben: User, finance: Group) -> None:
    assert refusal(ann, finance) is None
    assert refusal(ben, finance) == "only the group finance may decide this"


def test_membership_counts_at_the_moment_of_the_decision(ann: User, finance: Group) -> None:
    named = stored(finance)
    assert refusal(ann, approvers=named) is None
    finance.user_set.remove(ann)
    assert refusal(ann, approvers=named) == "only the group finance may decide this"


def test_a_deleted_group_lets_nobody_in(ann: User, finance: Group) -> None:
    named = stored(finance)
    finance.delete()
    Group.objects.create(name="finance").user_set.add(ann)
    assert refusal(ann, approvers=named) == "only the group finance may decide this"


def test_a_named_permission_lets_its_holders_and_superusers_in(
    ann: User, ben: User, root: User, resume_permission: Permission
) -> None:
    group = Group.objects.create(name="deciders")
    group.permissions.add(resume_permission)
    group.user_set.add(ann)
    assert refusal(ann, "perm:triggerflow.resume_interrupt") is None
    assert refusal(root, "perm:triggerflow.resume_interrupt") is None
    assert refusal(ben, "perm:triggerflow.resume_interrupt") == (
        "only whoever has the permission triggerflow.resume_interrupt may decide this"
    )


def test_any_one_of_several_named_may_decide(ann: User, ben: User, finance: Group) -> None:
    zoe = User.objects.create_user("zoe")
    assert refusal(ann, "user:zoe", finance) is None
    assert refusal(zoe, "user:zoe", finance) is None
    assert refusal(ben, "user:zoe", finance) == "only zoe, the group finance may decide this"


def test_an_entry_of_an_unknown_kind_lets_nobody_in(root: User) -> None:
    for entry in (
        {"kind": "everybody", "label": "all"},
        {"kind": "user", "label": "root"},
        {"label": "all"},
    ):
        assert refusal(root, approvers=[entry]) is not None


# -- refusal: four eyes ----------------------------------------------------------------------------


def test_the_starter_may_not_decide_even_when_named(ann: User, ben: User) -> None:
    reason = "you started this execution, so somebody else has to decide it"
    assert refusal(ann, "user:ann", "user:ben", starter=str(ann.pk)) == reason
    assert refusal(ben, "user:ann", "user:ben", starter=str(ann.pk)) is None


def test_four_eyes_hold_for_superusers(root: User) -> None:
    assert refusal(root, starter=str(root.pk)) is not None


def test_the_starter_may_decide_where_four_eyes_were_not_asked_for(ann: User) -> None:
    named = stored("user:ann")
    assert refusal(ann, approvers=named, exclude_starter=False, started_by_id=str(ann.pk)) is None


def test_an_execution_nobody_started_has_no_starter_to_exclude(ann: User) -> None:
    assert refusal(ann, "user:ann", exclude_starter=True, started_by_id="") is None


# -- refusal: rules --------------------------------------------------------------------------------


def test_a_rule_decides_by_user_and_interrupt(ann: User, ben: User) -> None:
    assert refusal(ann, rules.is_line_manager) is None
    assert refusal(ben, rules.is_line_manager) == (
        f"only whom the rule {RULES}.is_line_manager accepts may decide this"
    )
    assert refusal(ben, rules.asked_amount) is None
    large = SimpleNamespace(payload={"amount": 100})
    assert refusal(ben, rules.asked_amount, interrupt=large) is not None


def test_a_rule_sees_the_user_as_the_database_has_it(ann: User, ben: User) -> None:
    ben.username = "ann"  # not saved
    assert refusal(ben, rules.is_line_manager) is not None


@pytest.mark.parametrize("rule", [rules.is_broken, rules.is_vague], ids=["raises", "not a bool"])
def test_a_rule_that_fails_refuses_and_is_logged(root: User, rule: Any, caplog: pytest.LogCaptureFixture) -> None:
    name = f"{RULES}.{rule.__name__}"
    with caplog.at_level(logging.ERROR, "triggerflow_django.approvals.policy"):
        reason = refusal(root, rule)
    assert reason == (
        f"only whom the rule {name} accepts may decide this; the rule {name} failed when asked, which counts as no"
    )
    [record] = caplog.records
    assert record.__dict__["event"] == "triggerflow.approver.failed"
    assert record.__dict__["approver"] == name
    assert bool(record.exc_info) is (rule is rules.is_broken)


def test_a_rule_that_returns_nothing_says_no(root: User) -> None:
    assert refusal(root, rules.is_silent) == (f"only whom the rule {RULES}.is_silent accepts may decide this")


def test_a_rule_that_fails_does_not_keep_others_out(ann: User) -> None:
    assert refusal(ann, rules.is_broken, "user:ann") is None


def test_a_rule_that_breaks_its_query_leaves_the_transaction_usable(ann: User, ben: User, finance: Group) -> None:
    with transaction.atomic():
        assert refusal(ann, rules.breaks_the_query, finance) is None
        assert refusal(ben, rules.breaks_the_query, finance) is not None
    assert not Group.objects.filter(name="left behind").exists()


def test_a_rule_that_is_no_longer_registered_lets_nobody_in(root: User, monkeypatch: pytest.MonkeyPatch) -> None:
    named = stored(rules.is_line_manager)
    monkeypatch.delitem(policy._rules, f"{RULES}.is_line_manager")
    assert refusal(root, approvers=named) == (f"only whom the rule {RULES}.is_line_manager accepts may decide this")


def test_stored_names_are_never_imported(root: User) -> None:
    named = [{"kind": "callable", "label": f"{RULES}.not_registered"}]
    assert refusal(root, approvers=named) is not None


# -- another user model ----------------------------------------------------------------------------


@pytest.fixture
def member_model(transactional_db: None, settings: Any) -> Iterator[Any]:
    """A user model with UUID keys and without groups, permissions or an ``is_active`` column."""
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "tests.approvals.people"]
    settings.AUTH_USER_MODEL = "people.Member"
    from tests.approvals.people.models import Member

    with connection.schema_editor() as editor:
        editor.create_model(Member)
    yield Member
    with connection.schema_editor() as editor:
        editor.delete_model(Member)


def test_a_custom_user_model_works(member_model: Any) -> None:
    eva = member_model.objects.create(email="eva@example.org")
    tom = member_model.objects.create(email="tom@example.org")
    assert policy.normalise(eva) == ["user:eva@example.org"]
    named = stored(eva)
    assert named == [{"kind": "user", "id": str(eva.pk), "label": "eva@example.org"}]
    assert uuid.UUID(named[0]["id"]) == eva.pk
    assert refusal(eva, approvers=named) is None
    assert refusal(tom, approvers=named) == "only eva@example.org may decide this"
    assert refusal(eva, approvers=named, exclude_starter=True, started_by_id=str(eva.pk))


def test_a_user_model_without_groups_and_permissions_lets_nobody_in_by_them(
    member_model: Any,
) -> None:
    eva = member_model.objects.create(email="eva@example.org")
    group = Group.objects.create(name="finance")
    with pytest.raises(exceptions.ApproversError, match="no active member"):
        stored("group:finance")
    by_group = [{"kind": "group", "id": str(group.pk), "label": "finance"}]
    by_permission = [{"kind": "permission", "label": "auth.add_group"}]
    assert refusal(eva, approvers=by_group) is not None
    assert refusal(eva, approvers=by_permission) is not None
    assert refusal(eva) is not None


def test_a_name_two_users_share_is_refused(member_model: Any) -> None:
    for _ in range(2):
        member_model.objects.create(email="eva@example.org")
    with pytest.raises(exceptions.ApproversError, match="more than one user"):
        stored("user:eva@example.org")


def test_users_of_djangos_own_model_are_foreign_where_another_is_used(member_model: Any) -> None:
    ann = User(pk=1, username="ann", is_superuser=True)
    assert refusal(ann) == "only a user of this site can decide this"
