"""``data.execution`` where no handle runs the chunk: a worker finds it by id, in the database of the execution."""

from __future__ import annotations

from typing import Any

import pytest

from triggerflow_django import TriggerFlow, register
from triggerflow_django.definition import registry
from triggerflow_django.runtime import data as runtime_data
from triggerflow_django.runtime.data import Frame, TriggerFlowRuntimeData
from triggerflow_django.runtime.journal import Journal
from triggerflow_django.runtime.resources import Resources


def data_of_a_worker(execution_id: str, using: str) -> TriggerFlowRuntimeData:
    frame = Frame(
        execution_id=execution_id,
        using=using,
        node="chunk",
        source=("event", "START"),
        input=None,
        attempt=1,
        idempotency_key=f"{execution_id}:1",
        interactive=True,
        resume_count=0,
        resume=None,
        is_cancelled=lambda: False,
        resources=Resources({}),
    )
    return TriggerFlowRuntimeData(frame, Journal(dict))


@pytest.mark.django_db(transaction=True)
def test_it_is_found_by_its_id() -> None:
    flow = register(TriggerFlow("handles"))
    try:
        execution = flow.start_execution(auto_close=False)
        found = data_of_a_worker(execution.id, "default").execution
        assert (found.id, found.flow, found.using) == (execution.id, flow, "default")
        assert found.get_status() == "running"
    finally:
        registry.unregister("handles")


@pytest.mark.once
def test_it_is_looked_for_in_the_database_of_the_execution(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        runtime_data, "handle_factory", lambda execution_id, *, using: asked.append((execution_id, using))
    )
    data_of_a_worker("0" * 32, "second").execution  # noqa: B018 - the property looks
    assert asked == [("0" * 32, "second")]
