"""Sub flows step by step: what each commit leaves, what a crash in between leaves, and what nothing below a closed
execution may do any more.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import deadlines, emit, lifecycle, retry, sub_flow
from triggerflow_django.engine.hand_over import hand_over
from triggerflow_django.engine.sweep import sweep
from triggerflow_django.engine.waits import standing
from triggerflow_django.models import Event, Execution, Interrupt, InterruptStatus, Lifecycle, Step, StepStatus

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def leaf() -> TriggerFlow:
    leaf = TriggerFlow("leaf")
    leaf.to(lambda data: data.pause_for(interrupt_id="gate", due_in=100, on_due={"answer": "late"}), name="ask").to(
        lambda data: data.set_state("answer", data.input), name="book"
    )
    leaf.when("note").to(driving.nothing(), name="note")
    return leaf


@pytest.fixture
def middle(leaf: TriggerFlow) -> TriggerFlow:
    middle = TriggerFlow("middle")
    middle.to_sub_flow(leaf, name="inner").to(lambda data: data.set_state("got", data.input), name="keep")
    return middle


@pytest.fixture
def flow(middle: TriggerFlow) -> TriggerFlow:
    flow = TriggerFlow("outer")
    flow.to_sub_flow(middle, name="outer").to(lambda data: data.set_state("got", data.input), name="keep")
    return flow


@pytest.fixture
def no_after_commit(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process dies between the commit that closes an execution and the cancelling of what is below."""
    with monkeypatch.context() as patch:
        patch.setattr(sub_flow, "cancel_below", lambda _pk, *, using: False)
        yield


def of(flow_name: str) -> Execution:
    return Execution.objects.get(flow_name=flow_name)


def all_consistent() -> None:
    for pk in Execution.objects.values_list("pk", flat=True):
        driving.consistent(pk)


def answer(value: Any = "yes") -> None:
    driving.decide(of("leaf").pk, "gate", value)


# -- starting


def test_one_commit_makes_the_step_delegated_and_inserts_the_child_started(middle: TriggerFlow) -> None:
    pk = driving.start(middle, "in")
    running, step = driving.claimed(pk, middle)
    driving.run(running, step)
    child = of("leaf")
    step = driving.step(pk, "inner")
    assert (step.status, step.lease_expires_at, step.attempt) == (StepStatus.DELEGATED, None, 1)
    assert (child.parent_step_id, child.root_id, child.input, child.runner) == (step.pk, pk, "in", "inline")
    assert child.started_at is not None
    assert not child.auto_close
    assert driving.statuses(child.pk) == {"ask": StepStatus.READY}
    assert driving.consistent(pk).active_steps == 1
    assert driving.history(pk) == ["started", "sub_flow_started"]


def test_a_delegation_that_does_not_commit_leaves_nothing(middle: TriggerFlow, monkeypatch: pytest.MonkeyPatch) -> None:
    pk = driving.start(middle)
    running, step = driving.claimed(pk, middle)
    real = sub_flow._start_child
    monkeypatch.setattr(sub_flow, "_start_child", lambda *arguments: real(*arguments) or 1 / 0)
    driving.run(running, step)
    assert Execution.objects.count() == 1
    assert driving.step(pk, "inner").status == StepStatus.FAILED
    assert driving.history(pk) == ["started"]


def test_a_worker_that_lost_the_step_starts_no_child(middle: TriggerFlow) -> None:
    pk = driving.start(middle)
    running, step = driving.claimed(pk, middle)
    Step.objects.update(lease_token=uuid.uuid4())
    driving.run(running, step)
    assert Execution.objects.count() == 1


def test_a_repeated_attempt_finds_the_child_of_the_first(middle: TriggerFlow) -> None:
    pk = driving.start(middle)
    running, step = driving.claimed(pk, middle)
    driving.run(running, step)
    child = of("leaf")
    # Whatever made the step ready before its child had ended.
    Step.objects.filter(pk=step.pk).update(status=StepStatus.READY)
    running, step = driving.claimed(pk, middle)
    driving.run(running, step)
    assert of("leaf").pk == child.pk
    assert driving.consistent(pk).active_steps == 1


