"""WHAT A CALLER HOLDS: ``TriggerFlow`` (a definition that can be started) and ``TriggerFlowExecution`` (the handle of a
row).

Each verb is written once, as a generator (``verbs``), and driven by a sync and an async trampoline.
"""

from triggerflow_django.handles.execution import TriggerFlowExecution
from triggerflow_django.handles.flow import TriggerFlow
from triggerflow_django.runtime import data

__all__ = ["TriggerFlow", "TriggerFlowExecution"]

data.handle_factory = TriggerFlow.attach
