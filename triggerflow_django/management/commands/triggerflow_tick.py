"""``manage.py triggerflow_tick``: sweep where no worker runs: from cron, once, or as a loop under a supervisor."""

from __future__ import annotations

import json
import signal
import time
from argparse import ArgumentParser
from dataclasses import asdict
from types import FrameType
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connections

from triggerflow_django import conf
from triggerflow_django.engine.sweep import SweepReport, sweep

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_SLICE: Final = 0.5


class Command(BaseCommand):
    """Act on what is due: deadlines, auto-close, closes whose time is over; and give steps of dead processes back.

    Exit codes: 0 done; 1 a row could not be repaired (logged, tried again by the next pass) or the database was away.
    """

    help = (
        "Act on what is due (deadlines, auto-close, closes whose time is over) and take steps back from processes that "
        "died. One pass, or with --loop one every TRIGGERFLOW['SWEEP_SECONDS'] until SIGTERM or Ctrl-C. Twice at once "
        "is harmless. It runs no chunk: workers do, and for inline executions the process that holds them."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command's options."""
        parser.add_argument("--database", help="Alias of the database (default: TRIGGERFLOW['DATABASE']).")
        parser.add_argument("--loop", action="store_true", help="Go on until SIGTERM or Ctrl-C.")
        parser.add_argument("--interval", type=float, help="Seconds between two passes of --loop.")
        parser.add_argument(
            "--format", choices=["text", "json"], default="text", help="How a pass that did something is told."
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Sweep once, or until told to stop."""
        using = options["database"] or conf.get_settings().DATABASE
        if using not in connections:
            raise CommandError(f"there is no database {using!r}; known: {', '.join(connections)}")
        if options["interval"] is not None and not (options["loop"] and options["interval"] > 0):
            raise CommandError("--interval takes seconds, more than 0, and goes with --loop")
        if options["loop"]:
            self._loop(using, options["interval"], options["format"])
        else:
            self._once(using, options["format"])

    def _once(self, using: str, form: str) -> None:
        try:
            report = sweep(using=using)
        except Error as error:
            raise CommandError(f"database {using!r}: {error}") from error
        self._tell(report, form)
        if report.errors:
            raise CommandError(f"{report.errors} rows could not be repaired; see the log")

    def _loop(self, using: str, interval: float | None, form: str) -> None:
        stop = _Stop()
        former = {number: signal.signal(number, stop.tell) for number in _SIGNALS}
        try:
            while not stop.is_told:
                try:
                    report = sweep(using=using)
                except Error as error:
                    # The database may be back by the next pass; this loop is there to outlive such nights.
                    self.stderr.write(f"database {using!r}: {error}")
                else:
                    if report.total() or report.errors:
                        self._tell(report, form)
                connections[using].close()
                stop.wait(interval or conf.get_settings().SWEEP_SECONDS)
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _tell(self, report: SweepReport, form: str) -> None:
        counts = asdict(report)
        if form == "json":
            self.stdout.write(json.dumps(counts))
        else:
            self.stdout.write(" ".join(f"{name}={count}" for name, count in counts.items()))
        self.stdout.flush()  # a loop's lines are to be seen when they are said, also through a pipe


class _Stop:
    """A signal's wish to stop. A pass that is under way finishes; a wait ends within half a second.

    In slices, since a signal that comes just before the system's own sleep begins does not end it.
    """

    def __init__(self) -> None:
        self.is_told = False

    def tell(self, _number: int, _frame: FrameType | None) -> None:
        """The signal handler."""
        self.is_told = True

    def wait(self, seconds: float) -> None:
        """Sleep, unless told to stop before or meanwhile."""
        end = time.monotonic() + seconds
        while not self.is_told and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE))
