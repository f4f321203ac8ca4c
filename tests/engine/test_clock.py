"""The clock: the database's, the only source of now, moved by tests as a whole."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

import triggerflow_django
from tests.engine import driving
from triggerflow_django import TriggerFlow
from triggerflow_django.engine import claim, clock
from triggerflow_django.models import Step

pytestmark = pytest.mark.django_db

Travel = Callable[[float], None]


@pytest.fixture
def flow() -> TriggerFlow:
    flow = TriggerFlow(name="lines")
    flow.for_each().to(driving.nothing(), name="line").end_for_each()
    return flow


@pytest.mark.django_db(transaction=True)
def test_the_clock_is_the_database_s_and_goes_on_within_a_transaction() -> None:
    with transaction.atomic():
        first = clock.read("default")
        tries = 100_000
        while clock.read("default") == first and tries:
            tries -= 1
        assert clock.read("default") > first


def test_the_clock_moves_expressions_and_readings_alike(flow: TriggerFlow, travel: Travel) -> None:
    pk = driving.start(flow, [1])
    now = clock.read("default")
    travel(86_400)
    assert 86_399 < (clock.read("default") - now).total_seconds() < 86_460
    (step,) = driving.claim(pk, flow)
    assert step.started_at > now
    assert (step.started_at - now).total_seconds() > 86_399
    assert 59 < (step.lease_expires_at - step.started_at).total_seconds() < 61


def test_the_bound_of_a_search_is_now_wherever_the_clock_stands(flow: TriggerFlow, travel: Travel) -> None:
    pk = driving.start(flow, [1])
    assert Step.objects.filter(execution_id=pk, available_at__lte=clock.bound()).exists()
    travel(-60)
    assert not Step.objects.filter(execution_id=pk, available_at__lte=clock.bound()).exists()
    travel(120)
    assert Step.objects.filter(execution_id=pk, available_at__lte=clock.bound()).exists()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="asks PostgreSQL's planner")
def test_an_index_is_searched_up_to_the_bound_and_no_further() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
    due = Step.objects.filter(status="ready", queue="triggerflow").order_by("available_at", "pk")
    assert "available_at <= (InitPlan" in due.filter(available_at__lte=clock.bound()).explain().split("Filter:")[0]
    # The mere function is asked again for every entry.
    assert "Filter: (available_at <=" in due.filter(available_at__lte=clock.expression()).explain()


def test_times_are_of_the_kind_the_project_uses(flow: TriggerFlow, settings: Any) -> None:
    assert clock.read("default").tzinfo is not None
    settings.USE_TZ = False
    assert clock.read("default").tzinfo is None


def test_a_process_whose_own_clock_is_wrong_makes_no_difference(
    flow: TriggerFlow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leases and due times compare in database time, so that machines need not agree."""
    long_ago = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)
    monkeypatch.setattr("django.utils.timezone.now", lambda: long_ago)
    monkeypatch.setattr("time.time", long_ago.timestamp)
    pk = driving.start(flow, [1])
    (step,) = driving.claim(pk, flow)
    assert step.started_at is not None
    assert min(step.started_at, step.created_at, driving.row(pk).created_at).year >= 2024


def test_nothing_else_in_the_engine_asks_what_time_it_is() -> None:
    """A stopwatch (``time.monotonic``) measures how long something took here; it never gets into a row."""
    engine = Path(triggerflow_django.__file__).parent / "engine"
    asking = [
        f"{path.name}: {line.strip()}"
        for path in sorted(engine.glob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if any(word in line for word in ("timezone.now(", "datetime.now(", "utcnow(", "time.time(", "Now()"))
        and path.name != "clock.py"
    ]
    assert asking == []


def test_what_is_due_now_is_due_now(flow: TriggerFlow) -> None:
    """Also within the smallest step of the database's clock: a drain inside a transaction looks only once."""
    pk = driving.start(flow, [1])
    same_moment = 0
    for _ in range(2000):
        now = clock.read("default")
        Step.objects.update(available_at=now)
        is_ready = claim.ready("default", execution_id=pk).exists()
        if clock.read("default") == now or connection.vendor != "sqlite":
            same_moment += 1
            assert is_ready
        if same_moment >= 20:
            break
    assert same_moment
