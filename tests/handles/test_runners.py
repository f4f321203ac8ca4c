"""Who runs the steps: this process (inline) or workers (rq). Only the Python handle runs inline ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings

from tests.handles.loops import in_a_loop
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import claim, sweep
from triggerflow_django.models import Step, StepStatus
from triggerflow_django.testing import travel

pytestmark = pytest.mark.django_db(transaction=True)


def asking() -> TriggerFlow:
    """Fails the test where a chunk runs that was to be left to a worker."""
    flow = TriggerFlow("asking")

    def chunk(data: Any) -> None:
        pytest.fail("there is no worker here")

    flow.to(chunk)
    flow.when("item").to(("item", chunk))
    flow.when({"runtime_data": "total"}).to(("total", chunk))
    return flow


def test_a_flow_no_other_process_could_find_is_refused_for_workers() -> None:
    with pytest.raises(exceptions.UnregisteredFlowError, match=r"flows\.py"):
        asking().create_execution(runner="rq")
    with pytest.raises(exceptions.UnregisteredFlowError):
        asking().start(runner="rq")


def test_another_flow_of_the_same_name_is_not_the_registered_one(
    registered: Callable[[TriggerFlow], TriggerFlow],
) -> None:
    registered(asking())
    with pytest.raises(exceptions.UnregisteredFlowError):
        asking().create_execution(runner="rq")


def test_an_unknown_runner_is_refused() -> None:
    with pytest.raises(exceptions.InvalidPolicyError, match="runner='celery'"):
        asking().create_execution(runner="celery")  # type: ignore[arg-type]


@override_settings(TRIGGERFLOW={"RUNNER": "rq"})
def test_the_setting_chooses_for_registered_flows_only(registered: Callable[[TriggerFlow], TriggerFlow]) -> None:
    assert registered(asking()).create_execution().new.runner == "rq"
    assert asking().create_execution().new.runner == "inline"
    assert asking().create_execution(runner="inline").new.runner == "inline"


def test_on_workers_calls_return_after_their_commit_and_leave_ready_steps(
    registered: Callable[[TriggerFlow], TriggerFlow],
) -> None:
    execution = registered(asking()).create_execution(runner="rq", auto_close=False)
    assert execution.start(1) is execution
    assert execution.get_status() == "running"
    assert execution.emit("item", 1) is None
    execution.emit_nowait("item", 2)
    execution.set_state("total", 3)
    nodes = Step.objects.order_by("pk").values_list("node", "status", "queue")
    assert list(nodes) == [(node, "ready", "triggerflow") for node in ("chunk", "item", "item", "total")]


@in_a_loop
async def test_on_workers_sync_and_async_calls_return_at_once_in_a_loop_too(
    registered: Callable[[TriggerFlow], TriggerFlow],
) -> None:
    flow = registered(asking())
    execution = await flow.async_start_execution(1, runner="rq")
    execution.emit("item")
    await execution.async_emit("item")
    await execution.async_emit_nowait("item")
    assert await Step.objects.filter(status=StepStatus.READY).acount() == 4
    assert execution.background_drains == frozenset()


def test_an_answer_leaves_the_steps_after_it_to_workers(registered: Callable[[TriggerFlow], TriggerFlow]) -> None:
    flow = TriggerFlow("asking")
    flow.to(("ask", lambda data: data.pause_for(type="approval", interrupt_id="gate"))).to(
        ("after", lambda data: pytest.fail("there is no worker here"))
    )
    registered(flow)
    document = flow.start_execution(runner="inline").save()
    execution = flow.create_execution(runner="rq").load(document, as_new=True)
    assert not execution.runs_inline
    assert execution.continue_with("gate", "yes")["status"] == "resumed"
    assert list(Step.objects.filter(node="after").values_list("status", flat=True)) == ["ready"]


def test_waiting_for_workers_that_do_not_come_ends_with_its_time(
    registered: Callable[[TriggerFlow], TriggerFlow],
) -> None:
    execution = registered(asking()).start_execution(runner="rq")
    with pytest.raises(exceptions.WaitTimeoutError, match=f"{execution.id} is still running after 0.05 s"):
        execution.wait(0.05)
    assert issubclass(exceptions.WaitTimeoutError, TimeoutError)


@in_a_loop
async def test_async_waiting_ends_with_its_time_too(registered: Callable[[TriggerFlow], TriggerFlow]) -> None:
    execution = await registered(asking()).async_start_execution(runner="rq")
    with pytest.raises(exceptions.WaitTimeoutError):
        await execution.async_wait(0.05)
    with pytest.raises(exceptions.WaitTimeoutError):
        execution.wait(0)


def test_close_with_a_timeout_ends_what_no_worker_took(registered: Callable[[TriggerFlow], TriggerFlow]) -> None:
    execution = registered(asking()).start_execution(runner="rq")
    assert execution.close(timeout=0.05) == {}
    assert execution.get_status() == "completed"


def test_inline_steps_stand_in_no_queue_and_no_sweep_takes_them() -> None:
    flow = TriggerFlow("queued")

    @flow.chunk(queue="slow")
    def slow(data: Any) -> None:
        pytest.fail("nobody waits for it")

    flow.when("go").to(slow)
    flow.create_execution(auto_close=False).emit_nowait("go")
    assert list(Step.objects.values_list("queue", "status")) == [("", "ready")]
    for queue in ("default", "slow"):
        assert not claim.ready("default", queue=queue).exists()
    with travel(days=30):
        assert sweep.sweep(using="default").total() == 0
    assert Step.objects.get().status == StepStatus.READY
