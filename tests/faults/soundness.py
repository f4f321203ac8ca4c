"""What must hold of an execution whatever happened to the processes that ran it."""

from __future__ import annotations

import uuid
from collections import Counter

from django.db.models import Count

from tests.engine.driving import consistent
from triggerflow_django.engine import clock
from triggerflow_django.models import Event, EventKind, Execution, Join, JoinStatus, Step, StepStatus


def sound(pk: uuid.UUID) -> Execution:
    """The execution, once its rows agree with each other and nothing happened twice."""
    execution = consistent(pk)
    steps = Step.objects.filter(execution_id=pk)
    assert not steps.filter(status=StepStatus.RUNNING, lease_expires_at__lte=clock.expression()).exists()
    # One place in the causal order, one step: also what makes idempotency keys unique.
    assert not steps.values("path").annotate(times=Count("id")).filter(times__gt=1).exists()
    # A join that fired twice would have run what follows twice.
    fired = Counter(Join.objects.filter(execution_id=pk, status=JoinStatus.FIRED).values_list("node", flat=True))
    for node, times in fired.items():
        assert steps.filter(source=f"fired:{node}").count() == times
    kinds = Counter(Event.objects.filter(execution_id=pk).values_list("kind", flat=True))
    assert kinds[EventKind.STARTED] == 1
    assert kinds[EventKind.CLOSED] + kinds[EventKind.CANCELLED] == (1 if execution.is_closed else 0)
    return execution


def steps_by_node(pk: uuid.UUID) -> dict[str, int]:
    """How many steps there are of each node, all of which must be done."""
    steps = Step.objects.filter(execution_id=pk)
    assert set(steps.values_list("status", flat=True)) == {StepStatus.DONE}
    return dict(Counter(steps.values_list("node", flat=True)))
