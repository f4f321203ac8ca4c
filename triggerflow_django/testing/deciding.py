"""``decide``: answer a waiting interrupt as a user would, and let what follows happen."""

from __future__ import annotations

from typing import Any

from triggerflow_django.engine import decide as gate
from triggerflow_django.handles import TriggerFlowExecution, reading
from triggerflow_django.models import Door
from triggerflow_django.testing import report
from triggerflow_django.testing.idle import require_no_loop, run_until_idle
from triggerflow_django.testing.targets import Target, handle_of


def decide(
    execution: Target,
    answer: Any,
    *,
    as_user: Any = None,
    interrupt_id: str | None = None,
    type: str | None = None,
    comment: str = "",
    request_id: str | None = None,
    door: Door | str = Door.CODE,
    using: str | None = None,
    raise_errors: bool = True,
) -> dict[str, Any]:
    """Answer an interrupt of an execution through ``engine.decide``, then ``run_until_idle(execution)``.

    Which one: that of ``interrupt_id``; else the only one that waits, or the only one of that ``type``. ``as_user``:
    the deciding user, to whom the interrupt's policy applies as at any door; without one the test is trusted code.
    ``door``: through which door the answer is recorded to have come. Returns the interrupt's record, ``status``
    ``resumed``.

    Raises: AssertionError where none waits or more than one does; what ``engine.decide`` raises (DecisionRefusedError,
    AnswerSchemaError, UnknownInterruptError, InterruptNotWaitingError, ...), with nothing changed then; what
    ``run_until_idle`` raises, the decision standing. ValueError where both ``interrupt_id`` and ``type`` are given.
    """
    require_no_loop("decide")
    if interrupt_id is not None and type is not None:
        raise ValueError("interrupt_id= and type= both choose the interrupt: give one of them")
    handle = handle_of(execution, using)
    record = gate.decide(
        handle.pk,
        _only_waiting(handle, type) if interrupt_id is None else interrupt_id,
        answer,
        door=Door(door),
        using=handle.using,
        actor=as_user,
        request_id=request_id,
        comment=comment,
        graph=handle.graph_for_routing,
    )
    run_until_idle(handle, raise_errors=raise_errors)
    return record


def _only_waiting(handle: TriggerFlowExecution, type: str | None) -> str:
    pending = reading.pending_interrupts(handle.pk, handle.using)
    found = [interrupt_id for interrupt_id, record in pending.items() if type in (None, record["type"])]
    if len(found) == 1:
        return found[0]
    wanted = "" if type is None else f" of type {type!r}"
    if found:
        told = f"{len(found)} interrupts{wanted} wait; say which one to decide with "
        told += "interrupt_id=" if type is not None else "type= or interrupt_id="
    else:
        told = f"no interrupt{wanted} waits, so there is nothing to decide"
    raise AssertionError(f"{told}\n{report.describe(handle.pk, handle.using)}")
