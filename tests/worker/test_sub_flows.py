"""Sub flows on real workers: children of flows that only their parent knows, deaths between parent and child, bells
that are lost and doubled.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group

from tests.engine import driving
from tests.worker.app import flows
from tests.worker.conftest import Bells, Workers, settled, until
from triggerflow_django import wakeups
from triggerflow_django.models import Execution, Step

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def items(folder: Path, number: int) -> list[dict[str, str]]:
    """What each child gets: the name of a file that holds it up while it is there."""
    return [{"sign": str(folder / f"sign{index}")} for index in range(number)]


def let_go(folder: Path, number: int) -> None:
    """Wait until that many children are held up, and let them go on."""
    for _ in range(number):
        (sign, *_others) = until(lambda: list(folder.glob("sign*")))
        sign.unlink()


def answer_all(execution: Any, answer: str) -> None:
    for interrupt_id in execution.get_pending_interrupts():
        execution.continue_with(interrupt_id, answer)


def all_sound(execution: Any, number: int) -> None:
    executions = Execution.objects.filter(root_id=execution.pk)
    assert executions.count() == 2 * number
    for row in [execution.row(), *executions]:
        driving.consistent(row.pk)
    assert set(executions.values_list("status", flat=True)) == {"completed"}
    assert Group.objects.count() == number


def test_workers_run_children_of_unregistered_flows_to_their_questions_and_on(workers: Workers, tmp_path: Path) -> None:
    workers.start()
    execution = flows.sub_flows.start_execution(items(tmp_path, 3), auto_close=False)
    assert execution.runs_inline is False
    let_go(tmp_path, 3)
    execution.wait(60)
    assert execution.get_status() == "waiting"
    assert len(execution.get_pending_interrupts()) == 3
    assert set(Execution.objects.values_list("runner", flat=True)) == {"rq"}
    answer_all(execution, "yes")
    settled(execution)
    assert execution.get_state("noted") == ["yes"] * 3
    all_sound(execution, 3)
    assert execution.close() == {"noted": ["yes"] * 3}


def test_a_worker_killed_in_a_child_s_chunk_is_replaced_and_the_parent_goes_on(
    workers: Workers, tmp_path: Path
) -> None:
    workers.start()
    execution = flows.sub_flows.start_execution(items(tmp_path, 1), auto_close=False)
    (sign,) = until(lambda: list(tmp_path.glob("sign*")))
    until(sign.read_text)
    pid = int(sign.read_text())
    sign.unlink()
    os.kill(pid, signal.SIGKILL)
    let_go(tmp_path, 1)
    execution.wait(60)
    answer_all(execution, "yes")
    settled(execution)
    all_sound(execution, 1)
    assert Step.objects.get(node="leaf held").attempt >= 1
    assert Execution.objects.filter(flow_name="leaf of workers").count() == 1


def test_lost_and_doubled_bells_change_nothing(workers: Workers, bells: Bells, tmp_path: Path) -> None:
    execution = flows.sub_flows.start_execution(items(tmp_path, 2), auto_close=False)
    bells.client().flushall()
    workers.start()
    workers.start()
    let_go(tmp_path, 2)
    execution.wait(60)
    bells.client().flushall()
    answer_all(execution, "yes")
    bells.client().flushall()
    for _ in range(5):
        wakeups.push(wakeups.bell_queue("triggerflow"), wakeups.DRAIN)
    settled(execution)
    all_sound(execution, 2)


def test_a_cancelled_parent_takes_its_children_with_it_while_workers_run_them(workers: Workers, tmp_path: Path) -> None:
    workers.start()
    execution = flows.sub_flows.start_execution(items(tmp_path, 1), auto_close=False)
    (sign,) = until(lambda: list(tmp_path.glob("sign*")))
    execution.cancel()
    sign.unlink()
    assert set(Execution.objects.values_list("status", flat=True)) == {"cancelled"}
    until(lambda: not Step.objects.filter(status="running").exists())
    assert not Step.objects.filter(node="leaf ask").exists()
