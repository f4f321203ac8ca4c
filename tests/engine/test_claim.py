"""Claiming: one drain holds a step at a time, and every claim counts."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from django.db.models import F
from django.db.utils import IntegrityError

from tests.engine import driving
from triggerflow_django import TriggerFlow
from triggerflow_django.engine import claim
from triggerflow_django.models import Step

pytestmark = pytest.mark.django_db


@pytest.fixture
def flow() -> TriggerFlow:
    flow = TriggerFlow(name="lines")
    flow.for_each().to(driving.nothing(), name="line").end_for_each().to(driving.nothing(), name="end")
    return flow


def test_a_claim_puts_the_drain_s_lease_on_the_step_and_counts_the_attempt(flow: TriggerFlow) -> None:
    pk = driving.start(flow, [1])
    token = uuid.uuid4()
    (step,) = driving.claim(pk, flow, token=token)
    stored = driving.step(pk, "line")
    for seen in (step, stored):
        assert (seen.status, seen.attempt, seen.lease_token) == ("running", 1, token)
        assert seen.started_at is not None
        assert 59 < (seen.lease_expires_at - seen.started_at).total_seconds() < 61
        assert seen.first_claim_sequence == driving.row(pk).event_sequence
    assert driving.consistent(pk).active_steps == 1


def test_what_is_claimed_cannot_be_claimed_again(flow: TriggerFlow) -> None:
    pk = driving.start(flow, [1, 2, 3])
    candidates = list(claim.ready("default", execution_id=pk))
    assert len(driving.claim(pk, flow)) == 3
    assert driving.claim(pk, flow) == []
    # Somebody who has seen them ready before, and comes late.
    late = claim.claim(
        Step.objects.filter(pk__in=[step.pk for step in candidates]).annotate(root=F("execution__root_id")),
        token=uuid.uuid4(),
        limit=10,
        graph_of=lambda _step: flow.graph,
        grace=0.0,
        using="default",
    )
    assert late == []
    assert set(Step.objects.values_list("attempt", flat=True)) == {1}


def test_a_claim_takes_the_oldest_first_and_no_more_than_its_limit(flow: TriggerFlow) -> None:
    pk = driving.start(flow, [1, 2, 3])
    taken = claim.claim(
        claim.ready("default", execution_id=pk),
        token=uuid.uuid4(),
        limit=2,
        graph_of=lambda _step: flow.graph,
        grace=0.0,
        using="default",
    )
    assert [step.input for step in taken] == [1, 2]


def test_a_claim_of_nothing_is_nothing(flow: TriggerFlow) -> None:
    assert driving.claim(driving.start(flow, []), TriggerFlow(name="lines")) == []


@pytest.mark.django_db(transaction=True)
def test_of_many_drains_that_claim_together_each_step_goes_to_one(flow: TriggerFlow) -> None:
    pk = driving.start(flow, list(range(40)))
    barrier = threading.Barrier(4)

    def take() -> list[int]:
        try:
            connection.ensure_connection()
            barrier.wait(30)
            taken: list[int] = []
            token = uuid.uuid4()
            while steps := claim.claim(
                claim.ready("default", execution_id=pk),
                token=token,
                limit=3,
                graph_of=lambda _step: flow.graph,
                grace=0.0,
                using="default",
            ):
                taken += [step.pk for step in steps]
                assert {step.lease_token for step in steps} == {token}
        except BaseException:
            barrier.abort()
            raise
        finally:
            connection.close()
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [number for done in [pool.submit(take) for _ in range(4)] for number in done.result(60)]
    # A claim that finds all its candidates taken comes back empty though others are left: nothing is taken twice.
    assert len(taken) == len(set(taken))
    assert set(Step.objects.filter(status="running").values_list("pk", flat=True)) == set(taken)
    assert set(Step.objects.filter(status="running").values_list("attempt", flat=True)) == {1}


def test_the_database_itself_refuses_a_running_step_without_a_lease(flow: TriggerFlow) -> None:
    """Invariant 10."""
    driving.start(flow, [1])
    with pytest.raises(IntegrityError):
        Step.objects.update(status="running")
