"""Failure: what is kept of it, when it is tried again, and that it stops its own chain only."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions, signals
from triggerflow_django.definition.chunk import ChunkOptions
from triggerflow_django.engine import fail
from triggerflow_django.models import Step

pytestmark = pytest.mark.django_db

Travel = Callable[[float], None]


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


# -- tried again


def test_by_default_nothing_is_tried_again() -> None:
    pk = driving.settled(failing(lambda: ConnectionError("no")))
    step = driving.step(pk, "breaks")
    assert (step.status, step.attempt, step.failures) == ("failed", 1, 1)


def test_retries_back_off_and_then_it_fails_for_good(travel: Travel) -> None:
    flow = failing(lambda: ConnectionError("no"), retries=2, backoff=100.0)
    pk = driving.start(flow)
    running = driving.drainer(pk, flow)
    waits = []
    for attempt in (1, 2, 3):
        (step,) = [step for step in driving.claim(pk, flow, token=running.context.token) if step.node == "breaks"]
        assert (step.attempt, step.failures) == (attempt, attempt - 1)
        driving.run(running, step)
        step = driving.step(pk, "breaks")
        assert step.error["message"] == "no"
        assert step.failures == attempt
        if attempt < 3:
            assert step.status == "ready"
            assert step.lease_expires_at is None
            assert not driving.row(pk).failed_steps
            waits.append((step.available_at - step.started_at).total_seconds())
            travel(waits[-1])
    assert driving.step(pk, "breaks").status == "failed"
    assert driving.row(pk).status == "failed"
    # 50 to 100 % of 100 s, then of 200 s.
    assert 49 < waits[0] < 101
    assert 99 < waits[1] < 201


def test_a_step_that_backs_off_is_not_claimed_before_its_time(travel: Travel) -> None:
    flow = TriggerFlow(name="refund")
    flow.to(flow.chunk(retries=1, backoff=100.0)(lambda data: data.input["x"]), name="breaks")
    pk = driving.start(flow, {})
    running, step = driving.claimed(pk, flow)
    driving.run(running, step)
    assert driving.claim(pk, flow) == []
    travel(101)
    assert len(driving.claim(pk, flow)) == 1


def test_a_step_that_succeeds_at_last_leaves_no_failure_behind(travel: Travel) -> None:
    def flaky(data: Any) -> str:
        if data.attempt < 3:
            raise ConnectionError("again")
        return f"{data.attempt} {data.idempotency_key}"

    flow = TriggerFlow(name="refund")
    flow.to(flow.chunk(retries=5, backoff=1.0)(flaky))
    pk = driving.start(flow)
    running = driving.drainer(pk, flow)
    for _ in range(3):
        travel(100)
        (step,) = driving.claim(pk, flow, token=running.context.token)
        driving.run(running, step)
    step = driving.step(pk, "flaky")
    assert (step.status, step.attempt, step.failures) == ("done", 3, 2)
    assert driving.consistent(pk).failed_steps == 0


def test_the_idempotency_key_is_the_same_in_every_attempt_and_in_no_other_step(travel: Travel) -> None:
    keys: list[str] = []

    def flaky(data: Any) -> None:
        keys.append(data.idempotency_key)
        if data.attempt == 1:
            raise ConnectionError("again")

    flow = TriggerFlow(name="refund")
    flow.for_each().to(flow.chunk(retries=1, backoff=1.0)(flaky)).end_for_each()
    pk = driving.start(flow, [1, 2, 3])
    for _ in range(2):
        running = driving.drainer(pk, flow)
        for step in driving.claim(pk, flow, token=running.context.token):
            driving.run(running, step)
        travel(100)
    assert len(keys) == 6
    assert len(set(keys)) == 3
    assert set(keys[:3]) == set(keys[3:])


@pytest.mark.parametrize(
    ("backoff", "failures", "least", "most"),
    [(2.0, 1, 1.0, 2.0), (2.0, 3, 4.0, 8.0), (None, 1, 0.5, 1.0), (2.0, 60, 1800.0, 3600.0), (2.0, 10**6, 1800, 3600)],
)
def test_the_backoff_doubles_is_jittered_and_capped(
    backoff: float | None, failures: int, least: float, most: float
) -> None:
    waits = [fail.backoff_seconds(ChunkOptions(backoff=backoff), failures) for _ in range(200)]
    assert least <= min(waits) <= max(waits) <= most
    assert len(set(waits)) > 100


def test_a_refusal_by_the_engine_is_not_tried_again_since_it_would_be_the_same() -> None:
    flow = TriggerFlow(name="refund")
    flow.to(flow.chunk(retries=5, backoff=0.001)(lambda data: object()), name="gives")
    pk = driving.settled(flow)
    assert driving.step(pk, "gives").attempt == 1


def test_a_fenced_attempt_s_failure_changes_nothing(travel: Travel) -> None:
    """Invariant 8."""
    flow = failing(lambda: ValueError("no"))
    pk = driving.start(flow)
    running = driving.drainer(pk, flow)
    (step,) = [step for step in driving.claim(pk, flow, token=running.context.token) if step.node == "breaks"]
    travel(1000)
    assert fail.lost(step, using="default") is True
    before = driving.everything(pk)
    driving.run(running, step)
    assert driving.everything(pk) == before


# -- lost workers


def lease(pk: uuid.UUID, flow: TriggerFlow, travel: Travel) -> Step:
    """The flow's only step, claimed by a worker that vanishes."""
    (step,) = driving.claim(pk, flow)
    travel(61)
    return step


