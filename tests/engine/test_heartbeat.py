"""Leases: renewed while their drain lives, and not beyond what a chunk may take."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError

from tests.engine import driving
from triggerflow_django import TriggerFlow
from triggerflow_django.engine import heartbeat
from triggerflow_django.models import Step

Travel = Callable[[float], None]


@pytest.fixture
def flow() -> TriggerFlow:
    flow = TriggerFlow(name="lines")
    flow.for_each().to(driving.nothing(), name="line").end_for_each()
    return flow


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until it holds; fail where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        threading.Event().wait(0.01)


@pytest.mark.django_db
def test_one_update_renews_all_leases_of_a_drain_and_no_other(
    flow: TriggerFlow, travel: Travel, django_assert_num_queries: Any
) -> None:
    mine, other = driving.start(flow, [1, 2, 3]), driving.start(flow, [1])
    token = uuid.uuid4()
    driving.claim(mine, flow, token=token)
    driving.claim(other, flow)
    before = dict(Step.objects.values_list("pk", "lease_expires_at"))
    travel(40)
    with django_assert_num_queries(1):
        assert heartbeat.renew(heartbeat.Lease(token, "default")) == 3
    for pk, expires in Step.objects.filter(execution_id=mine).values_list("pk", "lease_expires_at"):
        assert 39 < (expires - before[pk]).total_seconds() < 45
    assert Step.objects.get(execution_id=other).lease_expires_at == before[Step.objects.get(execution_id=other).pk]


@pytest.mark.django_db
def test_a_step_that_is_no_longer_the_drain_s_is_not_renewed(flow: TriggerFlow) -> None:
    pk = driving.start(flow, [1, 2])
    token = uuid.uuid4()
    first, second = driving.claim(pk, flow, token=token)
    Step.objects.filter(pk=first.pk).update(status="ready", lease_expires_at=None)
    Step.objects.filter(pk=second.pk).update(lease_token=uuid.uuid4())
    assert heartbeat.renew(heartbeat.Lease(token, "default")) == 0
    assert Step.objects.get(pk=first.pk).lease_expires_at is None


@pytest.mark.django_db
def test_a_chunk_that_has_outlived_its_timeout_is_not_renewed(flow: TriggerFlow, travel: Travel) -> None:
    pk = driving.start(flow, [1, 2])
    token = uuid.uuid4()
    stuck, fine = driving.claim(pk, flow, token=token)
    lease = heartbeat.Lease(token, "default")
    lease.deadlines[stuck.pk] = time.monotonic() - 1
    lease.deadlines[fine.pk] = time.monotonic() + 1000
    travel(40)
    assert heartbeat.renew(lease) == 1
    assert Step.objects.get(pk=stuck.pk).lease_expires_at == stuck.lease_expires_at
    assert Step.objects.get(pk=fine.pk).lease_expires_at > fine.lease_expires_at


@pytest.mark.django_db(transaction=True)
def test_the_heartbeat_s_thread_renews_on_a_connection_of_its_own_and_stops_when_told(
    flow: TriggerFlow, settings: Any
) -> None:
    settings.TRIGGERFLOW = {"LEASE_SECONDS": 0.3}
    pk = driving.start(flow, [1])
    token = uuid.uuid4()
    (step,) = driving.claim(pk, flow, token=token)
    beating = heartbeat.Heartbeat()
    lease = beating.add(token, "default")
    try:
        wait_for(lambda: Step.objects.get(pk=step.pk).lease_expires_at > step.lease_expires_at)
        first = Step.objects.get(pk=step.pk).lease_expires_at
        wait_for(lambda: Step.objects.get(pk=step.pk).lease_expires_at > first)
    finally:
        beating.remove(lease)
    settings.TRIGGERFLOW = {"LEASE_SECONDS": 3600}
    assert beating._leases == {}
    wait_for(lambda: beating._thread is None or not beating._leases)


@pytest.mark.django_db(transaction=True)
def test_a_database_that_does_not_answer_is_asked_again_soon_and_the_thread_lives_on(
    flow: TriggerFlow, settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings.TRIGGERFLOW = {"LEASE_SECONDS": 0.3}
    pk = driving.start(flow, [1])
    token = uuid.uuid4()
    (step,) = driving.claim(pk, flow, token=token)
    renew, failures = heartbeat.renew, iter([DatabaseError("gone"), DatabaseError("still gone")])

    def flaky(lease: heartbeat.Lease) -> int:
        for failure in failures:
            raise failure
        return renew(lease)

    monkeypatch.setattr(heartbeat, "renew", flaky)
    beating = heartbeat.Heartbeat()
    lease = beating.add(token, "default")
    try:
        wait_for(lambda: Step.objects.get(pk=step.pk).lease_expires_at > step.lease_expires_at)
    finally:
        beating.remove(lease)
    assert caplog.messages.count("triggerflow.heartbeat.failed") == 2


@pytest.mark.django_db(transaction=True)
def test_a_chunk_that_takes_longer_than_a_lease_keeps_its_step(settings: Any) -> None:
    """Invariant 8, from the other side: a worker that lives is not fenced."""
    settings.TRIGGERFLOW = {"LEASE_SECONDS": 0.3}
    seen: list[Any] = []

    def slow(data: Any) -> None:
        step = Step.objects.get()
        wait_for(lambda: Step.objects.get().lease_expires_at > step.lease_expires_at)
        seen.append((data.is_cancelled(), Step.objects.get().lost))

    flow = TriggerFlow(name="slow")
    flow.to(slow)
    pk = driving.start(flow)
    assert driving.drain(pk, flow) == []
    assert seen == [(False, 0)]
    assert driving.step(pk, "slow").status == "done"
    assert driving.step(pk, "slow").attempt == 1


@pytest.mark.django_db(transaction=True)
def test_a_drain_holds_a_lease_while_it_runs_and_none_after(flow: TriggerFlow) -> None:
    seen: list[int] = []

    def look(_data: Any) -> None:
        seen.append(len(heartbeat.heartbeat._leases))

    looking = TriggerFlow(name="looking")
    looking.to(look)
    before = len(heartbeat.heartbeat._leases)
    driving.settled(looking)
    assert seen == [before + 1]
    assert len(heartbeat.heartbeat._leases) == before
