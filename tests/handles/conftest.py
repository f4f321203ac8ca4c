"""Flows that other processes could find, for the length of a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from triggerflow_django import TriggerFlow, register
from triggerflow_django.definition import registry


@pytest.fixture
def registered() -> Iterator[Callable[[TriggerFlow], TriggerFlow]]:
    """Register a flow; forgotten again after the test."""
    names: list[str] = []

    def _register(flow: TriggerFlow) -> TriggerFlow:
        assert registry.find(flow.name) is None, "another test forgot to unregister its flow"
        names.append(flow.name)
        return register(flow)

    yield _register
    for name in names:
        registry.unregister(name)
