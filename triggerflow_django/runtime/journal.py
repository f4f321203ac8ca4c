"""What one run of a chunk did, in call order: emitted signals, state writes, and at most one pause.

Written by ``data`` while the chunk runs, read by the engine once it has returned. A chunk that raises leaves its
journal unread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
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
class Area:
    """Data a chunk may look at and change: the state, or the flow's. ``load`` fetches what is committed the first time
    somebody looks at it.
    """

    load: Callable[[], dict[str, Any]]
    changes: list[StateChange] = field(default_factory=list)
    _view: Any = UNREAD

    def read(self) -> dict[str, Any]:
        """As this chunk sees it: what was committed when it began, and its own writes. Not a copy."""
        if self._view is UNREAD:
            self._view = apply_all(self.load(), self.changes)
        view: dict[str, Any] = self._view
        return view

    def write(self, change: StateChange) -> bool:
        """Record a write. Returns whether it is one: deleting what is absent does nothing."""
        if change.op == "delete" and lookup(self.read(), change.key) is MISSING:
            return False
        self.changes.append(change)
        if self._view is not UNREAD:
            self._view = apply(self._view, change)
        return True

    def value_after(self, change: StateChange) -> Any:
        """What is under the key of a write once it has been made; ``None`` of what it deleted."""
        if change.op == "append":
            return lookup(self.read(), change.key)
        return None if change.op == "delete" else change.value


@dataclass(slots=True)
class Journal:
    """The record of one run of a chunk. ``load`` fetches the committed state, ``load_flow`` the flow's data."""

    load: InitVar[Callable[[], dict[str, Any]]]
    load_flow: InitVar[Callable[[], dict[str, Any]]] = dict
    emissions: list[Emission] = field(default_factory=list)
    pause: Pause | None = None
    #: What this step does to interventions (``interventions.Change``), and the records it has looked at.
    interventions: list[Any] = field(default_factory=list)
    seen_interventions: list[dict[str, Any]] | None = None
    _state: Area = field(init=False)
    _flow: Area = field(init=False)

    def __post_init__(self, load: Callable[[], dict[str, Any]], load_flow: Callable[[], dict[str, Any]]) -> None:
        self._state, self._flow = Area(load), Area(load_flow)

    @property
    def changes(self) -> list[StateChange]:
        """The writes to the state, in their order."""
        return self._state.changes

    @property
    def flow_changes(self) -> list[StateChange]:
        """The writes to the flow's data, in their order."""
        return self._flow.changes

    def state(self) -> dict[str, Any]:
        """The state as this chunk sees it. Not a copy."""
        return self._state.read()

    def flow_data(self) -> dict[str, Any]:
        """The flow's data as this chunk sees it. Not a copy."""
        return self._flow.read()

    def emit(self, event: str, value: Any) -> None:
        """Record an emitted event."""
        self.emissions.append(Emission(("event", event), value))

    def write(self, change: StateChange, *, signal: bool) -> None:
        """Record a state write, and the signal it causes unless told not to. Deleting what is absent does nothing."""
        self._write(self._state, "runtime_data", change, signal)

    def write_flow(self, change: StateChange, *, signal: bool) -> None:
        """Record a write to the flow's data; see ``write``."""
        self._write(self._flow, "flow_data", change, signal)

    def _write(self, area: Area, kind: str, change: StateChange, signal: bool) -> None:
        if area.write(change) and signal:
            self.emissions.append(Emission((kind, change.key), area.value_after(change)))

    def set_pause(self, pause: Pause) -> None:
        """Record the pause.

        Raises: PauseError for a second one: one run of a chunk asks one question.
        """
        if self.pause is not None:
            raise exceptions.PauseError("this chunk has paused already; one run of a chunk asks one question")
        self.pause = pause
