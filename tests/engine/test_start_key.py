"""Starting under a business key, and starting at the same moment as somebody else: one execution, whoever asks."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import start
from triggerflow_django.models import Event, EventKind, Execution, Step

ORDER = {"order": 7, "lines": [{"sku": "a", "count": 2}]}


@pytest.fixture
def flow() -> TriggerFlow:
    flow = TriggerFlow(name="refund")
    flow.to(driving.nothing(), name="first").to(driving.nothing(), name="second")
    return flow


# -- key


@pytest.mark.django_db
def test_the_same_key_gives_the_same_execution_also_after_it_has_closed(flow: TriggerFlow) -> None:
    pk = driving.settled(flow, ORDER, key="order-7")
    handle = flow.get_execution(pk)
    handle.close()
    before = driving.everything(pk)
    assert start.start(driving.new(flow, key="order-7"), ORDER, using="default") == (pk, False)
    assert driving.everything(pk) == before


@pytest.mark.django_db
def test_keys_belong_to_a_flow(flow: TriggerFlow) -> None:
    other = TriggerFlow(name="return")
    assert driving.start(flow, 1, key="7") != driving.start(other, 2, key="7")


@pytest.mark.django_db
def test_executions_without_a_key_never_meet(flow: TriggerFlow) -> None:
    assert driving.start(flow, 1) != driving.start(flow, 1)


@pytest.mark.django_db
def test_a_keyed_execution_that_was_only_written_to_is_started_by_the_next_start(flow: TriggerFlow) -> None:
    first = driving.new(flow, key="7")
    start.ensure(first, using="default")
    assert start.start(driving.new(flow, key="7"), 1, using="default") == (first.id, True)
    assert driving.consistent(first.id).input == 1


@pytest.mark.django_db
def test_a_first_write_under_a_key_that_is_taken_is_a_conflict(flow: TriggerFlow) -> None:
    pk = driving.start(flow, 1, key="7")
    with pytest.raises(exceptions.KeyConflictError, match=f"'7'.*{pk.hex}"):
        start.ensure(driving.new(flow, key="7"), using="default")
    assert Execution.objects.count() == 1


def _together(functions: list[Any]) -> list[Any]:
    """What the functions return, each called in a thread of its own, all at the same moment."""
    barrier = threading.Barrier(len(functions))

    def call(function: Any) -> Any:
        try:
            connection.ensure_connection()
            barrier.wait(30)
            return function()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(functions)) as pool:
        return [done.result(60) for done in [pool.submit(call, function) for function in functions]]


# -- races


@pytest.mark.django_db(transaction=True)
def test_of_many_starts_under_one_key_one_starts_and_all_get_its_execution(flow: TriggerFlow) -> None:
    for round_ in range(10):
        key = f"order-{round_}"
        news = [driving.new(flow, key=key) for _ in range(4)]
        results = _together([lambda new=new: start.start(new, ORDER, using="default") for new in news])
        assert len({pk for pk, _ in results}) == 1
        assert sorted(began for _, began in results) == [False, False, False, True]
        driving.consistent(results[0][0])
    assert Execution.objects.count() == 10
    assert Event.objects.filter(kind=EventKind.STARTED).count() == 10
    assert Step.objects.count() == 10


@pytest.mark.django_db(transaction=True)
def test_of_two_starts_of_one_handle_one_starts_it(flow: TriggerFlow) -> None:
    for _ in range(10):
        new = driving.new(flow)
        results = _together([lambda new=new: start.start(new, ORDER, using="default") for _ in range(2)])
        assert sorted(results) == [(new.id, False), (new.id, True)]
        driving.consistent(new.id)
    assert Step.objects.count() == 10


@pytest.mark.django_db(transaction=True)
def test_a_start_waits_for_the_uncommitted_one_under_its_key_and_takes_over_when_that_rolls_back(
    flow: TriggerFlow,
) -> None:
    began = threading.Event()
    release = threading.Event()
    second = driving.new(flow, key="7")

    def rolls_back() -> None:
        try:
            with transaction.atomic():
                driving.start(flow, "first", key="7")
                began.set()
                release.wait(30)
                transaction.set_rollback(True)
        finally:
            connection.close()

    def starts() -> tuple[uuid.UUID, bool]:
        try:
            return start.start(second, "second", using="default")
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(rolls_back)
        assert began.wait(30)
        two = pool.submit(starts)
        release.set()
        one.result(30)
        assert two.result(30) == (second.id, True)
    assert driving.consistent(second.id).input == "second"
    assert Execution.objects.count() == 1


# -- inside the caller's transaction


@pytest.mark.django_db(transaction=True)
def test_a_key_conflict_inside_a_transaction_leaves_the_transaction_usable(flow: TriggerFlow) -> None:
    driving.start(flow, 1, key="7")
    with transaction.atomic():
        Group.objects.create(name="beside")
        with pytest.raises(exceptions.KeyConflictError):
            driving.start(flow, 2, key="7")
        driving.start(flow, 2, key="8")
    assert Group.objects.exists()
    assert Execution.objects.count() == 2
