"""``manage.py triggerflow_resume``: decide an interrupt."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from triggerflow_django.engine import authority, decide
from triggerflow_django.management import acting, lookup, payload, summary
from triggerflow_django.management.base import OperatorCommand, Output, refuse_usage
from triggerflow_django.models import Door


class Command(OperatorCommand):
    """Answer a waiting interrupt. Exit codes: docs/commands.md."""

    help = (
        "Decide an interrupt with an answer from a file or standard input: as a user whom its policy lets, or past "
        "that policy with --override, which is recorded with its reason."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command's options."""
        super().add_arguments(parser)
        lookup.add_id(parser)
        parser.add_argument("interrupt", metavar="INTERRUPT", help="The interrupt's id, or how it begins.")
        parser.add_argument(
            "--round", type=int, metavar="N", help="Which of the questions asked under that id (default: the newest)."
        )
        payload.add(parser, "--answer", "the answer", required=True)
        who = parser.add_mutually_exclusive_group(required=True)
        who.add_argument("--user", metavar="NAME", help="Decide as this user; the interrupt's policy holds.")
        who.add_argument(
            "--override", action="store_true", help="Decide in nobody's name, past the policy; needs --reason."
        )
        parser.add_argument("--reason", metavar="TEXT", help="Why; stored as the decision's comment.")
        parser.add_argument(
            "--request-id", metavar="ID", help="Asking again with the same id and answer changes nothing."
        )

    def act(self, options: dict[str, Any]) -> Output:
        """Decide; run nothing."""
        reason = (options["reason"] or "").strip()
        if options["override"] and not reason:
            refuse_usage("--override needs --reason TEXT, which is stored with the decision")
        shell = acting.shell_name()
        user = acting.find_user(options["user"], self.using)
        who = authority.Override(shell, reason) if user is None else user
        row = lookup.execution(options["id"], self.using)
        interrupt_id = lookup.interrupt_id(row, options["interrupt"], self.using)
        record = decide.decide(
            row.pk,
            interrupt_id,
            payload.read(self, options["answer"], "answer"),
            door=Door.COMMAND,
            using=self.using,
            actor=who,
            request_id=options["request_id"],
            round=options["round"],
            comment=acting.Acting(user, reason, shell).recorded,
        )
        told = (
            f"Interrupt {interrupt_id} of execution {row.id.hex} ({row.flow_name}): decided by {record['resumed_by']}."
        )
        return summary.after(row, told, self.using, interrupt=record)
