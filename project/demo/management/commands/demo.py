"""``manage.py demo --once``: every case of the demo through its flow, once."""

from __future__ import annotations

import time
import uuid
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from project.demo import case as cases
from project.demo import report, roles
from project.demo.walk import Walked, walk


class Command(BaseCommand):
    """Walk the cases and print each execution with its snapshot.

    Exit codes: 0 every execution ended as its case expects, 1 one did not, or the cases cannot be read.
    """

    help = "Take the demo's cases through their flows, as users called clerk, manager and finance would."
    requires_migrations_checks = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command's options."""
        parser.add_argument("--once", action="store_true", required=True, help="Each case once, then end.")
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
        users, run, started = roles.load(), uuid.uuid4().hex[:8], time.monotonic()
        self.stdout.write(report.heading(found))
        walks: list[Walked] = []
        for case in found:
            walks.append(walk(case, users=users, run=run))
            self.stdout.write("\n".join(report.lines(walks[-1])))
        self.stdout.write(report.summary(walks, seconds=time.monotonic() - started))
        if wrong := [walked.case.path for walked in walks if walked.problems]:
            raise CommandError(f"not as expected: {', '.join(wrong)}")
