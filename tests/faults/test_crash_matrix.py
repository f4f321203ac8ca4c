"""Every place at which a process can be lost, times every way of losing it: the execution comes to its right end.

The victim starts an order, answers its gate and closes it; with runner ``rq`` it also does what a worker does on each
bell. A fault strikes it once, somewhere. Then all takes its course: leases run out, another process sweeps, bells are
answered, and the caller asks again for what nobody told it was done. The cells are those of ``crashtable``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.engine import driving
from tests.faults.crashpoints import IS_POSTGRES, Point
from tests.faults.crashtable import REDIS_FAULTS, Cell, cells
from tests.faults.flows import GATE, ITEMS, ORDER_ROWS, ORDER_SNAPSHOT, ORDER_STEPS, ORDERS, left_by
from tests.faults.processes import Crew
from tests.faults.programs import ANSWER, answer_bells, walk, walk_by_bells
from tests.faults.rescue import Redis, Rescue
from tests.faults.soundness import sound, steps_by_node
from triggerflow_django import TriggerFlowExecution
from triggerflow_django.engine.sweep import sweep
from triggerflow_django.models import Decision, Door, Execution, Step

CELLS = cells("order", "bells")
#: Async chunks are run by other code up to the commit.
ASYNC_CELLS = [
    cell
    for cell in CELLS
    if cell.point.verb in ("claim", "chunk", "atomic", "commit", "renew")
    and cell.fault in ("kill", "error", "freeze", "redis down")
]
#: And in a worker by another drain.
_WORKER_CELLS = [
    (style, replace(cell, by_bells=True))
    for style in ("sync", "async")
    for cell in ASYNC_CELLS
    if cell.runner == "inline" and cell.fault in ("kill", "freeze")
]
STYLED = [("sync", cell) for cell in CELLS] + [("async", cell) for cell in ASYNC_CELLS] + _WORKER_CELLS


def must_survive(cell: Cell) -> bool:
    """Whether the victim has to go on by itself.

    Around a commit an error means "unknown", so it looks and acts. Nothing is lost by standing still, and nobody waits
    for Redis. What goes wrong with a heartbeat or a bell is tried again by the next one.
    """
    point, fault = cell.point, cell.fault
    if fault == "kill":
        return False
    if fault == "freeze" or fault in REDIS_FAULTS or point.verb == "renew":
        return True
    match point.verb:
        case "ring":
            return fault != "cut"
        case "chunk":
            return fault == "cut"
        case "commit" | "atomic":
            return fault == "error" or (fault == "cut" and point.moment != "committed")
    return False


def may_fall_silent(cell: Cell) -> bool:
    """Whether a bell may be lost by it, so that no worker goes on until a sweep has rung."""
    return cell.fault in REDIS_FAULTS or (cell.point.verb == "ring" and cell.point.moment == "entered")


def may_fail(cell: Cell) -> bool:
    """Whether a step may fail by it: code that raises what nobody expects is to blame for it."""
    return cell.fault == "boom" or (cell.point.verb == "chunk" and cell.fault == "error")


def is_after_the_decision(point: Point) -> bool:
    """Whether the database had acknowledged the victim's decision when the fault struck."""
    return (
        point.verb == "close"
        or point.node == "book"
        or (point.verb == "ring" and point.node == "decide")
        or point == Point("decide", "committed")
    )


def comes_to_its_end(rescue: Rescue, style: str) -> TriggerFlowExecution:
    """The caller asks again for all of it, until it is done."""
    handle = ORDERS[style].start_execution(ITEMS, key="k1", auto_close=False, runner=rescue.cell.runner)
    if handle.get_status() == "failed":
        assert may_fail(rescue.cell)
        handle.retry()
    rescue.work(handle)
    sound(handle.pk)
    handle.continue_with(GATE, ANSWER, resume_request_id="first", comment="rescuer")
    rescue.work(handle)
    assert handle.close() == ORDER_SNAPSHOT

    execution = sound(handle.pk)
    assert execution.status == "completed"
    assert steps_by_node(handle.pk) == ORDER_STEPS
    assert left_by(handle.id) == ORDER_ROWS
    return handle


@pytest.mark.parametrize(("style", "cell"), STYLED, ids=str)
def test_whatever_strikes_a_process_another_one_brings_the_order_to_its_end(
    crew: Crew, rescue: Rescue, style: str, cell: Cell
) -> None:
    ended: list[dict[str, Any]] = []

    def meanwhile() -> None:
        sweep(using="default")
        ended.append(driving.everything(comes_to_its_end(rescue, style).pk))

    program = walk if cell.runner == "inline" else walk_by_bells
    victim = crew.start(program, style, "k1", "victim", cell.point, cell.fault)
    said, value = rescue.strike(victim, meanwhile)
    if must_survive(cell):
        assert said == "returned"
        assert value == "completed" or (may_fall_silent(cell) and value in ("running", "waiting"))

    is_the_victims = Decision.objects.filter(comment="victim").exists()
    rescue.let_leases_run_out()
    handle = comes_to_its_end(rescue, style)
    if ended:  # it was frozen, and has changed nothing since it went on
        assert [driving.everything(handle.pk)] == ended
    # An acknowledged decision is never lost and never made a second time.
    decision = Decision.objects.get(execution_id=handle.pk)
    assert (decision.payload, decision.door) == (ANSWER, Door.CODE)
    assert decision.comment == ("victim" if is_the_victims else "rescuer")
    assert is_the_victims or not is_after_the_decision(cell.point)


@pytest.mark.skipif(not IS_POSTGRES, reason="SQLite has no server that could go on by itself")
@pytest.mark.parametrize(
    "point",
    [Point("commit", "written", "tally"), Point("atomic", "written", "part"), Point("atomic", "written", "book")],
    ids=str,
)
def test_a_commit_that_goes_through_after_the_process_looked_for_it_is_found_all_the_same(
    crew: Crew, point: Point
) -> None:
    victim = crew.start(walk, "sync", "k1", "victim", point, "late")
    victim.expect("reached")
    assert victim.expect("returned") == "completed"
    execution = sound(Execution.objects.get().pk)
    assert execution.snapshot == ORDER_SNAPSHOT
    assert steps_by_node(execution.pk) == ORDER_STEPS
    assert left_by(execution.id.hex) == ORDER_ROWS
    assert not Step.objects.filter(attempt__gt=1).exists()


def test_what_was_never_rung_for_runs_once_a_sweep_has_rung(crew: Crew, redis: Redis) -> None:
    victim = crew.start(walk_by_bells, "sync", "k1", "victim", Point("ring", "entered", "start"), "kill")
    victim.expect("reached")
    assert victim.hear() == ("gone", -9)
    execution = Execution.objects.get()
    before = driving.everything(execution.pk)
    crew.start(answer_bells).expect("returned")
    assert redis.bells() == 0
    assert driving.everything(execution.pk) == before  # the control: nothing but the sweep knows of it
    sweep(using="default")
    assert redis.bells() == 1
    crew.start(answer_bells).expect("returned")
    assert sound(execution.pk).status == "waiting"
