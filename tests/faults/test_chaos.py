"""Executions in the hands of workers that are killed five times a second, beside a driver that answers their gates."""

from __future__ import annotations

import itertools
import random
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from django.db import connection
from django.db.models import F, Sum

from tests.engine import driving
from tests.faults.crashpoints import IS_POSTGRES
from tests.faults.flows import ORDERS, left_by
from tests.faults.processes import Child, Crew
from tests.faults.programs import work
from tests.faults.soundness import sound, steps_by_node
from triggerflow_django.engine.decide import decide
from triggerflow_django.models import Decision, Door, Execution, Interrupt, InterruptStatus, Lifecycle, Step, StepStatus

#: New executions are started for so long, and at least so many; so many are open at a time.
SECONDS = 12.0
AT_LEAST = 60
OPEN = 30
ITEMS = list(range(4))
WORKERS = 2
EVERY = 0.2
#: Every so many faults a process is frozen for longer than its lease instead of killed. Not on SQLite, where it would
#: keep everybody waiting as long as it holds the one lock.
FREEZE = 3 if IS_POSTGRES else 0
LEASE = 0.5
DEADLINE = 120.0


@dataclass
class Monkey:
    """Keeps so many workers alive, and strikes one at each turn."""

    crew: Crew
    workers: list[Child] = field(default_factory=list)
    frozen: list[tuple[float, Child]] = field(default_factory=list)
    kills: int = 0
    freezes: int = 0
    everybody: list[Child] = field(default_factory=list)

    @property
    def fenced(self) -> int:
        """How often a worker found a step taken over; the others said nothing, and nothing else."""
        said = [word for child in self.everybody for word in child.heard()]
        assert all(word == "fenced" for word, _value in said), said
        return len(said)

    def hire(self) -> None:
        """Start workers until there are enough."""
        while len(self.workers) < WORKERS:
            self.workers.append(self.crew.start(work, LEASE_SECONDS=LEASE, MAX_LOST=50))
            self.everybody.append(self.workers[-1])

    def strike(self) -> None:
        """Kill or freeze the oldest worker; wake up those that were frozen long enough."""
        victim = self.workers.pop(0)
        if FREEZE and (self.kills + self.freezes) % FREEZE == FREEZE - 1:
            victim.signal(signal.SIGSTOP)
            self.frozen.append((time.monotonic() + 3 * LEASE, victim))
            self.freezes += 1
        else:
            victim.kill()
            self.kills += 1
        while self.frozen and self.frozen[0][0] <= time.monotonic():
            # It finds its steps taken over, and works on until it is the oldest.
            _until, child = self.frozen.pop(0)
            child.signal(signal.SIGCONT)
            self.workers.append(child)

    def leave(self) -> None:
        """Wake up the last ones, so that nobody holds a lock."""
        for _until, child in self.frozen:
            child.signal(signal.SIGCONT)


def answers(told: dict[uuid.UUID, str]) -> Iterator[None]:
    """Decide whatever waits, and now and then ask a second time, as a client does that heard nothing."""
    dice = random.Random(1)  # noqa: S311 - no secret
    while True:
        waiting = Interrupt.objects.filter(status=InterruptStatus.WAITING)
        for interrupt in waiting.select_related("execution"):
            pk, flow_name = interrupt.execution_id, interrupt.execution.flow_name
            graph = next(flow.graph for flow in ORDERS.values() if flow.name == flow_name)
            answer = f"answer {pk.hex}"
            for _ in range(dice.choice((1, 1, 2))):
                record = decide(
                    pk, "gate", answer, door=Door.CODE, using="default", request_id=f"request {pk.hex}", graph=graph
                )
                told[pk] = record["resume_value"]
        yield


@pytest.mark.slow
def test_workers_that_are_killed_all_the_time_bring_every_execution_to_its_end_and_do_nothing_twice(
    crew: Crew, capfd: pytest.CaptureFixture[str]
) -> None:
    pks: list[uuid.UUID] = []
    told: dict[uuid.UUID, str] = {}
    driver, monkey = answers(told), Monkey(crew)
    began = time.monotonic()
    last_strike, done_then = began, 0
    still_open = Execution.objects.exclude(lifecycle=Lifecycle.CLOSED)
    monkey.hire()
    while time.monotonic() - began < DEADLINE:
        missing = OPEN - still_open.count()
        if len(pks) < AT_LEAST or time.monotonic() - began < SECONDS:
            for flow in itertools.islice(itertools.cycle(ORDERS.values()), max(0, missing)):
                pks.append(driving.start(flow, ITEMS, auto_close=True, auto_close_timeout=0.0))
        elif missing == OPEN:
            break
        next(driver)
        time.sleep(0.01)
        since, done = time.monotonic() - last_strike, Step.objects.filter(status=StepStatus.DONE).count()
        # On a busy machine a worker may need longer to get to a step at all.
        if since >= EVERY and (done > done_then or since >= 5 * EVERY):
            monkey.strike()
            monkey.hire()
            last_strike, done_then = time.monotonic(), done
    seconds = time.monotonic() - began
    monkey.leave()

    rows = 0
    for pk in pks:
        execution = sound(pk)
        assert execution.status == "completed"
        assert execution.snapshot == {"tallies": [sum(ITEMS) * 10], "booked": told[pk]}
        assert steps_by_node(pk) == {"split": 1, "part": len(ITEMS), "tally": 1, "ask": 1, "book": 1}
        left = left_by(pk.hex)
        assert left == {**{f"part{item}": 1 for item in ITEMS}, "booked": 1}
        rows += left.total()
    assert Decision.objects.count() == len(told) == len(pks)
    again = Step.objects.aggregate(again=Sum(F("attempt") - 1))["again"]
    fenced = monkey.fenced
    assert monkey.kills > 5
    assert again > 0, "no step was hit: the kills proved nothing"
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA integrity_check")
            assert cursor.fetchall() == [("ok",)]
    with capfd.disabled():
        sys.stderr.write(
            f"\nchaos on {connection.vendor}: {len(pks)} executions, {Step.objects.count()} steps, {rows} rows, "
            f"all once; {monkey.kills} kills, {monkey.freezes} freezes, {again} attempts repeated, {fenced} fenced, "
            f"{seconds:.1f} s\n"
        )
