"""The saved document: what it says, in which forms it may come back, and what the code must still have."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import emit, lifecycle
from triggerflow_django.engine.saved import read
from triggerflow_django.models import Event, EventKind, Execution, Interrupt, Step
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


ENDED = {
    "note": {"deep": [1, None]},
    "signed": {"legal": "yes", "finance": "answer finance"},
    "lines": ["answer line-1", "two", "answer line-3", "answer line-4"],
    "both": {"event": {"paid": 5, "shipped": 6}},
}


# -- in the same database


def test_saving_changes_nothing(pk: uuid.UUID) -> None:
    before = driving.everything(pk)
    saved(pk)
    assert driving.everything(pk) == before


# -- in another database


def test_deep_values_survive_the_document_that_wraps_them() -> None:
    deep: Any = 1
    for _ in range(31):
        deep = [deep]
    flow = TriggerFlow(name="deep")
    flow.to(
        lambda data: (data.set_state("deep", data.input[0]), data.pause_for(interrupt_id="gate", payload=data.input))[
            1
        ],
        name="ask",
    )
    pk = driving.settled(flow, deep)
    driving.decide(pk, "gate", deep, flow=flow)
    emit.emit(pk, "unheard", deep, using="default", graph=flow.graph)
    document = saved(pk, flow)
    another_database()
    assert carried(document, flow) == pk
    assert driving.state(pk) == {"deep": deep[0]}


# -- changed code


def test_a_document_of_another_flow_is_refused(pk: uuid.UUID) -> None:
    other = TriggerFlow(name="other")
    with pytest.raises(exceptions.SnapshotError, match="of flow 'contract', not of 'other'"):
        carried(saved(pk), other)


def test_a_node_an_execution_stands_on_must_be_there_and_is_named(pk: uuid.UUID) -> None:
    document = saved(pk)
    another_database()
    changed = TriggerFlow(name="contract")
    changed.to(driving.nothing(), name="legal")
    with pytest.raises(
        exceptions.SnapshotError, match=r"stands on (finance|line), which flow 'contract' does not have"
    ):
        carried(document, changed)
    assert not Execution.objects.exists()


def test_a_change_elsewhere_in_the_flow_strands_nobody(pk: uuid.UUID) -> None:
    document = saved(pk)
    another_database()
    changed = contract()
    changed.when("more").to(driving.nothing(), name="more")
    carried(document, changed)
    assert finish(pk, changed) == ENDED


# -- as text and as a file


def test_a_document_may_be_text_bytes_or_a_file(pk: uuid.UUID, tmp_path: Path) -> None:
    path = tmp_path / "execution.json"
    document = saved(pk, path=path)
    text = json.dumps(document)
    assert json.loads(path.read_text()) == json.loads(text)
    assert list(tmp_path.iterdir()) == [path]
    for source in (document, text, text.encode(), path, str(path), "\n " + text):
        another_database()
        handle = contract().create_execution(auto_close=False)
        assert handle.load(source).pk == pk
        driving.consistent(pk)


def test_saving_what_is_not_idle_is_refused_on_request() -> None:
    flow = TriggerFlow(name="work")
    flow.to(driving.nothing(), name="one")
    pk = driving.start(flow)
    with pytest.raises(exceptions.NotIdleError, match="has 1 active steps") as caught:
        saved(pk, flow, require_idle=True)
    assert isinstance(caught.value, RuntimeError)
    driving.drain(pk, flow)
    assert saved(pk, flow, require_idle=True)["pending_task_count"] == 0


def test_a_document_says_on_top_what_triggerflow_s_documentation_names(pk: uuid.UUID) -> None:
    document = saved(pk)
    assert (document["kind"], document["execution_id"]) == ("triggerflow.execution_snapshot", pk.hex)
    assert (document["status"], document["lifecycle_state"], document["flow_name"]) == ("waiting", "open", "contract")
    assert set(document["interrupts"]) == {"legal", "finance", "line-1", "line-2", "line-3", "line-4"}
    assert document["interrupts"]["legal"]["resume_value"] == "yes"
    assert document["runtime_data"] == {"note": {"deep": [1, None]}}
    assert Event.objects.filter(execution_id=pk, kind=EventKind.STARTED).count() == 1


@pytest.mark.parametrize("name", ["saved.yaml", "saved.YML"])
def test_a_yaml_file_is_written_and_read_too(name: str, tmp_path: Path) -> None:
    flow = TriggerFlow(name="yaml")
    flow.to(lambda data: data.pause_for(interrupt_id="q", payload={"when": "2026-11-25", "n": [1, 2.5, None]}))
    handle = flow.start_execution({"a": "ä: #"}, auto_close=False)
    document = handle.save(tmp_path / name)
    text = (tmp_path / name).read_text(encoding="utf-8")
    assert text.startswith("schema_version: 1\n")
    assert read(tmp_path / name) == read(str(tmp_path / name)) == read(text) == document
    (tmp_path / name).write_text("a: &x [1]\nb: *x\n", encoding="utf-8")
    with pytest.raises(exceptions.SnapshotError, match="aliases are not accepted"):
        read(tmp_path / name)
