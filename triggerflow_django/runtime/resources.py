"""Live objects chunks need (clients, models, functions): never stored, given again by each process.

Looked up in this order: set in this execution's process, given to ``create_execution``, given to the flow, built by a
provider named in ``TRIGGERFLOW["RESOURCES"]`` (a callable without arguments, by dotted path; called once a process).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from triggerflow_django import conf

_MISSING: Final = object()
_built: dict[str, Any] = {}
_lock = threading.RLock()


def provided(name: str) -> Any:
    """The resource a setting's provider builds, built at its first use in this process; ``_MISSING`` where none is
    named.
    """
    path = conf.get_settings().RESOURCES.get(name)
    if path is None:
        return _MISSING
    with _lock:
        if path not in _built:
            _built[path] = import_string(path)()
        return _built[path]


def _forget(*, setting: str, **_kwargs: Any) -> None:
    if setting == "TRIGGERFLOW":
        with _lock:
            _built.clear()


setting_changed.connect(_forget)


class Resources(Mapping[str, Any]):
    """A chunk's view of the resources, most specific first."""

    def __init__(self, own: dict[str, Any], *outer: Mapping[str, Any]) -> None:
        self._own = own
        self._outer = outer

    def __getitem__(self, name: str) -> Any:
        value = self._find(name)
        if value is _MISSING:
            raise KeyError(
                f"no resource named {name!r}; give it to the flow, to create_execution or to TRIGGERFLOW['RESOURCES']"
            )
        return value

    # Mapping's own would take a provider's KeyError for a resource that is not there, and build one just to see.

    def get(self, name: str, default: Any = None) -> Any:
        """The resource, or the default where there is none of that name."""
        value = self._find(name)
        return default if value is _MISSING else value

    def __contains__(self, name: object) -> bool:
        return name in conf.get_settings().RESOURCES or any(name in layer for layer in (self._own, *self._outer))

    def _find(self, name: str) -> Any:
        for layer in (self._own, *self._outer):
            if name in layer:
                return layer[name]
        return provided(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def names(self) -> list[str]:
        """The names that can be looked up, sorted."""
        found = set(conf.get_settings().RESOURCES)
        for layer in (self._own, *self._outer):
            found.update(layer)
        return sorted(found)

    def set(self, name: str, value: Any) -> None:
        """Set a resource for this execution in this process."""
        self._own[name] = value
