"""What the handle of an execution shows of its sub flows, and does to them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from triggerflow_django import exceptions
from triggerflow_django.definition.graph import Graph
from triggerflow_django.engine import decide, emit, family, lifecycle, projection
from triggerflow_django.engine.calls import Db
from triggerflow_django.handles import verbs
from triggerflow_django.handles.part import HandlePart
from triggerflow_django.handles.trampoline import Verb
from triggerflow_django.models import Door, Execution, ExecutionStatus, Interrupt, InterruptStatus
from triggerflow_django.runtime.journal import PauseMarker

if TYPE_CHECKING:
    from triggerflow_django.handles.execution import TriggerFlowExecution


def graph_below(handle: TriggerFlowExecution, pk: uuid.UUID) -> Graph | None:
    """The graph of a sub flow, found from the handle's own. (A database function.)"""
    row = Execution.objects.using(handle.using).only("flow_name", "root_id", "parent_step_id").get(pk=pk)
    held = handle.graph_for_routing
    return family.graph_of(row, using=handle.using, known=lambda at: held if at == handle.pk else None)


def answer(
    handle: TriggerFlowExecution,
    at: uuid.UUID,
    interrupt_id: str,
    payload: Any,
    *,
    request_id: str | None,
    actor: Any,
    comment: str,
) -> Verb[Any]:
    """``continue_with`` for an interrupt of a sub flow: decide it there, then drain. Returns the child's result once
    that is closed, a pause marker where it waits again, and else (workers run it; the answer was given before) the
    interrupt's record.
    """
    frames = yield Db(lambda: projection.frames_between(handle.pk, at, handle.using))

    def act() -> tuple[dict[str, Any], bool]:
        rows = Interrupt.objects.using(handle.using).filter(execution_id=at, interrupt_id=interrupt_id)
        waited = rows.filter(status=InterruptStatus.WAITING).exists()
        record = decide.decide(
            at,
            interrupt_id,
            payload,
            door=Door.CODE,
            using=handle.using,
            actor=actor,
            request_id=request_id,
            comment=comment,
            graph=graph_below(handle, at),
        )
        return projection.projected(record, frames), waited

    record, waited = yield Db(act)
    yield from verbs.drained(handle)
    if not waited or not handle.runs_inline:
        return record
    return (yield Db(lambda: _outcome(handle, frames[0], record)))


def _outcome(handle: TriggerFlowExecution, frame: str, record: dict[str, Any]) -> Any:
    child = Execution.objects.using(handle.using).defer("input").get(pk=uuid.UUID(frame))
    if child.status == ExecutionStatus.COMPLETED:
        return child.snapshot
    for pending in projection.pending(handle.pk, handle.using).values():
        if pending.get("sub_flow_frame_id") == frame:
            return PauseMarker(pending)
    return record


class SubFlowMethods(HandlePart):
    """The part of the handle that is about sub flows. ``frame``: the id of a sub flow, which is its execution's id."""

    def get_sub_flow_frames(self) -> dict[str, dict[str, Any]]:
        """The sub flows it has started, by frame, oldest first: ``frame_id``, ``status``, ``child_execution_id``,
        ``child_flow_name``, ``parent_operator_id`` (the node), ...
        """
        frames: dict[str, dict[str, Any]] = self._read(projection.frames)
        return frames

    async def async_get_sub_flow_frames(self) -> dict[str, dict[str, Any]]:
        """See ``get_sub_flow_frames``."""
        frames: dict[str, dict[str, Any]] = await self._async_read(projection.frames)
        return frames

    def emit_to_sub_flow(self, frame: str, event: str, value: Any = None, *, actor: Any = None) -> list[Any] | None:
        """Emit an event into a sub flow. See ``emit``.

        Raises: UnknownSubFlowError (a KeyError); ExecutionNotOpenError (a RuntimeError) where it has ended.
        """
        results: list[Any] | None = self._sync(self._emit_below(frame, event, value, actor), "emit_to_sub_flow")
        return results

    async def async_emit_to_sub_flow(
        self, frame: str, event: str, value: Any = None, *, actor: Any = None
    ) -> list[Any] | None:
        """See ``emit_to_sub_flow``."""
        results: list[Any] | None = await self._async(self._emit_below(frame, event, value, actor))
        return results

    def cancel_sub_flow(self, frame: str, *, reason: str = "manual", actor: Any = None) -> bool:
        """Cancel a sub flow: the chain of this execution that waits for it stops there; the execution is not failed by
        it. Returns whether it was open.

        Raises: UnknownSubFlowError (a KeyError).
        """
        was_open: bool = self._sync(self._cancel_below(frame, reason, actor), "cancel_sub_flow")
        return was_open

    async def async_cancel_sub_flow(self, frame: str, *, reason: str = "manual", actor: Any = None) -> bool:
        """See ``cancel_sub_flow``."""
        was_open: bool = await self._async(self._cancel_below(frame, reason, actor))
        return was_open

    def _child(self, frame: str) -> uuid.UUID:
        child = projection.child_of(self.pk, frame, self.using)
        if child is None:
            raise exceptions.UnknownSubFlowError(f"execution {self.id} has no sub flow {frame!r}")
        return child

    def _emit_below(self, frame: str, event: str, value: Any, actor: Any) -> Verb[list[Any] | None]:
        def act() -> list[int]:
            child = self._child(frame)
            return emit.emit(child, event, value, using=self.using, actor=actor, graph=graph_below(self._whole, child))

        steps: list[int] = yield Db(act)
        return (yield from verbs.handled(self._whole, steps))

    def _cancel_below(self, frame: str, reason: str, actor: Any) -> Verb[bool]:
        def act() -> bool:
            return lifecycle.cancel(self._child(frame), using=self.using, reason=reason, actor=actor)

        was_open: bool = yield Db(act)
        yield from verbs.drained(self._whole)
        return was_open
