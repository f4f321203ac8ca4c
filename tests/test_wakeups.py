"""Bells are rung after the commit or not at all, no more of them than are of use, and nobody suffers from Redis."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import transaction

from triggerflow_django import wakeups


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What is rung for: queue and steps."""
    found: list[tuple[str, int]] = []
    monkeypatch.setattr(wakeups, "ring", lambda queue, steps: found.append((queue, steps)))
    return found


@pytest.fixture
def lying(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The bells in a queue, without a Redis."""
    bells: list[str] = []
    queue = SimpleNamespace(key="key", connection=SimpleNamespace(llen=lambda _key: len(bells)))
    monkeypatch.setattr(wakeups, "bell_queue", functools.cache(lambda _name: queue))
    monkeypatch.setattr(wakeups, "push", lambda _queue, call: bells.append(call))
    return bells


@pytest.mark.django_db(transaction=True)
def test_nothing_is_rung_before_the_commit(rung: list[tuple[str, int]]) -> None:
    with transaction.atomic():
        wakeups.ring_after_commit({"quick": 1, "slow": 2}, using="default")
        assert rung == []
    assert rung == [("quick", 1), ("slow", 2)]


@pytest.mark.django_db(transaction=True)
def test_what_rolls_back_is_never_rung_for(rung: list[tuple[str, int]]) -> None:
    with transaction.atomic():
        wakeups.ring_after_commit({"quick": 1}, using="default")
        transaction.set_rollback(True)
    assert rung == []


@pytest.mark.django_db(transaction=True)
def test_an_error_while_ringing_reaches_neither_who_committed_nor_the_hooks_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called: list[str] = []

    def fails(*_arguments: Any) -> None:
        called.append("bell")
        raise RuntimeError("out of order")

    monkeypatch.setattr(wakeups, "ring", fails)
    with transaction.atomic():
        wakeups.ring_after_commit({"quick": 1}, using="default")
        transaction.on_commit(lambda: called.append("next"))
    assert called == ["bell", "next"]


@pytest.mark.once
def test_where_redis_fails_that_is_counted_and_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    @functools.cache
    def fails(_name: str) -> None:
        raise ConnectionError("nobody answers")

    monkeypatch.setattr(wakeups, "bell_queue", fails)
    before = wakeups.counts.failed
    assert wakeups.ring("quick", 1) == 0
    assert wakeups.counts.failed == before + 1


@pytest.mark.once
def test_no_more_bells_lie_there_than_the_setting_allows(lying: list[str], settings: Any) -> None:
    settings.TRIGGERFLOW = {"MAX_BELLS": 3}
    assert wakeups.ring("quick", 2) == 2
    assert wakeups.ring("quick", 2) == 1
    assert wakeups.ring("quick", 2) == 0
    assert lying == [wakeups.DRAIN] * 3


@pytest.mark.once
def test_if_silent_a_queue_with_a_bell_gets_no_other(lying: list[str]) -> None:
    assert wakeups.ring("quick", 1, if_silent=True) == 1
    assert wakeups.ring("quick", 1, if_silent=True) == 0
    assert lying == [wakeups.DRAIN]
