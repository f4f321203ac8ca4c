"""What lies in Redis has no influence on results: every wake-up of a run, dropped, doubled, reordered while it works,
and all of them three times over after its end and days later.
"""

from __future__ import annotations

import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import redis
from django.apps import apps
from django.contrib.auth.models import Group
from django.db import connection

from tests.faults.soundness import sound
from tests.worker.app import flows
from tests.worker.conftest import SECONDS, Bells, Workers, until
from tests.worker.recording import QUEUE_KEY, Bell, Recorder
from triggerflow_django.models import Execution, ExecutionStatus, Interrupt, InterruptStatus, Lifecycle, SweepTurn

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

FAN = list(range(20))
#: The only row that bells may change: when somebody last took the turn to sweep.
BOOKKEEPING = {SweepTurn}


@pytest.fixture
def dice(capfd: pytest.CaptureFixture[str]) -> random.Random:
    """Chance, whose seed is printed."""
    seed = random.SystemRandom().randrange(2**32)
    with capfd.disabled():
        sys.stderr.write(f"\nreplayed bells: seed {seed}\n")
    return random.Random(seed)  # noqa: S311 - no secret


def dump() -> dict[str, list[dict[str, Any]]]:
    """Every column of every row of the app's tables, and of what the chunks left."""
    models = [model for model in apps.get_app_config("triggerflow").get_models() if model not in BOOKKEEPING]
    return {model.__name__: list(model._base_manager.order_by("pk").values()) for model in [*models, Group]}


class MixedRun:
    """Executions of all kinds under way: fan-outs, chains, gates, one gate that is cancelled, one that nobody answers,
    deadlines, retries.
    """

    FANS, GATES, OTHERS = 4, 12, 3
    STEPS = FANS * (len(FAN) + 1) + GATES * 3 + 1 + 1 + OTHERS * (51 + 3 + 3)
    EFFECTS = FANS * len(FAN) + GATES + OTHERS * 2

    def __init__(self) -> None:
        def start(flow: Any, value: Any) -> Any:
            return flow.start_execution(value, auto_close=True, auto_close_timeout=0.0)

        self.fans = [start(flows.fan, FAN) for _ in range(self.FANS)]
        self.gates = [start(flows.gate, number) for number in range(self.GATES)]
        self.cancelled = start(flows.gate, "never")
        self.waiting = start(flows.gate, "nobody")
        kinds = (flows.chain, flows.due, flows.flaky)
        self.others = [start(flow, number) for flow in kinds for number in range(self.OTHERS)]

    def step(self) -> bool:
        """Answer and cancel what waits. Returns whether all has ended but the one that nobody answers."""
        for interrupt in Interrupt.objects.filter(
            status=InterruptStatus.WAITING, execution__flow_name=flows.gate.name
        ).select_related("execution"):
            handle = flows.gate.get_execution(interrupt.execution_id)
            if handle.pk == self.cancelled.pk:
                handle.cancel(reason="not needed any more")
            elif handle.pk != self.waiting.pk:
                handle.continue_with("gate", f"answer to {interrupt.execution.input}")
        waiting = self.waiting.get_status() == ExecutionStatus.WAITING
        return waiting and Execution.objects.exclude(lifecycle=Lifecycle.CLOSED).count() == 1

    def ended_right(self) -> None:
        """Each as it should, once."""
        for handle in [*self.fans, *self.gates, *self.others, self.cancelled]:
            expected = ExecutionStatus.CANCELLED if handle.pk == self.cancelled.pk else ExecutionStatus.COMPLETED
            assert sound(handle.pk).status == expected
        assert [handle.row().snapshot for handle in self.fans] == [{"noted": FAN}] * self.FANS
        answers = [f"answer to {number}" for number in range(self.GATES)]
        assert [handle.row().snapshot for handle in self.gates] == [{"noted": answer} for answer in answers]
        numbers = list(range(self.OTHERS))
        noted = [*numbers, *["by default"] * self.OTHERS, *numbers]
        assert [handle.row().snapshot for handle in self.others] == [{"noted": value} for value in noted]
        assert self.cancelled.row().snapshot == {}
        assert list(self.waiting.get_pending_interrupts()) == ["gate"]
        assert Group.objects.count() == self.EFFECTS