def test_the_id_of_a_child_is_a_uuid_7_that_follows_from_the_step(middle: TriggerFlow) -> None:
    pk = driving.start(middle)
    step = driving.step(pk, "inner")
    found = sub_flow.child_id(step)
    assert (found, found.version, found.variant) == (sub_flow.child_id(step), 7, uuid.RFC_4122)
    assert found.int >> 80 == int(step.created_at.timestamp() * 1000)
    step.path = "another"
    assert sub_flow.child_id(step) != found


# -- ending


def test_the_commit_that_ends_a_child_closes_it_and_makes_the_step_ready(flow: TriggerFlow) -> None:
    pk = driving.settled(flow)
    answer()
    assert driving.step(of("middle").pk, "inner").status == StepStatus.DELEGATED
    running = driving.drainer(pk, flow)
    (step,) = running._claim(1)
    driving.finish(running, step)
    assert (of("leaf").status, of("leaf").snapshot) == ("completed", {"answer": "yes"})
    assert driving.step(of("middle").pk, "inner").status == StepStatus.READY
    assert driving.step(pk, "outer").status == StepStatus.DELEGATED
    all_consistent()
    assert driving.drain(pk, flow) == []
    all_consistent()
    assert driving.state(pk) == {"got": {"got": {"answer": "yes"}}}


def test_a_child_with_a_failed_chain_and_a_question_stays_open_until_that_is_answered() -> None:
    child = TriggerFlow("leaf")
    child.to(lambda data: data.pause_for(interrupt_id="gate"), name="ask")
    child.to(lambda data: 1 / 0, name="bad")
    flow = TriggerFlow("outer")
    flow.to_sub_flow(child, name="work")
    pk = driving.start(flow)
    assert [type(error) for error in driving.drain(pk, flow)] == [ZeroDivisionError]
    assert (of("leaf").lifecycle, of("leaf").status) == ("open", "failed")
    driving.decide(of("leaf").pk, "gate")
    driving.drain(pk, flow)
    assert (of("leaf").lifecycle, driving.step(pk, "work").status) == ("closed", StepStatus.FAILED)
    all_consistent()


def test_retrying_a_step_whose_child_failed_gives_it_another_place_and_a_fresh_child() -> None:
    fails = [True]
    child = TriggerFlow("leaf")
    child.to(lambda data: 1 / 0 if fails[0] else data.set_state("ok", 1), name="bad")
    flow = TriggerFlow("outer")
    flow.to_sub_flow(child, name="work")
    pk = driving.settled(flow)
    first = of("leaf").pk
    failed = driving.step(pk, "work")
    assert sub_flow.child_id(failed) != first
    assert driving.history(pk) == ["started", "sub_flow_started", "sub_flow_ended"]
    fails[0] = False
    assert retry.retry(pk, using="default") == 1
    driving.drain(pk, flow)
    assert Execution.objects.filter(flow_name="leaf").count() == 2
    assert Execution.objects.get(pk=sub_flow.child_id(failed)).status == "completed"
    assert driving.step(pk, "work").status == StepStatus.DONE
    all_consistent()


def test_every_door_takes_the_id_under_which_an_execution_above_shows_a_question(flow: TriggerFlow) -> None:
    pk = driving.settled(flow)
    shown = f"{of('middle').id.hex}:{of('leaf').id.hex}:gate"
    with pytest.raises(exceptions.UnknownInterruptError, match=pk.hex):
        driving.decide(pk, f"{of('leaf').id.hex}:gate")
    record = driving.decide(pk, shown, "yes", request_id="r1")
    assert (record["id"], record["status"], record["source_execution_id"]) == (shown, "resumed", of("leaf").id.hex)
    assert driving.decide(pk, shown, "yes", request_id="r1")["resume_value"] == "yes"
    driving.drain(pk, flow)
    assert driving.state(pk) == {"got": {"got": {"answer": "yes"}}}


# -- below a closed execution


