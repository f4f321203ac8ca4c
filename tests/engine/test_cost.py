"""What a step costs: so many statements, however many steps came before it, and nothing for state it leaves alone."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.engine import driving
from triggerflow_django import TriggerFlow
from triggerflow_django.engine import emit
from triggerflow_django.models import Step
from triggerflow_django.runtime.state import StateChange

pytestmark = pytest.mark.django_db(transaction=True)

#: Of one step of a chain, BEGIN and COMMIT not counted: lock the execution, finish the step, insert the next.
STATEMENTS_PER_CHAIN_STEP = 3


def chain(length: int) -> TriggerFlow:
    """That many trivial chunks after one another."""
    flow = TriggerFlow(name="chain")
    place: Any = flow
    for number in range(length):
        place = place.to(lambda data: data.input, name=f"step-{number}")
    return flow


def statements(function: Callable[[], Any]) -> list[str]:
    """What is sent to the database meanwhile, without BEGIN, COMMIT and savepoints."""
    with CaptureQueriesContext(connection) as captured:
        function()
    sent = [query["sql"] for query in captured.captured_queries]
    return [sql for sql in sent if not sql.startswith(("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE"))]


def commits(function: Callable[[], Any]) -> int:
    """How many transactions are committed meanwhile."""
    with CaptureQueriesContext(connection) as captured:
        function()
    return sum(query["sql"].startswith("COMMIT") for query in captured.captured_queries)


def drained(length: int) -> list[str]:
    """The statements of a drain of a chain of that length."""
    flow = chain(length)
    pk = driving.start(flow, 1)
    return statements(lambda: driving.drainer(pk, flow).run())


def test_a_step_of_a_chain_costs_three_statements_and_one_commit() -> None:
    short, long = len(drained(5)), len(drained(25))
    assert (long - short) / 20 == STATEMENTS_PER_CHAIN_STEP
    flow = chain(10)
    pk = driving.start(flow, 1)
    assert commits(lambda: driving.drainer(pk, flow).run()) == 10


def test_the_statements_of_a_step_are_these() -> None:
    sent = drained(9)
    kinds = [" ".join(sql.replace('"', "").split()[:3]) for sql in sent]
    assert kinds.count("INSERT INTO triggerflow_step") == 8
    assert kinds.count("UPDATE triggerflow_step SET") == 9 + 1  # the claim
    locks = [sql for sql in sent if sql.startswith('SELECT "triggerflow_execution"') and "db_now" in sql]
    assert len(locks) == 9


def test_a_step_costs_the_same_however_many_steps_came_before_it() -> None:
    flow = TriggerFlow(name="loop")
    flow.when("go").to(lambda data: data.set_state("count", data.input), name="work")
    flow.when("go").to(driving.nothing(), name="other")
    pk = driving.settled(flow)

    def once() -> list[str]:
        emit.emit(pk, "go", 1, using="default", graph=flow.graph)
        return statements(lambda: driving.drainer(pk, flow).run())

    once()  # the first write of a state inserts its row
    first = once()
    past = Step.objects.filter(execution_id=pk).first()
    assert past is not None
    Step.objects.bulk_create(
        [Step(**{**values, "id": None}) for values in Step.objects.filter(pk=past.pk).values() for _ in range(2000)]
    )
    again = once()
    assert [sql[:60] for sql in again] == [sql[:60] for sql in first]


# -- state


def big_state(flow: TriggerFlow) -> uuid.UUID:
    """A started execution with a megabyte of state."""
    pk = driving.start(flow, 1)
    change = StateChange("set", "blob", "x" * 1_000_000)
    emit.write_state(pk, [change], using="default", signal=False, graph=flow.graph)
    return pk


def leaves(data: Any) -> Any:
    """Looks at everything but the state."""
    data.emit("heard", data.input)
    return (data.input, data.attempt, data.idempotency_key, data.is_resume, data.event)


def asks(data: Any) -> Any:
    """Pauses."""
    return data.pause_for(interrupt_id="gate")


def test_a_step_that_leaves_the_state_alone_neither_reads_nor_writes_it() -> None:
    flow = TriggerFlow(name="big")
    flow.to(leaves).batch(("one", leaves), ("two", leaves)).to(asks)
    pk = big_state(flow)
    sent = statements(lambda: driving.drainer(pk, flow).run())
    sent += statements(lambda: driving.decide(pk, "gate", 1, flow=flow, request_id="r-1"))
    assert driving.row(pk).status == "running"
    assert [sql for sql in sent if "triggerflow_state" in sql] == []
    assert max(map(len, sent)) < 20_000


def test_a_step_that_reads_the_state_reads_it_once_and_does_not_write_it() -> None:
    flow = TriggerFlow(name="big")
    flow.to(lambda data: [data.get_state("blob")[:1], len(data.state), data.get_state("none")], name="looks")
    pk = big_state(flow)
    sent = [sql for sql in statements(lambda: driving.drainer(pk, flow).run()) if "triggerflow_state" in sql]
    assert len(sent) == 1
    assert sent[0].startswith("SELECT")


def test_a_step_that_only_sets_state_reads_it_once_under_the_lock_and_writes_it_once() -> None:
    flow = TriggerFlow(name="small")
    flow.to(lambda data: (data.set_state("a", 1), data.set_state("b", 2))[0], name="first").to(
        lambda data: (data.set_state("a", 3), data.set_state("c", 4))[0], name="second"
    )
    pk = driving.start(flow)
    sent = [sql for sql in statements(lambda: driving.drainer(pk, flow).run()) if "triggerflow_state" in sql]
    assert [sql.split()[0] for sql in sent] == ["INSERT", "SELECT", "UPDATE"]
    assert driving.state(pk) == {"a": 3, "b": 2, "c": 4}


def test_an_input_is_not_read_again_by_every_step() -> None:
    """The execution's input and snapshot stay out of the lock."""
    flow = chain(3)
    pk = driving.start(flow, {"blob": "x" * 60_000})
    sent = statements(lambda: driving.drainer(pk, flow).run())
    locks = [sql for sql in sent if sql.startswith("SELECT") and "db_now" in sql]
    assert locks
    assert not any('"triggerflow_execution"."input"' in sql or '"snapshot"' in sql for sql in locks)


# -- the rest of a walk


def test_a_walk_with_one_gate_costs_so_many_commits() -> None:
    """W1: start, step, pause, decide, two more steps, done: one write commit for each."""
    flow = TriggerFlow(name="walk")
    flow.to(driving.nothing(), name="one").to(asks).to(driving.nothing(), name="two").to(
        driving.nothing(), name="three"
    )
    handle = flow.create_execution(auto_close=False)

    def walk() -> None:
        handle.start(1)
        handle.continue_with("gate", 1)
        handle.close()

    assert commits(walk) <= 8
    driving.consistent(handle.pk)


def test_a_fan_out_costs_the_same_for_each_item() -> None:
    def cost(items: int) -> int:
        flow = TriggerFlow(name=f"lines-{items}")
        flow.for_each().to(driving.nothing(), name="line").end_for_each().to(driving.nothing(), name="end")
        pk = driving.start(flow, list(range(items)))
        return len(statements(lambda: driving.drainer(pk, flow).run()))

    # Multiples of the batch in which a drain claims, below the window of a for_each.
    one, two, three = cost(32), cost(64), cost(96)
    assert two - one == three - two
    assert (two - one) / 32 <= 7.5
