"""Workers die, bells get lost, doubled or forged, Redis goes away: each execution still ends as it should, once."""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.contrib.auth.models import Group
from rq import Queue
from rq.registry import FailedJobRegistry
from rq.serializers import JSONSerializer

from tests.worker.app import flows
from tests.worker.conftest import Bells, Workers, settled, until
from triggerflow_django import wakeups
from triggerflow_django.models import Join, Step
from triggerflow_django.worker.job import BellJob

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def queue_of(bells: Bells) -> Queue:
    """The queue as RQ's own tools and the dashboard see it."""
    return Queue("triggerflow", connection=bells.client(), serializer=JSONSerializer, job_class=BellJob)


def held_execution(sign: Path) -> Any:
    execution = flows.held.start_execution({"sign": str(sign)}, auto_close=False)
    until(sign.exists)
    return execution


def test_a_killed_child_is_replaced_and_its_step_runs_again(workers: Workers, tmp_path: Path) -> None:
    sign = tmp_path / "sign"
    workers.start()
    execution = held_execution(sign)
    child = int(sign.read_text())
    sign.unlink()
    os.kill(child, signal.SIGKILL)
    until(sign.exists)  # the step runs again, in another child
    assert int(sign.read_text()) != child
    sign.unlink()
    settled(execution)
    assert execution.get_state("noted") == {"sign": str(sign)}
    assert Group.objects.count() == 1


def test_an_orphaned_child_finishes_once(workers: Workers, tmp_path: Path) -> None:
    sign = tmp_path / "sign"
    parent = workers.start()
    execution = held_execution(sign)
    child = psutil.Process(int(sign.read_text()))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert child.is_running()
    workers.start()
    sign.unlink()
    settled(execution)
    assert execution.get_state("noted") == {"sign": str(sign)}
    assert Group.objects.count() == 1
    assert Step.objects.get(execution_id=execution.pk, node="held_up").attempt == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_an_orphaned_child_begins_no_further_step(workers: Workers, tmp_path: Path) -> None:
    sign = tmp_path / "sign"
    parent = workers.start()
    execution = held_execution(sign)
    child = psutil.Process(int(sign.read_text()))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    sign.unlink()
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    steps = dict(Step.objects.filter(execution_id=execution.pk).values_list("node", "status"))
    assert steps == {"held_up": "done", "effect": "ready"}


def test_flushed_bells_are_rung_again(workers: Workers, bells: Bells) -> None:
    executions = [flows.fan.start_execution(list(range(20)), auto_close=False) for _ in range(3)]
    bells.client().flushall()
    workers.start()
    for execution in executions:
        assert settled(execution).state_row.data == {"noted": list(range(20))}
    assert Group.objects.count() == 60


def test_a_restarted_redis_costs_only_time(workers: Workers, bells: Bells) -> None:
    execution = flows.gate.start_execution(1, auto_close=False)
    bells.stop()
    began = time.monotonic()
    other = flows.fan.start_execution(list(range(10)), auto_close=False)  # starting works without Redis
    assert time.monotonic() - began < 3
    bells.start()
    workers.start()
    assert settled(execution).status == "waiting"
    assert settled(other).state_row.data == {"noted": list(range(10))}
    bells.stop()
    began = time.monotonic()
    assert execution.continue_with("gate", "yes")["status"] == "resumed"  # and so does deciding
    assert time.monotonic() - began < 3
    assert wakeups.counts.failed
    bells.start()
    workers.start()
    assert settled(execution).state_row.data == {"noted": "yes"}
    assert Group.objects.count() == 11


def test_every_bell_twice_changes_nothing(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    push = wakeups.push

    def twice(bells: Queue, call: str) -> None:
        push(bells, call)
        push(bells, call)

    monkeypatch.setattr(wakeups, "push", twice)
    execution = flows.fan.start_execution(list(range(40)), auto_close=False)
    gate = flows.gate.start_execution(1, auto_close=False)
    first, second = workers.start("--name", "one"), workers.start("--name", "two")
    assert settled(execution).state_row.data == {"noted": list(range(40))}
    settled(gate)
    gate.continue_with("gate", "yes")
    settled(gate)
    assert Group.objects.count() == 41
    assert Join.objects.get().filled == 40
    assert first.poll() is None
    assert second.poll() is None


def _job(bells: Bells, name: str, **fields: Any) -> None:
    """Put a job into the queue by hand, as somebody who can write to Redis would."""
    client = bells.client()
    values = {"created_at": "2026-01-01T00:00:00.000000Z", "origin": "triggerflow", "status": "queued", **fields}
    client.hset(f"rq:job:{name}", mapping=values)
    client.rpush("rq:queue:triggerflow", name)


def test_hostile_jobs_neither_run_nor_stop_the_others(workers: Workers, bells: Bells, tmp_path: Path) -> None:
    target = tmp_path / "owned"

    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.system, (f"touch {target}",)

    call = json.dumps(["os.system", None, [f"touch {target}"], {}]).encode()
    ours = json.dumps([wakeups.DRAIN, None, ["triggerflow"], {}]).encode()
    _job(bells, "system", data=zlib.compress(call))
    _job(bells, "pickle", data=pickle.dumps(Evil()), meta=pickle.dumps(Evil()))
    _job(bells, "hash", data=zlib.compress(ours), timeout="abc", result_ttl="def", status="odd", created_at="never")
    _job(bells, "bomb", data=zlib.compress(b"[" + b"0," * 200_000_000 + b"0]", 9)[:3_000])
    _job(bells, "large", data=zlib.compress(b" " * 4_000_000 + ours))
    _job(
        bells, "callback", data=zlib.compress(ours), success_callback_name="os.abort", failure_callback_name="os.abort"
    )
    _job(bells, "deep", data=b"[" * 4_000)
    _job(bells, "nothing")
    bells.client().set("rq:job:wrongtype", "no hash")
    bells.client().rpush("rq:queue:triggerflow", "wrongtype", "no-such-job")
    execution = flows.fan.start_execution(list(range(5)), auto_close=False)
    worker = workers.start()
    assert settled(execution).state_row.data == {"noted": list(range(5))}
    until(lambda: bells.client().llen("rq:queue:triggerflow") == 0)
    assert worker.poll() is None
    assert not target.exists()
    registry = FailedJobRegistry(queue=queue_of(bells))
    until(lambda: {"system", "pickle", "bomb", "large", "deep", "nothing"} <= set(registry.get_job_ids()))
    assert not {"callback", "hash"} & set(registry.get_job_ids())
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0


def test_the_dashboards_buttons_cannot_hurt_an_execution(workers: Workers, bells: Bells) -> None:
    execution = flows.fan.start_execution(list(range(5)), auto_close=False)
    queue = queue_of(bells)
    for job in queue.get_jobs():
        job.delete()
    queue.empty()
    gate = flows.gate.start_execution(1, auto_close=False)
    (job, *_more) = queue.get_jobs()
    workers.start()
    assert settled(execution).state_row.data == {"noted": list(range(5))}
    settled(gate)
    queue.enqueue_job(job)  # requeue one that was done
    queue.enqueue_job(job)
    gate.continue_with("gate", 1)
    settled(gate)
    until(lambda: bells.client().llen("rq:queue:triggerflow") == 0)
    assert Group.objects.count() == 6
