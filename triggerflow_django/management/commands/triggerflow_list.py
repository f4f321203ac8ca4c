"""``manage.py triggerflow_list``: which executions there are, and what they have to do."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any, Final

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.db.models import Exists, OuterRef, Q, QuerySet

from triggerflow_django.engine import clock
from triggerflow_django.management import filters, summary, text
from triggerflow_django.management.base import OperatorCommand, Output, refuse_usage
from triggerflow_django.models import Execution, Interrupt, InterruptStatus, Lifecycle, Runner

_FLOW_WIDTH: Final = 12
_TODO_WIDTH: Final = 15


class Command(OperatorCommand):
    """List executions, newest first. Exit codes: docs/commands.md."""

    help = "List executions, newest first: those that are not closed, unless --status or --all says otherwise."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command's options."""
        super().add_arguments(parser)
        filters.add(parser, filters.STATUSES)
        parser.add_argument(
            "--newer-than", type=filters.duration, metavar="AGE", help="Created less long ago than this."
        )
        parser.add_argument("--key", metavar="KEY", help="With this business key.")
        parser.add_argument("--subject", metavar="APP.MODEL:PK", help="About this row.")
        parser.add_argument("--started-by", metavar="NAME", help="Started by the user or label of this name.")
        parser.add_argument("--runner", choices=Runner.values, help="Run by workers, or inline.")
        parser.add_argument("--overdue", action="store_true", help="With an interrupt whose due time has passed.")
        parser.add_argument("--all", action="store_true", help="Closed ones, too.")
        parser.add_argument("--limit", type=int, default=50, metavar="N", help="At most so many (default: 50).")

    def act(self, options: dict[str, Any]) -> Output:
        """Find and tell."""
        if options["limit"] < 1:
            refuse_usage("--limit takes a whole number, 1 or more")
        found = self._found(options)
        total = found.count()
        rows = list(found[: options["limit"]])
        now = clock.read(self.using)
        document = {
            "executions": [summary.document(row) for row in rows],
            "total": total,
            "left_off": max(0, total - len(rows)),
        }
        lines = [f"{'ID':32}  {'STATUS':9}  {'AGE':>4}  {'FLOW':{_FLOW_WIDTH}}  TO DO"] if rows else ["None."]
        lines += [self._line(row, now) for row in rows]
        if total > len(rows):
            lines.append(f"and {total - len(rows)} more; --limit N shows more of them")
        return Output(document, lines)

    def _found(self, options: dict[str, Any]) -> QuerySet[Execution]:
        found = filters.rows(options, self.using)
        if options["status"] is None and not options["all"]:
            found = found.exclude(lifecycle=Lifecycle.CLOSED)
        if options["newer_than"] is not None:
            found = found.filter(created_at__gte=clock.expression(plus=-options["newer_than"]))
        if options["key"] is not None:
            found = found.filter(key=options["key"])
        if options["started_by"] is not None:
            found = found.filter(started_by_label=options["started_by"])
        if options["runner"] is not None:
            found = found.filter(runner=options["runner"])
        if options["subject"] is not None:
            found = found.filter(self._is_about(options["subject"]))
        if options["overdue"]:
            overdue = Interrupt.objects.using(self.using).filter(
                execution_id=OuterRef("pk"), status=InterruptStatus.WAITING, due_at__lte=clock.expression()
            )
            found = found.filter(Exists(overdue))
        return found

    def _is_about(self, subject: str) -> Q:
        label, _, pk = subject.partition(":")
        try:
            model = apps.get_model(label)
        except (LookupError, ValueError):
            refuse_usage(f"--subject {subject!r}: write app_label.model:primary_key, of an installed app")
        types = ContentType.objects.db_manager(self.using)
        return Q(subject_type=types.get_for_model(model, for_concrete_model=False), subject_id=pk)

    @staticmethod
    def _line(row: Execution, now: Any) -> str:
        age = text.span((now - row.created_at).total_seconds(), units=1)
        flow = text.one_line(row.flow_name, _FLOW_WIDTH)
        todo = "" if row.is_closed else summary.work(row)
        if len(todo) > _TODO_WIDTH:
            todo = f"{todo.split(',', 1)[0]}, ..."
        return f"{row.id.hex}  {summary.shown_status(row):9}  {age:>4}  {flow:{_FLOW_WIDTH}}  {todo}".rstrip()
