"""``atomic=True``: user code and the record that it ran are one transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import IntegrityError, OperationalError, connection, transaction

from tests.handles.loops import in_a_loop
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.models import Execution, Step, StepStatus

pytestmark = pytest.mark.django_db(transaction=True)

Chunk = Callable[[Any], Any]


def atomic_flow(chunk: Chunk, **options: Any) -> TriggerFlow:
    """One atomic chunk named ``chunk``, and one after it that notes its value."""
    flow = TriggerFlow("atomic")
    flow.to(flow.chunk("chunk", atomic=True, **options)(chunk)).to(
        ("after", lambda data: data.append_state("log", data.input))
    )
    return flow


def _books(data: Any) -> str:
    assert connection.in_atomic_block
    Group.objects.create(name="booked")
    data.set_state("booked", True)
    return "booked"


def test_writes_and_the_outcome_commit_together() -> None:
    assert atomic_flow(_books).start() == {"booked": True, "log": ["booked"]}
    assert Group.objects.get().name == "booked"


@in_a_loop
async def test_it_runs_in_a_loop_too() -> None:
    assert await atomic_flow(_books).async_start() == {"booked": True, "log": ["booked"]}
    assert await Group.objects.acount() == 1


def test_inside_the_callers_transaction_it_rolls_back_with_it() -> None:
    with transaction.atomic():
        atomic_flow(_books).start()
        transaction.set_rollback(True)
    assert not Group.objects.exists()
    assert not Execution.objects.exists()


def test_an_error_undoes_row_state_and_events() -> None:
    def chunk(data: Any) -> None:
        _books(data)
        data.emit("booked")
        raise LookupError("after all that")

    flow = atomic_flow(chunk)
    flow.when("booked").to(("never", lambda data: pytest.fail("it did not happen")))
    execution = flow.create_execution(auto_close=False)
    with pytest.raises(LookupError, match="after all that"):
        execution.start()
    assert not Group.objects.exists()
    assert execution.get_state() == {}
    assert Step.objects.get().status == StepStatus.FAILED


def test_a_retry_begins_with_nothing() -> None:
    def chunk(data: Any) -> None:
        assert not Group.objects.exists()
        assert data.get_state() == {}
        _books(data)
        if data.attempt < 3:
            raise LookupError("not yet")

    assert atomic_flow(chunk, retries=2, backoff=0.001).start() == {"booked": True, "log": [None]}
    assert Group.objects.count() == 1


def test_a_transaction_the_database_gave_up_is_run_again_from_nothing() -> None:
    tries: list[Any] = []

    def chunk(data: Any) -> None:
        tries.append(data.input.pop())
        _books(data)
        data.append_state("tries", len(tries))
        data.emit("booked")
        if len(tries) == 1:
            raise OperationalError("40P01")  # deadlock detected

    flow = atomic_flow(chunk)
    flow.when("booked").to(("count", lambda data: data.append_state("events", 1)))
    assert flow.start(["a", "b"]) == {"booked": True, "tries": [2], "events": [1], "log": [None]}
    assert tries == ["b", "b"]
    assert Step.objects.get(node="chunk").attempt == 1


def test_until_it_has_committed_nobody_else_sees_anything() -> None:
    flow = TriggerFlow("atomic")
    seen: list[Any] = []

    @flow.chunk(atomic=True)
    def book(data: Any) -> None:
        _books(data)
        step = Step.objects.get(node="book")
        seen.append((step.status, data.execution.get_state()))

    flow.to(book)
    flow.start()
    assert seen == [("running", {})], "its lease was committed before; nothing of its outcome is written"


@pytest.mark.parametrize(
    ("refused", "error"),
    [
        (lambda data: data.pause_for(type="approval", interrupt_id="gate"), exceptions.InterruptAlreadyWaitingError),
        (lambda data: data.pause_for(type="approval", approvers="user:nobody"), exceptions.ApproversError),
        (lambda data: {"when": object()}, exceptions.JsonValueError),
    ],
)
def test_a_refusal_only_the_commit_can_see_removes_the_rows_too(refused: Chunk, error: type[Exception]) -> None:
    flow = TriggerFlow("refused")
    flow.to(("ask", lambda data: data.pause_for(type="approval", interrupt_id="gate")))

    @flow.chunk(atomic=True)
    def book_and_ask(data: Any) -> Any:
        _books(data)
        return refused(data)

    flow.when("go").to(book_and_ask)
    execution = flow.start_execution(auto_close=False)
    with pytest.raises(error):
        execution.emit("go")
    assert not Group.objects.exists()
    assert execution.get_state() == {}
    assert Step.objects.get(node="book_and_ask").status == StepStatus.FAILED
    assert list(execution.get_pending_interrupts()) == ["gate"]


def test_a_database_error_in_it_fails_the_step_alone() -> None:
    def chunk(data: Any) -> None:
        _books(data)
        Group.objects.create(pk=Group.objects.get().pk, name="same key")

    execution = atomic_flow(chunk).create_execution(auto_close=False)
    with pytest.raises(IntegrityError):
        execution.start()
    assert not Group.objects.exists()
    assert execution.get_status() == "failed"


def test_a_swallowed_database_error_does_not_commit_half_of_it() -> None:
    def chunk(data: Any) -> None:
        try:
            _books(data)
            Group.objects.create(pk=Group.objects.get().pk, name="same key")
        except IntegrityError:
            """As if nothing had happened."""

    execution = atomic_flow(chunk).create_execution(auto_close=False)
    with pytest.raises(transaction.TransactionManagementError):
        execution.start()
    assert not Group.objects.exists()
    assert Step.objects.get().status == StepStatus.FAILED


def _dangling(data: Any) -> None:
    """A row whose reference leads nowhere: Django's foreign keys are checked at COMMIT."""
    _books(data)
    user = User.objects.create(username="clerk")
    User.groups.through.objects.create(user=user, group_id=999_999)


def test_a_constraint_that_fails_at_the_commit_itself_fails_the_step() -> None:
    execution = atomic_flow(_dangling).create_execution(auto_close=False)
    with pytest.raises(IntegrityError):
        execution.start()
    assert not Group.objects.exists()
    assert not User.objects.exists()
    assert execution.get_state() == {}
    step = Step.objects.get()
    assert step.status == StepStatus.FAILED
    assert step.error["type"] == "django.db.utils.IntegrityError"


def test_a_constraint_that_fails_at_the_commit_counts_as_an_attempt() -> None:
    flow = TriggerFlow("atomic")

    @flow.chunk(atomic=True, retries=1, backoff=0.001)
    def chunk(data: Any) -> None:
        _dangling(data) if data.attempt == 1 else _books(data)

    flow.to(chunk)
    assert flow.start() == {"booked": True}
    assert Step.objects.get().failures == 1
    assert not User.objects.exists()


def test_an_async_function_cannot_be_atomic() -> None:
    flow = TriggerFlow("atomic")

    async def chunk(data: Any) -> None:
        """Its awaits would leave the transaction's thread."""

    with pytest.raises(exceptions.DefinitionError, match="atomic"):
        flow.chunk("chunk", atomic=True)(chunk)


def test_nor_can_one_that_hands_an_awaitable_back() -> None:
    async def work() -> None:
        """Would run after the transaction."""

    coroutines: list[Any] = []

    def chunk(data: Any) -> Any:
        coroutines.append(work())
        _books(data)
        return coroutines[0]

    with pytest.raises(exceptions.JsonValueError, match="coroutine"):
        atomic_flow(chunk).start()
    coroutines[0].close()
    assert not Group.objects.exists()
