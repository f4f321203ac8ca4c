"""Every hot query is served by an index, asked of PostgreSQL's planner among thousands of other executions.

The queries are those the functions really send: they are captured and explained.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.engine import driving
from triggerflow_django import TriggerFlow
from triggerflow_django.engine import claim, clock, commit, family, heartbeat, places, resolve, sweep
from triggerflow_django.engine.transition import begin
from triggerflow_django.handles import reading
from triggerflow_django.models import Decision, Event, Execution, Interrupt, Join, JoinSlot, Step
from triggerflow_django.models.fields import new_id

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="asks PostgreSQL's planner"),
]

OTHERS = 1500
#: Rows of the one execution that a query about it must not read.
OWN = 100


def indexes(function: Callable[[], Any]) -> list[str]:
    """The indexes (or whole tables) the function's queries read, in the order of the queries."""
    with CaptureQueriesContext(
        connection,
    ) as captured:
        function()
    found: list[str] = []
    for query in captured.captured_queries:
        sql = query["sql"]
        if sql.startswith(("SELECT", "UPDATE", "DELETE")):
            with connection.cursor() as cursor:
                cursor.execute("EXPLAIN (FORMAT JSON) " + sql.replace("%", "%%"))
                (answer,) = cursor.fetchone()
            plan = answer if isinstance(answer, list) else json.loads(answer)
            found += _read_by(plan[0]["Plan"])
    return found


def _read_by(node: dict[str, Any]) -> Iterator[str]:
    if "Index Name" in node:
        yield str(node["Index Name"])
    elif node["Node Type"] == "Seq Scan":
        yield f"all of {node['Relation Name']}"
    for inner in node.get("Plans", ()):
        yield from _read_by(inner)


@pytest.fixture
def flow() -> TriggerFlow:
    """Items of which two run at a time, each asking, and a branch that works."""
    flow = TriggerFlow(name="lines")
    flow.for_each(concurrency=2).to(
        lambda data: data.pause_for(interrupt_id=f"gate-{data.input}", resume_to="next", resume_event="paid"),
        name="ask",
    ).end_for_each().to(driving.nothing(), name="end")
    flow.when("work").to(driving.nothing(), name="work")
    return flow


@pytest.fixture
def pk(flow: TriggerFlow, travel: Callable[[float], None]) -> uuid.UUID:
    """One execution with a long past, among thousands that are closed or wait."""
    now = clock.read("default")
    ago = now - dt.timedelta(days=1)
    executions = [
        Execution(
            id=new_id(), flow_name="refund", flow_fingerprint="x", runner="inline", lifecycle="closed",
            status="completed", input=None, snapshot={}, created_at=ago, closed_at=ago,
        )
        for _ in range(OTHERS)
    ]  # fmt: skip
    Execution.objects.bulk_create(executions, batch_size=500)
    mine = driving.start(flow, list(range(5)))
    owners = [execution.pk for execution in executions] + [mine] * OWN
    steps = Step.objects.bulk_create(
        [
            Step(
                execution_id=owner, node="past", source="event:START", input=None, path="x", status="done",
                available_at=ago, created_at=ago, finished_at=ago, queue="default",
            )
            for owner in owners
        ],
        batch_size=500,
    )  # fmt: skip
    decisions = Decision.objects.bulk_create(
        [Decision(execution_id=step.execution_id, payload=1, door="code", created_at=ago) for step in steps],
        batch_size=500,
    )
    Interrupt.objects.bulk_create(
        [
            # Of the others every second one waits; of the one execution they are all decided.
            Interrupt(
                id=new_id(), execution_id=step.execution_id, step=step, interrupt_id=f"past-{step.pk}", type="pause",
                payload=None, resume_to="next", resume_event="paid", created_at=ago, due_at=now + dt.timedelta(days=9),
                **({"status": "waiting"} if number % 2 and number < OTHERS else
                   {"status": "resumed", "decision": decision, "resolved_at": ago}),
            )
            for number, (step, decision) in enumerate(zip(steps, decisions, strict=True))
        ],
        batch_size=500,
    )  # fmt: skip
    Event.objects.bulk_create(
        [
            Event(execution_id=owner, sequence=number + 10, kind="emitted", name="past", created_at=ago)
            for number, owner in enumerate(owners)
        ],
        batch_size=500,
    )
    joins = Join.objects.bulk_create(
        [
            Join(execution_id=owner, node="past/end", activation=uuid.uuid4().hex[:16], expected=1, status="fired")
            for owner in owners
        ],
        batch_size=500,
    )
    JoinSlot.objects.bulk_create([JoinSlot(join=join, slot="0", value=1) for join in joins], batch_size=500)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        # These tables are small enough to be read whole; a query without a fitting index still has to.
        cursor.execute("SET LOCAL enable_seqscan = off")
    return mine


