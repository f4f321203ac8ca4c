"""Renew the leases of this process's drains: one thread, its own connection, one UPDATE per drain.

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

from django.db import Error, connections

from triggerflow_django import conf
from triggerflow_django.engine import clock
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
    next_beat: float = 0.0


class Heartbeat:
    """The process's heartbeat thread; runs while drains do."""

    def __init__(self) -> None:
        self._leases: dict[uuid.UUID, Lease] = {}
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, token: uuid.UUID, using: str) -> Lease:
        """Begin to renew a drain's leases."""
        lease = Lease(token, using, next_beat=time.monotonic() + self.interval())
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
                due = min(lease.next_beat for lease in self._leases.values())
                if (wait := due - time.monotonic()) > 0:
                    self._wake.wait(timeout=wait)
                    continue
                leases = [lease for lease in self._leases.values() if lease.next_beat <= time.monotonic()]
            for lease in leases:
                self._beat(lease)
            connections.close_all()

    def _beat(self, lease: Lease) -> None:
        lease.next_beat = time.monotonic() + self.interval()
        try:
            renew(lease)
        except Error:
            # Unknown, not lost: the lease lives on in the row until it expires. Try again soon.
            lease.next_beat = time.monotonic() + self.interval() / 4
            logger.warning("triggerflow.heartbeat.failed", exc_info=True, extra={"token": lease.token.hex})


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
