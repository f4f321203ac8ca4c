"""A fan-out over many items: what a commit reads and writes, and what a process holds, does not grow with them."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.engine import driving
from triggerflow_django import TriggerFlow
from triggerflow_django.models import Join, JoinPage, JoinSlot, Step

pytestmark = pytest.mark.django_db(transaction=True)

ITEM = "x" * 20


def fan_out() -> TriggerFlow:
    """Each item is a row of its own; the join only counts."""
    flow = TriggerFlow(name="large")
    flow.for_each().to(lambda data: len(data.input), name="line").end_for_each().to(
        lambda data: data.set_state("sum", sum(data.input)), name="end"
    )
    return flow


def first_steps(items: int, most: int = 150) -> tuple[list[str], int]:
    """What running the first steps of a fan-out of so many items sends to the database, and the peak of its memory."""
    flow = fan_out()
    pk = driving.start(flow, [ITEM] * items)
    drain = driving.drainer(pk, flow)
    queue: list[Step] = []
    gc.collect()
    tracemalloc.start()
    try:
        with CaptureQueriesContext(connection) as captured:
            for _ in range(most):
                step = queue.pop(0) if queue else drain._claim(1)[0]
                queue.extend(driving.run(drain, step).carried)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return [query["sql"] for query in captured.captured_queries], peak


def test_a_step_of_it_costs_the_same_however_many_items_there_are() -> None:
    few, small = first_steps(400)
    many, large = first_steps(8_000)
    assert len(many) == len(few)
    assert max(map(len, many)) < 2 * max(map(len, few))
    assert large < 1.3 * small, f"{small:,} bytes for 400 items, {large:,} for 8,000"


def test_items_are_kept_in_stretches_and_gone_once_they_have_been_joined() -> None:
    flow = fan_out()
    pk = driving.start(flow, [ITEM] * 350)
    kept = list(JoinPage.objects.order_by("number").values_list("number", "items"))
    assert [(number, len(items)) for number, items in kept] == [(1, 100), (2, 100), (3, 50)]
    driving.drain(pk, flow)
    assert driving.state(pk) == {"sum": 350 * len(ITEM)}
    assert not JoinPage.objects.exists()
    assert not JoinSlot.objects.exists()
    assert Join.objects.get().filled == 350


def test_a_loop_that_fits_into_the_window_keeps_none() -> None:
    driving.start(fan_out(), [ITEM] * 100)
    assert not JoinPage.objects.exists()


@pytest.mark.parametrize("window", [1, 7, 250])
def test_every_item_is_entered_once_in_its_order_whatever_the_window(window: int, settings: Any) -> None:
    settings.TRIGGERFLOW = {"FOR_EACH_WINDOW": window}
    flow = TriggerFlow(name="large")
    flow.for_each().to(lambda data: data.input, name="line").end_for_each().to(
        lambda data: data.set_state("out", data.input), name="end"
    )
    pk = driving.start(flow, list(range(303)))
    driving.drain(pk, flow)
    assert driving.state(pk) == {"out": list(range(303))}
    assert Step.objects.filter(node="line").count() == 303
