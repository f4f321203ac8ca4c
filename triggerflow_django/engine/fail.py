"""What becomes of a step that went wrong: ready again after a backoff, or failed for good (design.md 5.7).

A failed step stops only its own chain. Its error is stored as type, message and traceback; never with local variables.
"""

from __future__ import annotations

import random
import traceback
from typing import Any, Final

from django.db.models import F

from triggerflow_django import conf, exceptions, signals
from triggerflow_django.definition.chunk import ChunkOptions
from triggerflow_django.definition.graph import Graph
from triggerflow_django.engine import clock, effects, places, sub_flow
from triggerflow_django.engine.transition import begin
from triggerflow_django.models import Step, StepKind, StepStatus

_MESSAGE_LIMIT: Final = 10_000
_TRACEBACK_LIMIT: Final = 20_000


def describe(error: BaseException) -> dict[str, str]:
    """The stored form of an error: ``type``, ``message``, ``traceback``, as JSON-safe text. That of a sub flow is what
    the child has stored.
    """
    if isinstance(error, exceptions.SubFlowFailedError) and error.stored is not None:
        return error.stored
    frames = traceback.TracebackException.from_exception(error, capture_locals=False, limit=-30)
    text = "".join(frames.format())
    try:
        message = str(error)
    except Exception:
        message = "(its __str__ raised)"
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return {
        "type": _clean(name, 300),
        "message": _clean(message, _MESSAGE_LIMIT),
        "traceback": _clean(text[-_TRACEBACK_LIMIT:], _TRACEBACK_LIMIT),
    }


def _clean(text: str, limit: int) -> str:
    cleaned = text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()
    return cleaned[:limit]


def backoff_seconds(options: ChunkOptions, failures: int) -> float:
    """Seconds before the next attempt: exponential, jittered to 50-100 %, capped."""
    settings = conf.get_settings()
    base = options.backoff if options.backoff is not None else settings.RETRY_BACKOFF
    wait = min(base * 2.0 ** min(failures - 1, 40), settings.RETRY_BACKOFF_MAX)
    return wait * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret


def attempt(
    step: Step, error: BaseException, options: ChunkOptions, *, graph: Graph | None, using: str, retry: bool = True
) -> bool:
    """An attempt of a running step raised or timed out.

    Returns whether it failed for good (``False`` also when fenced).
    """
    failures = step.failures + 1
    if retry and failures <= options.retries:
        Step.objects.using(using).filter(
            pk=step.pk, lease_token=step.lease_token, attempt=step.attempt, status=StepStatus.RUNNING
        ).update(
            status=StepStatus.READY,
            failures=failures,
            error=describe(error),
            lease_expires_at=None,
            available_at=clock.expression(plus=backoff_seconds(options, failures)),
        )
        return False
    guard = {"status": StepStatus.RUNNING, "lease_token": step.lease_token, "attempt": step.attempt}
    return for_good(step, describe(error), using=using, failures=failures, graph=graph, **guard)


def missing(step: Step, error: BaseException, *, using: str) -> bool:
    """A ready step's code has been missing for longer than the grace."""
    return for_good(step, describe(error), using=using, failures=step.failures, status=StepStatus.READY)


def for_good(
    step: Step, error: dict[str, Any], *, using: str, failures: int, graph: Graph | None = None, **guard: Any
) -> bool:
    """Fail a step, if its row still is as ``guard`` says. Returns whether it did."""
    with begin(step.execution_id, using=using, graph=graph) as transition:
        done = (
            Step.objects.using(using)
            .filter(pk=step.pk, **guard)
            .update(
                status=StepStatus.FAILED,
                failures=failures,
                error=error,
                lease_expires_at=None,
                finished_at=transition.now,
            )
        )
        if not done:
            return False
        delegated = step.kind == StepKind.SUB_FLOW and sub_flow.after_failure(transition, step)
        execution = transition.execution
        execution.active_steps -= 1
        if not execution.skip_exceptions:
            execution.failed_steps += 1
        # Not the path alone: that is for what the step causes once it has been retried.
        transition.caused_by(f"{step.path}:failed:{execution.event_sequence}")
        kept = not delegated or step.held_by != places.YIELDED
        places.release(transition, step.scope, windows=not delegated, limits=kept)
        effects.apply(transition, (), cause=step)
        transition.notify(
            signals.step_failed,
            step_id=step.pk,
            node=step.node,
            error_type=error["type"],
            error_message=error["message"],
        )
    return True


def lost(step: Step, *, using: str) -> bool:
    """A running step's lease has expired: ready again, or failed after ``MAX_LOST``.

    Returns whether this call did it.
    """
    guard: dict[str, Any] = {
        "status": StepStatus.RUNNING,
        "lease_token": step.lease_token,
        "attempt": step.attempt,
        "lease_expires_at__lte": clock.expression(),
    }
    if step.lost + 1 >= conf.get_settings().MAX_LOST:
        error = {
            "type": "triggerflow_django.exceptions.LostStepError",
            "message": f"its worker died or vanished {step.lost + 1} times while it ran chunk {step.node!r}",
            "traceback": "",
        }
        return for_good(step, error, using=using, failures=step.failures, **guard)
    rows = Step.objects.using(using).filter(pk=step.pk, **guard)
    return bool(
        rows.update(status=StepStatus.READY, lost=F("lost") + 1, lease_expires_at=None, available_at=clock.expression())
    )
