"""Named places inside the engine at which a fault strikes, once: real code is wrapped, in a child process only.

A point is a verb of the engine and a moment of it:

- ``entered``: the verb has been called and has done nothing yet;
- ``written``: everything is written, COMMIT has not been sent;
- ``committed``: the database has acknowledged the COMMIT, and no code after it has run;
- ``left``: the verb is about to return (for verbs that are one statement without a transaction: it is committed).

``chunk`` is the one point that user code reaches by itself, by ``reach()``, after it has written its rows.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.db import OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from tests.faults.processes import Link
from triggerflow_django.engine import claim, commit, deadlines, decide, fail, lifecycle, start
from triggerflow_django.engine.transition import Transition
from triggerflow_django.engine.work import Work

#: The verbs, and where their function lives; the engine calls each through its module or class.
VERBS: Final[dict[str, tuple[Any, str]]] = {
    "start": (start, "start"),
    "claim": (claim, "claim"),
    "commit": (commit, "complete"),
    "atomic": (Work, "run_atomic"),
    "fail": (fail, "attempt"),
    "decide": (decide, "decide"),
    "close": (lifecycle, "request_close"),
    "cancel": (lifecycle, "cancel"),
    "lost": (fail, "lost"),
    "deadline": (deadlines, "pass_deadline"),
    "auto_close": (lifecycle, "auto_close"),
    "force_close": (lifecycle, "force_close"),
}


class BoomError(RuntimeError):
    """An error nobody expects."""


@dataclass(frozen=True)
class Point:
    """Where a fault strikes. ``node``: only for steps of that node."""

    verb: str
    moment: str
    node: str = ""

    def __str__(self) -> str:
        return "-".join(part for part in (self.verb, self.node, self.moment) if part)


# -- faults


def kill(_link: Link) -> None:
    """The process is gone, without a chance to clean up."""
    os.kill(os.getpid(), signal.SIGKILL)


def boom(_link: Link) -> None:
    """An exception that no code expects."""
    raise BoomError("struck by a test")


def lose_answer(_link: Link) -> None:
    """A database error. Right after a COMMIT: it was done, and the client is told that it was not."""
    raise OperationalError("the connection was lost (says a test)")


def cut(_link: Link | None = None) -> None:
    """The server ends this connection; whoever uses it next finds out."""
    raw: Any = connection.connection
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 10000)", [raw.info.backend_pid])
        assert cursor.fetchone() == (True,)
    other.close()


def lose_sight(_link: Link) -> None:
    """The connection is lost, and the server finishes the transaction all the same, when we have looked already."""
    raw, connection.connection = connection.connection, None

    def finish() -> None:
        raw.commit()
        raw.close()

    threading.Timer(0.3, finish).start()
    raise OperationalError("the connection was lost (says a test)")


def hold(link: Link) -> None:
    """Stand still until the test says ``go on``; meanwhile it can do what it likes with this process."""
    link.wait_for("go on")


def hold_and_lose_answer(link: Link) -> None:
    """Stand still, then a database error: what is found afterwards is somebody else's."""
    hold(link)
    lose_answer(link)


FAULTS: Final[dict[str, Callable[[Link], None]]] = {
    "kill": kill,
    "boom": boom,
    "error": lose_answer,
    "cut": cut,
    "late": lose_sight,
    "hold": hold,
    "hold, error": hold_and_lose_answer,
}

IS_POSTGRES: Final = settings.DATABASES["default"]["ENGINE"].endswith("postgresql")
#: The faults that strike for good. A cut connection is something a server does.
STRIKES: Final = ("kill", "boom", "error", "cut") if IS_POSTGRES else ("kill", "boom", "error")

# -- arming

_armed: Callable[[str], None] | None = None


def reach(node: str) -> None:
    """Called by chunks of the tests' flows after they have written: the point ``chunk``."""
    if _armed is not None:
        _armed(node)


def arm(link: Link, point: Point, fault: str) -> None:
    """Let a fault strike at a point, once; the test hears ``reached`` before it does. There is no way back."""
    global _armed  # noqa: PLW0603 - one point a process
    strike = _Strike(link, FAULTS[fault])
    if point.verb == "chunk":
        _armed = lambda node: strike() if node == point.node else None  # noqa: E731
        return
    inside = threading.local()
    _wrap_verb(point, strike, inside)
    if point.moment == "written":
        _strike_after(Transition, "save", strike, inside)
    elif point.moment == "committed":
        _strike_after(BaseDatabaseWrapper, "_commit", strike, inside)


class _Strike:
    """The fault, once."""

    def __init__(self, link: Link, fault: Callable[[Link], None]) -> None:
        self._link = link
        self._fault = fault
        self._has_struck = False

    def __call__(self) -> None:
        if self._has_struck:
            return
        self._has_struck = True
        self._link.say("reached")
        self._fault(self._link)


def _wrap_verb(point: Point, strike: _Strike, inside: threading.local) -> None:
    owner, name = VERBS[point.verb]
    real = getattr(owner, name)

    @functools.wraps(real)
    def verb(*arguments: Any, **options: Any) -> Any:
        if point.node and _node_of(arguments[0]) != point.node:
            return real(*arguments, **options)
        if point.moment == "entered":
            strike()
        inside.verb = True
        try:
            result = real(*arguments, **options)
        finally:
            inside.verb = False
        if point.moment == "left":
            strike()
        return result

    setattr(owner, name, verb)


def _node_of(subject: Any) -> str:
    return str(getattr(subject, "step", subject).node)


def _strike_after(owner: type, name: str, strike: _Strike, inside: threading.local) -> None:
    real = getattr(owner, name)

    @functools.wraps(real)
    def method(self: Any) -> None:
        real(self)
        if getattr(inside, "verb", False):
            strike()

    setattr(owner, name, method)
