"""``manage.py triggerflow_emit``: emit an event into an execution."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from triggerflow_django.engine import emit
from triggerflow_django.management import lookup, payload, summary, text
from triggerflow_django.management.acting import ChangingCommand
from triggerflow_django.management.base import Output
from triggerflow_django.models import Door, Event, EventKind, Execution, Interrupt


class Command(ChangingCommand):
    """Emit an event from outside. Exit codes: docs/commands.md."""

    help = (
        "Emit an event into an execution: its handlers become ready, and interrupts that wait for the event are "
        "answered, if whoever acts may answer them."
    )
    permission = "triggerflow.emit_event"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command's options."""
        super().add_arguments(parser)
        lookup.add_id(parser)
        parser.add_argument("event", metavar="EVENT", help="The event's name.")
        payload.add(parser, "--value", "its value")

    def act(self, options: dict[str, Any]) -> Output:
        """Emit."""
        row = lookup.execution(options["id"], self.using)
        value = payload.read(self, options["value"], f"event {options['event']}")
        steps = emit.emit(
            row.pk,
            options["event"],
            value,
            using=self.using,
            actor=self.acting.actor,
            reason=self.acting.recorded,
        )
        answered = self._answered(row, options["event"])
        if steps or answered:
            what = f"{text.count(len(steps), 'new step')}, {text.count(answered, 'answered interrupt')}"
        else:
            what = "nothing listens to it now; it is in the history"
        told = f"Emitted {options['event']} into execution {row.id.hex} ({row.flow_name}): {what}."
        return summary.after(row, told, self.using, steps=len(steps), answered=answered)

    def _answered(self, row: Execution, name: str) -> int:
        """Interrupts that were answered in the same transaction: they share its time."""
        emitted = Event.objects.using(self.using).filter(execution=row, kind=EventKind.EMITTED, name=name)
        last = emitted.order_by("-sequence").values_list("created_at", flat=True).first()
        answered = Interrupt.objects.using(self.using).filter(
            execution=row, resume_event=name, resolved_at=last, decision__door=Door.EVENT
        )
        return answered.count()
