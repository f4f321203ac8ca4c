"""Of two drains that found the same ready steps, the one that comes second gets what is left."""

from __future__ import annotations

import uuid

import pytest

from tests.engine import driving
from triggerflow_django import TriggerFlow
from triggerflow_django.engine import claim, clock, sweep
from triggerflow_django.models import Step

pytestmark = pytest.mark.django_db


@pytest.fixture
def flow() -> TriggerFlow:
    """One step for each item."""
    flow = TriggerFlow(name="lines")
    flow.for_each().to(lambda data: data.input, name="line").end_for_each()
    return flow


def find(pk: uuid.UUID) -> list[Step]:
    """What a drain reads before it claims."""
    return list(claim.ready("default", execution_id=pk))


def take(found: list[Step], flow: TriggerFlow, token: uuid.UUID) -> list[Step]:
    """Claim what was found."""
    return claim.claim_found(found, token=token, graph_of=lambda _step: flow.graph, grace=0.0, using="default")


@pytest.mark.parametrize("items", [["a"], ["a", "b", "c"]], ids=["one", "several"])
def test_who_comes_second_gets_nothing_and_changes_nothing(flow: TriggerFlow, items: list[str]) -> None:
    pk = driving.start(flow, items)
    first, second = find(pk), find(pk)
    token = uuid.uuid4()
    assert len(take(first, flow, token)) == len(items)
    before = driving.everything(pk)
    assert take(second, flow, uuid.uuid4()) == []
    assert driving.everything(pk) == before


def test_who_comes_second_gets_what_the_first_left(flow: TriggerFlow) -> None:
    pk = driving.start(flow, ["a", "b", "c"])
    first, second = find(pk), find(pk)
    take(first[:1], flow, uuid.uuid4())
    assert [step.input for step in take(second, flow, uuid.uuid4())] == ["b", "c"]


def test_a_step_that_was_done_since_it_was_found_is_not_run_again(flow: TriggerFlow) -> None:
    pk = driving.start(flow, ["a"])
    found = find(pk)
    driving.drain(pk, flow)
    before = driving.everything(pk)
    assert take(found, flow, uuid.uuid4()) == []
    assert driving.everything(pk) == before


def test_a_step_that_was_claimed_and_lost_since_it_was_found_is_looked_at_anew(flow: TriggerFlow) -> None:
    pk = driving.start(flow, ["a"])
    found = find(pk)
    driving.claim(pk, flow)
    Step.objects.filter(execution_id=pk).update(lease_expires_at=clock.expression(plus=-1))
    assert sweep.sweep(using="default").lost_steps == 1
    assert take(found, flow, uuid.uuid4()) == []  # it would give the second attempt the number of the first
    assert [step.attempt for step in driving.claim(pk, flow)] == [2]
