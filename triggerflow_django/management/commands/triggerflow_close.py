"""``manage.py triggerflow_close``: close an execution, at once or as soon as its work is done."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from triggerflow_django import exceptions
from triggerflow_django.engine import lifecycle
from triggerflow_django.management import lookup, summary, text
from triggerflow_django.management.acting import ChangingCommand
from triggerflow_django.management.base import CONFLICT, Output, RefusedError, refuse_usage
from triggerflow_django.models import Execution


class Command(ChangingCommand):
    """Close an execution; never waits. Exit codes: docs/commands.md."""

    help = (
        "Close an execution: at once where nothing is active, else as soon as that is so. It does not wait: it says "
        "whether the execution is closed or closing."
    )
    permission = "triggerflow.close_execution"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command's options."""
        super().add_arguments(parser)
        lookup.add_id(parser)
        parser.add_argument(
            "--pending",
            choices=lifecycle.POLICIES,
            default="error",
            help="What becomes of waiting interrupts: error refuses to close (the default), cancel cancels them.",
        )
        parser.add_argument(
            "--timeout", type=float, metavar="SECONDS", help="Then cancel the steps that are still active."
        )

    def act(self, options: dict[str, Any]) -> Output:
        """Ask it to close."""
        if options["timeout"] is not None and not 0 <= options["timeout"] < 100 * 366 * 86_400:
            refuse_usage("--timeout takes seconds, 0 or more")
        row = lookup.execution(options["id"], self.using)
        name = f"Execution {row.id.hex} ({row.flow_name})"
        if row.is_closed:
            return summary.after(row, f"{name} was closed before.", self.using, changed=False)
        try:
            lifecycle.request_close(
                row.pk,
                using=self.using,
                reason=self.acting.recorded,
                timeout=options["timeout"],
                pending_interrupts=options["pending"],
                actor=self.acting.actor,
            )
        except exceptions.PendingInterruptsError as error:
            waiting = text.count(row.pending_interrupts, "waiting interrupt")
            raise RefusedError(
                f"{name} has {waiting}: decide first, or close with --pending cancel",
                returncode=CONFLICT,
                code=error.code,
            ) from error
        return summary.after(row, f"{name} {self._state(row)}.", self.using, changed=True)

    def _state(self, row: Execution) -> str:
        now = Execution.objects.using(self.using).defer("input", "snapshot").get(pk=row.pk)
        if now.is_closed:
            return "is closed"
        until = f"; what is left at {text.stamp(now.close_by)} is cancelled" if now.close_by else ""
        return f"is closing: it closes when no step is active{until}"
