"""What there is in the model: the rows, the processes, the bells. See docs/model.md; the verbs are in verbs.py.

One execution of the flow ``ask -> gate -> book``: two workers, two deciders, a deadline, an operator, one sweeper, and
a queue of bells in Redis. A state is a tuple.
"""

from __future__ import annotations

from typing import NamedTuple

ASK, BOOK = 0, 1
NAMES = ("ask", "book")
#: A step that has lost its worker so often fails for good.
MAX_LOST = 2
#: Bells in the queue from which on none is added; a fault may add one more.
MAX_BELLS = 1


class Step(NamedTuple):
    """A row. ``attempt`` is counted at each claim, so it stands for the lease's token as well."""

    status: str  # - (not there), ready, running, paused, done, failed, cancelled
    attempt: int = 0
    lapsed: bool = False  # running, and its lease has expired
    lost: int = 0


class Worker(NamedTuple):
    """A process: what is here is gone when it crashes. ``step`` and ``attempt`` are what it read or claimed."""

    phase: str = "idle"  # idle, draining, found (a ready step), running
    step: int = ASK
    attempt: int = 0
    frozen: bool = False


class State(NamedTuple):
    """Everything there is."""

    steps: tuple[Step, Step] = (Step("ready"), Step("-"))
    gate: str = "-"  # - (not there), waiting, resumed, cancelled
    decision: str = ""
    overdue: bool = False
    lifecycle: str = "open"  # open, sealed, closed
    closing: str = ""  # the policy of a close that was asked for: error, cancel
    active: int = 1
    pending: int = 0
    failed: int = 0
    snapshot: tuple[int, ...] = ()
    workers: tuple[Worker, Worker] = (Worker(), Worker())
    deciders: tuple[str, str] = ("asks", "asks")  # asks, looked, rung, unheard (no answer came), yes, no
    found: tuple[int, int] | None = None  # the expired lease the sweeper has read and will act on
    bells: int = 0
    owed: int = 1  # bells of transactions that have committed and not yet rung: here the start's
    faults: int = 2
    requests: int = 2  # how often the operator may still act
    # For the properties only; the engine has nothing like it.
    applied: tuple[int, int] = (0, 0)  # how often each step's outcome was applied
    by: tuple[int, int] = (0, 0)  # the attempt whose outcome it was
    opened: tuple[str, ...] = ()  # the lifecycle in which the gate was opened, each time


def with_step(s: State, number: int, step: Step) -> State:
    """The state with another row for one step."""
    return s._replace(steps=(step, s.steps[1]) if number == ASK else (s.steps[0], step))


def applied(s: State, number: int, attempt: int) -> State:
    """The state with the outcome of an attempt written down."""
    times, by = list(s.applied), list(s.by)
    times[number] += 1
    by[number] = attempt
    return s._replace(applied=(times[0], times[1]), by=(by[0], by[1]))


def with_worker(s: State, number: int, worker: Worker) -> State:
    """The state with one worker elsewhere in its work."""
    return s._replace(workers=(worker, s.workers[1]) if number == 0 else (s.workers[0], worker))


def with_decider(s: State, number: int, told: str) -> State:
    """The state with one decider told something."""
    return s._replace(deciders=(told, s.deciders[1]) if number == 0 else (s.deciders[0], told))


def alike(s: State) -> State:
    """The one state that stands for all that differ only in which worker or decider is which."""
    if s.workers[1] < s.workers[0]:
        s = s._replace(workers=s.workers[::-1])
    mine, other = (((s.decision == f"decider {n}"), told) for n, told in enumerate(s.deciders))
    if other < mine:
        decision = {"decider 0": "decider 1", "decider 1": "decider 0"}.get(s.decision, s.decision)
        s = s._replace(deciders=s.deciders[::-1], decision=decision)
    return s
