"""Who acts when a command changes something: a named user within their permissions, or the shell, which says why."""

from __future__ import annotations

import os
import pwd
import socket
from argparse import ArgumentParser
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

from triggerflow_django.engine import authority
from triggerflow_django.management.base import UNKNOWN, OperatorCommand, RefusedError, refuse_usage


@dataclass(frozen=True, slots=True)
class Acting:
    """Who acts, and why."""

    #: ``None``: the shell itself.
    user: Any
    #: As it was given; may be empty for a user.
    reason: str
    #: The account and machine the command runs on: ``ops@host``.
    shell: str

    @property
    def actor(self) -> Any:
        """What the engine's verbs take: the user, or the shell's label."""
        return f"cmd:{self.shell}" if self.user is None else self.user

    @property
    def recorded(self) -> str:
        """The reason for history; beside a user's name it says whose shell it was."""
        return self.reason if self.user is None else f"{self.reason} [cmd:{self.shell}]".strip()

    @property
    def name(self) -> str:
        """Who acts, for people."""
        return self.actor if self.user is None else str(self.user.get_username())


class ChangingCommand(OperatorCommand):
    """A command that changes something. ``acting`` is there before ``act`` is called."""

    #: What a named user needs: ``triggerflow.<codename>``.
    permission: str
    acting: Acting

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The options of every command that changes something."""
        super().add_arguments(parser)
        parser.add_argument(
            "--user", metavar="NAME", help=f"Act as this user, who needs the permission {self.permission}."
        )
        parser.add_argument("--reason", metavar="TEXT", help="Why; stored in the history. Required without --user.")

    def prepare(self, options: dict[str, Any]) -> None:
        """Find out who acts, and whether they may.

        Raises: RefusedError for an unknown user, or neither user nor reason; NotPermittedError.
        """
        reason = (options["reason"] or "").strip()
        if not options["user"] and not reason:
            refuse_usage("say why with --reason TEXT, or who acts with --user NAME")
        self.acting = Acting(find_user(options["user"], self.using), reason, shell_name())
        if self.acting.user is not None:
            authority.require_permission(self.acting.user, self.permission, using=self.using)


def find_user(name: str | None, using: str) -> Any:
    """The user of that name; ``None`` for ``None``.

    Raises: RefusedError where there is none.
    """
    if name is None:
        return None
    model = get_user_model()
    try:
        user = model._default_manager.using(using).filter(**{str(model.USERNAME_FIELD): name}).first()
    except (ValueError, ValidationError):  # not even a possible name in this model
        user = None
    if user is None:
        raise RefusedError(f"there is no user {name!r}", returncode=UNKNOWN, code="unknown_user")
    return user


def shell_name() -> str:
    """The account this process runs under and its machine. Not from the environment, which anybody sets."""
    try:
        account = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # an account without a name, as in some containers
        account = str(os.getuid())
    return f"{account}@{socket.gethostname()}"
