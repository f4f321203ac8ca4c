"""Renew the leases of this process's drains, and in a worker sweep: one thread, its own connection.

A drain learns that it lost a step only by a successful UPDATE of 0 rows (at its commit). A step that has outlived its
timeout is no longer renewed, so that another worker may take it over.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from dataclasses import dataclass, field

from django.db import connections

from triggerflow_django import conf
from triggerflow_django.engine import clock, sweep
from triggerflow_django.models import Step, StepStatus

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Lease:
    """One drain's hold on its steps. ``deadlines``: when a running chunk has outlived its timeout (monotonic), by
    step.
    """

    token: uuid.UUID
    using: str
    deadlines: dict[int, float] = field(default_factory=dict)
    #: When to renew next (monotonic).
    next_beat: float = 0.0
    #: When to sweep next; ``None``: this drain does not sweep.
    next_sweep: float | None = None

    def next_act(self) -> float:
        """When there is something to do for it."""
        return self.next_beat if self.next_sweep is None else min(self.next_beat, self.next_sweep)


class Heartbeat:
    """The process's heartbeat thread; runs while drains do."""

    def __init__(self) -> None:
        self._leases: dict[uuid.UUID, Lease] = {}
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, token: uuid.UUID, using: str, *, sweeping: bool = False) -> Lease:
        """Begin to renew a drain's leases; with ``sweeping``, to sweep as well, as a worker does."""
        now = time.monotonic()
        lease = Lease(token, using, next_beat=now + self.interval())
        if sweeping:
            lease.next_sweep = now + conf.get_settings().SWEEP_SECONDS
        with self._wake:
            self._leases[token] = lease
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="triggerflow-heartbeat", daemon=True)
                self._thread.start()
            self._wake.notify()
        return lease

    def remove(self, lease: Lease) -> None:
        """Stop renewing a drain's leases."""
        with self._wake:
            self._leases.pop(lease.token, None)
            self._wake.notify()

    @staticmethod
    def interval() -> float:
        """Seconds between two renewals: a third of a lease."""
        return conf.get_settings().LEASE_SECONDS / 3

    def _run(self) -> None:
        while True:
            with self._wake:
                if not self._leases:
                    self._wake.wait(timeout=30)
                    if not self._leases:
                        self._thread = None
                        return
                due = min(lease.next_act() for lease in self._leases.values())
                if (wait := due - time.monotonic()) > 0:
                    self._wake.wait(timeout=wait)
                    continue
                leases = [lease for lease in self._leases.values() if lease.next_act() <= time.monotonic()]
            for lease in leases:
                if lease.next_beat <= time.monotonic():
                    self._beat(lease)
                if lease.next_sweep is not None and lease.next_sweep <= time.monotonic():
                    self._sweep(lease)
            connections.close_all()

    def _beat(self, lease: Lease) -> None:
        lease.next_beat = time.monotonic() + self.interval()
        try:
            renew(lease)
        except Exception:
            # Unknown, not lost: the lease lives on in the row until it expires. Try again soon.
            lease.next_beat = time.monotonic() + self.interval() / 4
            logger.warning("triggerflow.heartbeat.failed", exc_info=True, extra={"token": lease.token.hex})

    @staticmethod
    def _sweep(lease: Lease) -> None:
        lease.next_sweep = time.monotonic() + conf.get_settings().SWEEP_SECONDS
        try:
            sweep.sweep_in_turn(using=lease.using)
        except Exception:
            logger.warning("triggerflow.sweep.failed", exc_info=True)


def renew(lease: Lease) -> int:
    """Renew a drain's leases once. Returns how many steps it still holds."""
    steps = Step.objects.using(lease.using).filter(lease_token=lease.token, status=StepStatus.RUNNING)
    now = time.monotonic()
    overdue = [pk for pk, deadline in lease.deadlines.copy().items() if deadline <= now]
    if overdue:
        steps = steps.exclude(pk__in=overdue)
    return steps.update(lease_expires_at=clock.expression(plus=conf.get_settings().LEASE_SECONDS))


heartbeat = Heartbeat()


def _after_fork() -> None:
    global heartbeat  # noqa: PLW0603 - threads do not survive a fork, and the lock may be held
    heartbeat = Heartbeat()


os.register_at_fork(after_in_child=_after_fork)
