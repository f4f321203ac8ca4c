"""Named places inside the engine at which a fault strikes, once: real code is wrapped, in a child process only.

A point is a verb of the engine and a moment of it:

- ``entered``: the verb has been called and has done nothing yet;
- ``written``: everything is written, COMMIT has not been sent;
- ``committed``: the database has acknowledged the COMMIT (or the one statement, where the verb has no transaction), and
  no code after it has run;
- ``left``: the verb is about to return.

``chunk`` is the one point that user code reaches by itself, by ``reach()``, after it has written its rows.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.db import OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from tests.faults.processes import PATIENCE, Link
from triggerflow_django import wakeups
from triggerflow_django.engine import (
    claim,
    clock,
    commit,
    deadlines,
    decide,
    emit,
    fail,
    hand_over,
    heartbeat,
    lifecycle,
    restore,
    retry,
    start,
    sub_flow,
    sweep,
)
from triggerflow_django.engine.transition import Transition
from triggerflow_django.engine.work import Work

#: The verbs, and where their function lives; the engine calls each through its module or class.
VERBS: Final[dict[str, tuple[Any, str]]] = {
    "ensure": (start, "ensure"),
    "start": (start, "start"),
    "claim": (claim, "claim_found"),
    "commit": (commit, "complete"),
    "atomic": (Work, "run_atomic"),
    "fail": (fail, "attempt"),
    "renew": (heartbeat, "renew"),
    "decide": (decide, "decide"),
    "emit": (emit, "emit"),
    "write state": (emit, "write_state"),
    "seal": (lifecycle, "seal"),
    "unseal": (lifecycle, "unseal"),
    "close": (lifecycle, "request_close"),
    "cancel": (lifecycle, "cancel"),
    "abandon": (lifecycle, "abandon"),
    "retry": (retry, "retry"),
    "hand over": (hand_over, "hand_over"),
    "load": (restore, "restore"),
    "turn": (sweep, "sweep_in_turn"),
    "lost": (fail, "lost"),
    "deadline": (deadlines, "pass_deadline"),
    "auto_close": (lifecycle, "auto_close"),
    "force_close": (lifecycle, "force_close"),
    "delegate": (sub_flow, "delegate"),
    "cancel_below": (sub_flow, "cancel_below"),
    "ring for ready": (sweep, "ring_for_ready"),
    "ring": (wakeups, "ring"),
}
#: What writes a verb's rows, where that is not its transition.
_WRITERS: Final[dict[str, tuple[Any, str]]] = {"load": (restore._Restoring, "insert")}


class BoomError(RuntimeError):
    """An error nobody expects."""


@dataclass(frozen=True)
class Point:
    """Where a fault strikes. ``node``: only for steps of that node; of ``ring``: only inside of that verb."""

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
    connection.ensure_connection()
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


def freeze(link: Link) -> None:
    """Stand still; the test stops the process, lets two leases run out, continues it and tells it what time it is."""
    clock.set_offset(link.hear())


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
    "freeze": freeze,
    # What is done to Redis, the test does.
    "redis down": hold,
    "flushall": hold,
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
    if point.verb == "renew":
        beating, point = point.node, Point("renew", point.moment)
        _armed = lambda node: _beat(strike) if node == beating else None  # noqa: E731
    inside = threading.local()
    if point.verb == "ring":
        _wrap_verb(Point(point.node, ""), strike, inside)
        _wrap_verb(Point("ring", point.moment), strike, threading.local(), only_if=inside)
        return
    _wrap_verb(point, strike, inside)
    if point.moment == "written":
        _strike_after(*_WRITERS.get(point.verb, (Transition, "save")), strike, inside)
    elif point.moment == "committed":
        _strike_after(BaseDatabaseWrapper, "_commit", strike, inside)
        _strike_after(CursorWrapper, "_execute", strike, inside, if_=_is_a_commit)


class _Strike:
    """The fault, once."""

    def __init__(self, link: Link, fault: Callable[[Link], None]) -> None:
        self._link = link
        self._fault = fault
        self._has_struck = False
        self.is_over = threading.Event()

    def __call__(self) -> None:
        if self._has_struck:
            return
        self._has_struck = True
        self._link.say("reached")
        try:
            self._fault(self._link)
        finally:
            self.is_over.set()


def _beat(strike: _Strike) -> None:
    """Let this process's heart beat now, be struck, and beat once more."""
    real, renewed = heartbeat.renew, threading.Event()

    def renew(lease: heartbeat.Lease) -> int:
        has_struck = strike.is_over.is_set()
        held = real(lease)
        if has_struck:
            renewed.set()
        return held

    heartbeat.renew = renew
    deadline = time.monotonic() + PATIENCE
    heart = heartbeat.heartbeat
    while not renewed.wait(0.005):
        assert time.monotonic() < deadline, "the heart does not beat"
        with heart._wake:
            for lease in heart._leases.values():
                lease.next_beat = 0.0
            heart._wake.notify()


def _wrap_verb(
    point: Point, strike: _Strike, inside: threading.local, *, only_if: threading.local | None = None
) -> None:
    owner, name = VERBS[point.verb]
    real = getattr(owner, name)

    @functools.wraps(real)
    def verb(*arguments: Any, **options: Any) -> Any:
        if not _is_meant(point, arguments) or (only_if is not None and not getattr(only_if, "verb", False)):
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


def _is_meant(point: Point, arguments: tuple[Any, ...]) -> bool:
    subject = arguments[0] if arguments else None
    if isinstance(subject, list):  # of a claim: what was found
        subject = subject[0] if subject else None
        if subject is None:
            return False
    return not point.node or str(getattr(subject, "step", subject).node) == point.node


def _is_a_commit(cursor: CursorWrapper, sql: Any, *_rest: Any) -> bool:
    """Whether a statement was a transaction of its own."""
    return not cursor.db.in_atomic_block and str(sql).lstrip()[:6].upper() in ("UPDATE", "INSERT", "DELETE")


def _strike_after(
    owner: Any, name: str, strike: _Strike, inside: threading.local, *, if_: Callable[..., bool] = lambda *_: True
) -> None:
    real = getattr(owner, name)

    @functools.wraps(real)
    def method(self: Any, *arguments: Any) -> Any:
        result = real(self, *arguments)
        if getattr(inside, "verb", False) and if_(self, *arguments):
            strike()
        return result

    setattr(owner, name, method)
