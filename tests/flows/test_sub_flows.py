"""Sub flows as a flow's author sees them: what goes in, what comes back, what fails, and in which places they stand."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.models import Execution, Step, StepStatus

pytestmark = pytest.mark.django_db(transaction=True)


def double(data: Any) -> Any:
    return data.input * 2


def keep(data: Any) -> None:
    data.set_state("got", data.input)


def doubling(name: str = "doubling") -> TriggerFlow:
    child = TriggerFlow(name)
    child.to(lambda data: data.set_state("doubled", data.input * 2))
    return child


def test_the_child_gets_the_value_and_the_parent_goes_on_with_its_snapshot() -> None:
    flow = TriggerFlow("parent")
    flow.to(double).to_sub_flow(doubling()).to(keep)
    assert flow.start(3) == {"got": {"doubled": 12}}


@pytest.mark.filterwarnings("ignore:set_result")
def test_a_final_result_comes_before_the_snapshot() -> None:
    child = TriggerFlow("child")
    child.to(lambda data: data.set_state("aside", 1)).to(lambda data: data.set_result({"r": 7}))
    flow = TriggerFlow("parent")
    flow.to(child).to(keep)
    assert flow.start(1) == {"got": {"r": 7}}


def test_the_child_is_an_execution_of_its_own_and_both_know_each_other() -> None:
    flow = TriggerFlow("parent")
    flow.to_sub_flow(doubling(), name="work").to(keep)
    execution = flow.start_execution(3, auto_close=False)
    (frame,) = execution.get_sub_flow_frames().values()
    child = Execution.objects.get(pk=frame["child_execution_id"])
    step = Step.objects.get(pk=child.parent_step_id)
    assert (str(step.execution_id), step.node, step.status) == (str(execution.pk), "work", StepStatus.DONE)
    assert child.root_id == execution.pk
    assert (child.status, child.snapshot) == ("completed", {"doubled": 6})
    assert (frame["status"], frame["parent_operator_id"], frame["child_flow_name"]) == ("completed", "work", "doubling")
    told = execution.row().events.filter(kind__startswith="sub_flow").order_by("sequence")
    assert [(event.kind, event.name, event.data["execution"]) for event in told] == [
        ("sub_flow_started", "work", child.id.hex),
        ("sub_flow_ended", "work", child.id.hex),
    ]


def test_what_goes_in_is_chosen_by_capture() -> None:
    seen: dict[str, Any] = {}
    child = TriggerFlow("child")

    def look(data: Any) -> None:
        seen.update(
            input=data.input,
            state=data.get_state(),
            shared=data.get_flow_data("rate", no_warning=True),
            client=data.get_resource("tool"),
            config=data.get_resource("config"),
        )

    child.to(look)
    flow = TriggerFlow("parent")
    flow.set_flow_data("rate", 7, no_warning=True)
    client = object()
    flow.update_runtime_resources(client=client)
    start = flow.to(lambda data: data.set_state("user.name", "Ada"), name="user")
    start.to(lambda data: {"id": 1, "deep": {"x": 2}}, name="value").to_sub_flow(
        child,
        capture={
            "input": {"order.id": "value.id", "who": "runtime_data.user.name"},
            "runtime_data": {"a.b": "value.deep.x"},
            "flow_data": {"rate": "flow_data.rate"},
            "resources": {"tool": "resources.client", "config": "value.deep"},
        },
    )
    flow.start(None)
    assert seen == {
        "input": {"order": {"id": 1}, "who": "Ada"},
        "state": {"a": {"b": 2}},
        "shared": 7,
        "client": client,
        "config": {"x": 2},
    }


def test_a_capture_without_input_gives_none() -> None:
    child = TriggerFlow("child")
    child.to(lambda data: data.set_state("input", data.input))
    flow = TriggerFlow("parent")
    flow.to_sub_flow(child, capture={"runtime_data": {"n": "value"}}).to(keep)
    assert flow.start(4) == {"got": {"n": 4, "input": None}}


def test_what_comes_back_is_chosen_by_write_back() -> None:
    child = TriggerFlow("child")
    child.to(lambda data: data.set_state("answer", {"text": "yes", "sure": 0.9}))
    flow = TriggerFlow("parent")
    flow.to_sub_flow(
        child,
        write_back={
            "value": {"reply": "result.answer.text"},
            "runtime_data": {"sub.sure": "result.answer.sure"},
            "flow_data": {"last": "result.answer"},
        },
    ).to(keep)
    assert flow.start({"id": 5}) == {"sub": {"sure": 0.9}, "got": {"id": 5, "reply": "yes"}}
    assert flow.get_flow_data("last", no_warning=True) == {"text": "yes", "sure": 0.9}


def test_a_write_back_of_other_scopes_leaves_the_value_as_it_was() -> None:
    flow = TriggerFlow("parent")
    flow.to_sub_flow(doubling(), write_back={"runtime_data": {"d": "result.doubled"}}).to(keep)
    assert flow.start(5) == {"d": 10, "got": 5}


def test_a_source_that_is_not_there_fails_the_step_and_starts_no_child() -> None:
    flow = TriggerFlow("parent")
    flow.to_sub_flow(doubling(), name="work", capture={"input": "value.missing.path"}).to(keep)
    with pytest.raises(KeyError, match=r"nothing at value\.missing\.path"):
        flow.start({"a": 1})
    assert Execution.objects.filter(flow_name="doubling").count() == 0


def test_a_result_that_is_not_there_fails_the_step_and_a_retry_takes_the_same_result_up_again() -> None:
    runs: list[int] = []
    child = TriggerFlow("child")
    child.to(lambda data: runs.append(1))
    flow = TriggerFlow("parent")
    flow.to_sub_flow(child, name="work", write_back={"value": "result.no.such"}).to(keep)
    execution = flow.create_execution(auto_close=False)
    with pytest.raises(KeyError):
        asyncio.run(execution.async_start(1))
    with pytest.raises(KeyError):
        execution.retry()
    assert len(runs) == 1
    assert Execution.objects.filter(flow_name="child").count() == 1


def test_a_child_s_contract_is_checked_before_it_starts() -> None:
    child = TriggerFlow("child").set_contract(initial_input={"type": "integer"})
    child.to(keep)
    flow = TriggerFlow("parent")
    flow.to(child)
    with pytest.raises(exceptions.ContractError):
        flow.start("no number")
    assert Execution.objects.filter(flow_name="child").count() == 0


def test_an_error_of_the_child_fails_the_parent_s_step_with_it_and_goes_to_the_caller_unchanged() -> None:
    error = ValueError("child broke")

    def bad(_data: Any) -> None:
        raise error

    child = TriggerFlow("child")
    child.to(bad)
    middle = TriggerFlow("middle")
    middle.to_sub_flow(child, name="inner")
    flow = TriggerFlow("parent")
    flow.to_sub_flow(middle, name="outer").to(keep)
    execution = flow.create_execution(auto_close=False)
    with pytest.raises(ValueError, match="child broke") as caught:
        asyncio.run(execution.async_start(1))
    assert caught.value is error
    assert (execution.get_status(), execution.get_state()) == ("failed", {})
    step = Step.objects.get(execution_id=execution.pk, node="outer")
    assert (step.error["type"], step.error["message"]) == ("ValueError", "child broke")
    for name in ("child", "middle"):
        assert f"flow {name!r}" in step.error["traceback"]
    assert set(Execution.objects.exclude(pk=execution.pk).values_list("status", flat=True)) == {"failed"}


def test_retrying_the_parent_s_step_runs_a_fresh_child() -> None:
    tries: list[str] = []

    def flaky(data: Any) -> None:
        tries.append(data.idempotency_key)
        if len(tries) == 1:
            raise ValueError("once")
        data.set_state("ok", len(tries))

    child = TriggerFlow("child")
    child.to(flaky)
    flow = TriggerFlow("parent")
    flow.to(child).to(keep)
    execution = flow.create_execution(auto_close=False)
    with pytest.raises(ValueError, match="once"):
        asyncio.run(execution.async_start(1))
    assert execution.retry() == 1
    assert execution.close() == {"got": {"ok": 2}}
    assert len(set(tries)) == 2
    assert [frame["status"] for frame in execution.get_sub_flow_frames().values()] == ["failed", "completed"]


def test_a_parent_that_swallows_errors_swallows_those_of_its_children() -> None:
    child = TriggerFlow("child")
    child.to(lambda data: 1 / 0)
    flow = TriggerFlow("parent", skip_exceptions=True)
    flow.to(child).to(keep)
    flow.to(lambda data: data.set_state("beside", 1))
    assert flow.start(1) == {"beside": 1}


def test_a_child_that_swallows_errors_completes() -> None:
    child = TriggerFlow("child", skip_exceptions=True)
    child.to(lambda data: 1 / 0)
    flow = TriggerFlow("parent")
    flow.to(child).to(keep)
    assert flow.start(1) == {"got": {}}


def test_a_pause_in_a_child_of_a_hidden_execution_is_an_error() -> None:
    child = TriggerFlow("child")
    child.to(lambda data: data.pause_for())
    flow = TriggerFlow("parent")
    flow.to(child)
    with pytest.raises(exceptions.NoHandleError):
        flow.start(1)
    assert set(Execution.objects.values_list("lifecycle", flat=True)) == {"closed"}


def test_an_empty_child_ends_at_once() -> None:
    flow = TriggerFlow("parent")
    flow.to(TriggerFlow("empty")).to(keep)
    assert flow.start(1) == {"got": {}}


@pytest.mark.filterwarnings("ignore:set_result")
def test_several_deep_inside_a_batch_and_a_for_each_and_a_condition() -> None:
    leaf = doubling("leaf")
    middle = TriggerFlow("middle")
    middle.for_each().to_sub_flow(leaf, write_back={"value": "result.doubled"}).end_for_each().to(
        lambda data: data.set_result(data.input)
    )
    chosen = TriggerFlow("chooser")
    chosen.if_condition(lambda data: data.input > 1).to_sub_flow(
        leaf, write_back={"value": "result.doubled"}
    ).else_condition().to(lambda data: "small").end_condition().to(keep)
    assert chosen.start(5) == {"got": 10}
    assert chosen.start(0) == {"got": "small"}
    simple = TriggerFlow("simple")
    simple.batch(("left", middle), ("right", middle)).to(keep)
    assert simple.start([1, 2, 3]) == {"got": {"left": [2, 4, 6], "right": [2, 4, 6]}}


def test_a_flow_that_contains_itself_ends_where_its_condition_says() -> None:
    flow = TriggerFlow("countdown")
    flow.if_condition(lambda data: data.input > 0).to(lambda data: data.input - 1).to_sub_flow(
        flow, write_back={"value": "result.depth"}
    ).to(lambda data: data.input + 1, name="deeper").else_condition().to(lambda data: 0, name="end").end_condition().to(
        lambda data: data.set_state("depth", data.input), name="keep"
    )
    assert flow.start(4) == {"depth": 4}


def test_more_children_than_a_loop_s_window_all_run(settings: Any) -> None:
    settings.TRIGGERFLOW = {"FOR_EACH_WINDOW": 3}
    flow = TriggerFlow("parent")
    flow.for_each().to_sub_flow(doubling(), write_back={"value": "result.doubled"}).end_for_each().to(keep)
    assert flow.start(list(range(10))) == {"got": [2 * number for number in range(10)]}


def test_a_loop_s_limit_bounds_how_many_children_there_are_at_a_time() -> None:
    running: list[int] = []
    most: list[int] = []

    async def work(data: Any) -> None:
        running.append(data.input)
        await asyncio.sleep(0.02)
        most.append(len(running))
        running.remove(data.input)

    child = TriggerFlow("child")
    child.to(work)
    flow = TriggerFlow("parent")
    flow.for_each(concurrency=2).to_sub_flow(child).end_for_each().to(keep)
    assert flow.start([1, 2, 3, 4, 5]) == {"got": [{}] * 5}
    assert max(most) == 2


def test_async_chunks_of_parent_and_children_run_at_once() -> None:
    async def slow(data: Any) -> Any:
        await asyncio.sleep(0.4)
        return data.input

    child = TriggerFlow("child")
    child.to(slow)
    flow = TriggerFlow("parent")
    flow.batch(("a", child), ("b", child), ("own", slow)).to(keep)
    began = time.monotonic()
    assert flow.start(1) == {"got": {"a": {}, "b": {}, "own": 1}}
    assert time.monotonic() - began < 1.1


def test_a_child_s_chunk_finds_its_own_execution_though_nobody_registered_its_flow() -> None:
    seen: list[Any] = []
    child = TriggerFlow("child")
    child.to(lambda data: seen.append((data.execution.id, data.execution_id, data.execution.flow.name)))
    flow = TriggerFlow("parent")
    flow.to(child)
    flow.start(1)
    assert seen == [(Execution.objects.get(flow_name="child").id.hex,) * 2 + ("child",)]


def test_events_stay_in_the_execution_they_were_emitted_in() -> None:
    child = TriggerFlow("child")
    child.to(lambda data: data.emit("shout", 1))
    child.when("shout").to(lambda data: data.set_state("heard", data.input))
    flow = TriggerFlow("parent")
    flow.to(child).to(keep)
    flow.when("shout").to(lambda data: data.set_state("parent heard", data.input))
    assert flow.start(1) == {"got": {"heard": 1}}
