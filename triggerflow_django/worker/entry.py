"""What a bell asks a worker to do. These two functions are all that a job of ours can ever run.

They run in the worker's forked child (or in the worker itself with ``--no-fork``) and use its settings, flows and
database.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Final

from triggerflow_django import conf
from triggerflow_django.definition import registry
from triggerflow_django.engine import sweep as sweeping
from triggerflow_django.engine.facts import Facts
from triggerflow_django.engine.queue_drain import QueueDrain
from triggerflow_django.runtime.resources import Resources

logger = logging.getLogger(__name__)

#: Set when this process was asked to stop: a drain ends after its current step.
stop_requested: Final = threading.Event()

#: One loop for all async chunks of this process, so that a resource built once (a client, say) can be used by all of
#: them.
_loop: Final = asyncio.Runner()


def drain(queue: str) -> None:
    """Run ready steps of a queue until none is left, the drain's time is used, or the worker stops."""
    turn = QueueDrain(
        queue,
        using=conf.get_settings().DATABASE,
        resources_of=_resources_of,
        loop=_loop,
        stops=stop_requested.is_set,
    )
    turn.run()
    if turn.ended:
        logger.info("triggerflow.drain.done", extra={"queue": queue, "steps": turn.ended, "failed": len(turn.failures)})


def sweep(_queue: str) -> None:
    """Sweep, unless another process has just done so."""
    sweeping.sweep_in_turn(using=conf.get_settings().DATABASE)


def _resources_of(facts: Facts) -> Resources:
    return Resources({}, getattr(registry.find(facts.flow_name), "runtime_resources", {}))
