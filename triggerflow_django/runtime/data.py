"""``TriggerFlowRuntimeData``: the one argument of every chunk and condition.

It works in memory: what a chunk writes, emits or asks is recorded and committed after it has returned, all or none. The
chunk reads its own writes at once. Every method that TriggerFlow has in two spellings has both here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from asgiref.sync import sync_to_async

from triggerflow_django import conf, exceptions, jsongate
from triggerflow_django.definition.contract import NOTHING, Contract
from triggerflow_django.definition.graph import Source
from triggerflow_django.runtime import bridge, pause, state
from triggerflow_django.runtime.flow_data import FlowDataMethods
from triggerflow_django.runtime.interventions import InterventionMethods
from triggerflow_django.runtime.journal import Journal, PauseMarker
from triggerflow_django.runtime.old_names import OldStateNames
from triggerflow_django.runtime.resources import Resources
from triggerflow_django.runtime.results import ResultMethods
from triggerflow_django.runtime.state import MISSING, StateChange
from triggerflow_django.runtime.stream import Stream, StreamMethods

#: Set by ``handles``: makes the handle of an execution by its id (hexadecimal) and its database's alias (``using=``).
#: Lower layers must not import it.
handle_factory: Callable[..., Any] | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """``data.resume``: the answer this run of the chunk receives. All ``None`` when it is not a resume."""

    interrupt_id: str | None = None
    value: Any = None
    interrupt: dict[str, Any] | None = None
    origin_signal: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The facts of one call, as the engine knows them before it."""

    execution_id: str
    #: The alias of its database.
    using: str
    node: str
    source: Source
    input: Any
    attempt: int
    idempotency_key: str
    interactive: bool
    resume_count: int
    resume: Resume | None
    is_cancelled: Callable[[], bool]
    interventions: Callable[[], list[dict[str, Any]]]
    resources: Resources
    #: What the flow has declared about its stream items and its result.
    contract: Contract = NOTHING
    #: The handle that runs this call; ``None`` where a worker does, which makes one by the execution's id.
    handle: Any = None
    #: Of a sub flow: the flow, which nobody may have registered.
    flow: Any = None
    #: Gives the stream of this run; ``None`` for conditions, which only look.
    stream: Callable[[], Stream] | None = None
    scope: tuple[tuple[str, str, str], ...] = field(default=())


class StateView:
    """``data.state``: the execution's state as a mapping, with ``set``, ``append`` and ``delete``."""

    def __init__(self, data: TriggerFlowRuntimeData) -> None:
        self._data = data

    def __getitem__(self, key: str) -> Any:
        value = state.lookup(self._data._journal.state(), state.check_key(key))
        if value is MISSING:
            raise KeyError(key)
        return state.detached(value)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and state.lookup(self._data._journal.state(), key) is not MISSING

    def __iter__(self) -> Iterator[str]:
        return iter(list(state.visible(self._data._journal.state())))

    def __len__(self) -> int:
        return len(state.visible(self._data._journal.state()))

    def keys(self) -> list[str]:
        """The top-level keys."""
        return list(self)

    def values(self) -> list[Any]:
        """Copies of the top-level values."""
        return [value for _key, value in self.items()]

    def items(self) -> list[tuple[str, Any]]:
        """Top-level keys with copies of their values."""
        return [(key, state.detached(value)) for key, value in state.visible(self._data._journal.state()).items()]

    def get(self, key: str, default: Any = None) -> Any:
        """A copy of the value under a dotted key, or the default."""
        return self._data.get_state(key, default)

    def set(self, key: str, value: Any, *, emit: bool = True) -> None:
        """See ``data.set_state``."""
        self._data.set_state(key, value, emit=emit)

    def append(self, key: str, value: Any, *, emit: bool = True) -> None:
        """See ``data.append_state``."""
        self._data.append_state(key, value, emit=emit)

    def delete(self, key: str, *, emit: bool = True) -> None:
        """See ``data.del_state``."""
        self._data.del_state(key, emit=emit)

    async def async_get(self, key: str, default: Any = None) -> Any:
        """See ``get``."""
        return self.get(key, default)

    async def async_set(self, key: str, value: Any, *, emit: bool = True) -> None:
        """See ``set``."""
        self.set(key, value, emit=emit)

    async def async_append(self, key: str, value: Any, *, emit: bool = True) -> None:
        """See ``append``."""
        self.append(key, value, emit=emit)

    async def async_delete(self, key: str, *, emit: bool = True) -> None:
        """See ``delete``."""
        self.delete(key, emit=emit)