@pytest.mark.parametrize("closed", ["outer", "middle"])
def test_nothing_below_a_closed_execution_can_be_answered_or_hears_anything(
    flow: TriggerFlow, no_after_commit: None, closed: str
) -> None:
    driving.settled(flow)
    lifecycle.cancel(of(closed).pk, using="default")
    leaf = of("leaf")
    assert leaf.lifecycle == Lifecycle.OPEN
    with pytest.raises(exceptions.ExecutionNotOpenError, match=f"a sub flow of .*{closed}"):
        answer()
    with pytest.raises(exceptions.ExecutionNotOpenError):
        emit.emit(leaf.pk, "note", 1, using="default")
    assert Interrupt.objects.get().status == InterruptStatus.WAITING


def test_no_deadline_opens_a_gate_below_a_closed_execution(
    flow: TriggerFlow, no_after_commit: None, travel: Callable[[float], None]
) -> None:
    driving.settled(flow)
    lifecycle.cancel(of("outer").pk, using="default")
    travel(101)
    deadlines.pass_deadline(Interrupt.objects.get().pk, of("leaf").pk, using="default")
    assert Interrupt.objects.get().status == InterruptStatus.WAITING
    assert "book" not in driving.statuses(of("leaf").pk)


def test_a_deadline_that_passed_below_a_sealed_execution_acts_when_it_is_open_again(
    flow: TriggerFlow, travel: Callable[[float], None]
) -> None:
    pk = driving.settled(flow)
    lifecycle.seal(pk, using="default")
    travel(101)
    sweep(using="default")
    assert Interrupt.objects.get().status == InterruptStatus.WAITING
    lifecycle.unseal(pk, using="default")
    sweep(using="default")
    assert Interrupt.objects.get().status == InterruptStatus.RESUMED


def test_a_step_below_a_closed_execution_is_not_claimed_and_who_meets_it_cancels_its_execution(
    flow: TriggerFlow, middle: TriggerFlow, leaf: TriggerFlow, no_after_commit: None
) -> None:
    driving.settled(flow)
    answer()  # leaves a step to route what follows
    assert Step.objects.filter(execution_id=of("leaf").pk, status=StepStatus.READY).count() == 1
    lifecycle.cancel(of("outer").pk, using="default")
    assert driving.claim(of("leaf").pk, leaf) == []
    assert of("leaf").status == "cancelled"
    assert set(driving.statuses(of("leaf").pk).values()) == {StepStatus.DONE, StepStatus.CANCELLED}


def test_a_step_that_runs_while_an_execution_above_closes_commits_nothing(
    flow: TriggerFlow, leaf: TriggerFlow, no_after_commit: None
) -> None:
    driving.settled(flow)
    driving.decide(of("leaf").pk, "gate", "yes", flow=leaf)
    running, step = driving.claimed(of("leaf").pk, leaf)
    lifecycle.cancel(of("outer").pk, using="default")
    driving.run(running, step)
    assert driving.state(of("leaf").pk) == {}
    assert driving.step(of("leaf").pk, "book").status == StepStatus.RUNNING


def test_the_sweep_cancels_level_by_level_what_was_missed(flow: TriggerFlow, monkeypatch: pytest.MonkeyPatch) -> None:
    driving.settled(flow)
    with monkeypatch.context() as patch:
        patch.setattr(sub_flow, "cancel_below", lambda _pk, *, using: False)
        lifecycle.cancel(of("outer").pk, using="default")
    assert (of("outer").cancels_sub_flows, of("middle").lifecycle, of("leaf").lifecycle) == (True, "open", "open")
    assert sweep(using="default").sub_flows == 1
    assert {of(name).status for name in ("outer", "middle", "leaf")} == {"cancelled"}
    assert not Execution.objects.filter(cancels_sub_flows=True).exists()
    all_consistent()
    assert sweep(using="default").sub_flows == 0


def test_cancelling_what_is_below_twice_does_nothing_the_second_time(flow: TriggerFlow) -> None:
    pk = driving.settled(flow)
    lifecycle.cancel(pk, using="default")
    before = [driving.everything(found) for found in Execution.objects.values_list("pk", flat=True)]
    assert sub_flow.cancel_below(pk, using="default") is False
    assert [driving.everything(found) for found in Execution.objects.values_list("pk", flat=True)] == before


