"""The people of the demo: three groups with a user each, called by its role.

``group:manager`` in a flow's ``approvers=`` means the group, so that a real project adds people to it and changes no
flow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.db import transaction

#: Everybody here sees what runs, what waits and what was decided.
_EVERYBODY: Final = (
    "triggerflow.view_execution",
    "triggerflow.view_step",
    "triggerflow.view_interrupt",
    "triggerflow.view_decision",
    "triggerflow.view_event",
    "demo.view_refund",
    "demo.view_article",
)

#: Role, and what it may do beside what a flow names it for. ``resume_interrupt`` decides questions that name nobody.
ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    "clerk": ("triggerflow.resume_interrupt",),
    "manager": ("triggerflow.resume_interrupt", "demo.release_article"),
    "finance": (),
}


@transaction.atomic
def load(*, password: str | None = None) -> dict[str, Any]:
    """Make the groups, their permissions and the users that are missing; returns the users by role.

    A new user is staff and has that password, or none. A user of that name who was there before keeps everything and
    joins the group.
    """
    users: dict[str, Any] = {}
    for role, permissions in ROLES.items():
        group, _ = Group.objects.get_or_create(name=role)
        group.permissions.add(*(_permission(name) for name in (*_EVERYBODY, *permissions)))
        users[role] = _user(role, password)
        users[role].groups.add(group)
    return users


def _permission(name: str) -> Permission:
    app_label, _, codename = name.partition(".")
    return Permission.objects.get(content_type__app_label=app_label, codename=codename)


def _user(name: str, password: str | None) -> Any:
    model = get_user_model()
    found = model._default_manager.filter(**{model.USERNAME_FIELD: name}).first()
    return found if found is not None else model.objects.create_user(name, password=password, is_staff=True)
