"""Rules that flows could name, registered when this module is imported."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group

from triggerflow_django.approvals import policy


@policy.approver
def is_line_manager(user: Any, interrupt: Any) -> bool:
    """Ann is everybody's manager."""
    return bool(user.get_username() == "ann")


@policy.approver
def is_broken(user: Any, interrupt: Any) -> bool:
    """Raises."""
    raise LookupError("the directory is down")


@policy.approver
def breaks_the_query(user: Any, interrupt: Any) -> bool:
    """Raises in the database, which aborts a PostgreSQL transaction."""
    Group.objects.create(pk=Group.objects.create(name="left behind").pk, name="same key")
    return True


@policy.approver
def is_vague(user: Any, interrupt: Any) -> Any:
    """True to Python, but no answer."""
    return "yes"


@policy.approver
def is_silent(user: Any, interrupt: Any) -> Any:
    """Forgets to answer."""


@policy.approver
def asked_amount(user: Any, interrupt: Any) -> bool:
    """Looks at the interrupt."""
    return bool(interrupt.payload["amount"] < 100)


def not_registered(user: Any, interrupt: Any) -> bool:
    """Says yes, but nobody marked it."""
    return True
