"""Durable, pausable workflows with human approvals for Django.

The names below are looked up when they are first used, so that importing this package, or its pure parts, needs no
configured Django: ``from triggerflow_django import TriggerFlow`` belongs into an app's ``flows.py``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

__version__ = "0.1.0"

if TYPE_CHECKING:
    from triggerflow_django.approvals.policy import approver
    from triggerflow_django.definition.registry import register
    from triggerflow_django.exceptions import TriggerFlowError
    from triggerflow_django.handles.execution import TriggerFlowExecution
    from triggerflow_django.handles.flow import TriggerFlow
    from triggerflow_django.runtime.data import TriggerFlowEventData, TriggerFlowRuntimeData

_HOMES: Final = {
    "TriggerFlow": "handles",
    "TriggerFlowError": "exceptions",
    "TriggerFlowEventData": "runtime.data",
    "TriggerFlowExecution": "handles",
    "TriggerFlowRuntimeData": "runtime.data",
    "approver": "approvals.policy",
    "register": "definition.registry",
}

__all__ = [
    "TriggerFlow",
    "TriggerFlowError",
    "TriggerFlowEventData",
    "TriggerFlowExecution",
    "TriggerFlowRuntimeData",
    "approver",
    "register",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
