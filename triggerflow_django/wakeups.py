"""RING: tell workers that a queue has ready steps. The only module of the engine's side that knows Redis.

A wake-up carries a queue's name and nothing else; any of them may be lost, doubled or late without changing a result.
So nothing here raises: what Redis refuses is logged and counted, and the sweep rings again.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import django_rq
from django.conf import settings
from django.core.signals import setting_changed
from django.db import transaction
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue
from rq.serializers import JSONSerializer

from triggerflow_django import conf

logger = logging.getLogger(__name__)

#: What a worker may be asked to do, by the names under which RQ shows it.
DRAIN: Final = "triggerflow_django.worker.entry.drain"
SWEEP: Final = "triggerflow_django.worker.entry.sweep"

#: Seconds a caller waits for Redis at most, per attempt. Its own work is committed by then.
_PATIENCE: Final = 0.4
#: Seconds a bell that a worker refused or dropped stays in Redis for people to look at.
_FAILURE_TTL: Final = 86_400


@dataclass(slots=True)
class Counts:
    """What became of this process's bells since it started."""

    #: Bells put into a queue.
    rung: int = 0
    #: Not needed: the queue held enough bells already.
    spared: int = 0
    #: Redis did not take them; the sweep will ring again.
    failed: int = 0


counts = Counts()


def ring_after_commit(ready: Mapping[str, int], *, using: str) -> None:
    """Once the open transaction of ``using`` commits, ring for steps that became ready in it, by queue; never if it
    rolls back.
    """
    wanted = dict(ready)

    # A function and not a partial: Django's robust hooks fail on what has no __qualname__.
    def ring_all() -> None:
        for queue, steps in wanted.items():
            ring(queue, steps)

    transaction.on_commit(ring_all, using=using, robust=True)


def ring(queue: str, steps: int, *, if_silent: bool = False, call: str = DRAIN) -> int:
    """Put bells for ``steps`` ready steps into a queue, no more than ``TRIGGERFLOW["MAX_BELLS"]`` in all. Returns how
    many.

    Only bells that no worker has taken yet count: one that was taken looks into the database after the commit that
    relied on it. ``if_silent``: only where the queue holds none. Never raises.
    """
    try:
        bells = bell_queue(queue)
        lying = int(bells.connection.llen(bells.key))
        room = conf.get_settings().MAX_BELLS - lying
        number = 0 if if_silent and lying else max(0, min(room, steps))
        for _ in range(number):
            push(bells, call)
    except Exception:  # whatever is wrong with Redis or its settings, the caller's work is done
        counts.failed += 1
        logger.warning("triggerflow.bell.failed", exc_info=True, extra={"queue": queue})
        return 0
    counts.rung += number
    counts.spared += number == 0
    return number


def push(bells: Queue, call: str) -> None:
    """Put one bell into a queue.

    Raises: what Redis raises.
    """
    bells.enqueue_call(
        func=call,
        args=(bells.name,),
        timeout=-1,
        result_ttl=0,
        failure_ttl=_FAILURE_TTL,
        description=f"{call} {bells.name}",
    )


@functools.cache
def bell_queue(name: str) -> Queue:
    """The RQ queue of that name in ``settings.RQ_QUEUES``, JSON whatever is set there, with little patience. One per
    process.

    Raises: KeyError where there is none.
    """
    connection = django_rq.get_connection(name)
    if (
        "USE_REDIS_CACHE" not in getattr(settings, "RQ_QUEUES", {})[name]
    ):  # then the connections are the cache's, and its business
        connection.connection_pool.connection_kwargs.update(
            socket_timeout=_PATIENCE,
            socket_connect_timeout=_PATIENCE,
            # One more try: the pooled connection may be from before a restart of Redis.
            retry=Retry(NoBackoff(), 1),
        )
    return Queue(name, connection=connection, serializer=JSONSerializer)


def _forget(*, setting: str, **_kwargs: Any) -> None:
    if setting in {"RQ_QUEUES", "RQ", "TRIGGERFLOW"}:
        bell_queue.cache_clear()


setting_changed.connect(_forget, dispatch_uid="triggerflow_django.wakeups")
