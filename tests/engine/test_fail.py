"""Failure: what it stops, and what is kept of it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions, signals
from triggerflow_django.models import Step

pytestmark = pytest.mark.django_db


class UnprintableError(Exception):
    """Raises when asked what it says."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def failing(error: Callable[[], BaseException], **options: Any) -> TriggerFlow:
    """A flow whose first chunk raises, and whose other branch works and asks."""

    def breaks(_data: Any) -> None:
        raise error()

    flow = TriggerFlow(name="refund")
    flow.to(flow.chunk(**options)(breaks)).to(driving.nothing(), name="after")
    flow.to(lambda data: data.set_state("worked", True), name="works").to(
        lambda data: data.pause_for(interrupt_id="gate"), name="asks"
    )
    return flow


@pytest.fixture
def sent() -> Iterator[list[dict[str, Any]]]:
    """What ``step_failed`` told observers."""
    found: list[dict[str, Any]] = []

    def receive(**kwargs: Any) -> None:
        found.append(kwargs)

    signals.step_failed.connect(receive, weak=False)
    yield found
    signals.step_failed.disconnect(receive)


# -- what it stops


def test_a_failed_step_stops_its_own_chain_and_nothing_else() -> None:
    flow = failing(lambda: ValueError("no"))
    pk = driving.start(flow)
    (failure,) = driving.drain(pk, flow)
    assert isinstance(failure, ValueError)
    assert driving.statuses(pk) == {"breaks": "failed", "works": "done", "asks": "paused"}
    execution = driving.consistent(pk)
    assert (execution.status, execution.failed_steps, execution.pending_interrupts) == ("failed", 1, 1)
    assert execution.lifecycle == "open"
    assert driving.state(pk) == {"worked": True}
    assert driving.decide(pk, "gate", 1, flow=flow)["status"] == "resumed"
    driving.drain(pk, flow)
    assert driving.consistent(pk).status == "failed"


def test_where_exceptions_are_skipped_the_execution_is_not_failed_by_them() -> None:
    flow = failing(lambda: ValueError("no"))
    pk = driving.start(flow, skip_exceptions=True)
    assert driving.drain(pk, flow) == []
    execution = driving.consistent(pk)
    assert (execution.status, execution.failed_steps) == ("waiting", 0)
    assert driving.statuses(pk)["breaks"] == "failed"


def test_a_failing_chunk_leaves_nothing_of_what_it_wrote_emitted_and_asked() -> None:
    def breaks(data: Any) -> None:
        data.set_state("wrote", 1)
        data.emit("wrote")
        data.pause_for()
        raise ValueError("no")

    flow = TriggerFlow(name="refund")
    flow.to(breaks)
    flow.when("wrote").to(driving.nothing(), name="hear")
    pk = driving.settled(flow)
    assert driving.statuses(pk) == {"breaks": "failed"}
    assert driving.state(pk) == {}
    assert driving.consistent(pk).pending_interrupts == 0


def test_observers_hear_of_a_step_that_failed_for_good_once_it_is_committed(
    sent: list[dict[str, Any]], django_capture_on_commit_callbacks: Any
) -> None:
    flow = failing(lambda: ValueError("no"), retries=1, backoff=0.001)
    pk = driving.start(flow)
    with django_capture_on_commit_callbacks(execute=True):
        running, step = driving.drainer(pk, flow), None
        for step in driving.claim(pk, flow, token=running.context.token):
            if step.node == "breaks":
                driving.run(running, step)
    assert sent == []
    failed = driving.step(pk, "breaks")
    Step.objects.filter(pk=failed.pk).update(available_at=failed.created_at)
    with django_capture_on_commit_callbacks(execute=True):
        driving.run(running, driving.claim(pk, flow, token=running.context.token)[0])
    (told,) = sent
    assert (told["node"], told["step_id"], told["error_type"], told["error_message"]) == (
        "breaks", failed.pk, "ValueError", "no",
    )  # fmt: skip


# -- what is kept