def test_a_close_that_nobody_waits_for_is_given_up_by_the_sweep_where_a_child_asks() -> None:
    child = TriggerFlow("leaf")
    child.to(lambda data: data.pause_for(), name="ask")
    flow = TriggerFlow("outer")
    flow.to_sub_flow(child, name="work")
    pk = driving.start(flow)
    assert lifecycle.request_close(pk, using="default") is False
    driving.drain(pk, flow)
    assert (of("outer").lifecycle, of("outer").closing) == ("sealed", True)
    assert sweep(using="default").sub_flows == 1
    assert (of("outer").lifecycle, of("outer").closing) == ("open", False)
    assert driving.history(pk)[-1] == "close_refused"


def test_a_close_that_cancels_ends_once_nothing_below_runs() -> None:
    child = TriggerFlow("leaf")
    child.to(lambda data: data.pause_for(), name="ask")
    flow = TriggerFlow("outer")
    flow.to_sub_flow(child, name="work")
    pk = driving.start(flow)
    assert lifecycle.request_close(pk, using="default", pending_interrupts="cancel") is False
    driving.drain(pk, flow)
    sweep(using="default")
    assert (of("outer").status, of("leaf").status) == ("cancelled", "cancelled")
    all_consistent()


# -- code, hand-over, looking


def test_a_step_whose_sub_flow_the_code_lacks_is_set_aside_and_fails_by_name(
    flow: TriggerFlow, travel: Callable[[float], None]
) -> None:
    pk = driving.start(flow)
    changed = TriggerFlow("outer")
    changed.to(driving.nothing(), name="other")
    assert driving.claim(pk, changed, grace=60.0) == []
    assert driving.step(pk, "outer").missing_since is not None
    travel(120)
    assert driving.claim(pk, changed, grace=60.0) == []
    failed = driving.step(pk, "outer")
    assert failed.status == StepStatus.FAILED
    assert "'outer'" in failed.error["message"]


def test_workers_take_over_the_children_with_their_parent(
    flow: TriggerFlow, registered_flow: Callable[[TriggerFlow], None]
) -> None:
    pk = driving.settled(flow)
    registered_flow(flow)
    assert hand_over(pk, using="default") is True
    assert set(Execution.objects.values_list("runner", flat=True)) == {"rq"}
    assert "" not in Step.objects.exclude(status__in=("done", "cancelled")).values_list("queue", flat=True)


@pytest.fixture
def registered_flow() -> Iterator[Callable[[TriggerFlow], None]]:
    from triggerflow_django.definition import registry

    yield lambda flow: registry.register(flow) and None
    registry.unregister("outer")


def test_who_asks_what_a_parent_waits_for_is_told_of_its_child(flow: TriggerFlow) -> None:
    pk = driving.settled(flow)
    row = driving.row(pk)
    (wait,) = standing(row, using="default", now=row.created_at, graph=flow.graph).waits
    child = of("middle")
    assert (wait.kind, wait.node, wait.since) == ("sub_flow", "outer", child.created_at)
    assert wait.facts["execution"] == child.id.hex


def test_a_flow_without_sub_flows_asks_nothing_about_them() -> None:
    flow = TriggerFlow("plain")
    flow.to(driving.nothing(), name="one").to(driving.nothing(), name="two")
    with CaptureQueriesContext(connection) as queries:
        driving.settled(flow)
    told = " ".join(query["sql"] for query in queries)
    for column in ('"root_id" =', '"parent_step_id" IN', '"parent_step_id" ='):
        assert column not in told


def test_the_price_of_a_child_does_not_depend_on_how_many_there_were() -> None:
    child = TriggerFlow("leaf")
    child.to(driving.nothing(), name="one")
    prices = []
    for items in (5, 25):
        flow = TriggerFlow("outer")
        flow.for_each().to_sub_flow(child, name="work").end_for_each()
        with CaptureQueriesContext(connection) as queries:
            driving.settled(flow, list(range(items)))
        prices.append(len(queries) / items)
    assert prices[1] <= prices[0]


def test_history_names_the_child_in_both_directions(middle: TriggerFlow) -> None:
    pk = driving.settled(middle)
    child = of("leaf")
    started = Event.objects.get(execution_id=child.pk, kind="started")
    assert pk.hex in started.data["reason"]
