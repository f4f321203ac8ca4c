"""``manage.py triggerflow_cancel``: end executions now: some by id, or all that a filter finds."""

from __future__ import annotations

import sys
import uuid
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from django.db import Error, transaction

from triggerflow_django.engine import lifecycle
from triggerflow_django.engine.transition import lock
from triggerflow_django.management import filters, lookup, summary, text
from triggerflow_django.management.acting import ChangingCommand
from triggerflow_django.management.base import CONFLICT, FAILED, INTERRUPTED, Output, RefusedError, refuse_usage
from triggerflow_django.models import Execution, ExecutionStatus, Lifecycle

_SHOWN: Final = 20
_OUTCOMES: Final = ("cancelled", "moved_on", "failed")


class Command(ChangingCommand):
    """Cancel executions. Exit codes: docs/commands.md."""

    help = (
        "End executions now: running steps are cut off, ready ones and waiting interrupts cancelled; nothing behind a "
        "gate runs. By id, or by filter: then it counts first, and goes on only with --yes or when the number is typed "
        "at the terminal."
    )
    permission = "triggerflow.cancel_execution"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command's options."""
        super().add_arguments(parser)
        parser.add_argument("ids", metavar="ID", nargs="*", help="Ids, or their first 8 or more digits.")
        filters.add(parser, filters.OPEN_STATUSES)
        parser.add_argument("--dry-run", action="store_true", help="Only count and tell what would be cancelled.")
        parser.add_argument("--yes", action="store_true", help="Do not ask before cancelling what a filter finds.")

    def act(self, options: dict[str, Any]) -> Output:
        """Cancel, one transaction for each."""
        is_filter = any(options[name] is not None for name in ("flow", "status", "older_than"))
        if bool(options["ids"]) == is_filter:
            refuse_usage("name executions by id, or say which with --flow, --status or --older-than; not both")
        rows = self._by_filter(options) if is_filter else self._by_id(options["ids"])
        if options["dry_run"]:
            return _counted(rows)
        if is_filter and rows:
            self._ask(rows, is_sure=options["yes"])
        if not is_filter and len(rows) == 1:
            return self._cancel_one(rows[0])
        return self._cancel_all(rows, options["status"])

    # -- which

    def _by_id(self, ids: Sequence[str]) -> list[Execution]:
        found = {row.pk: row for row in (lookup.execution(text, self.using) for text in ids)}
        for row in found.values():
            if row.is_closed and row.status != ExecutionStatus.CANCELLED:
                raise _too_late(row)
        return list(found.values())

    def _by_filter(self, options: dict[str, Any]) -> list[Execution]:
        found = filters.rows(options, self.using).exclude(lifecycle=Lifecycle.CLOSED)
        fields = ("flow_name", "status", "lifecycle", "active_steps", "pending_interrupts")
        return list(found.defer(None).only(*fields))

    def _ask(self, rows: list[Execution], *, is_sure: bool) -> None:
        for line in _count_lines(rows):
            self.say(line)
        if is_sure:
            return
        if not sys.stdin.isatty():
            refuse_usage("say --yes to cancel them, or --dry-run to see which; nothing was changed")
        self.say(f"Type {len(rows)} to cancel them:")
        if sys.stdin.readline().strip() != str(len(rows)):
            raise RefusedError("not confirmed; nothing was changed", returncode=FAILED, code="not_confirmed")

    # -- doing it

    def _cancel_one(self, row: Execution) -> Output:
        cancelled = self._cancel(row.pk)
        name = f"execution {row.id.hex} ({row.flow_name})"
        if not cancelled:
            row = Execution.objects.using(self.using).defer("input", "snapshot").get(pk=row.pk)
            if row.status != ExecutionStatus.CANCELLED:
                raise _too_late(row)
        told = f"Cancelled {name}." if cancelled else f"Nothing new: {name} was cancelled before."
        return summary.after(row, told, self.using, changed=cancelled)

    def _cancel_all(self, rows: list[Execution], status: str | None) -> Output:
        outcomes: dict[str, list[str]] = {name: [] for name in _OUTCOMES}
        failures = []
        try:
            for row in rows:
                try:
                    outcome = "cancelled" if self._cancel(row.pk, status) else "moved_on"
                except Error as error:  # one that is locked, say, must not keep the others
                    outcome = "failed"
                    failures.append(f"{row.id.hex}: {error}")
                outcomes[outcome].append(row.id.hex)
        except KeyboardInterrupt:
            told = f"interrupted: {len(outcomes['cancelled'])} of {len(rows)} are cancelled"
            raise RefusedError(told, returncode=INTERRUPTED, code="interrupted", details=outcomes) from None
        lines = [f"Cancelled {text.count(len(outcomes['cancelled']), 'execution')}."]
        if outcomes["moved_on"]:
            lines.append(f"{len(outcomes['moved_on'])} had moved on meanwhile and were left alone.")
        lines += [line for failure in failures for line in text.wrapped(failure, "  ")]
        document = {"matched": len(rows), "dry_run": False, **outcomes}
        failure = f"{text.count(len(failures), 'execution')} could not be cancelled" if failures else ""
        return Output(document, lines, failure)

    def _cancel(self, pk: uuid.UUID, status: str | None = None) -> bool:
        """Cancel one, if it still stands as the filter said: what was approved since is not what was counted."""
        with transaction.atomic(using=self.using):
            row, _now = lock(pk, self.using)
            if row.is_closed or (status is not None and summary.shown_status(row) != status):
                return False
            return lifecycle.cancel(pk, using=self.using, reason=self.acting.recorded, actor=self.acting.actor)


def _too_late(row: Execution) -> RefusedError:
    return RefusedError(
        f"execution {row.id.hex} ({row.flow_name}) is closed ({row.status}): nothing was cancelled",
        returncode=CONFLICT,
        code="execution_not_open",
    )


def _groups(rows: list[Execution]) -> list[tuple[str, str, int]]:
    counts = Counter((row.flow_name, summary.shown_status(row)) for row in rows)
    return [(flow, status, number) for (flow, status), number in counts.most_common()]


def _count_lines(rows: list[Execution]) -> list[str]:
    return [
        f"{text.count(len(rows), 'execution')}:",
        *(f"  {number:6}  {status:9}  {text.one_line(flow, 60)}" for flow, status, number in _groups(rows)),
    ]


def _counted(rows: list[Execution]) -> Output:
    document = {
        "matched": len(rows),
        "dry_run": True,
        "groups": [{"flow": flow, "status": status, "count": number} for flow, status, number in _groups(rows)],
        "executions": [row.id.hex for row in rows],
    }
    lines = [*_count_lines(rows), *(f"{row.id.hex}  {row.flow_name}" for row in rows[:_SHOWN])]
    if len(rows) > _SHOWN:
        lines.append(f"and {len(rows) - _SHOWN} more")
    return Output(document, [*lines, "Nothing was changed."])
