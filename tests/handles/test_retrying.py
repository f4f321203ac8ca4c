"""retry and wait: failed steps run again, retries that back off are waited for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.handles.loops import in_a_loop
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.models import Event, EventKind, Execution, Step, StepStatus

pytestmark = pytest.mark.django_db(transaction=True)


def broken(*, branches: int = 1) -> TriggerFlow:
    """Fails until the resource ``fixed`` is true."""
    flow = TriggerFlow("broken")

    def branch(number: int) -> Any:
        def run(data: Any) -> None:
            if not data.get_resource("fixed", False):
                raise LookupError(f"branch {number}")
            data.append_state("done", number)

        return (f"branch {number}", run)

    for number in range(branches):
        flow.to(branch(number))
    return flow


def _failed(flow: TriggerFlow) -> Any:
    execution = flow.create_execution(auto_close=False)
    with pytest.raises(LookupError):
        execution.start()
    assert execution.get_status() == "failed"
    return execution


def test_retry_runs_all_failed_steps_and_says_how_many() -> None:
    flow = broken(branches=3)
    execution = _failed(flow)
    flow.update_runtime_resources(fixed=True)
    assert execution.retry(reason="the shop is open again") == 3
    assert execution.get_state() == {"done": [0, 1, 2]}
    assert execution.get_status() == "running"
    reasons = {event.data["reason"] for event in Event.objects.filter(kind=EventKind.STEP_RETRIED)}
    assert reasons == {"the shop is open again"}


def test_retry_runs_one_step_by_its_id() -> None:
    flow = broken(branches=2)
    execution = _failed(flow)
    flow.update_runtime_resources(fixed=True)
    second = Step.objects.get(node="branch 1")
    assert execution.retry(second.pk) == 1
    assert execution.get_state() == {"done": [1]}
    assert execution.get_status() == "failed", "the other one still is"


@in_a_loop
async def test_a_step_that_fails_again_raises_again() -> None:
    flow = broken()
    execution = flow.create_execution(auto_close=False)
    for call in (execution.async_start, execution.async_retry):
        with pytest.raises(LookupError, match="branch 0"):
            await call()
    flow.update_runtime_resources(fixed=True)
    assert await execution.async_retry() == 1
    assert await execution.async_close() == {"done": [0]}


def test_there_is_nothing_to_retry() -> None:
    flow = broken()
    flow.update_runtime_resources(fixed=True)
    execution = flow.start_execution(auto_close=False)
    with pytest.raises(exceptions.UnknownStepError, match="no failed step"):
        execution.retry()
    with pytest.raises(KeyError, match=f"no failed step {Step.objects.get().pk}"):
        execution.retry(Step.objects.get().pk)


def test_a_retry_that_backs_off_is_waited_for() -> None:
    flow = TriggerFlow("flaky")

    @flow.chunk(retries=2, backoff=0.01)
    def flaky(data: Any) -> None:
        if data.attempt < 3:
            raise LookupError("not yet")
        data.set_state("attempt", data.attempt)

    flow.to(flaky)
    assert flow.start() == {"attempt": 3}
    step = Step.objects.get()
    assert (step.status, step.attempt, step.failures) == (StepStatus.DONE, 3, 2)


@in_a_loop
async def test_a_retry_that_backs_off_is_waited_for_in_a_loop_too() -> None:
    flow = TriggerFlow("flaky")

    @flow.chunk(retries=1, backoff=0.01)
    async def flaky(data: Any) -> None:
        if data.attempt < 2:
            raise LookupError("not yet")
        data.set_state("attempt", data.attempt)

    flow.to(flaky)
    assert await flow.async_start() == {"attempt": 2}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_who_waits_for_a_limited_time_does_not_wait_for_a_retry_far_ahead(asynchronous: bool) -> None:
    flow = TriggerFlow("flaky")

    def fail(data: Any) -> None:
        raise LookupError("not yet")

    async def fail_async(data: Any) -> None:
        fail(data)

    flow.when("go").to(flow.chunk("flaky", retries=1, backoff=3000)(fail_async if asynchronous else fail))
    execution = flow.start_execution(auto_close=False)
    execution.emit_nowait("go")
    with pytest.raises(exceptions.WaitTimeoutError, match=r"still running after 0\.1 s"):
        execution.wait(0.1)
    assert Step.objects.get().failures == 1


def test_wait_returns_the_handle_when_nothing_is_active() -> None:
    execution = TriggerFlow("empty").start_execution(auto_close=False)
    assert execution.wait() is execution
    assert execution.wait(timeout=0) is execution


def test_wait_for_what_was_never_stored_is_refused() -> None:
    with pytest.raises(exceptions.UnknownExecutionError):
        TriggerFlow("empty").create_execution().wait()
    assert not Execution.objects.exists()
