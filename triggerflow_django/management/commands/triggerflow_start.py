"""``manage.py triggerflow_start``: start an execution of a registered flow."""

from __future__ import annotations

import dataclasses
from argparse import ArgumentParser
from typing import Any

from triggerflow_django import exceptions
from triggerflow_django.definition import registry
from triggerflow_django.engine import start
from triggerflow_django.handles.flow import TriggerFlow
from triggerflow_django.management import payload, summary
from triggerflow_django.management.acting import ChangingCommand
from triggerflow_django.management.base import Output
from triggerflow_django.models import Execution, Runner


class Command(ChangingCommand):
    """Start an execution. Exit codes: docs/commands.md."""

    help = (
        "Start an execution of a registered flow and print its id. Workers run it (--runner rq); with --runner inline "
        "nothing runs until a process takes its handle."
    )
    permission = "triggerflow.start_execution"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command's options."""
        super().add_arguments(parser)
        parser.add_argument("flow", metavar="FLOW", help="The flow's name.")
        payload.add(parser, "--input", "the input")
        parser.add_argument("--key", metavar="KEY", help="Business key: one execution of this flow for each key.")
        parser.add_argument("--runner", choices=Runner.values, help="Default: TRIGGERFLOW['RUNNER'].")

    def act(self, options: dict[str, Any]) -> Output:
        """Insert and start; run nothing."""
        flow = registry.get(options["flow"])
        if not isinstance(flow, TriggerFlow):
            raise exceptions.UnknownFlowError(f"flow {flow.name!r} is registered, but not as a TriggerFlow")
        value = payload.read(self, options["input"], "input")
        handle = flow.create_execution(
            key=options["key"], runner=options["runner"], started_by=self.acting.actor, using=self.using
        )
        new = dataclasses.replace(handle.new, reason=self.acting.recorded)
        execution_id, began = start.start(new, value, using=self.using, is_fresh=True)
        told = "Started execution" if began else "Nothing new: with this key and input was started before execution"
        row = Execution(pk=execution_id)
        return summary.after(row, f"{told} {execution_id.hex} of {flow.name}.", self.using, changed=began)
