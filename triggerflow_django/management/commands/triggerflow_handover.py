"""``manage.py triggerflow_handover``: give an inline execution to workers."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from triggerflow_django.engine.hand_over import hand_over
from triggerflow_django.management import lookup, summary
from triggerflow_django.management.acting import ChangingCommand
from triggerflow_django.management.base import Output


class Command(ChangingCommand):
    """Hand an inline execution to RQ workers. Exit codes: docs/commands.md."""

    help = (
        "Hand an inline execution of a registered flow to workers, for one that no process holds any more. There is no "
        "way back."
    )
    permission = "triggerflow.retry_step"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command's options."""
        super().add_arguments(parser)
        lookup.add_id(parser)

    def act(self, options: dict[str, Any]) -> Output:
        """Hand it over; run nothing."""
        row = lookup.execution(options["id"], self.using)
        changed = hand_over(row.pk, using=self.using, actor=self.acting.actor, reason=self.acting.recorded)
        name = f"Execution {row.id.hex} ({row.flow_name})"
        told = f"{name} is run by workers from now on." if changed else f"{name} was run by workers already."
        return summary.after(row, told, self.using, changed=changed)
