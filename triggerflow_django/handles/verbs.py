"""What the handle's methods do, each written once: what is committed, what is drained, what is waited for.

Every function is a generator for ``trampoline``; ``handle`` is the ``TriggerFlowExecution`` it acts for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import time
from typing import TYPE_CHECKING, Any, Final

from django.db import connections

from triggerflow_django import exceptions
from triggerflow_django.engine import decide, emit, family, lifecycle, projection, retry, selects, start, sub_flow
from triggerflow_django.engine.calls import Db
from triggerflow_django.engine.transition import Carrier
from triggerflow_django.handles import trampoline
from triggerflow_django.handles.trampoline import Gather, Sleep, Verb
from triggerflow_django.models import Door, Execution, Step, StepStatus
from triggerflow_django.runtime import current
from triggerflow_django.runtime.state import StateChange

if TYPE_CHECKING:
    from triggerflow_django.handles.execution import TriggerFlowExecution

_FIRST_POLL: Final = 0.01
_LONGEST_POLL: Final = 0.25


def start_execution(handle: TriggerFlowExecution, value: Any) -> Verb[bool]:
    """Start and drain once.

    Returns whether this call started it; raises the first error of a step that failed for good.
    """
    carrier = _carrier(handle)
    began: bool = yield Db(lambda: _start(handle, value, carrier))
    yield from drained(handle, carrier)
    return began


def start_and_wait(handle: TriggerFlowExecution, value: Any) -> Verb[Any]:
    """``start``: the handle, or with auto_close the snapshot once it has closed (as long as an interrupt is pending,
    that takes).
    """
    if not handle.auto_close:
        yield from start_execution(handle, value)
        return handle
    refuse_waiting(handle, "start")
    yield from start_execution(handle, value)
    return (yield from until_closed(handle))


def start_hidden(handle: TriggerFlowExecution, value: Any) -> Verb[dict[str, Any]]:
    """``flow.start``: run to the end and close; nobody else holds this execution. An error leaves nothing open.

    A key may lead to the execution of another call: of ``flow.start``, then both end it and get one snapshot; or of one
    who holds a handle of it, then only once it is closed.

    Raises: the first error of a step that failed; NoHandleError where a chunk pauses; KeyConflictError.
    """
    own = handle.pk
    try:
        yield from start_execution(handle, value)
        row = yield from wait(handle, None)
        if row.interactive and not row.is_closed:
            raise exceptions.KeyConflictError(
                f"key {handle.new.key!r} belongs to execution {handle.id}, which flow.start() did not start and which "
                "is not closed; get it with flow.start_execution(..., key=...)"
            )
        if row.failed_steps:
            yield Db(lambda: _raise_stored_failure(handle))
    except BaseException:
        if handle.pk == own:
            yield Db(lambda: _abandon(handle))
        raise
    closing = close(handle, reason="start", timeout=None, seal=True, pending_interrupts="cancel", actor=None)
    snapshot: dict[str, Any] = yield from closing
    return snapshot


def answer(
    handle: TriggerFlowExecution,
    interrupt_id: str,
    payload: Any,
    *,
    request_id: str | None,
    actor: Any,
    comment: str,
) -> Verb[Any]:
    """``continue_with``: decide, then drain."""
    if handle.has_sub_flows:
        at, local = yield Db(lambda: projection.address(handle.pk, interrupt_id, handle.using))
        if at != handle.pk:
            from triggerflow_django.handles import sub_flows  # noqa: PLC0415 - verbs of its own, over these

            return (
                yield from sub_flows.answer(
                    handle, at, local, payload, request_id=request_id, actor=actor, comment=comment
                )
            )
    carrier = _carrier(handle)
    record: dict[str, Any] = yield Db(
        lambda: decide.decide(
            handle.pk,
            interrupt_id,
            payload,
            door=Door.CODE,
            using=handle.using,
            actor=actor,
            request_id=request_id,
            comment=comment,
            graph=handle.graph_for_routing,
            carrier=carrier,
        )
    )
    yield from drained(handle, carrier)
    return record


def emit_event(
    handle: TriggerFlowExecution, event: str, value: Any, actor: Any, *, drain: bool
) -> Verb[list[Any] | None]:
    """``emit``: commit the event, and drain.

    Returns what its handlers returned (inline), or ``None`` without handlers.
    """
    carrier = _carrier(handle) if drain else None
    steps: list[int] = yield Db(lambda: _emit(handle, event, value, actor, carrier))
    if not drain:
        return None
    return (yield from handled(handle, steps, carrier))


def handled(handle: TriggerFlowExecution, steps: list[int], carrier: Carrier | None = None) -> Verb[list[Any] | None]:
    """Drain, and give what the handlers of an event (``steps``) returned; ``None`` without any, or where workers run
    them.
    """
    yield from drained(handle, carrier)
    if not steps or not handle.runs_inline:
        return None
    rows = Step.objects.using(handle.using).filter(pk__in=steps).order_by("pk")
    outputs: list[Any] = yield Db(lambda: list(rows.values_list("output", flat=True)))
    return outputs


def change_state(handle: TriggerFlowExecution, change: StateChange, *, signal: bool) -> Verb[None]:
    """``set_state`` and its kin: commit, then drain what listens to the key."""

    def write() -> None:
        handle.ensure()
        emit.write_state(handle.pk, [change], using=handle.using, signal=signal, graph=handle.graph_for_routing)

    yield Db(write)
    yield from drained(handle)


def close(
    handle: TriggerFlowExecution, *, reason: str, timeout: float | None, seal: bool, pending_interrupts: str, actor: Any
) -> Verb[Any]:
    """``close``: ask, let active work end, and return the snapshot.

    Errors of work that ended meanwhile are raised after it closed.
    """
    refuse_waiting(handle, "close")

    def ask() -> bool:
        handle.ensure()
        return lifecycle.request_close(
            handle.pk,
            using=handle.using,
            reason=reason,
            timeout=timeout,
            seal=seal,
            pending_interrupts=pending_interrupts,
            actor=actor,
            graph=handle.graph_for_routing,
        )

    closed: bool = yield Db(ask)
    by = None if timeout is None else time.monotonic() + timeout
    failures: list[BaseException] = []
    polls = 0
    while not closed:
        left = None if by is None else max(0.0, by - time.monotonic())
        if left != 0.0:  # its time is over: nothing is begun any more, what is left will be cut
            failures += yield from drain(handle, seconds=left)
        row: Execution = yield Db(lambda: finish_due(handle))
        if not row.is_closed and not row.closing:
            raise exceptions.PendingInterruptsError(
                f"execution {handle.id} paused again while it was closing; it is open, answer its interrupts first"
            )
        closed = row.is_closed
        if not closed:
            if (yield Db(lambda: connections[handle.using].in_atomic_block)):
                return (
                    None  # in a transaction nobody else can bring the work to an end; it closes once that has happened
                )
            yield Sleep(pause(polls))
            polls += 1
    yield Gather(handle.background_drains, None if by is None else max(0.0, by - time.monotonic()))
    failures = handle.take_background_failures() + failures
    if failures:
        raise failures[0]
    return (yield Db(handle.read_snapshot))


def cancel(handle: TriggerFlowExecution, reason: str, actor: Any) -> Verb[Any]:
    """``cancel``: end it now; returns the snapshot."""

    def act() -> Any:
        handle.ensure()
        lifecycle.cancel(handle.pk, using=handle.using, reason=reason, actor=actor)
        return handle.read_snapshot()

    return (yield Db(act))


def retry_failed(handle: TriggerFlowExecution, step_id: int | None, reason: str, actor: Any) -> Verb[int]:
    """``retry``: make failed steps ready, then drain."""
    count: int = yield Db(
        lambda: retry.retry(
            handle.pk, using=handle.using, step_id=step_id, reason=reason, actor=actor, graph=handle.graph_for_routing
        )
    )
    yield from drained(handle)
    return count


def wait(handle: TriggerFlowExecution, timeout: float | None) -> Verb[Execution]:
    """``wait``: until nothing is active (idle, waiting or closed). Returns the row. Chunks that run here end first.

    Raises: WaitTimeoutError; the first error of a step that failed for good in this process meanwhile.
    """
    refuse_waiting(handle, "wait")
    deadline = None if timeout is None else time.monotonic() + timeout
    polls = 0
    row: Execution
    goes_on: bool
    while True:
        row, goes_on = yield Db(lambda: _look(handle))
        if not goes_on:
            return row
        if handle.runs_inline:
            yield from drained(handle, patient=timeout is None)
            row, goes_on = yield Db(lambda: _look(handle))
            if not goes_on:
                return row
        if (yield Db(lambda: connections[handle.using].in_atomic_block)):
            raise exceptions.WaitTimeoutError(
                f"execution {handle.id} has active steps that nobody can run while this transaction is open"
            )
        if deadline is not None and time.monotonic() >= deadline:
            raise exceptions.WaitTimeoutError(f"execution {handle.id} is still {row.status} after {timeout:g} s")
        yield Sleep(pause(polls))
        polls += 1


def until_closed(handle: TriggerFlowExecution) -> Verb[Any]:
    """Wait until it has closed by itself (or was closed by somebody); returns the snapshot."""
    polls = 0
    while True:
        row: Execution = yield Db(lambda: finish_due(handle))
        if row.is_closed:
            return row.snapshot
        if (yield Db(lambda: connections[handle.using].in_atomic_block)):
            raise exceptions.WaitTimeoutError(
                f"execution {handle.id} cannot close by itself while this transaction is open; use auto_close=False "
                "and close()"
            )
        yield from drained(handle)
        until_due = None if row.auto_close_at is None else (row.auto_close_at - row.db_now).total_seconds()  # type: ignore[attr-defined]
        nap = pause(polls)
        yield Sleep(nap if until_due is None else max(0.0, min(nap, until_due)))
        polls += 1


# -- draining


def _carrier(handle: TriggerFlowExecution) -> Carrier | None:
    """What lets a verb's own commit hand the next step to the drain that follows it; ``None`` where none does."""
    return None if not handle.runs_inline or current.is_inside(handle.id) else Carrier()


