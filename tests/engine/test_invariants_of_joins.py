"""Invariant 7: each join fires once per scope and generation, whatever the timing, crashes and retries."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from tests.engine import driving
from triggerflow_django import TriggerFlow
from triggerflow_django.engine import commit, emit, sweep
from triggerflow_django.models import Join, JoinSlot, Step

pytestmark = pytest.mark.django_db

Travel = Callable[[float], None]


def joined() -> TriggerFlow:
    """A batch of three, of which one is slow to fill."""
    flow = TriggerFlow(name="batch")
    flow.batch(("one", driving.nothing()), ("two", driving.nothing()), ("three", driving.nothing())).to(
        lambda data: data.append_state("fired", sorted(data.input)), name="joined"
    )
    return flow


# -- 7


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_7_a_join_fires_once_with_the_last_value_whatever_the_order(order: tuple[int, ...]) -> None:
    flow = joined()
    pk = driving.start(flow)
    running = driving.drainer(pk, flow)
    steps = driving.claim(pk, flow, token=running.context.token)
    for count, number in enumerate(order, start=1):
        assert Join.objects.get().filled == count - 1
        driving.finish(running, steps[number])
        assert ("joined" in driving.statuses(pk)) == (count == 3)
    driving.drain(pk, flow)
    assert driving.state(pk) == {"fired": [["one", "three", "two"]]}
    assert not JoinSlot.objects.exists()


def test_7_a_branch_that_is_run_again_after_a_crash_fills_its_slot_once(travel: Travel) -> None:
    flow = joined()
    pk = driving.start(flow)
    stale = driving.drainer(pk, flow)
    steps = driving.claim(pk, flow, token=stale.context.token)
    driving.run(stale, steps[0])
    travel(61)
    assert sweep.sweep(using="default").lost_steps == 2
    driving.drain(pk, flow)
    for step in steps:  # the worker that was thought dead comes back with all its results
        driving.run(stale, step)
    assert driving.state(pk) == {"fired": [["one", "three", "two"]]}
    assert Step.objects.filter(node="joined").count() == 1
    driving.consistent(pk)


def test_7_a_loop_into_a_fan_out_never_mixes_with_its_own_slow_past() -> None:
    flow = TriggerFlow(name="loop")
    flow.when("go").batch(
        ("fast", lambda data: f"fast {data.input}"),
        ("slow", lambda data: data.pause_for(interrupt_id=f"gate-{data.input}")),
    ).to(lambda data: data.append_state("fired", data.input), name="joined")
    pk = driving.settled(flow)
    for number in (1, 2):
        emit.emit(pk, "go", number, using="default", graph=flow.graph)
        driving.drain(pk, flow)
    for number in (2, 1):
        driving.decide(pk, f"gate-{number}", f"slow {number}", flow=flow)
        driving.drain(pk, flow)
    assert driving.state(pk)["fired"] == [
        {"fast": "fast 2", "slow": "slow 2"},
        {"fast": "fast 1", "slow": "slow 1"},
    ]


@pytest.mark.django_db(transaction=True)
def test_7_branches_that_end_at_the_same_moment_fire_their_join_once() -> None:
    flow = joined()
    for _ in range(5):
        pk = driving.start(flow)
        drains = [driving.drainer(pk, flow) for _ in range(3)]
        steps = driving.claim(pk, flow)
        for running, step in zip(drains, steps, strict=True):
            Step.objects.filter(pk=step.pk).update(lease_token=running.context.token)
            step.lease_token = running.context.token
        barrier = threading.Barrier(3)

        def end(running: Any, step: Step, barrier: threading.Barrier = barrier) -> None:
            try:
                connection.ensure_connection()
                barrier.wait(30)
                outcome = commit.Outcome(
                    value=None,
                    changes=(),
                    effects=list(_effects(running, step)),
                    pause=None,
                    tokens=iter(()),
                )
                commit.complete(step, outcome, graph=flow.graph, carry=True, using="default")
            finally:
                connection.close()

        with ThreadPoolExecutor(3) as pool:
            for done in [pool.submit(end, running, step) for running, step in zip(drains, steps, strict=True)]:
                done.result(60)
        assert Step.objects.filter(execution_id=pk, node="joined").count() == 1
        driving.consistent(pk)


def _effects(running: Any, step: Step) -> Any:
    """What a finished branch leads to: its value into its slot."""
    from triggerflow_django.definition import routing
    from triggerflow_django.engine.resolve import scope_of

    signal = routing.Signal(("done", step.node), None, scope_of(step))
    return routing.walk(running.graph, signal, iter(()), evaluate=False, window=100)
