"""What must hold: of every state, of every change, and in the end."""

from __future__ import annotations

from collections.abc import Callable

from states import ASK, BOOK, MAX_LOST, State

#: True of every state.
PROPERTIES: dict[str, Callable[[State], bool]] = {
    "a step's outcome is applied once": lambda s: max(s.applied) <= 1,
    "only the newest attempt's outcome is applied": lambda s: all(
        not count or by == step.attempt for count, by, step in zip(s.applied, s.by, s.steps, strict=True)
    ),
    "the gate is opened once": lambda s: len(s.opened) <= 1,
    "the gate is open if and only if there is a decision": lambda s: (s.gate == "resumed") == bool(s.decision),
    "the gate is opened in an open execution only": lambda s: all(lifecycle == "open" for lifecycle in s.opened),
    "what follows the gate is there only if it is open": lambda s: s.steps[BOOK].status == "-" or s.gate == "resumed",
    "a step is paused while its question waits, and no longer": lambda s: (
        (s.steps[ASK].status == "paused") == (s.gate == "waiting")
    ),
    "the counters count what there is": lambda s: (
        s.active == sum(step.status in ("ready", "running") for step in s.steps)
        and s.pending == (s.gate == "waiting")
        and s.failed == sum(step.status == "failed" for step in s.steps)
    ),
    "nothing goes on in a closed execution": lambda s: (
        s.lifecycle != "closed" or (not s.active and not s.pending and s.snapshot == s.applied)
    ),
    "an acknowledged decision is never lost": lambda s: all(
        told != "yes" or s.decision == f"decider {n}" for n, told in enumerate(s.deciders)
    ),
    "nobody is told no whose decision it is": lambda s: all(
        told != "no" or s.decision != f"decider {n}" for n, told in enumerate(s.deciders)
    ),
    "a step runs no more often than it may be lost": lambda s: max(step.attempt for step in s.steps) <= MAX_LOST,
}
#: True of every transition, from one state to the next.
PROPERTIES_OF_CHANGES: dict[str, Callable[[State, State], bool]] = {
    "a decision is never changed": lambda s, t: not s.decision or t.decision == s.decision,
    "a closed execution is never changed": lambda s, t: (
        s.lifecycle != "closed" or (t.lifecycle == "closed" and t.snapshot == s.snapshot)
    ),
}


def at_rest(s: State) -> bool:
    """An end: nothing is active, no close is under way, and no question waits unless the execution was sealed."""
    return not s.active and not s.closing and (s.gate != "waiting" or s.lifecycle == "sealed")
