"""What one run of a chunk did, in call order: emitted signals, state writes, and at most one pause.

Written by ``data`` while the chunk runs, read by the engine once it has returned. A chunk that raises leaves its
journal unread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from triggerflow_django import exceptions
from triggerflow_django.definition.graph import Source
from triggerflow_django.runtime.state import MISSING, StateChange, apply, apply_all, lookup

ResumeTo = Literal["next", "self", "event"]


@dataclass(frozen=True, slots=True)
class Emission:
    """A signal the chunk caused: an event it emitted or a state key it wrote."""

    source: Source
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A request for an outside answer, as ``pause_for`` checked it."""

    type: str
    payload: Any
    resume_to: ResumeTo
    resume_event: str
    interrupt_id: str | None
    max_resumes: int | None
    response_schema: Any
    approvers: list[str]
    exclude_starter: bool
    #: Seconds from the commit.
    due_in: float | None
    #: ``{"do": "overdue" | "fail" | "answer" | "event", ...}``
    on_due: dict[str, Any] | None


class PauseMarker(dict[str, Any]):
    """What ``pause_for`` returns; a chunk may return it or not."""


UNREAD: Final = object()


@dataclass(slots=True)
class Journal:
    """The record of one run of a chunk. ``load`` fetches the committed state the first time somebody looks at it."""

    load: Callable[[], dict[str, Any]]
    emissions: list[Emission] = field(default_factory=list)
    changes: list[StateChange] = field(default_factory=list)
    pause: Pause | None = None
    _view: Any = UNREAD

    def state(self) -> dict[str, Any]:
        """The state as this chunk sees it: what was committed when it began, and its own writes. Not a copy."""
        if self._view is UNREAD:
            self._view = apply_all(self.load(), self.changes)
        view: dict[str, Any] = self._view
        return view

    def emit(self, event: str, value: Any) -> None:
        """Record an emitted event."""
        self.emissions.append(Emission(("event", event), value))

    def write(self, change: StateChange, *, signal: bool) -> None:
        """Record a state write, and the signal it causes unless told not to. Deleting what is absent does nothing."""
        if change.op == "delete" and lookup(self.state(), change.key) is MISSING:
            return
        self.changes.append(change)
        if self._view is not UNREAD:
            self._view = apply(self._view, change)
        if not signal:
            return
        value = None if change.op == "delete" else change.value
        if change.op == "append":
            value = lookup(self.state(), change.key)
        self.emissions.append(Emission(("runtime_data", change.key), value))

    def set_pause(self, pause: Pause) -> None:
        """Record the pause.

        Raises: PauseError for a second one: one run of a chunk asks one question.
        """
        if self.pause is not None:
            raise exceptions.PauseError("this chunk has paused already; one run of a chunk asks one question")
        self.pause = pause
