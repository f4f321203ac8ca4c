"""Keep processes running until told to stop, and leave none behind.

In: parts and tasks. A part runs all the time and is started again when it ends; a task runs to its end. SIGINT,
SIGTERM and SIGHUP stop everything, the last part that was started first; a second signal stops it at once. On Linux a
SIGKILL of this process stops everything as well: the kernel tells its children.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Final, NoReturn, Self

from project.stack import processes

READY_SECONDS: Final = 60
#: A worker ends after its current step. One that is killed runs again, once its lease is over.
STOP_SECONDS: Final = 15
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TURN: Final = 0.1
#: A part that ends again within so many seconds is started again more and more slowly.
_STABLE: Final = 30
_SLOWEST: Final = 30


class StoppedError(Exception):
    """Told to stop, by a signal of this ``number``."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


class FailedError(Exception):
    """A part ended, or was not ready in time, when everything was to begin; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is to run all the time."""

    name: str
    #: Its command line, and whether it is ready. Both get the number of the start: 1, then 2 after it has ended, ...
    command: Callable[[int], Sequence[str]]
    is_ready: Callable[[int], bool]
    environment: Mapping[str, str]
    #: Whether what it prints goes to the terminal; its errors always do.
    prints: bool = True
    #: What the kernel sends it when the supervisor is killed.
    on_parents_death: signal.Signals = signal.SIGTERM


@dataclass(slots=True)
class _Running:
    part: Part
    process: subprocess.Popen[bytes]
    number: int = 1
    started_at: float = field(default_factory=time.monotonic)
    delay: float = 0.0
    #: When to start it again (monotonic); ``None`` while it runs.
    again_at: float | None = None


class Supervisor:
    """``with Supervisor(...) as supervisor``: at the end of the block everything it started has ended, and the signals
    that would stop it are ignored: this process is about to end as well.

    ``folder``: where its processes run. ``with_parent``: stop also when the process that started this one is gone.
    """

    def __init__(self, folder: Path, *, say: Callable[[str], None], with_parent: bool = False) -> None:
        self._folder = folder
        self._say = say
        self._parent = os.getppid() if with_parent else None
        self._levels: list[list[_Running]] = []
        self._task: subprocess.Popen[bytes] | None = None
        self._told: int | None = None
        self._told_at = 0.0
        self._in_a_hurry = False

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            signal.signal(number, self._note)
        processes.adopt_orphans()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        def hurry() -> bool:
            return self._in_a_hurry

        if self._task is not None:
            processes.end([self._task], seconds=STOP_SECONDS, in_a_hurry=hurry)
        for level in reversed(self._levels):
            processes.end([running.process for running in level], seconds=STOP_SECONDS, in_a_hurry=hurry)
        processes.kill_descendants()
        for number in _SIGNALS:  # nothing is left to stop; who started this may still have to clear away a folder
            signal.signal(number, signal.SIG_IGN)

    def up(self, *parts: Part) -> None:
        """Start parts together and wait until each is ready. From now on they are started again when they end.

        Raises: FailedError; StoppedError.
        """
        level: list[_Running] = []
        self._levels.append(level)
        for part in parts:
            level.append(_Running(part, self._start(part, 1)))
        deadline = time.monotonic() + READY_SECONDS
        waiting = list(level)
        while waiting:
            for running in list(waiting):
                code = running.process.poll()
                if code is not None:
                    raise FailedError(f"{running.part.name} ended with {code} instead of starting")
                if running.part.is_ready(1):
                    waiting.remove(running)
                elif time.monotonic() > deadline:
                    raise FailedError(f"{running.part.name} was not ready after {READY_SECONDS} s")
            self._turn(but=level)

    def run(self, command: Sequence[str], *, environment: Mapping[str, str]) -> int:
        """Run a task to its end, while the parts are kept up. Returns its exit code.

        Raises: StoppedError.
        """
        self._task = processes.start(command, environment=environment, folder=self._folder)
        while (code := self._task.poll()) is None:
            self._turn()
        self._task = None
        return code

    def watch(self) -> NoReturn:
        """Keep the parts up for ever.

        Raises: StoppedError.
        """
        while True:
            self._turn()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        # One Ctrl-C or kill may come twice, by way of make or of the process group.
        if self._told is None:
            self._told, self._told_at = number, time.monotonic()
        elif time.monotonic() - self._told_at > 1:
            self._in_a_hurry = True

    def _turn(self, but: Sequence[_Running] = ()) -> None:
        """Look once after every part but those, and a moment's sleep.

        Raises: StoppedError.
        """
        if self._parent is not None and os.getppid() != self._parent:
            raise StoppedError(signal.SIGHUP)
        if self._told is not None:
            raise StoppedError(self._told)
        for level in self._levels:
            for running in level:
                if running not in but:
                    self._look_after(running)
        time.sleep(_TURN)

    def _look_after(self, running: _Running) -> None:
        now = time.monotonic()
        if running.again_at is None:
            code = running.process.poll()
            if code is None:
                return
            is_stable = now - running.started_at > _STABLE
            running.again_at = now + (0 if is_stable else running.delay)
            running.delay = 1 if is_stable else min(_SLOWEST, running.delay * 2 or 1)
            self._say(f"{running.part.name} ended ({_told(code)}), starting it again")
        if now >= running.again_at:
            running.number += 1
            running.process = self._start(running.part, running.number)
            running.started_at, running.again_at = now, None

    def _start(self, part: Part, number: int) -> subprocess.Popen[bytes]:
        return processes.start(
            part.command(number),
            environment=part.environment,
            folder=self._folder,
            output=None if part.prints else subprocess.DEVNULL,
            on_parents_death=part.on_parents_death,
        )


def _told(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
