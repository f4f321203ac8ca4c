"""Each step has a place in the causal order of its own: its idempotency key, and the activations it opens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.flows import running
from triggerflow_django import TriggerFlow, TriggerFlowExecution
from triggerflow_django.definition import registry
from triggerflow_django.engine import claim, deadlines, fail, retry, start
from triggerflow_django.models import Interrupt, Join
from triggerflow_django.testing import travel

pytestmark = pytest.mark.django_db


@pytest.fixture
def flow() -> TriggerFlow:
    return TriggerFlow(name="causes")


@pytest.fixture
def registered() -> Iterator[Callable[[TriggerFlow], None]]:
    """Register a flow for the length of the test."""
    yield registry.register
    registry.unregister("causes")


def key(data: Any) -> Any:
    """A chunk that notes its idempotency key."""
    data.append_state("keys", data.idempotency_key)
    return data.input


def different(execution: TriggerFlowExecution) -> int:
    """How many keys were noted, all of them different; nor do two steps share a path or two joins an activation."""
    keys = running.log(execution, "keys")
    assert len(set(keys)) == len(keys)
    paths = [step.path for step in running.steps(execution)]
    assert len(set(paths)) == len(paths)
    opened = [join.activation for join in Join.objects.filter(node__endswith="/end")]
    assert len(set(opened)) == len(opened)
    return len(keys)


def test_every_step_of_every_construct_has_a_key_of_its_own(flow: TriggerFlow) -> None:
    body = flow.for_each(concurrency=2).batch(("a", key), ("b", key)).match(mode="hit_all").case(lambda data: True)
    body.to(key, name="c").case(lambda data: True).to(key, name="d").end_match().end_for_each().to(key, name="e")
    flow.when("c").to(key, name="f")
    execution = running.begin(flow, [1, 1, 1])
    execution.emit("E")
    assert different(execution) == 3 * 5 + 1


@pytest.mark.django_db(transaction=True)
def test_the_key_is_the_same_in_every_attempt(flow: TriggerFlow) -> None:
    keys: list[str] = []

    def flaky(data: Any) -> Any:
        keys.append(data.idempotency_key)
        if len(keys) < 4:
            raise LookupError

    flow.to(flow.chunk(flaky, retries=1, backoff=0.001))
    execution, _ = running.broken(flow, None, LookupError)
    assert len(keys) == 2
    execution.retry()
    assert len(keys) == 4
    assert len(set(keys)) == 1


@pytest.mark.parametrize("resume_to", ["next", "self", {"event": "Fan"}])
def test_what_an_answer_causes_differs_from_what_the_question_caused(flow: TriggerFlow, resume_to: Any) -> None:
    def ask(data: Any) -> Any:
        data.emit("Fan", 1)
        return data.resume.value if data.is_resume else data.pause_for(interrupt_id="q", resume_to=resume_to)

    flow.to(ask).batch(("a", key), ("b", key))
    flow.when("Fan").batch(("c", key), ("d", key))
    execution = running.begin(flow)
    running.answer(execution, "q", 2)
    assert different(execution) == {"next": 4, "self": 6}.get(str(resume_to), 4)
    running.nothing_is_left(execution)


def test_an_event_that_came_before_the_wait_causes_something_else_than_the_chunk_did(flow: TriggerFlow) -> None:
    def ask(data: Any) -> Any:
        data.emit("Fan", 1)
        data.execution.emit("paid", 5)
        return data.pause_for(interrupt_id="q", resume_to="next", resume_event="paid")

    flow.to(ask).batch(("a", key), ("b", key)).to(running.keep())
    flow.when("Fan").batch(("c", key), ("d", key))
    execution = running.begin(flow)
    assert execution.get_state("out") == {"a": 5, "b": 5}
    assert different(execution) == 4


@pytest.mark.parametrize(
    "on_due", [{"answer": 3}, {"event": "Fan", "value": 3}], ids=["a default answer", "an event instead"]
)
def test_what_a_deadline_causes_differs_from_what_the_question_caused(
    flow: TriggerFlow, on_due: Any, registered: Callable[[TriggerFlow], None]
) -> None:
    def ask(data: Any) -> Any:
        data.emit("Fan", 1)
        return data.pause_for(interrupt_id="q", resume_to={"event": "Fan"}, due_in=60, on_due=on_due)

    flow.to(ask)
    flow.when("Fan").batch(("c", key), ("d", key))
    registered(flow)  # as in the process that sweeps
    execution = running.begin(flow)
    with travel(hours=1):
        assert deadlines.pass_deadline(Interrupt.objects.get().pk, execution.pk, using="default")
        execution.wait()
    assert different(execution) == 4


def test_an_item_a_failure_lets_in_differs_from_the_one_its_retry_lets_in(flow: TriggerFlow) -> None:
    flow.for_each(concurrency=1).batch(("a", key)).end_for_each()
    execution = flow.create_execution(auto_close=False)
    start.start(execution.new, [1, 2, 3, 4], using="default")
    (step,) = claim.claim(
        claim.ready("default", execution_id=execution.pk),
        token=execution.pk,
        limit=1,
        graph_of=lambda _step: flow.graph,
        grace=0,
        using="default",
    )
    error = {"type": "builtins.LookupError", "message": "broken"}
    assert fail.for_good(step, error, using="default", failures=1, graph=flow.graph, status="running", attempt=1)
    running.balanced(execution)
    retry.retry(execution.pk, using="default", step_id=step.pk, graph=flow.graph)
    assert [each.status for each in running.steps(execution)] == ["held", "ready"]
    execution.wait()
    assert different(execution) == 4
    running.nothing_is_left(execution)
