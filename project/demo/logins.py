"""The password of the demo's users, for whoever tries it on their own machine.

It is made from this installation's secret key: the same at each start, and unknown to everybody else. So a database
that was once used for the demo has no login that could be looked up in this repository.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.utils.crypto import salted_hmac


class NoDemoError(Exception):
    """This is no place for printed passwords."""


def password() -> str:
    """The password, one for all three.

    Raises: NoDemoError unless ``settings.DEBUG`` is on.
    """
    if not settings.DEBUG:
        raise NoDemoError("the demo's logins are for trying it: they need DEBUG, which is off")
    digits = salted_hmac("project.demo.logins", "password", algorithm="sha256").hexdigest()
    return "-".join(digits[place : place + 4] for place in (0, 4, 8))


def told(users: Mapping[str, Any]) -> list[str]:
    """Lines that say who can log in, and how."""
    secret = password()
    ours = [role for role, user in users.items() if user.check_password(secret)]
    lines = [f"log in as {', '.join(ours)}; password: {secret}"] if ours else []
    if others := [role for role in users if role not in ours]:
        lines.append(f"there before, with another password or none: {', '.join(others)}")
    return lines
