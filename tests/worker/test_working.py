"""Workers run what is ready: whole chains for one bell, across machines, until they are told to stop."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from django.contrib.auth.models import Group
from django.db import connection

from tests.worker.app import flows
from tests.worker.conftest import Bells, Workers, settled, until
from triggerflow_django.models import Step, StepStatus

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def test_one_bell_carries_a_whole_chain(workers: Workers, bells: Bells) -> None:
    execution = flows.chain.start_execution("value", auto_close=False)
    assert bells.client().llen("rq:queue:triggerflow") == 1
    workers.burst()
    assert settled(execution).state_row.data == {"noted": "value"}
    steps = Step.objects.filter(execution_id=execution.pk)
    assert steps.count() == 51
    assert steps.values("lease_token").distinct().count() == 1  # one drain's, for one bell


def test_a_gate_waits_without_a_worker_and_goes_on_with_one(workers: Workers) -> None:
    execution = flows.gate.start_execution({"amount": 3}, auto_close=False)
    workers.burst()
    assert settled(execution).status == "waiting"
    assert execution.continue_with("gate", "yes")["status"] == "resumed"
    assert Step.objects.filter(status=StepStatus.READY).count() == 1
    workers.burst()
    assert settled(execution).state_row.data == {"noted": "yes"}
    assert Group.objects.count() == 1


@pytest.mark.parametrize("forks", [[], ["--no-fork"]])
def test_a_fan_out_is_joined_once(workers: Workers, forks: list[str]) -> None:
    execution = flows.fan.start_execution(list(range(150)), auto_close=False)
    workers.burst(*forks)
    assert settled(execution).state_row.data == {"noted": list(range(150))}
    assert Group.objects.count() == 150


def test_two_hosts_share_a_fan_out(workers: Workers, tmp_path: Path) -> None:
    # Separate environments, as on two machines: all they share is the database and the bells.
    started = [workers.start("--name", host, HOSTNAME=host) for host in ("one", "two")]
    meeting = flows.meeting.start_execution([[str(tmp_path), name, ["a", "b"]] for name in "ab"], auto_close=False)
    assert sorted(settled(meeting).state_row.data["noted"]) == ["one", "two"]
    execution = flows.fan.start_execution(list(range(300)), auto_close=False)
    assert settled(execution).state_row.data == {"noted": list(range(300))}
    assert Group.objects.count() == 300
    for process in started:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_async_chunks_of_one_execution_wait_together(workers: Workers) -> None:
    workers.start()
    began = time.monotonic()
    execution = flows.naps.start_execution(list(range(40)), auto_close=False)
    assert settled(execution).state_row.data == {"noted": list(range(40))}
    assert time.monotonic() - began < 20  # one after the other they would take 40 s


def test_a_queue_is_served_by_its_own_worker(workers: Workers) -> None:
    execution = flows.elsewhere.start_execution(1, auto_close=False)
    workers.burst()
    assert Step.objects.get().status == StepStatus.READY
    workers.burst("other")
    # What follows runs where it is at home.
    assert Step.objects.get(node="note").status == StepStatus.READY
    workers.burst()
    assert settled(execution).state_row.data == {"noted": 1}


def test_sigterm_ends_a_drain_after_the_current_step(workers: Workers, tmp_path: Path) -> None:
    sign = tmp_path / "sign"
    worker = workers.start()
    execution = flows.held.start_execution({"sign": str(sign)}, auto_close=False)
    until(sign.exists)
    worker.send_signal(signal.SIGTERM)
    sign.unlink()
    assert worker.wait(20) == 0
    steps = dict(Step.objects.filter(execution_id=execution.pk).values_list("node", "status"))
    assert steps == {"held_up": "done", "effect": "ready"}
    workers.burst()
    assert settled(execution).state_row.data["noted"] == {"sign": str(sign)}


def test_max_jobs_ends_a_worker_in_good_order(workers: Workers) -> None:
    worker = workers.start("--max-jobs", "1")
    assert worker.wait(20) == 0


def test_each_forked_child_has_a_connection_of_its_own(workers: Workers) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("only a server has backends to tell apart")
    workers.start()
    executions = []
    for _ in range(3):
        execution = flows.backends.start_execution(None, auto_close=False)
        settled(execution)
        executions.append(execution)
    seen = [execution.get_state("seen")[0] for execution in executions]
    assert len({pid for pid, _parent, _backend in seen}) == 3
    assert len({parent for _pid, parent, _backend in seen}) == 1
    assert len({backend for _pid, _parent, backend in seen}) == 3


def test_a_step_that_kills_its_process_every_time_ends_as_failed(workers: Workers) -> None:
    workers.start()
    bad = flows.poison.start_execution(1, auto_close=False)
    good = flows.chain.start_execution(1, auto_close=False)
    assert settled(good).state_row.data == {"noted": 1}
    until(lambda: bad.get_status() == "failed")
    step = Step.objects.get(execution_id=bad.pk)
    assert step.error["type"].endswith("LostStepError")
    assert (step.status, step.lost) == ("failed", 4)
