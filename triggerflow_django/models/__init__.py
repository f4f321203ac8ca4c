"""ROWS: the tables of design.md section 4. Fields, constraints, indexes; no transitions (those are in ``engine``)."""

from triggerflow_django.models.event import Event, EventKind
from triggerflow_django.models.execution import Execution, ExecutionStatus, Lifecycle, Runner, State
from triggerflow_django.models.interrupt import Decision, Door, Interrupt, InterruptStatus
from triggerflow_django.models.join import Join, JoinSlot, JoinStatus
from triggerflow_django.models.step import ACTIVE_STATUSES, Step, StepKind, StepStatus
from triggerflow_django.models.sweep import SweepTurn

__all__ = [
    "ACTIVE_STATUSES",
    "Decision",
    "Door",
    "Event",
    "EventKind",
    "Execution",
    "ExecutionStatus",
    "Interrupt",
    "InterruptStatus",
    "Join",
    "JoinSlot",
    "JoinStatus",
    "Lifecycle",
    "Runner",
    "State",
    "Step",
    "StepKind",
    "StepStatus",
    "SweepTurn",
]
