"""Start a sub flow, take up its end, and cancel the sub flows of what was closed (design.md 5.14).

A child is an execution of its own. It is inserted by the commit that makes its parent's step ``delegated``, so there is
never one without the other; the commit that closes it makes that step ready again, by a conditional update of that one
row (children only ever reach up, so no two transactions can wait for each other). Downwards nothing is locked:
executions below a closed one are cancelled by transactions of their own, from a mark in the closed row that stays until
that is done.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from triggerflow_django import conf, jsongate
from triggerflow_django.definition.graph import Graph
from triggerflow_django.definition.sub_flow import SubFlow
from triggerflow_django.engine import actor as actors
from triggerflow_django.engine import commit, effects, family, flow_data, intervene, lifecycle, places, start
from triggerflow_django.engine.actor import rule
from triggerflow_django.engine.transition import Transition, begin, path_digest
from triggerflow_django.models import (
    EventKind,
    Execution,
    ExecutionStatus,
    Lifecycle,
    Runner,
    Step,
    StepStatus,
    StreamStatus,
)
from triggerflow_django.runtime.state import StateChange


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """What a child is started with."""

    input: Any
    state: Sequence[StateChange] = ()
    flow_data: Sequence[StateChange] = ()


def child_id(step: Step) -> uuid.UUID:
    """The id of the child a step runs: a UUIDv7 that follows from the step's place, so that a repeated attempt finds
    the child it has started before.
    """
    digest = hashlib.sha256(f"{step.execution_id}:{step.path}".encode()).digest()
    milliseconds = int(step.created_at.timestamp() * 1000)
    number = (milliseconds & (2**48 - 1)) << 80 | int.from_bytes(digest[:10], "big")
    number = number & ~(0xF << 76) | 7 << 76
    return uuid.UUID(int=number & ~(0x3 << 62) | 2 << 62)


def child_of(step: Step, *, using: str) -> Execution | None:
    """The child a step has started, if it has."""
    return Execution.objects.using(using).defer("input").filter(pk=child_id(step)).first()


def checked_input(sub_flow: SubFlow, value: Any) -> Any:
    """A child's input, as its contract and the JSON gate let it through.

    Raises: ContractError; JsonValueError.
    """
    value = sub_flow.flow.graph.contract.checked("initial_input", value)
    return jsongate.check(value, limits=conf.get_settings().value_limits, root=f"input of {sub_flow.id}")


def delegate(
    step: Step, sub_flow: SubFlow, captured: Captured, *, graph: Graph, tokens: Iterator[str], using: str
) -> commit.Committed:
    """Start the child of a running step; the step waits for it without a lease. All in one commit.

    Raises: FencedError.
    """
    with begin(step.execution_id, using=using, graph=graph, exact=True) as transition:
        commit.require_not_cut_off(transition)
        commit.leave_running(transition, step, StepStatus.DELEGATED)
        transition.execution.flow_fingerprint = graph.fingerprint
        pk = child_id(step)
        if not Execution.objects.using(using).filter(pk=pk).exists():
            _start_child(transition, step, sub_flow, captured, pk)
            transition.add_event(
                EventKind.SUB_FLOW_STARTED,
                name=step.node,
                data={"step": step.pk, "execution": pk.hex, "flow": sub_flow.flow.name},
            )
        transition.caused_by(f"{step.path}:delegated", tokens)
        # Items of a loop without a limit do not wait for one another: its window bounds a commit, not the children.
        places.release(transition, step.scope, limits=False)
        effects.apply(transition, (), cause=step)
    return commit.Committed()


def _start_child(transition: Transition, step: Step, sub_flow: SubFlow, captured: Captured, pk: uuid.UUID) -> None:
    parent, using, flow = transition.execution, transition.using, sub_flow.flow
    new = start.NewExecution(
        id=pk,
        flow_name=flow.name,
        graph=flow.graph,
        runner=Runner(parent.runner),
        interactive=parent.interactive,
        skip_exceptions=flow.skip_exceptions,
        auto_close=False,
        auto_close_timeout=None,
        intervention_mode="planned" if intervene.has_points(flow.graph) else "",
        concurrency=sub_flow.concurrency,
        started_by=actors.Actor(parent.started_by_id, parent.started_by_label),
        reason=f"sub flow {step.node} of {parent.id.hex}"[:200],
        parent=start.Parent(
            step_id=step.pk,
            root_id=parent.root_id or parent.pk,
            subject_type_id=parent.subject_type_id,
            subject_id=parent.subject_id,
            is_streamed=parent.stream == StreamStatus.KEPT,
        ),
    )
    start.start_child(new, captured.input, captured.state, using=using)
    if captured.flow_data:
        flow_data.write(flow.name, captured.flow_data, using=using)


def end_cancelled(step: Step, child: Execution, *, graph: Graph, tokens: Iterator[str], using: str) -> commit.Committed:
    """The child was cancelled: its parent's step is, too, and its chain stops there.

    Raises: FencedError.
    """
    with begin(step.execution_id, using=using, graph=graph, exact=True) as transition:
        commit.require_not_cut_off(transition)
        commit.leave_running(transition, step, StepStatus.CANCELLED, finished_at=transition.now)
        execution = transition.execution
        execution.flow_fingerprint = graph.fingerprint
        execution.active_steps -= 1
        transition.add_event(EventKind.SUB_FLOW_ENDED, name=step.node, data=ended(step, child))
        transition.caused_by(f"{step.path}:cancelled", tokens)
        places.release(transition, step.scope, windows=False, limits=step.held_by != places.YIELDED)
        effects.apply(transition, (), cause=step)
    return commit.Committed(is_idle=execution.active_steps == 0 and execution.root_id is None)


def ended(step: Step, child: Execution) -> dict[str, Any]:
    """What history says of a child's end."""
    return {"step": step.pk, "execution": child.id.hex, "flow": child.flow_name, "status": str(child.status)}


