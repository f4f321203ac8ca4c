"""``manage.py triggerflow_seal``: let nothing more into an execution, or open it again."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from triggerflow_django.engine import lifecycle
from triggerflow_django.management import lookup, summary
from triggerflow_django.management.acting import ChangingCommand
from triggerflow_django.management.base import Output
from triggerflow_django.models import Lifecycle


class Command(ChangingCommand):
    """Seal or unseal an execution. Exit codes: docs/commands.md."""

    help = "Seal an execution: it refuses events and answers from outside, and goes on with the work it has."
    permission = "triggerflow.seal_execution"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command's options."""
        super().add_arguments(parser)
        lookup.add_id(parser)
        parser.add_argument("--undo", action="store_true", help="Open a sealed one again.")

    def act(self, options: dict[str, Any]) -> Output:
        """Seal or unseal."""
        row = lookup.execution(options["id"], self.using)
        verb = lifecycle.unseal if options["undo"] else lifecycle.seal
        verb(row.pk, using=self.using, actor=self.acting.actor, reason=self.acting.recorded)
        changed = row.lifecycle == (Lifecycle.SEALED if options["undo"] else Lifecycle.OPEN)
        state = "open" if options["undo"] else "sealed"
        told = f"Execution {row.id.hex} ({row.flow_name}) {'is now' if changed else 'was already'} {state}."
        return summary.after(row, told, self.using, changed=changed)
