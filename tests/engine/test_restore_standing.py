"""Loading what was not open and well: closed, sealed, failed, under way, on its way to a chunk that resumes itself."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import emit, lifecycle
from triggerflow_django.models import Execution, Interrupt, Step
from triggerflow_django.runtime.state import StateChange

pytestmark = pytest.mark.django_db


def contract() -> TriggerFlow:
    """Two questions in a batch, one in each item of a loop, a chunk that asks itself, an and-join of events."""
    flow = TriggerFlow(name="contract")
    flow.batch(
        ("legal", lambda data: data.pause_for(interrupt_id="legal", payload=data.input)),
        ("finance", lambda data: data.pause_for(interrupt_id="finance")),
    ).to(lambda data: data.set_state("signed", data.input), name="sign")
    flow.when("lines").for_each(concurrency=2).to(
        lambda data: data.pause_for(interrupt_id=f"line-{data.input}"), name="line"
    ).end_for_each().to(lambda data: data.set_state("lines", data.input), name="end")
    flow.when(["paid", "shipped"]).to(lambda data: data.set_state("both", data.input), name="both")
    return flow


def another_database() -> None:
    """What an emptied database looks like."""
    Execution.objects.all().delete()
    assert not Step.objects.exists()


def carried(document: dict[str, Any], flow: TriggerFlow | None = None, **options: Any) -> uuid.UUID:
    """Load a document that went through JSON, by code that was loaded anew too."""
    handle = (flow or contract()).create_execution(auto_close=False)
    return handle.load(json.loads(json.dumps(document)), **options).pk


def saved(pk: uuid.UUID, flow: TriggerFlow | None = None, **options: Any) -> dict[str, Any]:
    return (flow or contract()).get_execution(pk).save(**options)


@pytest.fixture
def pk() -> uuid.UUID:
    """Half of everything is done: one branch answered, one item answered, one of two events heard."""
    flow = contract()
    pk = driving.settled(flow, {"order": 7})
    graph = flow.graph
    driving.decide(pk, "legal", "yes", flow=flow, request_id="r-1", comment="fine")
    emit.emit(pk, "lines", [1, 2, 3, 4], using="default", graph=graph)
    emit.emit(pk, "paid", 5, using="default", graph=graph)
    driving.drain(pk, flow)
    driving.decide(pk, "line-2", "two", flow=flow)
    driving.drain(pk, flow)
    emit.write_state(pk, [StateChange("set", "note", {"deep": [1, None]})], using="default", graph=graph)
    driving.consistent(pk)
    return pk


def finish(pk: uuid.UUID, flow: TriggerFlow | None = None) -> Any:
    """Answer what waits, emit what is missing, and close; the snapshot."""
    flow = flow or contract()
    for interrupt in Interrupt.objects.filter(execution_id=pk, status="waiting"):
        driving.decide(pk, interrupt.interrupt_id, f"answer {interrupt.interrupt_id}", flow=flow)
        driving.drain(pk, flow)
    emit.emit(pk, "shipped", 6, using="default", graph=flow.graph)
    driving.drain(pk, flow)
    lifecycle.request_close(pk, using="default")
    return driving.consistent(pk).snapshot


# -- in another database


def test_work_that_was_under_way_when_it_was_saved_is_run_again() -> None:
    flow = TriggerFlow(name="work")
    flow.to(driving.nothing(), name="one").to(driving.nothing(), name="two")
    pk = driving.start(flow)
    driving.claim(pk, flow)
    document = saved(pk, flow)
    another_database()
    carried(document, flow)
    step = driving.step(pk, "one")
    assert (step.status, step.attempt, step.lease_token) == ("ready", 1, None)
    assert driving.consistent(pk).active_steps == 1
    driving.drain(pk, flow)
    assert driving.statuses(pk) == {"one": "done", "two": "done"}


def test_an_answer_on_its_way_to_a_chunk_that_resumes_itself_is_not_lost() -> None:
    flow = TriggerFlow(name="review")

    def review(data: Any) -> Any:
        if data.is_resume:
            data.set_state("heard", [data.resume.value, data.resume.interrupt_id])
            return None
        return data.pause_for(interrupt_id="gate", resume_to="self")

    flow.to(review)
    pk = driving.settled(flow)
    driving.decide(pk, "gate", "yes", flow=flow)
    document = saved(pk, flow)
    for as_new in (False, True):
        another_database()
        loaded = carried(document, flow, as_new=as_new)
        driving.drain(loaded, flow)
        assert driving.state(loaded) == {"heard": ["yes", "gate"]}
        driving.consistent(loaded)


@pytest.mark.parametrize("end", ["close", "cancel"])
def test_a_closed_execution_loads_as_closed_and_accepts_nothing(pk: uuid.UUID, end: str) -> None:
    """Invariant 11."""
    if end == "close":
        snapshot = finish(pk)
    else:
        lifecycle.cancel(pk, using="default")
        snapshot = driving.row(pk).snapshot
    document = saved(pk)
    another_database()
    carried(document)
    execution = driving.consistent(pk)
    assert (execution.lifecycle, execution.snapshot) == ("closed", snapshot)
    assert execution.status == ("completed" if end == "close" else "cancelled")
    with pytest.raises(exceptions.ExecutionNotOpenError):
        emit.emit(pk, "shipped", 1, using="default")


def test_a_sealed_execution_loads_as_sealed_and_a_failed_one_as_failed() -> None:
    flow = TriggerFlow(name="broken")
    flow.to(lambda data: data.input["x"], name="breaks")
    pk = driving.settled(flow, {})
    lifecycle.seal(pk, using="default")
    document = saved(pk, flow)
    another_database()
    carried(document, flow)
    execution = driving.consistent(pk)
    assert (execution.lifecycle, execution.status, execution.failed_steps) == ("sealed", "failed", 1)
    lifecycle.unseal(pk, using="default")
    with pytest.raises(KeyError):
        flow.get_execution(pk).retry()
    assert driving.step(pk, "breaks").attempt == 2
