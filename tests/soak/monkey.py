"""Keeps the workers' number, and strikes one every so often: the worker with its horse, or the worker alone."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from dataclasses import dataclass, field
from typing import Any

import psutil

from tests.faults.processes import Child, Crew
from tests.soak.programs import work


@dataclass
class Monkey:
    """``every``: seconds between two kills. ``freeze_every``: every so many kills one worker is frozen as well."""

    crew: Crew
    dice: random.Random
    folder: str
    control: str
    settings: dict[str, Any]
    workers: int
    every: float
    freeze_every: int
    hired: list[Child] = field(default_factory=list)
    frozen: list[tuple[float, list[int], Child]] = field(default_factory=list)
    kills: int = 0
    with_horse: int = 0
    orphans: int = 0
    freezes: int = 0
    #: Workers that ended by themselves, as one does that lost its Redis at the wrong moment.
    gave_up: int = 0
    last_strike: float = field(default_factory=time.monotonic)

    def act(self) -> None:
        """What is due now."""
        for child in [child for child in self.hired if not child.is_alive]:
            self._bury(child)
            self.gave_up += 1
        while len(self.hired) < self.workers:
            self.hired.append(self.crew.start(work, self.folder, self.control, **self.settings))
        self._thaw()
        if self.every and (now := time.monotonic()) - self.last_strike >= self.every:
            # What was missed while a server restarted is not made up for.
            self.last_strike = max(self.last_strike + self.every, now - self.every)
            self._strike()
            if self.freeze_every and self.kills % self.freeze_every == 0:
                self._freeze()

    def dismiss(self) -> None:
        """Let nobody stay frozen."""
        self._thaw(everybody=True)

    def _strike(self) -> None:
        victim, horses = self._victim()
        if victim is None:
            return
        self.hired.remove(victim)
        os.kill(victim.pid, signal.SIGKILL)
        if self.kills % 2 == 0:
            for horse in horses:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(horse, signal.SIGKILL)
            self.with_horse += bool(horses)
        else:
            self.orphans += bool(horses)
        self.kills += 1
        victim.exit_code()
        self.crew.forget(victim)

    def _victim(self) -> tuple[Child | None, list[int]]:
        """Somebody with a horse, if there is one; and its horses."""
        found: tuple[Child | None, list[int]] = (None, [])
        for child in self.dice.sample(self.hired, len(self.hired)):
            with contextlib.suppress(psutil.NoSuchProcess):
                found = child, [horse.pid for horse in psutil.Process(child.pid).children()]
                if found[1]:
                    break
        return found

    def _freeze(self) -> None:
        """Stop a worker and its horse for one and a half leases; by then others have its steps."""
        victim, horses = self._victim()
        if victim is None or not horses:
            return
        self.hired.remove(victim)
        pids = [*horses, victim.pid]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        self.frozen.append((time.monotonic() + 1.5 * self.settings["LEASE_SECONDS"], pids, victim))
        self.freezes += 1

    def _thaw(self, *, everybody: bool = False) -> None:
        while self.frozen and (everybody or self.frozen[0][0] <= time.monotonic()):
            _until, pids, child = self.frozen.pop(0)
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            self.hired.append(child)

    def _bury(self, child: Child) -> None:
        self.hired.remove(child)
        child.exit_code()
        self.crew.forget(child)
