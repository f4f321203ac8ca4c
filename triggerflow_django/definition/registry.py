"""The flows this process knows by name. The only way from a stored flow name to code: nothing is imported from data.

Filled at start-up: every ``TriggerFlow`` bound at module level of an app's ``flows.py``, and whatever ``register()`` is
given.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import TypeVar

from triggerflow_django import exceptions
from triggerflow_django.definition.flow import FlowDefinition

AnyFlow = TypeVar("AnyFlow", bound=FlowDefinition)

_flows: dict[str, FlowDefinition] = {}
_origins: dict[str, str] = {}
_duplicates: list[tuple[str, str, str]] = []


def register(flow: AnyFlow, *, origin: str = "register()") -> AnyFlow:
    """Make a flow known under its name to this process; returns it.

    A second flow under a name that is taken does not replace the first; a system check reports it (see ``duplicates``).
    """
    known = _flows.setdefault(flow.name, flow)
    if known is flow:
        _origins.setdefault(flow.name, origin)
    else:
        _duplicates.append((flow.name, _origins[flow.name], origin))
    return flow


def register_module(module: ModuleType) -> None:
    """Register every flow bound at the top level of a module."""
    seen: set[int] = set()
    for value in vars(module).values():
        if isinstance(value, FlowDefinition) and id(value) not in seen:
            seen.add(id(value))
            register(value, origin=module.__name__)


def unregister(name: str) -> None:
    """Forget a flow. For tests and for reloading code."""
    _flows.pop(name, None)
    _origins.pop(name, None)
    _duplicates[:] = [entry for entry in _duplicates if entry[0] != name]


def find(name: str) -> FlowDefinition | None:
    """The flow registered under a name, or ``None``."""
    return _flows.get(name)


def get(name: str) -> FlowDefinition:
    """The flow registered under a name.

    Raises: UnknownFlowError, naming what is registered.
    """
    flow = _flows.get(name)
    if flow is None:
        known = ", ".join(sorted(_flows)) or "none"
        raise exceptions.UnknownFlowError(
            f"no flow named {name!r} is registered here (registered: {known}); bind it at module level of an installed "
            "app's flows.py, or call triggerflow_django.register(flow)"
        )
    return flow


def is_registered(flow: FlowDefinition) -> bool:
    """Whether this very flow object is the one registered under its name."""
    return _flows.get(flow.name) is flow


def flows() -> Iterable[FlowDefinition]:
    """All registered flows, by name."""
    return [_flows[name] for name in sorted(_flows)]


def duplicates() -> list[tuple[str, str, str]]:
    """(name, where the registered one came from, where the refused one came from) for each name given twice."""
    return list(_duplicates)
