"""The invariants of the design by number, as far as they need no RQ. The subjects' own files have the details.

1  here, test_decide, test_deadlines_locked, test_constraints   9  test_invariants_of_steps, test_start
2  here, test_authority, test_resolve, test_early_events       10  test_invariants_of_steps, test_sweep
3  here, test_missing                                          11  test_lifecycle, test_emit, test_constraints
4  test_decide_again, test_restore                             12  test_status, test_random_walks
5  test_decide                                                 13  test_start
6  here, test_closing, test_deadlines_locked                   14  test_history, test_restore
7  test_invariants_of_joins, test_emit, test_constraints       15  test_invariants_of_data
8  test_invariants_of_steps, test_fail_again, test_closing     16  test_invariants_of_data
"""

from __future__ import annotations

import ast
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

import triggerflow_django
from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import emit, lifecycle, sweep
from triggerflow_django.engine.transition import Transition
from triggerflow_django.models import Decision, Door

pytestmark = pytest.mark.django_db

Travel = Callable[[float], None]

PACKAGE = Path(triggerflow_django.__file__).parent


def gated() -> TriggerFlow:
    """A flow that asks, and then commits."""
    flow = TriggerFlow(name="refund")
    flow.to(lambda data: data.pause_for(interrupt_id="gate"), name="ask").to(
        lambda data: data.set_state("decision", data.input), name="commit"
    )
    return flow


def modules() -> list[tuple[str, ast.Module]]:
    """Every module of the package, parsed."""
    return [
        (str(path.relative_to(PACKAGE)), ast.parse(path.read_text(encoding="utf-8")))
        for path in sorted(PACKAGE.rglob("*.py"))
        if "migrations" not in path.parts
    ]


# -- 1


@pytest.mark.django_db(transaction=True)
def test_1_of_two_answers_at_the_same_moment_one_wins_and_the_other_hears_of_it() -> None:
    flow = gated()
    for _ in range(10):
        pk = driving.settled(flow)
        barrier = threading.Barrier(2)

        def answer(value: str, pk: uuid.UUID = pk, barrier: threading.Barrier = barrier) -> str:
            try:
                connection.ensure_connection()
                barrier.wait(30)
                return str(driving.decide(pk, "gate", value, flow=flow)["status"])
            except exceptions.InterruptNotWaitingError:
                return "late"
            finally:
                connection.close()

        with ThreadPoolExecutor(2) as pool:
            told = [done.result(60) for done in [pool.submit(answer, value) for value in ("yes", "no")]]
        assert sorted(told) == ["late", "resumed"]
        decision = Decision.objects.get(execution_id=pk)
        assert decision.payload == ("yes", "no")[told.index("resumed")]
        assert driving.step(pk, "commit").input == decision.payload
        driving.consistent(pk)


def test_1_only_one_function_of_the_package_resumes_an_interrupt() -> None:
    places = {
        f"{name}:{getattr(inside, 'name', '')}"
        for name, tree in modules()
        for inside in ast.walk(tree)
        if isinstance(inside, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(inside)
        if isinstance(node, ast.Dict | ast.keyword | ast.Assign)
        for value in _written(node)
        if isinstance(value, ast.Attribute) and value.attr == "RESUMED"
    }
    assert places == {"engine/resolve.py:resume"}


def _written(node: ast.Dict | ast.keyword | ast.Assign) -> list[ast.expr]:
    """The values of a dictionary, an argument by name or an assignment."""
    if isinstance(node, ast.Dict):
        return node.values
    return node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]


# -- 2


@pytest.mark.parametrize("door", Door.values)
def test_2_the_same_policy_stands_behind_every_door(door: str, clerk: User, manager: User) -> None:
    for approvers, allowed in ((None, manager), ("user:clerk", clerk)):
        flow = TriggerFlow(name="refund")
        flow.to(lambda data, who=approvers: data.pause_for(interrupt_id="gate", approvers=who), name="ask")
        pk = driving.settled(flow)
        refused = clerk if allowed is manager else manager
        before = driving.everything(pk)
        with pytest.raises(exceptions.DecisionRefusedError):
            driving.decide(pk, "gate", 1, actor=refused, door=Door(door))
        assert driving.everything(pk) == before
        assert driving.decide(pk, "gate", 1, actor=allowed, door=Door(door))["door"] == door


@pytest.mark.django_db(transaction=True)
def test_2_the_policy_is_asked_on_the_locked_row(clerk: User, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = gated()
    pk = driving.settled(flow)
    asked: list[bool] = []

    def look(*_args: Any, **_kwargs: Any) -> None:
        asked.append(connection.in_atomic_block)
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT count(*) FROM pg_locks JOIN pg_class ON pg_class.oid = relation "
                    "WHERE relname = 'triggerflow_execution' AND mode = 'RowShareLock' AND pid = pg_backend_pid()"
                )
                assert cursor.fetchone()[0] >= 1

    monkeypatch.setattr("triggerflow_django.engine.authority.require_allowed", look)
    driving.decide(pk, "gate", 1, actor=clerk)
    assert asked == [True]


# -- 3


@pytest.mark.django_db(transaction=True)
def test_3_an_acknowledged_decision_needs_nobody_to_be_told_of_it() -> None:
    """No bell, no memory of the process that took the answer: the rows are enough."""
    pk = driving.settled(gated())
    record = driving.decide(pk, "gate", {"approved": True})
    connection.close()
    assert record["status"] == "resumed"
    assert Decision.objects.get(execution_id=pk).payload == {"approved": True}
    another_process = gated()
    driving.drain(pk, another_process)
    assert driving.state(pk) == {"decision": {"approved": True}}
    driving.consistent(pk)


@pytest.mark.django_db(transaction=True)
def test_3_an_answer_is_not_acknowledged_before_it_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = gated()
    pk = driving.settled(flow)
    before = driving.everything(pk)

    def stumble(self: Transition) -> None:
        raise ConnectionError("the database went away")

    monkeypatch.setattr(Transition, "save", stumble)
    with pytest.raises(ConnectionError):
        driving.decide(pk, "gate", 1, flow=flow)
    assert driving.everything(pk) == before


# -- 6


@pytest.mark.parametrize("end", ["close", "cancel", "abandon", "force"])
def test_6_no_way_of_ending_runs_what_comes_after_the_gate(end: str, travel: Travel) -> None:
    flow = gated()
    flow.when("work").to(driving.nothing(), name="work")
    pk = driving.settled(flow)
    if end == "close":
        lifecycle.request_close(pk, using="default", pending_interrupts="cancel", graph=flow.graph)
    elif end == "cancel":
        lifecycle.cancel(pk, using="default")
    elif end == "abandon":
        lifecycle.abandon(pk, using="default", reason="x")
    else:
        emit.emit(pk, "work", 1, using="default", graph=flow.graph)
        lifecycle.request_close(pk, using="default", pending_interrupts="cancel", timeout=1, graph=flow.graph)
        travel(2)
        sweep.sweep(using="default")
    driving.drain(pk, flow)
    travel(10**6)
    sweep.sweep(using="default")
    driving.drain(pk, flow)
    assert driving.consistent(pk).lifecycle == "closed"
    assert "commit" not in driving.statuses(pk)
    assert not Decision.objects.exists()