def test_the_error_is_kept_as_type_message_and_traceback() -> None:
    pk = driving.settled(failing(lambda: exceptions.UnknownStepError("gone")))
    error = driving.step(pk, "breaks").error
    assert set(error) == {"type", "message", "traceback"}
    assert error["type"] == "triggerflow_django.exceptions.UnknownStepError"
    assert error["message"] == "gone"
    assert "in breaks\n    raise error()" in error["traceback"]


def test_the_causes_of_an_error_are_kept_too() -> None:
    def breaks(_data: Any) -> None:
        try:
            raise ConnectionError("the socket")
        except ConnectionError as error:
            raise ValueError("no answer") from error

    flow = TriggerFlow(name="refund")
    flow.to(breaks)
    traceback = driving.step(driving.settled(flow), "breaks").error["traceback"]
    assert "ConnectionError: the socket" in traceback
    assert "direct cause" in traceback


def test_local_variables_are_stored_nowhere() -> None:
    """A password in a local variable must not end in the database."""
    secret = uuid.uuid4().hex

    def breaks(data: Any) -> None:
        password = data.require_resource("vault")
        inner(password, token=f"Bearer {password}")

    def inner(hidden: str, *, token: str) -> None:
        copies = {"hidden": hidden, "token": token}
        if len(copies) == 2:
            raise PermissionError("refused")

    for options in ({}, {"retries": 1, "backoff": 1000.0}, {"atomic": True}):
        flow = TriggerFlow(name="refund")
        flow.to(flow.chunk(**options)(breaks))
        handle = flow.create_execution(auto_close=False, runtime_resources={"vault": secret})
        running = driving.drainer(driving.start(flow), flow)
        pk = running.execution_id
        running.context.resources_of = lambda _facts, handle=handle: handle.resources
        (step,) = driving.claim(pk, flow, token=running.context.token)
        driving.run(running, step)
        assert driving.step(pk, "breaks").error["message"] == "refused"
        assert secret not in json.dumps(driving.everything(pk), default=str)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (lambda: ValueError("a\x00b"), "a\\x00b"),
        (lambda: ValueError("\ud800"), "\\ud800"),
        (lambda: ValueError("x" * 100_000), "x" * 10_000),
        (UnprintableError, "(its __str__ raised)"),
        (ValueError, ""),
        (lambda: SystemExit(3), "the chunk raised SystemExit(3)"),
        (lambda: StopIteration("end"), "the chunk raised StopIteration('end')"),
        (lambda: ExceptionGroup("several", [ValueError("one"), KeyError("two")]), "several (2 sub-exceptions)"),
        (lambda: RecursionError("deep"), "deep"),
        (MemoryError, ""),
        (lambda: OSError(5, "disk"), "[Errno 5] disk"),
    ],
)
def test_whatever_is_raised_can_be_stored(error: Callable[[], BaseException], message: str) -> None:
    pk = driving.settled(failing(error))
    stored = driving.step(pk, "breaks").error
    assert stored["message"] == message
    assert len(stored["traceback"]) <= 20_000
    assert driving.consistent(pk).status == "failed"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (object(), "return value of gives: object is not JSON"),
        ({"order": {"when": object()}}, "return value of gives.order.when: object is not JSON"),
        ({1, 2}, "return value of gives: set is not JSON"),
        (float("nan"), "return value of gives: NaN"),
        (["\ud800"], "return value of gives[0]: the string contains a lone surrogate"),
    ],
)
def test_a_value_that_is_not_json_fails_the_step_naming_the_path(value: Any, said: str) -> None:
    flow = TriggerFlow(name="refund")
    flow.to(lambda data: (data.set_state("wrote", 1), value)[1], name="gives").to(driving.nothing(), name="after")
    pk = driving.start(flow)
    (failure,) = driving.drain(pk, flow)
    assert isinstance(failure, exceptions.JsonValueError)
    assert said in str(failure)
    assert driving.state(pk) == {}
    assert driving.statuses(pk) == {"gives": "failed"}
