"""Starting: the row, the first steps and a line of history in one commit, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.db import transaction

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions, signals
from triggerflow_django.engine import start
from triggerflow_django.models import Event, EventKind, Execution, ExecutionStatus, Lifecycle, State, Step

ORDER = {"order": 7, "lines": [{"sku": "a", "count": 2}]}


@pytest.fixture
def flow() -> TriggerFlow:
    flow = TriggerFlow(name="refund")
    flow.to(driving.nothing(), name="first").to(driving.nothing(), name="second")
    return flow


@pytest.fixture
def sent() -> Iterator[list[str]]:
    """The execution ids that ``execution_started`` told observers."""
    found: list[str] = []

    def receive(execution_id: str, **_kwargs: Any) -> None:
        found.append(execution_id)

    signals.execution_started.connect(receive, weak=False)
    yield found
    signals.execution_started.disconnect(receive)


@pytest.mark.django_db
def test_a_start_leaves_the_row_the_first_step_and_a_line_of_history(flow: TriggerFlow) -> None:
    pk = driving.start(flow, ORDER)
    execution = driving.consistent(pk)
    assert (execution.flow_name, execution.input, execution.status) == ("refund", ORDER, ExecutionStatus.RUNNING)
    assert execution.flow_fingerprint == flow.graph.fingerprint
    assert execution.started_at is not None
    first = driving.step(pk, "first")
    assert (first.status, first.input, first.source, first.cause_id) == ("ready", ORDER, "event:START", None)
    assert driving.history(pk) == ["started"]


@pytest.mark.django_db
def test_a_flow_without_chunks_starts_and_is_idle(flow: TriggerFlow) -> None:
    execution = driving.consistent(driving.start(TriggerFlow(name="empty"), 1))
    assert (execution.active_steps, execution.status) == (0, ExecutionStatus.RUNNING)


@pytest.mark.django_db
def test_a_second_start_of_one_execution_does_nothing(flow: TriggerFlow) -> None:
    new = driving.new(flow)
    assert start.start(new, 1, using="default") == (new.id, True)
    before = driving.everything(new.id)
    assert start.start(new, 2, using="default") == (new.id, False)
    assert driving.everything(new.id) == before


@pytest.mark.django_db
def test_an_execution_that_was_written_to_before_keeps_its_row_when_it_starts(flow: TriggerFlow) -> None:
    new = driving.new(flow)
    start.ensure(new, using="default")
    assert driving.consistent(new.id).status == ExecutionStatus.CREATED
    assert start.start(new, 1, using="default") == (new.id, True)
    assert driving.consistent(new.id).input == 1
    assert Execution.objects.count() == 1


@pytest.mark.django_db
def test_a_sealed_execution_is_not_started_and_a_closed_one_stays_closed(flow: TriggerFlow) -> None:
    new = driving.new(flow)
    start.ensure(new, using="default")
    Execution.objects.filter(pk=new.id).update(lifecycle=Lifecycle.SEALED)
    with pytest.raises(exceptions.ExecutionNotOpenError, match=r"is sealed .*start refused"):
        start.start(new, 1, using="default")
    assert not Step.objects.exists()


# -- what is put in


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"when": object()}, r"^input\.when: object is not JSON"),
        ({"a": [float("nan")]}, r"^input\.a\[0\]: NaN"),
        ({"a": float("inf")}, r"^input\.a: Infinity"),
        ("a\x00b", "^input: .*NUL"),
        ({"a": "\ud800"}, r"^input\.a: .*lone surrogate"),
        ({1: 2}, "^input: .*keys are strings"),
        ("x" * 65537, "^input: .*65537 bytes"),
        (["x" * 60_000] * 5, "^input: .*bytes, more than the 262144"),
        ([0] * 10_001, "^input: more than the 10000 values"),
        (2**63, "^input: .*64 bits"),
    ],
)
def test_an_input_that_is_not_json_starts_nothing(flow: TriggerFlow, value: object, said: str) -> None:
    with pytest.raises(exceptions.JsonValueError, match=said):
        driving.start(flow, value)
    assert not Execution.objects.exists()


@pytest.mark.django_db
def test_an_input_nested_deeper_than_32_levels_starts_nothing(flow: TriggerFlow) -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(exceptions.JsonValueError, match=r"input\[0\].*: nested deeper than the 32 levels"):
        driving.start(flow, deep)
    assert not Execution.objects.exists()
    while isinstance(deep, list):  # take it apart from outside: freeing it in one go would recurse
        deep = deep.pop()


# -- key


@pytest.mark.django_db
def test_the_same_key_with_the_same_input_gives_the_same_execution(flow: TriggerFlow) -> None:
    first = driving.start(flow, ORDER, key="order-7")
    again = driving.new(flow, key="order-7")
    assert start.start(again, {"lines": ORDER["lines"], "order": 7}, using="default") == (first, False)
    assert Execution.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("other", [{"order": 8}, None, {"order": True}, {"order": 1.5}])
def test_the_same_key_with_another_input_is_a_conflict_that_says_what_to_do(flow: TriggerFlow, other: object) -> None:
    pk = driving.start(flow, {"order": 1}, key="order-7")
    before = driving.everything(pk)
    with pytest.raises(exceptions.KeyConflictError, match=f"'order-7'.*{pk.hex}.*use another key") as caught:
        driving.start(flow, other, key="order-7")
    assert isinstance(caught.value, ValueError)
    assert Execution.objects.count() == 1
    assert driving.everything(pk) == before


# -- races


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("key", [None, "7"])
def test_a_start_that_breaks_off_leaves_nothing(
    flow: TriggerFlow, monkeypatch: pytest.MonkeyPatch, sent: list[str], key: str | None
) -> None:
    """Invariant 9."""

    def broken(*_args: Any, **_kwargs: Any) -> None:
        raise ConnectionError("the database went away")

    with monkeypatch.context() as patch:
        patch.setattr("triggerflow_django.signals.send_after_commit", broken)
        with pytest.raises(ConnectionError):
            driving.start(flow, ORDER, key=key)
    assert sent == []
    for model in (Execution, Step, Event):
        assert not model.objects.exists()
    driving.consistent(driving.start(flow, ORDER, key=key))


# -- inside the caller's transaction


@pytest.mark.django_db(transaction=True)
def test_a_start_inside_a_transaction_that_rolls_back_leaves_nothing_and_tells_nobody(
    flow: TriggerFlow, sent: list[str]
) -> None:
    """Invariant 13."""
    with transaction.atomic():
        pk = driving.start(flow, ORDER, key="7")
        Group.objects.create(name="beside")
        assert sent == []
        assert Execution.objects.filter(pk=pk).exists()
        transaction.set_rollback(True)
    assert sent == []
    for model in (Execution, Step, Event, State, Group):
        assert not model.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_start_inside_a_transaction_that_commits_tells_observers_after_it(flow: TriggerFlow, sent: list[str]) -> None:
    with transaction.atomic():
        pk = driving.start(flow, ORDER)
        assert sent == []
    assert sent == [pk.hex]


# -- what it is about, and who started it


@pytest.mark.django_db
def test_the_subject_is_the_row_it_is_about(flow: TriggerFlow) -> None:
    group = Group.objects.create(name="beside")
    execution = driving.row(driving.start(flow, subject=group))
    assert execution.subject == group
    assert (execution.subject_type.model, execution.subject_id) == ("group", str(group.pk))


@pytest.mark.django_db
def test_a_subject_that_is_not_saved_is_refused(flow: TriggerFlow) -> None:
    with pytest.raises(exceptions.InvalidPolicyError, match=r"subject=.*not saved"):
        driving.start(flow, subject=Group(name="beside"))
    assert not Execution.objects.exists()


@pytest.mark.django_db
def test_the_starter_is_kept_by_id_and_name_and_outlives_the_user(flow: TriggerFlow, clerk: User) -> None:
    pk = driving.start(flow, started_by=clerk)
    number = str(clerk.pk)
    clerk.delete()
    execution = driving.row(pk)
    assert (execution.started_by_id, execution.started_by_label) == (number, "clerk")
    started = Event.objects.get(execution_id=pk, kind=EventKind.STARTED)
    assert (started.actor_id, started.actor_label) == (number, "clerk")


@pytest.mark.django_db
@pytest.mark.parametrize(("who", "label"), [(None, ""), ("nightly import", "nightly import"), (AnonymousUser(), "")])
def test_without_a_user_no_id_is_kept(flow: TriggerFlow, who: object, label: str) -> None:
    execution = driving.row(driving.start(flow, started_by=who))
    assert (execution.started_by_id, execution.started_by_label) == ("", label)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), True, "10", 10**12, [], object()])
def test_an_auto_close_timeout_that_is_no_time_is_refused(seconds: Any) -> None:
    with pytest.raises(exceptions.InvalidPolicyError, match=r"auto_close_timeout=.*give seconds, 0 or more"):
        start.auto_close_seconds(seconds)