def test_every_hot_query_reads_an_index_and_no_table(flow: TriggerFlow, pk: uuid.UUID) -> None:
    running, step = driving.drainer(pk, flow), None
    for step in driving.claim(pk, flow, token=running.context.token):
        driving.run(running, step)
    assert step is not None
    lease = heartbeat.Lease(running.context.token, "default")

    def under_the_lock(act: Callable[[Any], Any]) -> Callable[[], Any]:
        def verb() -> None:
            with begin(pk, using="default", graph=flow.graph) as transition:
                act(transition)

        return verb

    def promote(transition: Any) -> None:
        (join,) = places.joins_of(transition, step.scope)
        join.places = 0
        places._promote(transition, join)

    #: What a function does, and the indexes it may use, one for each table it asks.
    allowed: dict[str, tuple[Callable[[], Any], set[str]]] = {
        "ready steps of an execution": (
            lambda: list(claim.ready("default", execution_id=pk)),
            {"triggerflow_step_live", "triggerflow_step_ready", "triggerflow_execution_pkey"},
        ),
        "ready steps of a queue": (
            lambda: list(claim.ready("default", queue="default")),
            {"triggerflow_step_ready", "triggerflow_execution_pkey"},
        ),
        "expired leases": (lambda: list(sweep._expired("default")), {"triggerflow_step_lease"}),
        "due interrupts": (lambda: list(sweep._overdue("default")), {"triggerflow_interrupt_due"}),
        "auto close": (lambda: list(sweep._idle("default")), {"triggerflow_exec_auto_close"}),
        "closes to be forced": (
            lambda: list(sweep._closing("default")), {"triggerflow_exec_close_by", "triggerflow_exec_closing"}
        ),
        "closes that wait": (lambda: list(sweep._held_up("default")), {"triggerflow_exec_closing"}),
        "sub flows to be cancelled": (lambda: list(sweep._cutting_off("default")), {"triggerflow_exec_cancels"}),
        "sub flows of an execution": (
            lambda: list(family.children(pk, "default")),
            {"triggerflow_exec_parent", "triggerflow_step_timeline", "triggerflow_step_live"},
        ),
        "what runs below an execution": (
            lambda: family.is_busy(pk, "default"),
            {"triggerflow_step_live", "triggerflow_exec_root", "triggerflow_execution_pkey"},
        ),
        "what waits below an execution": (
            lambda: list(family.waiting_below(pk, "default")),
            {"triggerflow_interrupt_waiting", "triggerflow_exec_root", "triggerflow_execution_pkey"},
        ),
        "executions above one": (
            lambda: family.is_cut_off(pk, using="default") or family.ancestors.cache_clear(),
            {"triggerflow_execution_pkey", "triggerflow_step_pkey"},
        ),
        "renewing leases": (lambda: heartbeat.renew(lease), {"triggerflow_step_lease"}),
        "pending of an execution": (
            lambda: reading.pending_interrupts(pk, "default"),
            {
                "triggerflow_interrupt_waiting", "triggerflow_step_live", "triggerflow_step_pkey",
                "triggerflow_decision_pkey",
            },
        ),
        "an interrupt by its id": (
            lambda: reading.interrupt(pk, "default", "gate-0"),
            {"triggerflow_interrupt_round", "triggerflow_step_pkey", "triggerflow_decision_pkey"},
        ),
        "interrupts that wait for an event": (
            under_the_lock(lambda transition: resolve.waiting_for(transition, "paid")),
            {"triggerflow_execution_pkey", "triggerflow_interrupt_waiting", "triggerflow_step_pkey"},
        ),
        "events since a sequence": (
            under_the_lock(
                lambda transition: resolve.by_earlier_event(transition, driving.interrupt(pk, "gate-0"), step)
            ),
            {"triggerflow_execution_pkey", "triggerflow_interrupt_round", "triggerflow_event_emitted"},
        ),
        "fan-outs around a step and steps held back": (
            under_the_lock(promote),
            {"triggerflow_execution_pkey", "triggerflow_join_activation", "triggerflow_step_live"},
        ),
        "the next round of a question": (
            under_the_lock(lambda transition: commit._next_round(transition, "gate-9")),
            {"triggerflow_execution_pkey", "triggerflow_interrupt_round"},
        ),
        "what an unknown commit left": (
            lambda: commit.recover(step, token=step.lease_token, using="default"),
            {"triggerflow_step_pkey", "triggerflow_step_live", "triggerflow_step_lease"},
        ),
        "a key": (
            lambda: Execution.objects.filter(flow_name="lines", key="7").first(), {"triggerflow_execution_key"}
        ),
    }  # fmt: skip
    found = {what: set(indexes(function)) for what, (function, _) in allowed.items()}
    wrong = {what: found[what] for what, (_, expected) in allowed.items() if not found[what] or found[what] - expected}
    assert wrong == {}


def test_a_whole_walk_reads_no_table(flow: TriggerFlow, pk: uuid.UUID) -> None:
    def walk() -> None:
        driving.drain(pk, flow)
        for item in range(5):
            driving.decide(pk, f"gate-{item}", item, flow=flow, request_id=f"r-{item}")
        driving.drain(pk, flow)

    read = indexes(walk)
    assert [name for name in read if name.startswith("all of")] == []
    assert driving.step(pk, "end").input == list(range(5))
    assert len(read) > 20
