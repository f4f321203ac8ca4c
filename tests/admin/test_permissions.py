"""Who may open which page, and who may decide on it. What is not allowed here is refused: default deny."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.admin.conftest import ALL_VIEWS, page_of, send, text
from triggerflow_django.engine.decide import decide
from triggerflow_django.models import Decision, Door, Event, Execution, Interrupt, InterruptStatus, Step

pytestmark = pytest.mark.django_db

MODELS = (Execution, Step, Interrupt, Decision, Event)

#: How each person is made. ``starter`` started the execution that excludes who started it.
PEOPLE: dict[str, dict[str, Any] | None] = {
    "anonymous": None,
    "not staff": {"is_staff": False, "groups": ("managers",), "permissions": (*ALL_VIEWS, "resume_interrupt")},
    "not active": {"is_active": False, "groups": ("managers",), "permissions": (*ALL_VIEWS, "resume_interrupt")},
    "staff": {},
    "approver": {"groups": ("managers",)},
    "viewer": {"permissions": ("view_interrupt",)},
    "viewer of executions": {"permissions": ("view_execution",)},
    "with the permission": {"permissions": ("resume_interrupt",)},
    "starter": {"groups": ("managers",)},
    "starter and viewer": {"groups": ("managers",), "permissions": ("view_interrupt", "resume_interrupt")},
    "superuser": {"is_superuser": True},
}

#: Person: what the list, the page and a sent answer give. ``login``: sent to the login. ``no``: 403, without a word of
#: the interrupt. ``told``: 403, and the page says why. ``yes``.
NAMED = {
    "anonymous": ("login", "login", "login"),
    "not staff": ("login", "login", "login"),
    "not active": ("login", "login", "login"),
    "staff": ("no", "no", "no"),
    "approver": ("no", "yes", "yes"),
    "viewer": ("yes", "yes", "told"),
    "viewer of executions": ("no", "no", "no"),
    "with the permission": ("no", "no", "no"),
    "starter": ("no", "no", "no"),
    "starter and viewer": ("yes", "yes", "told"),
    "superuser": ("yes", "yes", "told"),
}
NOBODY_NAMED = {
    **NAMED,
    "approver": ("no", "no", "no"),
    "with the permission": ("no", "yes", "yes"),
    "starter and viewer": ("yes", "yes", "yes"),
    "superuser": ("yes", "yes", "yes"),
}


def make(name: str, user: Callable[..., User]) -> User | None:
    how = PEOPLE[name]
    return (
        None
        if how is None
        else user(name, *how.get("permissions", ()), **{k: v for k, v in how.items() if k != "permissions"})
    )


def given(response: Any, *, wanted: int = 200) -> str:
    if response.status_code == 302 and "/login/" in response["Location"]:
        return "login"
    if response.status_code == wanted:
        return "yes"
    assert response.status_code == 403
    return "told" if "You cannot decide this: " in text(response) else "no"


@pytest.mark.parametrize("name", PEOPLE)
@pytest.mark.parametrize(
    ("pause", "expected"),
    [
        ({"approvers": ["group:managers"], "exclude_starter": True}, NAMED),
        ({}, NOBODY_NAMED),
    ],
    ids=["named", "nobody named"],
)
def test_who_lists_opens_and_decides(
    name: str,
    pause: dict[str, Any],
    expected: dict[str, Any],
    ask: Callable[..., Interrupt],
    user: Callable[..., User],
    client: Client,
) -> None:
    user("somebody else", groups=("managers",))
    person = make(name, user)
    row = ask(start={"started_by": person if name.startswith("starter") else None}, **pause)
    if person is not None:
        client.force_login(person)
    shown = client.get(page_of(row))
    listed, opened = given(client.get("/admin/triggerflow/interrupt/")), given(shown)
    decided = given(send(client, row, "true"), wanted=302)
    assert (listed, opened, decided) == expected[name]
    row.refresh_from_db()
    assert row.status == (InterruptStatus.RESUMED if decided == "yes" else InterruptStatus.WAITING)
    assert Decision.objects.count() == (decided == "yes")
    assert ("Refund 120?" in text(shown)) == (opened == "yes")
    assert ('name="answer"' in text(shown)) == (decided == "yes")


@pytest.mark.parametrize("name", PEOPLE)
def test_the_other_pages_need_their_view_permission(
    name: str, ask: Callable[..., Interrupt], user: Callable[..., User], client: Client
) -> None:
    user("somebody else", groups=("managers",))
    send_as_code(ask(approvers=["group:managers"]))
    if (person := make(name, user)) is not None:
        client.force_login(person)
    for model in MODELS:
        folder, permission = f"/admin/triggerflow/{model._meta.model_name}/", f"view_{model._meta.model_name}"
        expected = "no"
        if person is None or not person.is_staff or not person.is_active:
            expected = "login"
        elif person.is_superuser or permission in PEOPLE[name].get("permissions", ()):
            expected = "yes"
        assert given(client.get(folder)) == expected, folder
        if model is not Interrupt:
            assert given(client.get(page_of(model.objects.first()))) == expected, folder


def send_as_code(row: Interrupt) -> None:
    """Decide, so that there is one row of everything."""
    decide(row.execution_id, row.interrupt_id, True, door=Door.CODE, using="default")


@pytest.mark.parametrize("model", MODELS)
def test_nobody_adds_changes_or_deletes(model: Any, waiting: Interrupt, admin_client: Client) -> None:
    send_as_code(waiting)
    before = {kind: list(kind.objects.order_by("pk").values()) for kind in MODELS}
    one, folder = model.objects.first(), f"/admin/triggerflow/{model._meta.model_name}/"
    for address in (f"{folder}add/", f"{folder}{one.pk}/delete/"):
        assert admin_client.get(address).status_code == 403
        assert admin_client.post(address, {"post": "yes"}).status_code == 403
    assert admin_client.post(page_of(one), {"status": "closed", "_save": "1"}).status_code in (400, 403)
    action = {"action": "delete_selected", "_selected_action": [str(one.pk)], "post": "yes"}
    admin_client.post(folder, action)
    assert {kind: list(kind.objects.order_by("pk").values()) for kind in MODELS} == before


def test_who_is_named_still_sees_the_question_when_somebody_else_has_answered(
    ask: Callable[..., Interrupt], user: Callable[..., User], client: Client
) -> None:
    first, second = user("ann", groups=("managers",)), user("bob", groups=("managers",))
    row = ask(approvers=["group:managers"])
    client.force_login(first)
    send(client, row, "true")
    client.force_login(second)
    response = send(client, row, "false", request="r2")
    assert response.status_code == 409
    assert "Decided by ann on " in text(response)
    assert client.get(page_of(row)).status_code == 200


def test_who_decided_still_sees_it_when_no_longer_named(
    ask: Callable[..., Interrupt], user: Callable[..., User], client: Client
) -> None:
    person = user("ann", groups=("managers",))
    row = ask(approvers=["group:managers"])
    client.force_login(person)
    send(client, row, "true")
    person.groups.clear()
    assert "Decided by ann" in text(client.get(page_of(row)))


def test_who_is_named_no_longer_is_refused_at_once(
    ask: Callable[..., Interrupt], user: Callable[..., User], client: Client
) -> None:
    user("somebody else", groups=("managers",))
    person = user("ann", groups=("managers",))
    row = ask(approvers=["group:managers"])
    client.force_login(person)
    client.get(page_of(row))
    person.groups.clear()
    assert send(client, row, "true").status_code == 403
    assert Decision.objects.count() == 0


def test_who_may_not_see_an_interrupt_does_not_even_reach_the_gate(
    waiting: Interrupt, user: Callable[..., User], client: Client
) -> None:
    client.force_login(user("staff"))
    with mock.patch("triggerflow_django.admin.answering.decide") as decide:
        assert send(client, waiting, "true").status_code == 403
    assert not decide.called


def test_an_interrupt_that_does_not_exist_looks_like_one_that_is_not_for_you(
    ask: Callable[..., Interrupt], user: Callable[..., User], client: Client
) -> None:
    client.force_login(user("staff"))
    row = ask()
    there, not_there = client.get(page_of(row)), client.get(page_of(Interrupt(pk=row.execution_id)))
    assert there.status_code == not_there.status_code == 403
    assert text(there) == text(not_there)


def test_who_sees_only_the_question_gets_no_links_to_other_pages(
    ask: Callable[..., Interrupt], user: Callable[..., User], client: Client
) -> None:
    client.force_login(user("ann", groups=("managers",)))
    page = text(client.get(page_of(ask(approvers=["group:managers"]))))
    assert "/admin/triggerflow/execution/" not in page
    assert "/admin/triggerflow/step/" not in page


def test_the_tables_of_an_execution_need_the_permission_for_their_rows(
    waiting: Interrupt, user: Callable[..., User], client: Client
) -> None:
    client.force_login(user("ann", "view_execution", "view_step"))
    page = text(client.get(page_of(waiting.execution)))
    assert "<h2>Steps</h2>" in page
    assert "<h2>History</h2>" not in page
    assert "<h2>Waiting for an answer</h2>" not in page
