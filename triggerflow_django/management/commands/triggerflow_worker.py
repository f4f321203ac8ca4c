"""``manage.py triggerflow_worker``: run the ready steps of one queue."""

from __future__ import annotations

import os
import socket
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from redis.exceptions import RedisError

from triggerflow_django import conf, wakeups
from triggerflow_django.worker import entry
from triggerflow_django.worker.workers import TriggerFlowWorker, UnforkedWorker

_LEVELS = {0: "WARNING", 1: "INFO", 2: "DEBUG", 3: "DEBUG"}


class Command(BaseCommand):
    """One worker of one queue; start as many as you like, on as many machines as you like.

    Exit codes: 0 stopped or (``--burst``) nothing left to do; 1 no such queue, or Redis cannot be reached at the start.
    """

    help = (
        "Run the ready steps of one queue, forking for each wake-up, until SIGTERM or Ctrl-C; the current step is "
        "finished then. It also sweeps, so where one runs no triggerflow_tick is needed. Several queues: several "
        "workers."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command's options."""
        parser.add_argument("queue", nargs="?", help="The queue (default: TRIGGERFLOW['DEFAULT_QUEUE']).")
        parser.add_argument("--name", help="The worker's name in RQ; unique (default: host, process and queue).")
        parser.add_argument("--burst", action="store_true", help="End when no wake-up is left.")
        parser.add_argument(
            "--max-jobs", type=int, help="End after this many wake-ups, for a supervisor to start anew."
        )
        parser.add_argument(
            "--no-fork",
            action="store_true",
            help="Run steps in this very process: quicker, but a chunk that crashes or leaks takes the worker with it.",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Work."""
        name = options["queue"] or conf.get_settings().DEFAULT_QUEUE
        if options["max_jobs"] is not None and options["max_jobs"] < 1:
            raise CommandError("--max-jobs takes a whole number, 1 or more")
        try:
            queue = wakeups.bell_queue(name)
        except KeyError:
            raise CommandError(f"settings.RQ_QUEUES has no queue {name!r}; add it there") from None
        kind = UnforkedWorker if options["no_fork"] else TriggerFlowWorker
        entry.stop_requested.clear()
        try:
            if options["burst"]:
                wakeups.push(queue, wakeups.DRAIN)  # whatever bells were lost, look once
            worker = kind(queue, name=options["name"] or f"{socket.gethostname()}.{os.getpid()}.{name}")
            worker.work(
                burst=options["burst"], max_jobs=options["max_jobs"], logging_level=_LEVELS[options["verbosity"]]
            )
        except (RedisError, OSError) as error:
            raise CommandError(f"Redis of queue {name!r}: {error}") from error
