"""Invariants 8 to 10: a step's outcome is applied once and whole, and no step is left behind."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection

from tests.engine import driving
from triggerflow_django import TriggerFlow
from triggerflow_django.engine import commit, fail, sweep
from triggerflow_django.engine.transition import Transition
from triggerflow_django.models import Interrupt, Join, Step

pytestmark = pytest.mark.django_db

Travel = Callable[[float], None]


def gated() -> TriggerFlow:
    """A flow that asks, and then commits."""
    flow = TriggerFlow(name="refund")
    flow.to(lambda data: data.pause_for(interrupt_id="gate"), name="ask").to(
        lambda data: data.set_state("decision", data.input), name="commit"
    )
    return flow


def joined() -> TriggerFlow:
    """A batch of three, of which one is slow to fill."""
    flow = TriggerFlow(name="batch")
    flow.batch(("one", driving.nothing()), ("two", driving.nothing()), ("three", driving.nothing())).to(
        lambda data: data.append_state("fired", sorted(data.input)), name="joined"
    )
    return flow


# -- 8


def test_8_a_stale_worker_changes_nothing_though_it_finishes_well(travel: Travel) -> None:
    def works(data: Any) -> Any:
        data.append_state("ran", data.attempt)
        data.emit("worked", data.attempt)
        return data.pause_for(interrupt_id="gate") if data.attempt == 1 else None

    flow = TriggerFlow(name="stale")
    flow.to(works)
    flow.when("worked").to(lambda data: data.append_state("heard", data.input), name="hear")
    pk = driving.start(flow)
    stale, step = driving.claimed(pk, flow)
    travel(61)
    assert fail.lost(step, using="default")
    between = driving.everything(pk)
    driving.run(stale, step)
    assert driving.everything(pk) == between
    fresh, again = driving.claimed(pk, flow)
    driving.run(stale, step)
    driving.finish(fresh, again)
    after = driving.everything(pk)
    driving.run(stale, step)
    assert driving.everything(pk) == after
    driving.drain(pk, flow)
    assert driving.state(pk) == {"ran": [2], "heard": [2]}
    assert not Interrupt.objects.exists()
    driving.consistent(pk)


@pytest.mark.django_db(transaction=True)
def test_8_a_stale_atomic_chunk_leaves_none_of_its_own_rows(travel: Travel) -> None:
    flow = TriggerFlow(name="stale")
    flow.to(
        flow.chunk(atomic=True)(lambda data: Group.objects.create(name=f"attempt {data.attempt}") and None), name="w"
    )
    pk = driving.start(flow)
    stale, step = driving.claimed(pk, flow)
    travel(61)
    fail.lost(step, using="default")
    driving.run(stale, step)
    assert not Group.objects.exists()
    driving.drain(pk, flow)
    assert list(Group.objects.values_list("name", flat=True)) == ["attempt 2"]


@pytest.mark.parametrize("changed", ["token", "attempt", "status"])
def test_8_a_commit_is_guarded_by_token_attempt_and_status(changed: str) -> None:
    flow = gated()
    pk = driving.start(flow)
    running, step = driving.claimed(pk, flow)
    changes: dict[str, dict[str, Any]] = {
        "token": {"lease_token": uuid.uuid4()},
        "attempt": {"attempt": 2},
        "status": {"status": "ready"},
    }
    Step.objects.filter(pk=step.pk).update(**changes[changed])
    before = driving.everything(pk)
    assert driving.run(running, step) == commit.Committed()
    assert driving.everything(pk) == before


# -- 9


@pytest.mark.parametrize("point", ["write_state", "effects", "open_interrupt", "save", "update"])
@pytest.mark.django_db(transaction=True)
def test_9_a_commit_that_breaks_off_anywhere_leaves_nothing(point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def works(data: Any) -> Any:
        data.set_state("wrote", 1)
        data.emit("worked")
        data.emit("more", [1, 2])
        return data.pause_for(interrupt_id="gate")

    flow = TriggerFlow(name="whole")
    flow.to(works)
    flow.when("worked").to(driving.nothing(), name="hear")
    flow.when("more").for_each().to(driving.nothing(), name="line").end_for_each()
    pk = driving.start(flow)
    running, step = driving.claimed(pk, flow)
    before = driving.everything(pk)

    def broken(*_args: Any, **_kwargs: Any) -> Any:
        raise KeyboardInterrupt

    targets = {
        "write_state": (Transition, "write_state"),
        "effects": (commit.effects, "apply"),
        "open_interrupt": (commit, "open_interrupt"),
        "save": (Transition, "save"),
        "update": (Transition, "_update_execution"),
    }
    monkeypatch.setattr(*targets[point], broken)
    with pytest.raises(KeyboardInterrupt):
        driving.run(running, step)
    monkeypatch.undo()
    after = driving.everything(pk)
    for given in (before, after):  # the interrupted worker gives its step back, which is no part of the commit
        for kept in given["Step"]:
            for column in ("status", "lease_expires_at", "lease_token"):
                kept.pop(column)
    assert after == before
    driving.drain(pk, flow)
    assert driving.state(pk) == {"wrote": 1}
    assert Step.objects.filter(node="line").count() == 2
    driving.consistent(pk)


@pytest.mark.django_db(transaction=True)
def test_9_nothing_of_a_step_is_seen_before_its_commit_and_all_of_it_after() -> None:
    seen: list[Any] = []

    def look() -> None:
        try:
            seen.append((driving.state(pk), sorted(driving.statuses(pk).items()), Join.objects.count()))
        finally:
            connection.close()

    def works(data: Any) -> Any:
        data.set_state("wrote", 1)
        data.emit("worked", [1, 2])
        with ThreadPoolExecutor(1) as pool:
            pool.submit(look).result(30)
        return None

    flow = TriggerFlow(name="whole")
    flow.to(works).to(driving.nothing(), name="next")
    flow.when("worked").for_each().to(driving.nothing(), name="line").end_for_each()
    pk = driving.start(flow)
    running, step = driving.claimed(pk, flow)
    driving.run(running, step)
    look()
    connection.ensure_connection()
    assert seen == [
        ({}, [("works", "running")], 0),
        ({"wrote": 1}, [("line", "ready"), ("next", "ready"), ("works", "done")], 1),
    ]


# -- 10


def test_10_no_step_stays_running_without_a_live_lease_and_the_counters_say_what_there_is(travel: Travel) -> None:
    flow = joined()
    pk = driving.start(flow)
    driving.claim(pk, flow)
    assert driving.consistent(pk).active_steps == 3
    travel(61)
    sweep.sweep(using="default")
    assert not Step.objects.filter(status="running").exists()
    assert driving.consistent(pk).active_steps == 3
    driving.drain(pk, flow)
    execution = driving.consistent(pk)
    assert execution.active_steps == 0
    assert not Step.objects.filter(status__in=["ready", "running", "held"]).exists()
