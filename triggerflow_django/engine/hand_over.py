"""Hand an inline execution to RQ workers: an operator's act, recorded, where nobody holds the execution any more."""

from __future__ import annotations

import uuid
from typing import Any, Final

from triggerflow_django import exceptions
from triggerflow_django.definition import registry
from triggerflow_django.definition.graph import Graph
from triggerflow_django.engine import actor as actors
from triggerflow_django.engine import family, missing
from triggerflow_django.engine.transition import begin
from triggerflow_django.models import ACTIVE_STATUSES, EventKind, Execution, Lifecycle, Runner, Step, StepStatus

#: Steps that may run, or lead to one that does, without anybody retrying them.
_LIVE: Final = (*ACTIVE_STATUSES, StepStatus.PAUSED)


def hand_over(execution_id: uuid.UUID, *, using: str, actor: Any = None, reason: str = "") -> bool:
    """Let workers run an inline execution from here on: its live and failed steps get their chunks' queues, and workers
    are rung for what is ready. Returns whether this call did it (``False``: it was theirs already).

    Its open sub flows go with it, in transactions of their own. A step that the holding process runs at this moment
    stays its own until it ends or its lease does.

    Raises: UnknownExecutionError; ExecutionNotOpenError where it is closed; UnknownFlowError and MissingChunkError
    where workers with this process's code could not run it.
    """
    reason = actors.words(reason, root="reason")
    with begin(execution_id, using=using) as transition:
        execution = transition.execution
        if execution.is_closed:
            raise exceptions.ExecutionNotOpenError(
                f"execution {execution.id.hex} is closed ({execution.status}): handing over refused"
            )
        if execution.runner == Runner.RQ:
            return False
        graph = family.graph_of(execution, using=using) or registry.get(execution.flow_name).graph
        steps = Step.objects.using(using).filter(execution_id=execution.pk, status__in=(*_LIVE, StepStatus.FAILED))
        found = list(steps.only("kind", "node", "source", "status").order_by("pk"))
        lacking = sorted({missing.standing_on(step) for step in found if _is_stranded(step, graph)})
        if lacking:
            raise exceptions.MissingChunkError(
                f"execution {execution.id.hex} stands on {', '.join(map(repr, lacking))}, which flow "
                f"{execution.flow_name!r} as it is registered here does not have; it stays inline"
            )
        execution.runner = Runner.RQ
        transition.graph = graph
        for node in {step.node for step in found}:
            queue = transition.queue_of(node)
            steps.filter(node=node).update(queue=queue)
            ready = sum(step.node == node and step.status == StepStatus.READY for step in found)
            if ready:
                transition.woken[queue] += ready
        transition.add_event(
            EventKind.HANDED_OVER, actor=actors.of(actor), data={"reason": reason, "steps": len(found)}
        )
    waiting = [step.pk for step in found if step.status == StepStatus.DELEGATED]
    for child in Execution.objects.using(using).filter(parent_step_id__in=waiting).exclude(lifecycle=Lifecycle.CLOSED):
        hand_over(child.pk, using=using, actor=actor, reason=reason)
    return True


def _is_stranded(step: Step, graph: Graph) -> bool:
    return step.status in _LIVE and not missing.is_known(step, graph)
