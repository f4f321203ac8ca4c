"""Executions that wait, people with and without rights, and a browser without JavaScript."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from triggerflow_django import TriggerFlow
from triggerflow_django.models import Interrupt

ALL_VIEWS = ("view_execution", "view_step", "view_interrupt", "view_decision", "view_event")


@pytest.fixture
def user() -> Callable[..., User]:
    """Make a member of the staff with permissions of this app, in groups."""

    def _user(name: str, *permissions: str, groups: tuple[str, ...] = (), **fields: Any) -> User:
        made: User = User.objects.create_user(name, **{"is_staff": True, **fields})
        made.user_permissions.set(
            Permission.objects.filter(content_type__app_label="triggerflow", codename__in=permissions)
        )
        made.groups.set([Group.objects.get_or_create(name=group)[0] for group in groups])
        return made

    return _user


@pytest.fixture
def ask(db: None) -> Callable[..., Interrupt]:
    """Start an execution that asks once, under the id ``gate``, and keeps the answer."""

    def _ask(*, start: dict[str, Any] | None = None, flow_name: str = "refund", **pause: Any) -> Interrupt:
        flow = TriggerFlow(name=flow_name)

        def gate(data: Any) -> Any:
            return data.pause_for(
                **{"type": "approval", "payload": {"question": "Refund 120?"}, "interrupt_id": "gate", **pause}
            )

        flow.to(gate).to(lambda data: data.set_state("decision", data.input), name="settle")
        execution = flow.start_execution({"amount": 120}, **{"auto_close": False, **(start or {})})
        return Interrupt.objects.get(execution_id=execution.pk)

    return _ask


@pytest.fixture
def waiting(ask: Callable[..., Interrupt]) -> Interrupt:
    """It names nobody, so the permission decides."""
    return ask()


@pytest.fixture
def clerk(user: Callable[..., User]) -> User:
    """Sees everything and may decide what names nobody."""
    return user("clerk", *ALL_VIEWS, "resume_interrupt")


@pytest.fixture
def browser(client: Client, clerk: User) -> Client:
    """The clerk's."""
    client.force_login(clerk)
    return client


def page_of(row: Any) -> str:
    """The address of a row's page."""
    return f"/admin/triggerflow/{row._meta.model_name}/{row.pk}/change/"


def request_id(page: str) -> str:
    """The hidden id of a page's form."""
    found = re.search(r'name="request_id" value="(\w+)"', page)
    assert found, "the page has no form"
    return found[1]


def text(response: Any) -> str:
    """What a page says."""
    return response.content.decode()


def send(client: Client, row: Interrupt, answer: str, comment: str = "", request: str = "r1") -> Any:
    """Send the form."""
    return client.post(page_of(row), {"answer": answer, "comment": comment, "request_id": request})
