"""Real processes for tests that kill them: forked from a warm one, spoken to by a pipe, killed, stopped, continued.

The warm process is multiprocessing's fork server: it has imported Django and this package, holds no database
connection and runs no thread, so a fork costs milliseconds and inherits nothing that could be shared by accident.
"""

from __future__ import annotations

import contextlib
import ctypes
import datetime as dt
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from typing import Any, Final
from unittest import mock

import django
import psutil
from django.apps import apps

if not apps.ready:  # in the fork server, which imports this module first
    django.setup()

from django.db import connections
from django.test import override_settings

from triggerflow_django.engine import clock

#: A deadline, not a delay: nothing here takes that long unless it hangs.
PATIENCE: Final = 60.0
_PRELOAD: Final = ["tests.faults.processes", "tests.faults.crashpoints", "tests.faults.flows", "tests.faults.programs"]
_PR_SET_PDEATHSIG: Final = 1

_context = multiprocessing.get_context("forkserver")


class Link:
    """The child's end of the pipe."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def say(self, word: str, value: Any = None) -> None:
        """Tell the test something."""
        self._pipe.send((word, value))

    def hear(self) -> Any:
        """What the test says next; ends when the test is gone."""
        return self._pipe.recv()

    def wait_for(self, word: str) -> None:
        """Wait until the test says a word; end when the test is gone."""
        heard = self.hear()
        assert heard == word, f"the test said {heard!r} instead of {word!r}"


class Child:
    """A running child process, as the test sees it."""

    def __init__(self, process: Any, pipe: Connection) -> None:
        self._process = process
        self._pipe = pipe

    @property
    def pid(self) -> int:
        """Its process id."""
        return int(self._process.pid)

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended yet."""
        return bool(self._process.is_alive())

    def expect(self, word: str) -> Any:
        """The value it says next, under this word.

        Raises: AssertionError where it says something else, says nothing for too long or has ended.
        """
        said, value = self.hear()
        assert said == word, f"the child said {said}: {value!r} instead of {word}"
        return value

    def hear(self) -> tuple[str, Any]:
        """What it says next; ``("gone", exit code)`` once it has ended."""
        assert self._pipe.poll(PATIENCE), "the child says nothing"
        try:
            said: tuple[str, Any] = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            said = ("gone", self.exit_code())
        return said

    def heard(self) -> list[tuple[str, Any]]:
        """All it has said up to now, without waiting."""
        said = []
        with contextlib.suppress(EOFError, OSError):
            while self._pipe.poll(0):
                said.append(self._pipe.recv())
        return said

    def tell(self, word: Any) -> None:
        """Say something to it."""
        self._pipe.send(word)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; a stopped one is stopped when this returns."""
        os.kill(self.pid, number)
        if number == signal.SIGSTOP:
            deadline = time.monotonic() + PATIENCE
            while psutil.Process(self.pid).status() != psutil.STATUS_STOPPED and time.monotonic() < deadline:
                time.sleep(0.001)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._process.kill()
        self.exit_code()

    def close(self) -> None:
        """Give back what it holds here; it has ended."""
        self._pipe.close()
        self._process.close()

    def exit_code(self) -> int:
        """Wait for its end; -9 after SIGKILL."""
        self._process.join(PATIENCE)
        code = self._process.exitcode
        assert code is not None, "the child does not end"
        return int(code)


class Crew:
    """Starts children and lets none outlive the test."""

    def __init__(self, database_url: str, *, preload: Sequence[str] = ()) -> None:
        """``preload``: more modules for the fork server to import, if this is what starts it."""
        self._database_url = database_url
        self._children: list[Child] = []
        #: The Redis that children started from here on ring at; ``None``: that of their settings.
        self.redis_url: str | None = None
        with mock.patch.dict(os.environ, DATABASE_URL=database_url):
            _context.set_forkserver_preload([*_PRELOAD, *preload])
            forkserver.ensure_running()

    def start(self, program: Callable[..., Any], *arguments: Any, **triggerflow: Any) -> Child:
        """Run ``program(link, *arguments)`` in a new process, with these keys of ``settings.TRIGGERFLOW``.

        It says ``returned`` or ``raised`` at its end. The engine's clock is moved as it is here.
        """
        ours, theirs = _context.Pipe()
        process = _context.Process(
            target=_main,
            args=(theirs, program, arguments, triggerflow, clock.offset(), self._database_url, self.redis_url),
            daemon=True,
        )
        process.start()
        theirs.close()
        child = Child(process, ours)
        self._children.append(child)
        return child

    def together(self, program: Callable[..., Any], *calls: tuple[Any, ...], **triggerflow: Any) -> list[Child]:
        """One child for each call, all of which get ready first and then go on at the same moment."""
        children = [self.start(program, *arguments, **triggerflow) for arguments in calls]
        for child in children:
            child.expect("ready")
        for child in children:
            child.tell("go on")
        return children

    def forget(self, child: Child) -> None:
        """A child has ended and nobody wants to hear from it: give back its file descriptors."""
        self._children.remove(child)
        child.close()

    def dismiss(self) -> None:
        """Kill whoever is left."""
        for child in self._children:
            with contextlib.suppress(ProcessLookupError):
                child.kill()


def _main(
    pipe: Connection,
    program: Callable[..., Any],
    arguments: tuple[Any, ...],
    triggerflow: dict[str, Any],
    offset: dt.timedelta,
    database_url: str,
    redis_url: str | None,
) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    assert os.environ["DATABASE_URL"] == database_url, "the fork server was started for another database"
    link = Link(pipe)
    clock.set_offset(offset)
    changed: dict[str, Any] = {"TRIGGERFLOW": triggerflow}
    if redis_url is not None:
        changed["RQ_QUEUES"] = {"triggerflow": {"URL": redis_url}}
    with override_settings(**changed):
        try:
            result = program(link, *arguments)
        except BaseException as error:
            link.say("raised", f"{type(error).__name__}: {error}")
        else:
            link.say("returned", result)
    connections.close_all()
