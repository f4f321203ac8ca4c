"""``manage.py triggerflow_retry``: let failed steps run again."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from triggerflow_django.engine import retry
from triggerflow_django.management import lookup, summary, text
from triggerflow_django.management.acting import ChangingCommand
from triggerflow_django.management.base import Output


class Command(ChangingCommand):
    """Retry failed steps. Exit codes: docs/commands.md."""

    help = "Make the failed steps of an execution ready again, all or one, with their attempts counted anew."
    permission = "triggerflow.retry_step"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command's options."""
        super().add_arguments(parser)
        lookup.add_id(parser)
        parser.add_argument("--step", type=int, metavar="N", help="Only this one; triggerflow_show has the numbers.")

    def act(self, options: dict[str, Any]) -> Output:
        """Make them ready; run nothing."""
        row = lookup.execution(options["id"], self.using)
        retried = retry.retry(
            row.pk,
            using=self.using,
            step_id=options["step"],
            actor=self.acting.actor,
            reason=self.acting.recorded,
        )
        told = f"Retried {text.count(retried, 'failed step')} of execution {row.id.hex} ({row.flow_name})."
        return summary.after(row, told, self.using, retried=retried)
