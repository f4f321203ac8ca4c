"""``manage.py demo --once``: every case of the demo through its flow, once. ``manage.py demo --load``: leave them for
people to look at.
"""

from __future__ import annotations

import time
import uuid
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError

from project.demo import case as cases
from project.demo import load, logins, report, roles, together
from project.demo.case import Case
from project.demo.walk import Walked, walking
from triggerflow_django import conf
from triggerflow_django.exceptions import WaitTimeoutError

#: How many cases are under way at a time where workers run the steps. Inline a walk never waits, so it is one.
_AT_ONCE: Final = 40


class Command(BaseCommand):
    """Walk the cases; the setting RUNNER says whether here or on workers, which have to run then.

    Exit codes: 0 every execution went as its case expects, 1 one did not, or the cases cannot be read, or no worker
    runs the steps.
    """

    help = "Take the demo's cases through their flows, as users called clerk, manager and finance would."
    requires_migrations_checks = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command's options."""
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--once", action="store_true", help="Each case once, to its end, and tell how it went.")
        what.add_argument(
            "--load",
            action="store_true",
            help="Each case that is not there yet; some are left waiting for an answer. A second time does nothing.",
        )
        parser.add_argument(
            "--logins",
            action="store_true",
            help="With --load: give users who are made for it a password, and print it. Only with DEBUG, and for a "
            "server that only this machine can reach.",
        )
        parser.add_argument("--only", default="", metavar="TEXT", help="Only cases whose flow/name contains this.")
        parser.add_argument(
            "--cases",
            type=Path,
            default=cases.FOLDER,
            metavar="FOLDER",
            help="Where the *.json lie (default: %(default)s).",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Walk them."""
        try:
            found = [case for case in cases.load(options["cases"]) if options["only"] in case.path]
        except (cases.CaseError, OSError) as error:
            raise CommandError(str(error)) from error
        if not found:
            raise CommandError(f"no case's flow/name contains {options['only']!r}")
        at_once = 1 if conf.get_settings().RUNNER == "inline" else _AT_ONCE
        try:
            if options["once"]:
                self._once(found, at_once)
            else:
                self._load(found, at_once, password=logins.password() if options["logins"] else None)
        except (WaitTimeoutError, logins.NoDemoError) as error:
            raise CommandError(str(error)) from error

    def _once(self, found: list[Case], at_once: int) -> None:
        users, run, started = roles.load(), uuid.uuid4().hex[:8], time.monotonic()
        self.stdout.write(report.heading(found))
        walks: list[Walked] = []
        for walked in together.in_order((walking(case, users=users, run=run) for case in found), at_once=at_once):
            walks.append(walked)
            self.stdout.write("\n".join(report.lines(walked)))
        self.stdout.write(report.summary(walks, seconds=time.monotonic() - started))
        if wrong := [walked.case.path for walked in walks if walked.problems]:
            raise CommandError(f"not as expected: {', '.join(wrong)}")

    def _load(self, found: list[Case], at_once: int, *, password: str | None) -> None:
        users = roles.load(password=password)
        loaded = load.load(found, users=users, at_once=at_once)
        questions, executions = load.waiting()
        self.stdout.write(
            f"{loaded.started} executions started, {loaded.known} were there before; {questions} questions wait in "
            f"{executions} executions"
        )
        if password is not None:
            self.stdout.write("\n".join(logins.told(users)))
        if loaded.problems:
            raise CommandError("not as expected: " + "; ".join(loaded.problems))