def work_off(workers: Workers, bells: Bells) -> None:
    """Let a worker that forks and one that does not take every bell there is, at the same time."""
    other = workers.start("--burst", "--no-fork", "--name", f"unforked {time.monotonic()}")
    workers.burst()
    assert other.stdout is not None
    other.stdout.read()
    assert other.wait(SECONDS) == 0
    assert bells.client().llen(QUEUE_KEY) == 0
    assert bells.client().zcard("rq:failed:triggerflow") == 0


def test_every_recorded_bell_three_times_after_the_end_and_days_later_changes_no_row(
    workers: Workers, bells: Bells, dice: random.Random, capfd: pytest.CaptureFixture[str]
) -> None:
    recorder = Recorder(bells.port)
    started = [workers.start("--name", name) for name in ("one", "two")]
    run = MixedRun()
    bells.client().flushall()  # so that sweeps ring too
    until(run.step)
    for process in started:
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    run.ended_right()
    recorded = recorder.stop()
    calls = Counter(bell.call for bell in recorded)
    assert min(calls["drain"], calls["sweep"]) > 0
    before = dump()
    assert len(before["Step"]) == MixedRun.STEPS

    def replayed(**environment: str) -> None:
        again = recorded * 3
        dice.shuffle(again)
        for bell in again:
            bell.ring_again(client)
        assert client.llen(QUEUE_KEY) == len(again)
        workers.environment.update(environment)
        work_off(workers, bells)
        assert dump() == before

    began = time.monotonic()
    client = bells.client()
    client.flushall()
    replayed()
    replayed(TESTS_DAYS_LATER="9")
    # They are wake-ups indeed: one of them is enough for a new execution that lost its own.
    workers.environment.pop("TESTS_DAYS_LATER")
    late = flows.chain.start_execution("late", auto_close=False)
    client.flushall()
    next(bell for bell in recorded if bell.call == "drain").ring_again(client)
    work_off(workers, bells)
    assert late.get_state("noted") == "late"
    rows = sum(map(len, before.values()))
    with capfd.disabled():
        sys.stderr.write(
            f"replayed bells on {connection.vendor}: {dict(calls)} recorded, each rung 3 times after the end and "
            f"3 times nine days later: 0 of {rows} rows changed, {time.monotonic() - began:.1f} s\n"
        )


def test_bells_that_are_dropped_doubled_and_reordered_while_it_works_change_no_result(
    workers: Workers, bells: Bells, dice: random.Random, capfd: pytest.CaptureFixture[str]
) -> None:
    recorder = Recorder(bells.port)
    for name in ("one", "two"):
        workers.start("--name", name)
    run = MixedRun()
    client = bells.client()
    done: Counter[str] = Counter()

    def disturb() -> bool:
        act = dice.choice(list(DISTURBANCES))
        done[act] += DISTURBANCES[act](client, recorder.so_far(), dice)
        return run.step()

    until(disturb)
    run.ended_right()
    assert min(done[act] for act in DISTURBANCES) > 0, done
    recorder.stop()
    with capfd.disabled():
        sys.stderr.write(f"bells disturbed on {connection.vendor} while two workers worked: {dict(done)}\n")


def double(client: redis.Redis, recorded: list[Bell], dice: random.Random) -> int:
    """Ring some of the past again, unless the workers have enough to do already."""
    if not recorded or client.llen(QUEUE_KEY) > 40:
        return 0
    for bell in (again := dice.choices(recorded, k=5)):
        bell.ring_again(client)
    return len(again)


def reorder(client: redis.Redis, _recorded: list[Bell], dice: random.Random) -> int:
    """Put the bells in another order."""
    return _rearrange(client, lambda jobs: dice.sample(jobs, len(jobs)))


def drop(client: redis.Redis, _recorded: list[Bell], dice: random.Random) -> int:
    """Lose some."""
    return _rearrange(client, lambda jobs: [job for job in jobs if dice.random() < 0.7])


def _rearrange(client: redis.Redis, arranged: Callable[[list[bytes]], list[bytes]]) -> int:
    with client.pipeline() as pipe:
        pipe.watch(QUEUE_KEY)
        before: Any = pipe.lrange(QUEUE_KEY, 0, -1)
        after = arranged(before)
        if after == before:
            return 0
        pipe.multi()
        pipe.delete(QUEUE_KEY)
        if after:
            pipe.rpush(QUEUE_KEY, *after)
        try:
            pipe.execute()
        except redis.WatchError:  # a worker took one in between
            return 0
    return 1


DISTURBANCES: dict[str, Callable[[redis.Redis, list[Bell], random.Random], int]] = {
    "doubled": double,
    "reordered": reorder,
    "dropped": drop,
}