def after_failure(transition: Transition, step: Step) -> bool:
    """A step of kind ``sub_flow`` has failed for good. Returns whether it had started a child.

    Where the child failed the step gets another place in the causal order, so that retrying it starts a fresh child.
    One whose child had completed, so that only taking up its result failed, keeps it.
    """
    child = child_of(step, using=transition.using)
    if child is None:
        return False
    transition.add_event(EventKind.SUB_FLOW_ENDED, name=step.node, data=ended(step, child))
    if child.status != ExecutionStatus.COMPLETED:
        path = path_digest(f"{step.path}:again:{transition.execution.event_sequence}")
        Step.objects.using(transition.using).filter(pk=step.pk).update(path=path)
    return True


# -- while it waits


def yield_places(pk: uuid.UUID, *, using: str) -> None:
    """Nothing of a child runs, it only waits for answers: the step of its parent gives back its places, so that an
    approval that takes weeks keeps nobody out. It does not take them again when the child goes on. The same where the
    parent only waits, too.
    """
    for ancestor in family.ancestors(pk, using):
        if family.is_busy(pk, using):
            return
        parent = Execution.objects.using(using).filter(pk=pk).values("parent_step_id")
        waiting = Step.objects.using(using).filter(pk__in=parent, status=StepStatus.DELEGATED, held_by="")
        step = waiting.only("scope", "path").first()
        if step is not None and step.scope:
            with begin(ancestor.id, using=using) as transition:
                if waiting.update(held_by=places.YIELDED):
                    transition.caused_by(f"{step.path}:yielded")
                    places.release(transition, step.scope, windows=False)
                    effects.apply(transition, (), cause=step)
        pk = ancestor.id


# -- what is closed from above


def cancel_below(pk: uuid.UUID, *, using: str) -> bool:
    """Cancel the sub flows of an execution that was closed while steps waited for them; each cancels its own. Returns
    whether there was anything to do. Done once more, it does nothing.
    """
    waiting = family.children(pk, using).exclude(lifecycle=Lifecycle.CLOSED)
    for child in list(waiting.values_list("pk", flat=True)):
        lifecycle.cancel(child, using=using, reason="cancelled with its parent", actor=rule("sub_flow"))
    marked = Execution.objects.using(using).filter(pk=pk, cancels_sub_flows=True)
    return bool(marked.update(cancels_sub_flows=False))


def cancel_cut_off(pk: uuid.UUID, *, using: str) -> bool:
    """Cancel an execution if one above it is closed. Returns whether that is so."""
    if not family.is_cut_off(pk, using=using):
        return False
    lifecycle.cancel(pk, using=using, reason="cancelled with its parent", actor=rule("sub_flow"))
    return True
