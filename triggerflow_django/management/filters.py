"""Which executions: the options of the commands that deal with many, and the query they make."""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from typing import Any, Final

from django.db.models import Q, QuerySet

from triggerflow_django.engine import clock
from triggerflow_django.models import Execution, ExecutionStatus

_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
#: Statuses as people see them; ``idle`` is a running one with nothing to do.
OPEN_STATUSES: Final = ("created", "running", "idle", "waiting", "failed")
STATUSES: Final = (*OPEN_STATUSES, "completed", "cancelled")


def duration(text: str) -> float:
    """Seconds of ``90s``, ``15m``, ``6h``, ``3d`` or ``2w``. For argparse."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])", text)
    if match is None:
        raise ArgumentTypeError(f"{text!r} is no length of time: write 90s, 15m, 6h, 3d or 2w")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > 100 * 366 * 86_400:
        raise ArgumentTypeError(f"{text!r} is more than a hundred years")
    return seconds


def add(parser: ArgumentParser, statuses: Sequence[str]) -> None:
    """The options."""
    parser.add_argument("--flow", metavar="NAME", help="Executions of this flow.")
    parser.add_argument("--status", choices=statuses, help="Executions that stand so.")
    parser.add_argument(
        "--older-than", type=duration, metavar="AGE", help="Created longer ago than this: 90s, 15m, 6h, 3d, 2w."
    )


def rows(options: dict[str, Any], using: str) -> QuerySet[Execution]:
    """The executions the options ask for, newest first, without their inputs and snapshots."""
    found = Execution.objects.using(using).defer("input", "snapshot").order_by("-created_at", "-pk")
    if options["flow"] is not None:
        found = found.filter(flow_name=options["flow"])
    if options["status"] is not None:
        found = found.filter(status_is(options["status"]))
    if options["older_than"] is not None:
        found = found.filter(created_at__lt=clock.expression(plus=-options["older_than"]))
    return found


def status_is(status: str) -> Q:
    """The condition for a status as people see it."""
    idle = Q(status=ExecutionStatus.RUNNING, active_steps=0, pending_interrupts=0)
    if status == "idle":
        return idle
    return Q(status=status) & ~idle if status == ExecutionStatus.RUNNING else Q(status=status)
