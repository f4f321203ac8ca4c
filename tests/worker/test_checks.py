"""What the system checks say about queues."""

from __future__ import annotations

from typing import Any

import pytest

from triggerflow_django import checks

JSON = "rq.serializers.JSONSerializer"


@pytest.fixture
def on_workers(settings: Any) -> Any:
    settings.TRIGGERFLOW = {"RUNNER": "rq"}
    settings.RQ_QUEUES = {name: {"URL": "redis://", "SERIALIZER": JSON} for name in ("triggerflow", "other")}
    return settings


def ids() -> list[str | None]:
    return [message.id for message in checks.check_queues(None)]


def test_queues_that_are_there_and_read_as_json_are_fine(on_workers: Any) -> None:
    assert ids() == []


def test_inline_projects_need_no_queue(settings: Any) -> None:
    settings.TRIGGERFLOW = {}
    settings.RQ_QUEUES = {}
    assert ids() == []


def test_a_missing_queue_is_named_with_who_uses_it(on_workers: Any) -> None:
    on_workers.RQ_QUEUES = {"triggerflow": {"SERIALIZER": JSON}}
    (message,) = checks.check_queues(None)
    assert message.id == "triggerflow.E010"
    assert "'other'" in message.msg
    assert "worker elsewhere" in message.msg


def test_a_queue_read_by_pickle_is_warned_about(on_workers: Any) -> None:
    on_workers.RQ_QUEUES = {"triggerflow": {}, "other": {"SERIALIZER": JSON}}
    assert ids() == ["triggerflow.W011"]


def test_a_pool_under_forking_workers_is_warned_about(on_workers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(on_workers.DATABASES["default"].setdefault("OPTIONS", {}), "pool", True)
    assert ids() == ["triggerflow.W012"]
