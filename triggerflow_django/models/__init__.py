"""ROWS: the tables of design.md section 4. Fields, constraints, indexes; no transitions (those are in ``engine``)."""

from triggerflow_django.models.event import Event, EventKind
from triggerflow_django.models.execution import Execution, ExecutionStatus, Lifecycle, Runner, State, StreamStatus
from triggerflow_django.models.flow_data import FlowData
from triggerflow_django.models.interrupt import Decision, Door, Interrupt, InterruptStatus
from triggerflow_django.models.intervention import Intervention, InterventionMode, InterventionStatus
from triggerflow_django.models.join import Join, JoinPage, JoinSlot, JoinStatus
from triggerflow_django.models.step import ACTIVE_STATUSES, Step, StepKind, StepStatus
from triggerflow_django.models.stream import StreamItem, StreamItemKind
from triggerflow_django.models.sweep import SweepTurn

__all__ = [
    "ACTIVE_STATUSES",
    "Decision",
    "Door",
    "Event",
    "EventKind",
    "Execution",
    "ExecutionStatus",
    "FlowData",
    "Interrupt",
    "InterruptStatus",
    "Intervention",
    "InterventionMode",
    "InterventionStatus",
    "Join",
    "JoinPage",
    "JoinSlot",
    "JoinStatus",
    "Lifecycle",
    "Runner",
    "State",
    "Step",
    "StepKind",
    "StepStatus",
    "StreamItem",
    "StreamItemKind",
    "StreamStatus",
    "SweepTurn",
]