@pytest.fixture
def single() -> TriggerFlow:
    flow = TriggerFlow(name="refund")
    flow.to(driving.nothing(), name="one").to(driving.nothing(), name="two")
    return flow


def test_a_step_whose_worker_vanished_is_ready_again(single: TriggerFlow, travel: Travel) -> None:
    pk = driving.start(single)
    step = lease(pk, single, travel)
    assert fail.lost(step, using="default") is True
    again = driving.step(pk, "one")
    assert (again.status, again.attempt, again.lost, again.lease_expires_at) == ("ready", 1, 1, None)
    assert driving.consistent(pk).active_steps == 1
    driving.drain(pk, single)
    assert driving.statuses(pk) == {"one": "done", "two": "done"}
    assert driving.step(pk, "one").attempt == 2


def test_a_step_whose_lease_is_alive_is_not_taken(single: TriggerFlow) -> None:
    pk = driving.start(single)
    (step,) = driving.claim(pk, single)
    assert fail.lost(step, using="default") is False
    assert driving.step(pk, "one").status == "running"


def test_a_step_that_kills_its_worker_every_time_ends_as_failed(single: TriggerFlow, travel: Travel) -> None:
    """Invariant 8: attempts are counted at the claim, and MAX_LOST (5) is the end."""
    pk = driving.start(single)
    for lost in range(1, 6):
        step = lease(pk, single, travel)
        assert step.attempt == lost
        assert fail.lost(step, using="default") is True
    step = driving.step(pk, "one")
    assert (step.status, step.attempt) == ("failed", 5)
    assert step.error["type"] == "triggerflow_django.exceptions.LostStepError"
    assert "died or vanished 5 times while it ran chunk 'one'" in step.error["message"]
    assert driving.consistent(pk).status == "failed"
    assert driving.claim(pk, single) == []


def test_a_lost_step_is_taken_once(single: TriggerFlow, travel: Travel) -> None:
    pk = driving.start(single)
    step = lease(pk, single, travel)
    assert fail.lost(step, using="default") is True
    before = driving.everything(pk)
    assert fail.lost(step, using="default") is False
    assert driving.everything(pk) == before
    driving.claim(pk, single)
    travel(61)
    assert fail.lost(step, using="default") is False  # another attempt's lease
