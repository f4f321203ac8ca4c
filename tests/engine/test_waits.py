"""What an execution waits for: every standing of a step, an interrupt and a lifecycle is told with its particulars."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from triggerflow_django import TriggerFlow, TriggerFlowExecution
from triggerflow_django.definition.graph import Graph
from triggerflow_django.engine import claim, clock, emit, lifecycle, start
from triggerflow_django.engine.waits import Standing, Wait, standing
from triggerflow_django.models import Execution, Step, StepStatus
from triggerflow_django.testing import travel

pytestmark = pytest.mark.django_db


def told(target: TriggerFlowExecution, graph: Graph | None = None, **options: Any) -> Standing:
    row = Execution.objects.get(pk=target.pk)
    known = graph or target.flow.graph
    return standing(row, using="default", now=clock.read("default"), graph=known, **options)


def only(target: TriggerFlowExecution, kind: str, **options: Any) -> Wait:
    [found] = [wait for wait in told(target, **options).waits if wait.kind == kind]
    return found


def kinds(target: TriggerFlowExecution) -> list[str]:
    return [wait.kind for wait in told(target).waits]


def begun(flow: TriggerFlow, value: Any = None, **options: Any) -> TriggerFlowExecution:
    """Started, and nothing of it run."""
    handle = flow.create_execution(auto_close=False, **options)
    start.start(handle.new, value, using="default", is_fresh=True)
    return handle


def plain(**options: Any) -> TriggerFlow:
    flow = TriggerFlow(name="orders")
    flow.to(flow.chunk("work", **options)(lambda data: data.input))
    return flow


# -- decisions ---------------------------------------------------------------------------------------------------------


def test_a_decision_says_who_since_when_until_when_and_what_then() -> None:
    User.objects.create_user("cleo").groups.add(Group.objects.create(name="finance"))
    flow = TriggerFlow(name="orders")
    flow.to(
        (
            "ask",
            lambda data: data.pause_for(
                type="approval",
                payload={"question": "Refund?"},
                interrupt_id="gate",
                resume_event="paid",
                resume_to="next",
                approvers=["group:finance", "user:cleo"],
                exclude_starter=True,
                due_in=3600,
                on_due="fail",
                response_schema={"type": "boolean"},
            ),
        )
    )
    execution = flow.start_execution(1, auto_close=False)
    wait = only(execution, "decision")
    assert wait.node == "ask"
    assert wait.step == Step.objects.get().pk
    assert wait.since is not None
    assert wait.until == wait.since + dt.timedelta(hours=1)
    assert wait.facts == {
        "interrupt": "gate",
        "round": 1,
        "type": "approval",
        "payload": {"question": "Refund?"},
        "response_schema": {"type": "boolean"},
        "event": "paid",
        "may_decide": "the group finance, cleo; not who started it",
        "on_due": "fail",
        "overdue_at": None,
        "known_here": True,
    }


def test_where_nobody_is_named_the_permission_is_told() -> None:
    flow = TriggerFlow(name="orders")
    flow.to(lambda data: data.pause_for())
    wait = only(flow.start_execution(auto_close=False), "decision")
    assert wait.facts["may_decide"] == "whoever has the permission triggerflow.resume_interrupt"
    assert (wait.until, wait.facts["on_due"]) == (None, None)


# -- steps -------------------------------------------------------------------------------------------------------------


def test_a_failed_step_waits_for_a_retry_and_tells_its_error() -> None:
    def work(data: Any) -> None:
        raise LookupError("no such order")

    flow = TriggerFlow(name="orders")
    flow.to(work)
    execution = flow.create_execution(auto_close=False)
    with pytest.raises(LookupError):
        execution.start(1)
    wait = only(execution, "retry")
    assert (wait.node, wait.facts["attempt"]) == ("work", 1)
    assert wait.facts["error"] == {"type": "LookupError", "message": "no such order"}
    assert told(execution).steps == {"failed": 1}


def test_a_ready_step_waits_for_a_worker_of_its_queue() -> None:
    from triggerflow_django.definition import registry

    flow = registry.register(plain(queue="slow"))
    try:
        execution = begun(flow, runner="rq")
    finally:
        registry.unregister("orders")
    wait = only(execution, "worker", workers_of={"slow": 2}.get)
    assert wait.facts == {"queue": "slow", "workers": 2, "known_here": True}
    assert only(execution, "worker").facts["workers"] is None


def test_a_ready_step_of_an_inline_execution_waits_for_its_holder() -> None:
    execution = begun(plain())
    wait = only(execution, "holder", workers_of=lambda _queue: pytest.fail("no queue to ask about"))
    assert wait.since == Step.objects.get().available_at


def claimed(execution: TriggerFlowExecution) -> Step:
    [step] = claim.claim(
        claim.ready("default", execution_id=execution.pk),
        token=uuid.uuid4(),
        limit=1,
        graph_of=lambda _step: execution.flow.graph,
        grace=600,
        using="default",
    )
    return step


def test_a_running_step_waits_for_its_process_until_the_lease_ends() -> None:
    execution = begun(plain())
    step = claimed(execution)
    wait = only(execution, "process")
    assert wait.until == step.lease_expires_at
    assert wait.facts == {"attempt": 1, "expired": False, "known_here": True}
    with travel(minutes=2):
        assert only(execution, "process").facts["expired"] is True


def test_a_step_that_backs_off_waits_for_its_time() -> None:
    def work(data: Any) -> None:
        raise LookupError("no such order")

    flow = TriggerFlow(name="orders")
    flow.to(flow.chunk("work", retries=1, backoff=600)(work))
    execution = begun(flow)
    from triggerflow_django.testing import run_until_idle

    run_until_idle(execution)
    wait = only(execution, "time")
    assert wait.until == Step.objects.get().available_at
    assert wait.facts["error"] == {"type": "LookupError", "message": "no such order"}


def test_a_step_without_code_waits_for_it_until_the_grace_is_over() -> None:
    execution = begun(plain())
    other = TriggerFlow(name="orders")
    other.to(("renamed", lambda data: None))
    assert only(execution, "holder", graph=other.graph).facts["known_here"] is False
    claim.claim(
        claim.ready("default"),
        token=uuid.uuid4(),
        limit=1,
        graph_of=lambda _step: other.graph,
        grace=600,
        using="default",
    )
    wait = only(execution, "code", graph=other.graph)
    assert wait.node == "work"
    assert wait.since is not None
    assert wait.until == wait.since + dt.timedelta(minutes=10)


def test_a_signal_that_a_worker_is_to_route_is_told_by_its_name() -> None:
    execution = plain().start_execution(1, auto_close=False)
    emit.emit(execution.pk, "paid", 1, using="default")  # of an unregistered flow, so routing is left to its process
    assert only(execution, "holder").node == "event:paid"


def test_a_held_step_waits_for_a_place() -> None:
    flow = TriggerFlow(name="orders")
    flow.batch(("one", lambda data: 1), ("two", lambda data: 2), ("three", lambda data: 3), concurrency=1).to(
        ("after", lambda data: None)
    )
    execution = begun(flow)
    waits = [wait for wait in told(execution).waits if wait.kind == "limit"]
    assert [wait.node for wait in waits] == ["two", "three"]
    assert waits[0].facts["places"] == waits[0].facts["limit"] == 1
    assert "batch" in waits[0].facts["by"]


def test_a_join_waits_for_the_values_that_lack() -> None:
    flow = TriggerFlow(name="orders")
    flow.to(("noop", lambda data: None))
    flow.when(["paid", "approved"]).to(("ship", lambda data: None))
    execution = flow.start_execution(1, auto_close=False)
    assert "values" not in kinds(execution)
    execution.emit("paid", 120)
    wait = only(execution, "values")
    assert (wait.facts["filled"], wait.facts["expected"]) == (1, 2)
    assert wait.facts["missing"] == ["event:approved"]


# -- lifecycle ---------------------------------------------------------------------------------------------------------


def test_an_idle_execution_waits_for_an_event_its_flow_listens_to() -> None:
    flow = plain()
    flow.when("paid").to(("note", lambda data: None))
    execution = flow.start_execution(1, auto_close=False)
    assert kinds(execution) == ["event"]
    assert only(execution, "event").facts == {"events": ["paid"]}
    row = Execution.objects.get()
    unknown = standing(row, using="default", now=clock.read("default"), graph=None)
    assert unknown.waits[0].facts == {"events": []}


def test_an_idle_execution_that_closes_by_itself_tells_when() -> None:
    execution = plain().start_execution(1, auto_close_timeout=90)
    assert kinds(execution) == ["auto_close", "event"]
    assert only(execution, "auto_close").until == Execution.objects.get().auto_close_at


def test_one_that_was_not_started_waits_for_that() -> None:
    flow = plain()
    handle = flow.create_execution(auto_close=False)
    start.ensure(handle.new, using="default")
    assert kinds(handle)[0] == "start"


def test_a_sealed_one_waits_to_be_opened_or_closed() -> None:
    execution = plain().start_execution(1, auto_close=False)
    lifecycle.seal(execution.pk, using="default")
    assert kinds(execution) == ["unseal"]


def test_a_closing_one_waits_for_its_work() -> None:
    execution = begun(plain())
    lifecycle.request_close(execution.pk, using="default", reason="enough", timeout=60)
    assert kinds(execution) == ["holder", "close"]
    wait = only(execution, "close")
    assert wait.until == Execution.objects.get().close_by
    assert wait.facts["reason"] == "enough"


def test_a_closed_one_waits_for_nothing_and_tells_what_failed() -> None:
    def work(data: Any) -> None:
        raise LookupError

    flow = TriggerFlow(name="orders")
    flow.to(work).to(lambda data: None)
    flow.to(("ask", lambda data: data.pause_for()))
    execution = flow.create_execution(auto_close=False)
    with pytest.raises(LookupError):
        execution.start(1)
    execution.close(pending_interrupts="cancel")
    assert kinds(execution) == ["retry"]
    execution = plain().start_execution(1, auto_close=False)
    execution.close()
    assert kinds(execution) == []


# -- many --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def many() -> TriggerFlowExecution:
    """30 ready steps, 70 more items to come, and 25 interrupts."""
    flow = TriggerFlow(name="orders")
    flow.to(("noop", lambda data: None))
    flow.when("items").for_each(concurrency=30).to(("item", lambda data: None)).end_for_each()
    flow.when("ask").to(("ask", lambda data: data.pause_for()))
    execution = flow.start_execution(1, auto_close=False)
    for _ in range(25):
        execution.emit("ask")
    emit.emit(execution.pk, "items", list(range(100)), using="default", graph=flow.graph)
    return execution


def test_of_many_rows_some_are_told_and_the_rest_is_counted(many: TriggerFlowExecution) -> None:
    found = told(many, most=4)
    decisions = [wait for wait in found.waits if wait.kind == "decision"]
    holders = [wait for wait in found.waits if wait.kind == "holder"]
    assert (len(decisions), len(holders)) == (4, 4)
    assert sum(found.steps.values()) == Execution.objects.get().active_steps == 30
    assert found.left_off == 21 + 26


def test_it_takes_the_same_queries_however_many_there_are(
    many: TriggerFlowExecution, django_assert_max_num_queries: Callable[[int], Any]
) -> None:
    row = Execution.objects.get(pk=many.pk)
    now = clock.read("default")
    with django_assert_max_num_queries(11):
        standing(row, using="default", now=now, graph=many.flow.graph, most=100)


def test_it_changes_nothing(many: TriggerFlowExecution) -> None:
    before = list(Step.objects.order_by("pk").values()), list(Execution.objects.values())
    told(many)
    assert before == (list(Step.objects.order_by("pk").values()), list(Execution.objects.values()))
    assert Step.objects.filter(status=StepStatus.READY).count() == 30