class TriggerFlowRuntimeData(FlowDataMethods, InterventionMethods, OldStateNames, ResultMethods, StreamMethods):
    """What a chunk is given: its input, state, events, resources, and the means to pause."""

    def __init__(self, frame: Frame, journal: Journal) -> None:
        self._frame = frame
        self._journal = journal
        self.state = StateView(self)

    @property
    def _contract(self) -> Contract:
        return self._frame.contract

    @property
    def _stream(self) -> Callable[[], Stream] | None:
        return self._frame.stream

    def _read_interventions(self) -> list[dict[str, Any]]:
        return bridge.call(self._frame.interventions)

    # -- the signal

    @property
    def input(self) -> Any:
        """The value this step was given: what the chunk before it returned."""
        return self._frame.input

    value = input
    inputs = input

    @property
    def trigger_type(self) -> str:
        """What kind of signal it was: ``event``, ``runtime_data`` or ``flow_data``; ``event`` for a chunk before this
        one.
        """
        kind = self._frame.source[0]
        return kind if kind in ("runtime_data", "flow_data") else "event"

    type = trigger_type

    @property
    def trigger_event(self) -> str:
        """The event, the state key, or the node that finished."""
        return self._frame.source[1]

    event = trigger_event

    @property
    def signal_info(self) -> dict[str, Any]:
        """The signal as a dict: ``trigger_type``, ``trigger_event``, ``value``, ``layer_marks`` (the scope)."""
        return {
            "trigger_type": self.trigger_type,
            "trigger_event": self.trigger_event,
            "value": self.input,
            "layer_marks": [list(mark) for mark in self._frame.scope],
        }

    @property
    def execution_id(self) -> str:
        """The execution's id, hexadecimal."""
        return self._frame.execution_id

    @property
    def execution(self) -> Any:
        """The execution's handle, for reading. A call on it that would wait for this very chunk is refused."""
        if self._frame.handle is not None:
            return self._frame.handle
        if self._frame.flow is not None:
            return self._frame.flow.get_execution(self._frame.execution_id, using=self._frame.using)
        if handle_factory is None:
            raise RuntimeError("triggerflow_django is not set up: add it to INSTALLED_APPS and call django.setup()")
        return handle_factory(self._frame.execution_id, using=self._frame.using)

    # -- this attempt

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1. More than 1: an earlier one raised, timed out or lost its worker."""
        return self._frame.attempt

    @property
    def idempotency_key(self) -> str:
        """A key that is the same in every attempt of this step and in no other step: hand it to systems outside."""
        return self._frame.idempotency_key

    @property
    def is_resume(self) -> bool:
        """Whether this run answers this chunk's own ``pause_for(resume_to="self")``."""
        return self._frame.resume is not None

    @property
    def resume(self) -> Resume:
        """The answer, its interrupt and the signal that led to the question."""
        return self._frame.resume or Resume()

    def is_cancelled(self) -> bool:
        """Whether this step has lost its right to commit: the execution was cancelled or closed, or the step was taken
        over.

        Asks the database each time. A long chunk looks now and then and stops early; what it returns would be dropped
        anyway.
        """
        return bridge.call(self._frame.is_cancelled)

    async def async_is_cancelled(self) -> bool:
        """See ``is_cancelled``."""
        return await sync_to_async(self._frame.is_cancelled, thread_sensitive=True)()

    # -- state

    def get_state(self, key: str | None = None, default: Any = None) -> Any:
        """A copy of the value under a dotted key, or the default; without a key the whole state."""
        whole = self._journal.state()
        if key is None:
            return state.detached(state.visible(whole))
        value = state.lookup(whole, state.check_key(key))
        return default if value is MISSING else state.detached(value)

    def set_state(self, key: str, value: Any, *, emit: bool = True) -> None:
        """Set a dotted key; whatever was there is replaced. ``emit=False``: ``when({"runtime_data": key})`` does not
        fire.

        Raises: JsonValueError naming the path of what is not JSON.
        """
        checked = jsongate.check(value, limits=conf.get_settings().value_limits, root=f"state.{key}")
        self._journal.write(StateChange("set", state.check_key(key), checked), signal=emit)

    def append_state(self, key: str, value: Any, *, emit: bool = True) -> None:
        """Append to the list under a key; makes the list where there is none, ``[old, value]`` of anything else."""
        checked = jsongate.check(value, limits=conf.get_settings().value_limits, root=f"state.{key}")
        self._journal.write(StateChange("append", state.check_key(key), checked), signal=emit)

    def del_state(self, key: str, *, emit: bool = True) -> None:
        """Delete a key; nothing where it is absent."""
        self._journal.write(StateChange("delete", state.check_key(key)), signal=emit)

    async def async_get_state(self, key: str | None = None, default: Any = None) -> Any:
        """See ``get_state``."""
        return self.get_state(key, default)

    async def async_set_state(self, key: str, value: Any, *, emit: bool = True) -> None:
        """See ``set_state``."""
        self.set_state(key, value, emit=emit)

    async def async_append_state(self, key: str, value: Any, *, emit: bool = True) -> None:
        """See ``append_state``."""
        self.append_state(key, value, emit=emit)

    async def async_del_state(self, key: str, *, emit: bool = True) -> None:
        """See ``del_state``."""
        self.del_state(key, emit=emit)

    # -- events

    def emit(self, event: str, value: Any = None) -> None:
        """Emit an event in this execution. It takes effect when this chunk commits; the handlers run after that."""
        name = event_name(event)
        self._journal.emit(name, jsongate.check(value, limits=conf.get_settings().value_limits, root=f"event {name}"))

    async def async_emit(self, event: str, value: Any = None) -> None:
        """See ``emit``."""
        self.emit(event, value)

    def emit_nowait(self, event: str, value: Any = None) -> None:
        """The same as ``emit``: neither waits for the handlers."""
        self.emit(event, value)

    async def async_emit_nowait(self, event: str, value: Any = None) -> None:
        """See ``emit``."""
        self.emit(event, value)

    # -- resources

    @property
    def resources(self) -> Resources:
        """The resources as a mapping."""
        return self._frame.resources

    def get_resource(self, name: str, default: Any = None) -> Any:
        """A resource, or the default where there is none of that name."""
        return self._frame.resources.get(name, default)

    def require_resource(self, name: str) -> Any:
        """A resource.

        Raises: KeyError where there is none of that name.
        """
        return self._frame.resources[name]

    def set_resource(self, name: str, value: Any) -> None:
        """Set a resource for this execution, in this process only."""
        self._frame.resources.set(name, value)

    async def async_set_resource(self, name: str, value: Any) -> None:
        """See ``set_resource``."""
        self.set_resource(name, value)

    # -- pausing

    def pause_for(
        self,
        *,
        type: str = "pause",
        payload: Any = None,
        resume_to: Literal["next", "self"] | dict[str, str] | None = None,
        resume_event: str | None = None,
        interrupt_id: str | None = None,
        max_resumes: int | None = 1,
        response_schema: dict[str, Any] | bool | None = None,
        approvers: Any = None,
        exclude_starter: bool = False,
        due_in: float | dt.timedelta | None = None,
        on_due: Any = None,
    ) -> PauseMarker:
        """Ask for an answer from outside and stop this chain until it comes. Return the result (not needed, but it
        reads well).

        ``resume_to``: ``"next"`` (the answer becomes this chunk's output), ``"self"`` (this chunk runs again with
        ``data.resume``; at most ``max_resumes`` times in a row), ``{"event": name}`` (the answer is emitted).
        ``resume_event=name``: an emitted event of that name answers too. ``response_schema``: JSON Schema 2020-12 the
        answer must match. ``approvers``: users, groups, permissions or registered callables of whom one decides;
        ``exclude_starter``: but not who started the execution. ``due_in``: seconds or timedelta; ``on_due``:
        ``"overdue"`` (default), ``"fail"``, ``{"answer": value}`` or ``{"event": name, "value": value}``.

        Raises: ValueError subclasses for arguments with which the gate could not open; NoHandleError (a RuntimeError)
        in ``flow.start()``; MaxResumesError (a RuntimeError).
        """
        if not self._frame.interactive:
            raise exceptions.NoHandleError(
                f"chunk {self._frame.node} paused, but flow.start() gives nobody a handle to answer with; "
                "use flow.create_execution(...) or flow.start_execution(...)"
            )
        request = pause.check(
            type=type,
            payload=payload,
            resume_to=resume_to,
            resume_event=resume_event,
            interrupt_id=interrupt_id,
            max_resumes=max_resumes,
            response_schema=response_schema,
            approvers=approvers,
            exclude_starter=exclude_starter,
            due_in=due_in,
            on_due=on_due,
        )
        count, limit = self._frame.resume_count, request.max_resumes
        if request.resume_to == "self" and limit is not None and count >= limit:
            raise exceptions.MaxResumesError(
                f"chunk {self._frame.node} has resumed itself {count} times, max_resumes={limit}; "
                "pass max_resumes=None or a higher number if it should ask again"
            )
        self._journal.set_pause(request)
        return PauseMarker(
            type=request.type, payload=request.payload, interrupt_id=request.interrupt_id, status="waiting"
        )

    async def async_pause_for(self, **arguments: Any) -> PauseMarker:
        """See ``pause_for``."""
        return self.pause_for(**arguments)

    # -- the execution's other interrupts

    def get_pending_interrupts(self) -> dict[str, dict[str, Any]]:
        """Copies of the execution's waiting interrupts as committed, by id."""
        interrupts: dict[str, dict[str, Any]] = self.execution.get_pending_interrupts()
        return interrupts

    async def async_get_pending_interrupts(self) -> dict[str, dict[str, Any]]:
        """See ``get_pending_interrupts``."""
        interrupts: dict[str, dict[str, Any]] = await self.execution.async_get_pending_interrupts()
        return interrupts

    def get_interrupt(self, interrupt_id: str) -> dict[str, Any] | None:
        """A copy of one of the execution's interrupts as committed, or ``None``."""
        record: dict[str, Any] | None = self.execution.get_interrupt(interrupt_id)
        return record

    async def async_get_interrupt(self, interrupt_id: str) -> dict[str, Any] | None:
        """See ``get_interrupt``."""
        record: dict[str, Any] | None = await self.execution.async_get_interrupt(interrupt_id)
        return record

    def continue_with(self, interrupt_id: str, payload: Any = None, **options: Any) -> Any:
        """Answer another interrupt of this execution; commits at once, on its own.

        See the handle's ``continue_with``.
        """
        return self.execution.continue_with(interrupt_id, payload, **options)

    async def async_continue_with(self, interrupt_id: str, payload: Any = None, **options: Any) -> Any:
        """See ``continue_with``."""
        return await self.execution.async_continue_with(interrupt_id, payload, **options)


def event_name(event: object) -> str:
    """A usable event name.

    Raises: JsonValueError.
    """
    if not isinstance(event, str) or not jsongate.is_name(event):
        raise exceptions.JsonValueError(f"event name {event!r}: give a text of 1 to 200 characters")
    return event


TriggerFlowEventData = TriggerFlowRuntimeData
