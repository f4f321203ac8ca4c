"""Handing an inline execution to workers: queues, bells and history in one commit, or nothing."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from triggerflow_django import TriggerFlow, TriggerFlowExecution, exceptions, wakeups
from triggerflow_django.definition import registry
from triggerflow_django.engine import hand_over as module
from triggerflow_django.engine import start
from triggerflow_django.engine.hand_over import hand_over
from triggerflow_django.engine.queue_drain import QueueDrain
from triggerflow_django.models import Event, Execution, Step, StepStatus
from triggerflow_django.runtime.resources import Resources

pytestmark = pytest.mark.django_db


@pytest.fixture
def register() -> Iterator[Callable[[TriggerFlow], TriggerFlow]]:
    yield registry.register
    registry.unregister("orders")


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, int]]:
    """What is rung for."""
    found: list[dict[str, int]] = []
    monkeypatch.setattr(wakeups, "ring_after_commit", lambda ready, *, using: found.append(dict(ready)))
    return found


def orders() -> TriggerFlow:
    """A gate, a chunk of another queue behind it, and a chunk that fails on an event."""

    def fail(data: Any) -> None:
        raise LookupError("no such order")

    flow = TriggerFlow(name="orders")
    gate = flow.to(
        (
            "ask",
            lambda data: (
                data.pause_for(interrupt_id="gate", resume_to="self") if not data.is_resume else data.resume.value
            ),
        )
    )
    gate.to(flow.chunk("ship", queue="slow")(lambda data: data.set_state("shipped", data.input)))
    flow.when("break").to(fail)
    return flow


@pytest.fixture
def execution(register: Callable[[TriggerFlow], TriggerFlow]) -> TriggerFlowExecution:
    """It waits at its gate and has a failed step."""
    found = register(orders()).start_execution(1, auto_close=False)
    with pytest.raises(LookupError):
        found.emit("break")
    return found


def queues() -> dict[str, str]:
    return dict(Step.objects.exclude(status=StepStatus.DONE).values_list("node", "queue"))


def drain(queue: str) -> int:
    """Work as a worker of that queue does. Returns how many runs ended."""
    with asyncio.Runner() as loop:
        turn = QueueDrain(queue, using="default", resources_of=lambda _: Resources({}, {}), loop=loop)
        turn.run()
    return turn.ended


def test_live_and_failed_steps_get_their_queues(execution: TriggerFlowExecution, rung: list[dict[str, int]]) -> None:
    assert queues() == {"ask": "", "fail": ""}
    assert hand_over(execution.pk, using="default", actor="ops", reason="host is gone") is True
    assert Execution.objects.get().runner == "rq"
    assert queues() == {"ask": "triggerflow", "fail": "triggerflow"}
    assert rung == []  # nothing is ready
    event = Event.objects.get(kind="handed_over")
    assert (event.actor_label, event.data) == ("ops", {"reason": "host is gone", "steps": 2})


@pytest.mark.django_db(transaction=True)
def test_workers_take_it_to_its_end(execution: TriggerFlowExecution, rung: list[dict[str, int]]) -> None:
    hand_over(execution.pk, using="default")
    attached = TriggerFlow.attach(execution.id)
    attached.continue_with("gate", "now")
    assert rung == [{"triggerflow": 1}]
    assert drain("triggerflow") == 1
    assert rung[1:] == [{"slow": 1}]
    assert drain("slow") == 1
    assert attached.get_state("shipped") == "now"


def test_ready_steps_are_rung_for(register: Callable[[TriggerFlow], TriggerFlow], rung: list[dict[str, int]]) -> None:
    flow = register(orders())
    handle = flow.create_execution(auto_close=False)
    start.start(handle.new, 1, using="default", is_fresh=True)
    start_ready = Step.objects.get()
    assert (start_ready.status, start_ready.queue) == (StepStatus.READY, "")
    hand_over(handle.pk, using="default")
    assert rung == [{"triggerflow": 1}]


def test_steps_that_a_limit_holds_back_go_too(register: Callable[[TriggerFlow], TriggerFlow]) -> None:
    flow = register(TriggerFlow(name="orders"))
    flow.batch(("one", lambda data: 1), ("two", lambda data: 2), concurrency=1).to(("after", lambda data: None))
    handle = flow.create_execution(auto_close=False)
    start.start(handle.new, 1, using="default", is_fresh=True)
    assert Step.objects.get(node="two").status == StepStatus.HELD
    hand_over(handle.pk, using="default")
    assert queues() == {"one": "triggerflow", "two": "triggerflow"}


def test_a_second_time_changes_nothing(execution: TriggerFlowExecution) -> None:
    assert hand_over(execution.pk, using="default") is True
    assert hand_over(execution.pk, using="default") is False
    assert Event.objects.filter(kind="handed_over").count() == 1


def test_a_step_that_runs_meanwhile_stays_its_process_s_own(
    register: Callable[[TriggerFlow], TriggerFlow], rung: list[dict[str, int]]
) -> None:
    seen: list[str] = []

    def work(data: Any) -> None:
        hand_over(uuid.UUID(data.execution_id), using="default")
        seen.append(Step.objects.get().status)

    flow = register(TriggerFlow(name="orders"))
    flow.to(work).to(("after", lambda data: data.set_state("after", True)))
    execution = flow.start_execution(1, auto_close=False)
    assert seen == ["running"]
    work_row = Step.objects.get(node="work")
    assert (work_row.status, work_row.queue, work_row.attempt) == ("done", "triggerflow", 1)
    # What it caused is the workers'; it is rung for, and run once by whoever is first.
    assert {"triggerflow": 1} in rung
    assert Step.objects.get(node="after").queue == "triggerflow"
    drain("triggerflow")
    assert execution.get_state("after") is True
    assert Step.objects.get(node="after").attempt == 1


# -- refusals ----------------------------------------------------------------------------------------------------------


def unchanged(execution: TriggerFlowExecution) -> bool:
    return (
        Execution.objects.get(pk=execution.pk).runner == "inline"
        and set(queues().values()) == {""}
        and not Event.objects.filter(kind="handed_over").exists()
    )


def test_an_unregistered_flow_stays_inline(execution: TriggerFlowExecution) -> None:
    registry.unregister("orders")
    with pytest.raises(exceptions.UnknownFlowError):
        hand_over(execution.pk, using="default")
    assert unchanged(execution)


def test_a_flow_of_that_name_that_lacks_what_it_stands_on_does_not_get_it(
    execution: TriggerFlowExecution, register: Callable[[TriggerFlow], TriggerFlow]
) -> None:
    registry.unregister("orders")
    other = TriggerFlow(name="orders")
    other.to(("something", lambda data: None))
    register(other)
    with pytest.raises(exceptions.MissingChunkError, match="'ask'"):
        hand_over(execution.pk, using="default")
    assert unchanged(execution)


def test_a_chunk_that_only_a_failed_step_misses_does_not_keep_it(
    execution: TriggerFlowExecution, register: Callable[[TriggerFlow], TriggerFlow]
) -> None:
    registry.unregister("orders")
    other = TriggerFlow(name="orders")
    other.to(("ask", lambda data: None))
    register(other)
    assert hand_over(execution.pk, using="default") is True


def test_a_closed_execution_stays_as_it_is(execution: TriggerFlowExecution) -> None:
    execution.cancel()
    with pytest.raises(exceptions.ExecutionNotOpenError, match="handing over refused"):
        hand_over(execution.pk, using="default")
    assert Execution.objects.get().runner == "inline"


def test_an_unknown_execution_is_told() -> None:
    with pytest.raises(exceptions.UnknownExecutionError):
        hand_over(uuid.uuid4(), using="default")


def test_an_error_on_the_way_leaves_nothing(execution: TriggerFlowExecution, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_who: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(module.actors, "of", broken)
    with pytest.raises(RuntimeError):
        hand_over(execution.pk, using="default")
    assert unchanged(execution)