def drain(
    handle: TriggerFlowExecution,
    carrier: Carrier | None = None,
    *,
    seconds: float | None = None,
    patient: bool = True,
) -> Verb[list[BaseException]]:
    """Run what is ready, where this handle is the one to do it. Returns the errors of steps that failed for good.

    ``seconds``: stop after so long. ``patient``: also wait for retries that back off.
    """
    if not handle.runs_inline or current.is_inside(handle.id):
        return []
    operation = dataclasses.replace(handle.drain_operation(carrier), seconds=seconds)
    operation.drain.waits = patient
    failures: list[BaseException] = yield operation
    return failures


def drained(handle: TriggerFlowExecution, carrier: Carrier | None = None, *, patient: bool = True) -> Verb[None]:
    """Like ``drain``, but raise the first error."""
    failures = yield from drain(handle, carrier, patient=patient)
    if failures:
        raise failures[0]


# -- database functions


def _start(handle: TriggerFlowExecution, value: Any, carrier: Carrier | None) -> bool:
    is_fresh, handle.is_fresh = handle.is_fresh, False
    execution_id, began = start.start(handle.new, value, using=handle.using, is_fresh=is_fresh, carrier=carrier)
    if execution_id != handle.pk:
        handle.adopt(Execution.objects.using(handle.using).defer("input", "snapshot").get(pk=execution_id))
    return began


