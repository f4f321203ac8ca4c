"""Streams of sub flows are kept in that of the outermost execution: in order, and no longer than that."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from triggerflow_django import TriggerFlow
from triggerflow_django.engine.sweep import sweep
from triggerflow_django.models import Execution, StreamItem, StreamStatus
from triggerflow_django.testing import travel

pytestmark = pytest.mark.django_db(transaction=True)


def nested(chunk: Any) -> TriggerFlow:
    """An outer flow of which only the inner one has a chunk."""
    inner = TriggerFlow(name="inner stream")
    inner.to(chunk)
    outer = TriggerFlow(name="outer stream")
    outer.to_sub_flow(inner, name="child")
    return outer


def test_items_that_could_only_be_written_with_the_commit_are_deleted_in_time_too() -> None:
    with transaction.atomic():  # nobody else could write here
        execution = nested(lambda data: data.put("said")).start_execution(auto_close=False)
        execution.close()
    assert StreamItem.objects.filter(root_id=execution.pk).count() == 1
    assert set(Execution.objects.values_list("stream", flat=True)) == {StreamStatus.KEPT}
    with travel(days=8):
        sweep(using="default")
    assert not StreamItem.objects.exists()
    assert set(Execution.objects.values_list("stream", flat=True)) == {StreamStatus.EXPIRED}


def test_the_question_of_a_child_comes_where_it_was_asked() -> None:
    outer = TriggerFlow(name="outer stream")
    inner = TriggerFlow(name="inner stream")
    inner.to(lambda data: data.pause_for(interrupt_id="gate"), name="silent")
    outer.to(lambda data: data.put("first"), name="says").to_sub_flow(inner, name="child")
    outer.when("go").to(lambda data: data.put("last"), name="says more")
    execution = outer.start_execution(auto_close=False)
    execution.emit("go")
    execution.cancel()
    told = [item if isinstance(item, str) else item["action"] for item in execution.get_runtime_stream(timeout=5)]
    assert told == ["first", "pause", "last"]
