"""``manage.py triggerflow_show``: where an execution stands, why, and what would move it."""

from __future__ import annotations

import datetime as dt
from argparse import ArgumentParser
from typing import Any

from triggerflow_django.engine import clock, family
from triggerflow_django.engine.waits import Standing, standing
from triggerflow_django.management import lookup, summary, text, wait_lines
from triggerflow_django.management.base import OperatorCommand, Output, refuse_usage
from triggerflow_django.models import Event, Execution, State
from triggerflow_django.worker import presence


class Command(OperatorCommand):
    """Show one execution. Exit codes: docs/commands.md."""

    help = "Show where an execution stands, why, and what would move it on, with the commands for that."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command's options."""
        super().add_arguments(parser)
        lookup.add_id(parser)
        parser.add_argument("--values", action="store_true", help="Its input, state and snapshot, too.")
        parser.add_argument(
            "--history", type=int, default=10, metavar="N", help="The last N lines of its history (default: 10)."
        )
        parser.add_argument(
            "--limit", type=int, default=20, metavar="N", help="At most N steps or interrupts of a kind (default: 20)."
        )

    def act(self, options: dict[str, Any]) -> Output:
        """Read and tell."""
        if options["history"] < 0 or options["limit"] < 1:
            refuse_usage("--history takes a whole number, 0 or more, and --limit one of 1 or more")
        row = lookup.execution(options["id"], self.using)
        now = clock.read(self.using)
        graph = family.graph_of(row, using=self.using)
        below = family.children(row.pk, self.using).reverse().only("flow_name", "status")
        children = list(below[: options["limit"]])
        found = standing(
            row, using=self.using, now=now, graph=graph, most=options["limit"], workers_of=presence.listening
        )
        history = list(
            Event.objects.using(self.using).filter(execution=row).order_by("-sequence")[: options["history"]]
        )
        history.reverse()
        values = self._values(row) if options["values"] else {}
        waits = [wait_lines.document(wait) for wait in found.waits]
        document = {
            **summary.document(row),
            "flow_known_here": graph is not None,
            "waits_for": [] if row.is_closed else waits,
            "failures": waits if row.is_closed else [],
            "left_off": found.left_off,
            "part_of": _parent(row, self.using),
            "sub_flows": [
                {"execution": child.id.hex, "flow": child.flow_name, "status": str(child.status)} for child in children
            ],
            "steps": found.steps,
            "history": [_event(event) for event in history],
            **values,
        }
        lines = [*_head(row, now, document["part_of"]), *_why(row, found, now, knows_flow=graph is not None)]
        if children:
            lines += ["", "Sub flows, newest first:"]
            lines += [f"  {child.status:9} {child.id.hex}  {child.flow_name}" for child in children]
        for name, value in values.items():
            lines += ["", f"{name.capitalize()}:", *text.payload(value, "  ")]
        if history:
            lines += ["", "History:", *(line for event in history for line in _event_lines(event))]
        return Output(document, lines)

    def _values(self, row: Execution) -> dict[str, Any]:
        state = State.objects.using(self.using).filter(execution=row).values_list("data", flat=True).first()
        return {"input": row.input, "state": state or {}, "snapshot": row.snapshot}


def _parent(row: Execution, using: str) -> dict[str, str] | None:
    """The execution that waits for this one, and its step."""
    above = family.ancestors(row.pk, using) if row.root_id is not None else ()
    return {"execution": above[0].id.hex, "node": above[0].node} if above else None


def _head(row: Execution, now: dt.datetime, parent: dict[str, str] | None) -> list[str]:
    status = summary.shown_status(row)
    lifecycle = f" ({row.lifecycle})" if str(row.lifecycle) not in {"open", "closed"} else ""
    facts = [("flow", row.flow_name), ("status", status + lifecycle), ("key", row.key or "")]
    by = f" by {row.started_by_label}" if row.started_by_label else ""
    if row.started_at is not None:
        facts.append(("started", f"{text.stamp(row.started_at)} ({text.ago(row.started_at, now)}){by}"))
    else:
        facts.append(("created", f"{text.stamp(row.created_at)} ({text.ago(row.created_at, now)}){by}"))
    facts.append(("part of", f"{parent['execution']} ({parent['node']})" if parent else ""))
    facts.append(("runner", str(row.runner)))
    if row.subject_id:
        facts.append(
            (
                "subject",
                f"{row.subject_type.app_label}.{row.subject_type.model}:{row.subject_id}"
                if row.subject_type
                else row.subject_id,
            )
        )
    if row.closed_at is not None:
        facts.append(("closed", f"{text.stamp(row.closed_at)} ({text.ago(row.closed_at, now)})"))
    facts.append(("reason", row.close_reason))
    lines = [f"Execution {row.id.hex}"]
    for name, value in facts:
        if value:
            first, *rest = text.wrapped(value, " " * 11) or [""]
            lines += [f"  {name:8} {first.lstrip()}", *rest]
    return lines


def _why(row: Execution, found: Standing, now: dt.datetime, *, knows_flow: bool) -> list[str]:
    lines = [""]
    if not knows_flow:
        lines += [
            *text.wrapped(f"This process does not know the flow {row.flow_name!r}; workers with its code may."),
            "",
        ]
    if row.is_closed:
        lines.append("Closed for good. What failed:" if found.waits else "Closed for good.")
        for wait in found.waits:
            lines += wait_lines.lines(wait, row.id.hex, now, is_over=True)
    else:
        lines.append("It waits for:")
        for wait in found.waits:
            lines += wait_lines.lines(wait, row.id.hex, now, knows_flow=knows_flow)
    if found.left_off:
        told = ", ".join(f"{count} {status}" for status, count in found.steps.items())
        lines.append(f"and {found.left_off} more (--limit N shows more; steps in all: {told})")
    return lines


def _event(event: Event) -> dict[str, Any]:
    return {
        "sequence": event.sequence,
        "kind": str(event.kind),
        "name": event.name,
        "actor_id": event.actor_id,
        "actor": event.actor_label,
        "data": event.data,
        "at": event.created_at,
    }


def _event_lines(event: Event) -> list[str]:
    by = f" by {event.actor_label}" if event.actor_label else ""
    why = event.data.get("comment") or event.data.get("reason") or ""
    told = f"{event.sequence:3}  {text.stamp(event.created_at)}  {event.kind.replace('_', ' ')} {event.name}".rstrip()
    first, *rest = text.wrapped(f"{told}{by}" + (f": {why}" if why else ""), "     ")
    return ["  " + first.lstrip(), *rest]