def _emit(handle: TriggerFlowExecution, event: str, value: Any, actor: Any, carrier: Carrier | None) -> list[int]:
    handle.ensure()
    return emit.emit(
        handle.pk, event, value, using=handle.using, actor=actor, graph=handle.graph_for_routing, carrier=carrier
    )


def finish_due(handle: TriggerFlowExecution) -> Execution:
    """Act on what is due of this execution (its sweep), and read its row."""
    row = _row(handle)
    now: dt.datetime = row.db_now  # type: ignore[attr-defined]
    acted = False
    if row.closing and row.close_by is not None and row.close_by <= now:
        acted = lifecycle.force_close(handle.pk, using=handle.using)
    elif row.auto_close_at is not None and row.auto_close_at <= now:
        acted = lifecycle.auto_close(handle.pk, using=handle.using)
    elif row.closing and row.active_steps and handle.has_sub_flows:
        acted = lifecycle.settle_close(handle.pk, using=handle.using)
    if row.cancels_sub_flows:
        sub_flow.cancel_below(handle.pk, using=handle.using)
    return _row(handle) if acted else row


def _look(handle: TriggerFlowExecution) -> tuple[Execution, bool]:
    """The row, and whether something goes on: a step is active, and not only for a sub flow that waits itself."""
    row = finish_due(handle)
    if not row.active_steps:
        return row, False
    return row, row.closing or not handle.has_sub_flows or family.is_busy(handle.pk, handle.using)


def _row(handle: TriggerFlowExecution) -> Execution:
    row = selects.EXECUTION.first(handle.using, pk=handle.pk)
    if row is None:
        raise exceptions.UnknownExecutionError(f"there is no execution {handle.id}")
    return row


def _raise_stored_failure(handle: TriggerFlowExecution) -> None:
    """Where others ran the steps, their errors are in the rows."""
    failed = (
        Step.objects.using(handle.using)
        .filter(execution_id=handle.pk, status=StepStatus.FAILED)
        .order_by("finished_at")
        .first()
    )
    if failed is not None:
        error = failed.error or {}
        kind = (
            exceptions.NoHandleError
            if str(error.get("type", "")).endswith(".NoHandleError")
            else exceptions.StepFailedError
        )
        raise kind(f"chunk {failed.node} failed: {error.get('type')}: {error.get('message')}")


def _abandon(handle: TriggerFlowExecution) -> None:
    """Nobody can hold the execution of a failed ``flow.start``: close it, failed steps and all."""
    with contextlib.suppress(exceptions.UnknownExecutionError):
        lifecycle.abandon(handle.pk, using=handle.using, reason="flow.start raised")


def refuse_waiting(handle: TriggerFlowExecution, name: str) -> None:
    """Refuse a call that would wait for the very chunk that makes it.

    Raises: SyncInLoopError; InsideChunkError.
    """
    if trampoline.stands_still(handle.pk):
        raise exceptions.SyncInLoopError(
            f"{name}() would block the event loop in which chunks of execution {handle.id} are running; "
            f"await async_{name}() instead"
        )
    if current.is_inside(handle.id):
        raise exceptions.InsideChunkError(
            f"{name}() was called by a chunk of execution {handle.id} itself and would wait for that very chunk"
        )


def pause(polls: int) -> float:
    """Seconds until a poll is repeated: longer each time."""
    return min(_FIRST_POLL * 1.5**polls, _LONGEST_POLL)
