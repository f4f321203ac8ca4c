"""A backlog does not amplify: what the sweep costs and rings does not depend on how much is ready, nor on how much
waits.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from tests.engine import driving
from tests.engine.copying import copies
from tests.engine.reading import cost
from tests.faults.soundness import sound
from tests.worker.app import flows
from tests.worker.conftest import Bells
from triggerflow_django import TriggerFlow, wakeups
from triggerflow_django.engine import claim
from triggerflow_django.engine.sweep import sweep, sweep_in_turn
from triggerflow_django.models import Step, StepStatus
from triggerflow_django.testing import travel

pytestmark = pytest.mark.django_db(transaction=True)

READY = 20_000
WAITING = 2_000
KEY = "rq:queue:triggerflow"
WEEK = 7 * 86_400
SWEEPS = 60
QUEUE = "triggerflow"


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a figure, also where output is captured."""

    def _say(text: str) -> None:
        with capfd.disabled():
            sys.stderr.write(f"\nbacklog on {connection.vendor}: {text}\n")

    return _say


def start_ready(items: int, settings: Any) -> Any:
    """An execution whose fan-out has so many ready steps."""
    settings.TRIGGERFLOW = {**settings.TRIGGERFLOW, "FOR_EACH_WINDOW": items}
    pk = flows.fan.start_execution(list(range(items)), auto_close=False).pk
    assert sound(pk).active_steps == items
    return pk


def a_sweep() -> None:
    assert sweep(using="default").total() == 0


def a_look_for_work() -> list[Step]:
    return list(claim.ready("default", queue=QUEUE)[:1])


# -- ready steps


def test_twenty_thousand_ready_steps_cost_and_ring_no_more_than_twenty(
    bells: Bells, settings: Any, say: Callable[[str], None]
) -> None:
    idle = TriggerFlow(name="backlog beside")
    idle.to(("nothing", lambda data: None))
    copies(driving.settled(idle), WAITING)  # a planner reads tables of few rows whole, whatever indexes there are
    start_ready(20, settings)
    few, look_at_few = cost(a_sweep), cost(a_look_for_work)
    for _ in range(READY // 1000):
        start_ready(999, settings)
    ready = Step.objects.filter(status=StepStatus.READY).count()
    assert ready == READY
    many, look_at_many = cost(a_sweep), cost(a_look_for_work)
    say(f"a sweep over 20 ready steps: {few}; over {ready}: {many}")
    say(f"a worker's look for its next step among 20: {look_at_few}; among {ready}: {look_at_many}")
    for one, other in ((few, many), (look_at_few, look_at_many)):
        assert one.statements == other.statements
        assert other.read <= one.read + 2
    assert look_at_many.statements == 1

    most = 16
    client = bells.client()
    assert client.llen(KEY) == most  # those of the starts
    rung = wakeups.counts.rung
    for _ in range(50):
        a_sweep()
    assert (client.llen(KEY), wakeups.counts.rung - rung) == (most, 0)
    client.flushall()
    for _ in range(50):
        a_sweep()
    assert (client.llen(KEY), wakeups.counts.rung - rung) == (most, most)
    say(f"50 sweeps over {ready} ready steps and no worker: {most} bells; 50 more after a FLUSHALL: {most}")

    # The worst: workers take every bell at once and are busy with other things.
    rung = wakeups.counts.rung
    for number in range(1, SWEEPS + 1):
        client.flushall()
        with travel(seconds=number * settings.TRIGGERFLOW["SWEEP_SECONDS"]):
            # As many workers as you like ask for it.
            turns = [sweep_in_turn(using="default") for _worker in range(5)]
        assert [turn is not None for turn in turns] == [True, False, False, False, False]
    pushed = wakeups.counts.rung - rung
    say(f"{SWEEPS} sweeps, each of which finds every bell taken: {pushed} bells, {pushed / ready:.2f} a ready step")
    assert pushed == SWEEPS * most
    assert pushed / ready <= 1 + math.log2(SWEEPS)


# -- nothing ready


def nothing_changes() -> None:
    """The pass finds nothing to do and rings nothing."""
    rung = wakeups.counts.rung
    a_sweep()
    assert wakeups.counts.rung == rung


def test_a_sweep_with_nothing_to_do_sends_eight_small_queries_and_one_out_of_turn_two(
    bells: Bells, say: Callable[[str], None]
) -> None:
    idle = cost(nothing_changes)
    assert (idle.statements, bells.client().dbsize()) == (8, 0)
    assert sweep_in_turn(using="default") is not None
    late = cost(lambda: sweep_in_turn(using="default"))
    say(f"a sweep with nothing to do: {idle}; out of turn: {late}")
    assert late.statements == 2


# -- what waits


def _asks(data: Any) -> Any:
    return data.pause_for(type="approval", interrupt_id="gate", due_in=WEEK)


def _fails(_data: Any) -> None:
    raise ValueError("not now")


def _asleep() -> dict[str, Any]:
    """Executions that stand still, by what they wait for; of each kind one."""
    asks = TriggerFlow(name="backlog asks")
    asks.to(("ask", _asks))
    fails = TriggerFlow(name="backlog fails")
    fails.to(fails.chunk("fails", retries=1, backoff=WEEK)(_fails))
    idle = TriggerFlow(name="backlog idle")
    idle.to(("nothing", lambda data: None))
    failing = driving.start(fails)
    driving.run(*driving.claimed(failing, fails))
    kinds = {
        "a person, with a deadline next week": driving.settled(asks),
        "its time to close by itself, next week": driving.settled(idle, auto_close=True, auto_close_timeout=WEEK),
        "its next attempt, next week": failing,
    }
    # As a worker's: with a queue.
    Step.objects.filter(status=StepStatus.READY).update(queue=QUEUE)
    return kinds


def test_thousands_of_waiting_executions_cost_a_sweep_nothing(
    bells: Bells, settings: Any, say: Callable[[str], None]
) -> None:
    settings.TRIGGERFLOW = {**settings.TRIGGERFLOW, "RETRY_BACKOFF_MAX": WEEK}
    kinds = _asleep()
    alone, look_alone = cost(nothing_changes), cost(a_look_for_work)
    for what, pk in kinds.items():
        found = copies(pk, WAITING)
        for each in [pk, found[0], found[-1]]:
            sound(each)
        now = cost(nothing_changes)
        say(f"a sweep beside {WAITING} that wait for {what}: {now}")
    look = cost(a_look_for_work)
    say(f"before any of them: {alone}; a worker's look for a step beside all of them: {look}")
    assert (now.statements, look.statements) == (alone.statements, look_alone.statements)
    assert now.read <= alone.read
    assert look.read <= look_alone.read
