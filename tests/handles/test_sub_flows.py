"""A sub flow seen from the handle of its parent: its questions, its status, its end, and what can be done to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from triggerflow_django import TriggerFlow, TriggerFlowExecution, exceptions
from triggerflow_django.models import Decision, Execution, Interrupt, Join, Step

pytestmark = pytest.mark.django_db(transaction=True)


def keep(data: Any) -> None:
    data.set_state("got", data.input)


def asking(name: str = "asking", **pause: Any) -> TriggerFlow:
    """A child that asks, and keeps the answer."""
    child = TriggerFlow(name)

    def ask(data: Any) -> Any:
        return data.pause_for(type="approval", payload={"q": data.input}, **pause)

    child.to(ask).to(lambda data: data.set_state("answer", data.input), name="done")
    return child


def parent_of(child: TriggerFlow, name: str = "parent") -> TriggerFlow:
    flow = TriggerFlow(name)
    flow.to_sub_flow(child, name="work").to(keep)
    return flow


def started(flow: TriggerFlow, value: Any = "doc", **options: Any) -> TriggerFlowExecution:
    return flow.start_execution(value, auto_close=False, **options)


def only(execution: TriggerFlowExecution) -> str:
    (found,) = execution.get_pending_interrupts()
    return found


def child_row(execution: TriggerFlowExecution, flow_name: str = "asking") -> Execution:
    return Execution.objects.get(root_id=execution.pk, flow_name=flow_name)


# -- questions


def test_a_child_s_question_shows_at_the_parent_under_the_child_s_id() -> None:
    execution = started(parent_of(asking()))
    ((shown, record),) = execution.get_pending_interrupts().items()
    row = Interrupt.objects.get()
    frame = child_row(execution).id.hex
    assert shown == record["id"] == f"{frame}:{row.interrupt_id}"
    assert (record["local_interrupt_id"], record["sub_flow_frame_id"]) == (row.interrupt_id, frame)
    assert (record["type"], record["payload"], record["status"]) == ("approval", {"q": "doc"}, "waiting")
    assert execution.get_interrupt(shown) == record
    assert execution.get_interrupt("nothing") is execution.get_interrupt(f"{frame}:nothing") is None
    assert execution.get_interrupt(row.interrupt_id) is None


def test_the_parent_waits_while_its_child_only_waits() -> None:
    execution = started(parent_of(asking()))
    assert (execution.get_status(), execution.is_waiting()) == ("waiting", True)
    assert execution.wait(timeout=0) is execution
    assert execution.row().active_steps == 1
    assert [frame["status"] for frame in execution.get_sub_flow_frames().values()] == ["waiting"]


def test_the_parent_is_running_while_something_of_its_own_is_active() -> None:
    flow = parent_of(asking())
    seen: list[str] = []
    flow.when("look").to(lambda data: seen.append(data.execution.get_status()))
    execution = started(flow)
    execution.emit("look")
    assert seen == ["running"]
    assert execution.get_status() == "waiting"


def test_an_answer_at_the_parent_goes_to_the_child_and_gives_its_result() -> None:
    execution = started(parent_of(asking()))
    assert execution.continue_with(only(execution), "yes") == {"answer": "yes"}
    assert execution.get_pending_interrupts() == {}
    assert execution.close() == {"got": {"answer": "yes"}}


def test_an_answer_at_the_child_does_the_same_and_the_parent_goes_on_with_its_next_call() -> None:
    child = asking()
    execution = started(parent_of(child))
    handle = child.get_execution(child_row(execution).pk)
    handle.continue_with(only(handle), "yes")
    assert (handle.get_status(), handle.get_snapshot()) == ("completed", {"answer": "yes"})
    assert execution.wait().close() == {"got": {"answer": "yes"}}


def test_an_answer_counts_once_whichever_side_it_comes_from() -> None:
    child = asking()
    execution = started(parent_of(child))
    shown = only(execution)
    handle = child.get_execution(child_row(execution).pk)
    handle.continue_with(only(handle), "yes", resume_request_id="r1")
    with pytest.raises(exceptions.InterruptNotWaitingError):
        execution.continue_with(shown, "no")
    again = execution.continue_with(shown, "yes", resume_request_id="r1")
    assert (again["id"], again["status"], again["resume_value"]) == (shown, "resumed", "yes")
    assert Decision.objects.count() == 1


def test_a_question_several_deep_has_an_id_at_each_level_and_one_row() -> None:
    leaf = asking("leaf")
    middle = TriggerFlow("middle")
    middle.to_sub_flow(leaf, name="inner").to(keep)
    execution = started(parent_of(middle))
    shown = only(execution)
    row = Interrupt.objects.get()
    between = child_row(execution, "middle")
    assert shown == f"{between.id.hex}:{row.execution_id.hex}:{row.interrupt_id}"
    inner = middle.get_execution(between.pk)
    assert only(inner) == f"{row.execution_id.hex}:{row.interrupt_id}"
    assert execution.get_interrupt(shown)["local_interrupt_id"] == only(inner)
    assert inner.get_status() == execution.get_status() == "waiting"
    assert execution.continue_with(shown, "yes") == {"got": {"answer": "yes"}}
    assert execution.close() == {"got": {"got": {"answer": "yes"}}}


def test_several_questions_in_a_row_each_give_a_marker_of_the_next() -> None:
    child = TriggerFlow("asking")
    child.to(lambda data: data.pause_for(type="first"), name="first").to(
        lambda data: data.pause_for(type="second", payload=data.input), name="second"
    ).to(lambda data: data.set_state("answer", data.input))
    execution = started(parent_of(child))
    marker = execution.continue_with(only(execution), 1)
    assert (marker["type"], marker["payload"], marker["id"]) == ("second", 1, only(execution))
    assert execution.continue_with(marker["id"], 2) == {"answer": 2}


def test_children_of_a_batch_and_of_a_loop_ask_at_once_and_are_answered_in_any_order() -> None:
    flow = TriggerFlow("parent")
    flow.for_each().to_sub_flow(asking(), write_back={"value": "result.answer"}).end_for_each().to(keep)
    execution = started(flow, ["a", "b", "c"])
    waiting = {record["payload"]["q"]: shown for shown, record in execution.get_pending_interrupts().items()}
    for item in ("b", "c", "a"):
        execution.continue_with(waiting[item], item.upper())
    assert execution.close() == {"got": ["A", "B", "C"]}


def test_a_child_that_waits_keeps_nobody_out_of_a_limited_loop() -> None:
    middle = TriggerFlow("middle")
    middle.to_sub_flow(asking("leaf"), write_back={"value": "result.answer"}).to(keep)
    flow = TriggerFlow("parent")
    flow.for_each(concurrency=1).to_sub_flow(middle, write_back={"value": "result.got"}).end_for_each().to(keep)
    execution = started(flow, ["a", "b", "c"])
    waiting = {record["payload"]["q"]: shown for shown, record in execution.get_pending_interrupts().items()}
    assert sorted(waiting) == ["a", "b", "c"]
    for item in ("b", "c", "a"):
        execution.continue_with(waiting[item], item.upper())
    assert Join.objects.get().places == 0
    assert execution.close() == {"got": ["A", "B", "C"]}


def test_a_child_that_asks_itself_again_and_one_that_waits_for_an_event() -> None:
    child = TriggerFlow("asking")

    def gate(data: Any) -> Any:
        if not data.is_resume:
            return data.pause_for(type="gate", resume_to="self")
        return data.resume.value

    child.to(gate).to(lambda data: data.pause_for(resume_event="paid"), name="pay").to(lambda data: "never")
    child.when("paid").to(lambda data: data.set_state("paid", data.input))
    execution = started(parent_of(child))
    execution.continue_with(only(execution), "open")
    frame = child_row(execution).id.hex
    execution.emit("paid", 1)
    assert len(execution.get_pending_interrupts()) == 1  # an event of the parent's is not one of the child's
    execution.emit_to_sub_flow(frame, "paid", 5)
    assert execution.close() == {"got": {"paid": 5}}


def test_a_child_is_about_what_its_parent_is_about_and_its_starter_started_it() -> None:
    person = User.objects.create_superuser("mary")
    execution = started(parent_of(asking(exclude_starter=True)), started_by=person, subject=person)
    row = child_row(execution)
    assert (row.subject, row.started_by_id) == (person, str(person.pk))
    with pytest.raises(exceptions.DecisionRefusedError):
        execution.continue_with(only(execution), "yes", actor=person)
    other = User.objects.create_superuser("john")
    assert execution.continue_with(only(execution), "yes", actor=other) == {"answer": "yes"}


def test_an_unknown_question_of_a_child_is_refused() -> None:
    execution = started(parent_of(asking()))
    other = started(parent_of(asking()))
    for unknown in ("x", "x:y", f"{child_row(execution).id.hex}:x", only(other)):
        with pytest.raises(KeyError):
            execution.continue_with(unknown, 1)


def test_a_child_is_found_by_its_id_where_only_its_parent_is_registered(
    registered: Callable[[TriggerFlow], TriggerFlow],
) -> None:
    execution = started(registered(parent_of(asking())))
    handle = TriggerFlowExecution.attach(child_row(execution).id.hex)
    assert handle.flow.name == "asking"
    handle.continue_with(only(handle), "yes")
    assert handle.get_status() == "completed"


# -- closing


def test_a_close_refuses_while_a_child_waits_and_the_parent_stays_open() -> None:
    execution = started(parent_of(asking()))
    with pytest.raises(exceptions.PendingInterruptsError, match="1 waiting interrupt"):
        execution.close()
    assert execution.is_open()
    execution.continue_with(only(execution), "yes")
    assert execution.close() == {"got": {"answer": "yes"}}


def test_a_close_that_cancels_cancels_the_children_too() -> None:
    leaf = asking("leaf")
    middle = TriggerFlow("middle")
    middle.to(leaf)
    execution = started(parent_of(middle))
    shown = only(execution)
    assert execution.close(pending_interrupts="cancel") == {}
    assert set(Execution.objects.values_list("status", flat=True)) == {"cancelled"}
    assert Interrupt.objects.get().status == "cancelled"
    assert not Execution.objects.filter(cancels_sub_flows=True).exists()
    assert execution.get_pending_interrupts() == {}
    assert execution.get_interrupt(shown)["status"] == "cancelled"


def test_a_child_that_pauses_while_the_parent_closes_stops_the_close() -> None:
    child = TriggerFlow("asking")

    async def slowly(data: Any) -> Any:
        await asyncio.sleep(0.2)
        return data.pause_for()

    child.to(slowly)

    async def walk() -> str:
        execution = parent_of(child).create_execution(auto_close=False)
        starting = asyncio.create_task(execution.async_start(1))
        while await execution.async_get_status() == "created":
            await asyncio.sleep(0.01)
        with pytest.raises(exceptions.PendingInterruptsError, match="paused again"):
            await execution.async_close()
        await starting
        assert await execution.async_is_open()
        return execution.id

    asyncio.run(walk())
    assert Execution.objects.get(flow_name="parent").events.filter(kind="close_refused").count() == 1


def test_a_close_in_time_cuts_the_children() -> None:
    execution = started(parent_of(asking()))
    execution.close(timeout=0, pending_interrupts="cancel")
    assert child_row(execution).status == "cancelled"


def test_cancelling_the_parent_cancels_what_is_below() -> None:
    execution = started(parent_of(asking()))
    execution.cancel(reason="no more")
    row = child_row(execution)
    assert (row.status, row.close_reason) == ("cancelled", "cancelled with its parent")


def test_a_sealed_parent_lets_nobody_answer_its_children() -> None:
    child = asking()
    execution = started(parent_of(child))
    shown = only(execution)
    handle = child.get_execution(child_row(execution).pk)
    execution.seal()
    for refused in (
        lambda: execution.continue_with(shown, 1),
        lambda: handle.continue_with(only(handle), 1),
        lambda: handle.emit("x"),
    ):
        with pytest.raises(exceptions.ExecutionNotOpenError, match=f"sub flow of {execution.id}"):
            refused()
    execution.unseal()
    assert execution.continue_with(shown, 1) == {"answer": 1}


def test_a_parent_with_auto_close_closes_once_its_child_is_answered() -> None:
    async def walk() -> Any:
        execution = parent_of(asking()).create_execution(auto_close_timeout=0.01)
        ending = asyncio.create_task(execution.async_start("doc"))
        while not (pending := await execution.async_get_pending_interrupts()):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert not ending.done()
        await execution.async_continue_with(next(iter(pending)), "yes")
        return await ending

    assert asyncio.run(walk()) == {"got": {"answer": "yes"}}


def test_inside_a_transaction_of_the_caller_parent_and_child_run_and_end_together() -> None:
    with transaction.atomic():
        execution = started(parent_of(asking()))
        execution.continue_with(only(execution), "yes")
        assert execution.close() == {"got": {"answer": "yes"}}
        transaction.set_rollback(True)
    assert Execution.objects.count() == 0
    with transaction.atomic():
        execution = started(parent_of(asking()))
        shown = only(execution)
        execution.cancel()
        with pytest.raises(exceptions.ExecutionNotOpenError):
            execution.continue_with(shown, "yes")
        assert execution.get_pending_interrupts() == {}
    assert child_row(execution).status == "cancelled"


# -- frames


def test_cancelling_a_sub_flow_stops_the_chain_that_waits_for_it_and_nothing_else() -> None:
    execution = started(parent_of(asking()))
    ((frame, _),) = execution.get_sub_flow_frames().items()
    assert execution.cancel_sub_flow(frame, reason="not needed") is True
    assert execution.cancel_sub_flow(frame) is False
    assert execution.get_pending_interrupts() == {}
    assert (execution.get_status(), execution.get_state()) == ("running", {})
    assert Step.objects.get(node="work").status == "cancelled"
    assert [frame["status"] for frame in execution.get_sub_flow_frames().values()] == ["cancelled"]
    assert execution.row().events.get(kind="sub_flow_ended").data["status"] == "cancelled"
    assert execution.close() == {}
    assert execution.get_status() == "completed"


def test_an_event_for_a_sub_flow_runs_its_handlers() -> None:
    child = asking()
    child.when("note").to(lambda data: data.append_state("notes", data.input) or "noted")
    execution = started(parent_of(child))
    ((frame, _),) = execution.get_sub_flow_frames().items()
    assert execution.emit_to_sub_flow(frame, "note", "n1") == ["noted"]
    assert execution.emit_to_sub_flow(frame, "unheard") is None
    execution.continue_with(only(execution), "yes")
    assert execution.close() == {"got": {"notes": ["n1"], "answer": "yes"}}
    with pytest.raises(RuntimeError):
        execution.emit_to_sub_flow(frame, "note")


def test_a_frame_there_is_none_of_is_a_key_error() -> None:
    execution = started(parent_of(asking()))
    other = started(parent_of(asking()))
    foreign = next(iter(other.get_sub_flow_frames()))
    for unknown in ("x", "", execution.id, foreign):
        with pytest.raises(exceptions.UnknownSubFlowError):
            execution.cancel_sub_flow(unknown)
        with pytest.raises(KeyError):
            execution.emit_to_sub_flow(unknown, "note")


# -- resources


def test_resources_of_the_parent_s_handle_reach_the_child_after_a_pause_too() -> None:
    seen: list[Any] = []
    child = TriggerFlow("asking")

    def first(data: Any) -> Any:
        data.set_resource("own", "set before")
        return data.pause_for()

    child.to(first).to(lambda data: seen.append((data.get_resource("tool"), data.get_resource("own"))), name="use")
    flow = TriggerFlow("parent")
    flow.to_sub_flow(child, capture={"resources": {"tool": "resources.client"}})
    client = object()
    execution = started(flow, runtime_resources={"client": client})
    execution.continue_with(only(execution), 1)
    assert seen == [(client, "set before")]


# -- save and load


def test_a_saved_parent_is_loaded_where_its_row_is_and_nowhere_else_while_a_child_is_open() -> None:
    flow = parent_of(asking())
    saved = started(flow).save()
    assert [frame["status"] for frame in saved["sub_flow_frames"].values()] == ["waiting"]
    with pytest.raises(exceptions.SubFlowsActiveError, match="'work'"):
        flow.create_execution().load(saved, as_new=True)
    execution = flow.create_execution().load(saved)
    assert execution.continue_with(only(execution), "yes") == {"answer": "yes"}
    later = execution.save()
    copy = flow.create_execution().load(later, as_new=True)
    assert copy.close() == {"got": {"answer": "yes"}}
    Execution.objects.all().delete()
    with pytest.raises(RuntimeError):
        flow.create_execution().load(saved)
