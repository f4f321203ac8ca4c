"""save and load on the handle: the row is the truth, a document is a copy to carry elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.handles.loops import in_a_loop, in_database_thread
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.models import Execution

pytestmark = pytest.mark.django_db(transaction=True)


def asking(name: str = "asking") -> TriggerFlow:
    flow = TriggerFlow(name)

    async def record(data: Any) -> None:
        await data.async_set_state("answer", [data.input, data.get_resource("who", "nobody")])

    flow.to(("ask", lambda data: data.pause_for(type="approval", payload=data.input, interrupt_id="gate"))).to(record)
    return flow


def test_save_is_json_and_names_what_it_saved() -> None:
    execution = asking().create_execution(auto_close=False, runtime_resources={"who": object()})
    execution.set_state("note", 1)
    execution.start({"amount": 1})
    document = execution.save(require_idle=True)
    assert json.loads(json.dumps(document)) == document
    assert document["execution_id"] == execution.id
    assert (document["status"], document["lifecycle_state"]) == ("waiting", "open")
    assert document["runtime_data"] == {"note": 1}
    assert document["interrupts"]["gate"]["payload"] == {"amount": 1}
    assert "who" in document["resource_keys"]


def test_load_attaches_to_the_row_where_it_exists() -> None:
    flow = asking()
    first = flow.start_execution(1, auto_close=False, skip_exceptions=True)
    document = first.save()
    first.set_state("newer", True)
    second = flow.create_execution()
    assert second.load(document) is second
    assert second.id == first.id
    assert (second.auto_close, second.new.skip_exceptions) == (False, True)
    assert second.get_state() == {"newer": True}, "the row is the truth, the document may be older"
    second.continue_with("gate", "yes")
    with pytest.raises(exceptions.InterruptNotWaitingError):
        first.continue_with("gate", "no")
    assert Execution.objects.count() == 1


def test_load_makes_the_row_anew_where_it_is_gone() -> None:
    flow = asking()
    document = json.dumps(flow.start_execution(1, auto_close=False).save())
    execution_id = json.loads(document)["execution_id"]
    Execution.objects.all().delete()
    execution = flow.create_execution().load(document)
    assert execution.id == execution_id
    assert execution.is_waiting()
    assert execution.start(2) is execution, "start does nothing any more"
    execution.continue_with("gate", "yes")
    assert execution.close() == {"answer": ["yes", "nobody"]}


def test_a_copy_goes_its_own_way() -> None:
    flow = asking()
    original = flow.start_execution(1, auto_close=False)
    copy = flow.create_execution().load(original.save(), as_new=True)
    assert copy.id != original.id
    copy.continue_with("gate", "copy")
    original.continue_with("gate", "original")
    assert copy.close() == {"answer": ["copy", "nobody"]}
    assert original.close() == {"answer": ["original", "nobody"]}


@in_a_loop
async def test_async_spellings_save_to_and_load_from_a_file(tmp_path: Path) -> None:
    flow = asking()
    execution = await flow.async_start_execution(1, auto_close=False)
    path = tmp_path / "saved.json"
    document = await execution.async_save(path)
    assert json.loads(path.read_text()) == document
    await in_database_thread(Execution.objects.all().delete)
    loaded = await flow.create_execution().async_load(path, runtime_resources={"who": "a clerk"})
    await loaded.async_continue_with("gate", "yes")
    assert await loaded.async_get_state() == {"answer": ["yes", "a clerk"]}


def test_resources_are_given_again() -> None:
    flow = asking()
    document = flow.start_execution(1, runtime_resources={"who": "the first process"}).save()
    execution = flow.create_execution(runtime_resources={"who": "the second"}, auto_close=False).load(document)
    execution.continue_with("gate", "yes")
    assert execution.get_state() == {"answer": ["yes", "the second"]}


def test_require_idle_refuses_while_a_step_is_active() -> None:
    flow = TriggerFlow("busy")
    flow.when("go").to(("step", lambda data: None))
    execution = flow.create_execution(auto_close=False)
    execution.emit_nowait("go")
    with pytest.raises(exceptions.NotIdleError, match="1 active steps"):
        execution.save(require_idle=True)
    document = execution.save()
    Execution.objects.all().delete()
    execution = flow.create_execution(auto_close=False).load(document)
    execution.wait()
    execution.save(require_idle=True)


@pytest.mark.parametrize("source", [None, 7, [], ["x"], object()])
def test_what_is_no_document_is_a_type_error(source: Any) -> None:
    with pytest.raises(exceptions.SnapshotTypeError):
        asking().create_execution().load(source)


@pytest.mark.parametrize("source", [{}, "{", "{}", '{"kind": "something else"}', "/no/such/file.json"])
def test_what_cannot_be_read_is_a_value_error(source: Any) -> None:
    with pytest.raises((exceptions.SnapshotError, exceptions.SnapshotTypeError)):
        asking().create_execution().load(source)


def test_a_document_of_another_flow_is_refused_and_the_handle_stays_what_it_was() -> None:
    document = asking("mine").start_execution().save()
    execution = asking("yours").create_execution()
    before = execution.id
    with pytest.raises(exceptions.SnapshotError, match="mine"):
        execution.load(document)
    assert execution.id == before
    assert execution.row() is None
