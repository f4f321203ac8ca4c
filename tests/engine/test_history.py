"""History: written in the transaction of what it reports, numbered without gaps, changed by nothing."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from tests.engine import driving
from triggerflow_django import TriggerFlow
from triggerflow_django.engine import emit, lifecycle, retry, sweep
from triggerflow_django.engine.transition import Transition, begin
from triggerflow_django.models import Decision, Event, EventKind, Execution, Interrupt, Join, JoinSlot, State, Step
from triggerflow_django.runtime.state import StateChange

pytestmark = pytest.mark.django_db

Travel = Callable[[float], None]


@pytest.fixture
def flow() -> TriggerFlow:
    flow = TriggerFlow(name="refund")
    flow.to(lambda data: data.pause_for(interrupt_id="gate", due_in=60), name="ask").to(
        lambda data: data.input["missing"], name="breaks"
    )
    return flow


def test_everything_a_person_does_is_a_line_with_name_and_time(flow: TriggerFlow, clerk: User, root: User) -> None:
    pk = driving.settled(flow, started_by=clerk)
    graph = flow.graph
    emit.emit(pk, "called", 1, using="default", actor=clerk, graph=graph)
    emit.write_state(pk, [StateChange("set", "note", 1)], using="default", actor=clerk, graph=graph)
    lifecycle.seal(pk, using="default", actor=clerk)
    lifecycle.unseal(pk, using="default", actor=clerk)
    driving.decide(pk, "gate", {}, actor=root, flow=flow)
    driving.drain(pk, flow)
    retry.retry(pk, using="default", actor=clerk, graph=graph)
    driving.drain(pk, flow)
    lifecycle.request_close(pk, using="default", actor=clerk)
    lines = [
        (str(event.kind), event.name, event.actor_label)
        for event in Event.objects.filter(execution_id=pk).order_by("sequence")
    ]
    assert lines == [
        ("started", "", "clerk"),
        ("emitted", "called", "clerk"),
        ("state_changed", "note", "clerk"),
        ("sealed", "", "clerk"),
        ("unsealed", "", "clerk"),
        ("interrupt_decided", "gate", "root"),
        ("step_retried", "breaks", "clerk"),
        ("close_requested", "", "clerk"),
        ("closed", "", ""),
    ]
    ids = set(Event.objects.filter(execution_id=pk).exclude(actor_label="").values_list("actor_id", "actor_label"))
    assert ids == {(str(clerk.pk), "clerk"), (str(root.pk), "root")}
    times = list(Event.objects.filter(execution_id=pk).order_by("sequence").values_list("created_at", flat=True))
    assert times == sorted(times)
    driving.consistent(pk)


def test_deleting_the_people_changes_no_history(flow: TriggerFlow, clerk: User, root: User) -> None:
    pk = driving.settled(flow, started_by=clerk)
    driving.decide(pk, "gate", 1, actor=root, flow=flow)
    before = driving.everything(pk)
    User.objects.all().delete()
    assert driving.everything(pk) == before


@pytest.mark.parametrize("point", ["save", "notify"])
@pytest.mark.django_db(transaction=True)
def test_a_change_that_fails_leaves_no_line_and_no_hole_in_the_numbers(
    flow: TriggerFlow, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """Invariant 14: the line and the change it reports commit together or not at all."""
    pk = driving.settled(flow)
    before = driving.everything(pk)

    def stumble(self: Transition, *_args: Any, **_kwargs: Any) -> None:
        if point == "save":
            save(self)
        raise RuntimeError("stumbled")

    save = Transition.save
    monkeypatch.setattr(Transition, point, stumble)
    with pytest.raises(RuntimeError, match="stumbled"):
        driving.decide(pk, "gate", 1, flow=flow)
    assert driving.everything(pk) == before
    monkeypatch.undo()
    driving.decide(pk, "gate", 1, flow=flow)
    assert [event.sequence for event in Event.objects.order_by("sequence")] == [1, 2]
    driving.consistent(pk)


@pytest.mark.django_db(transaction=True)
def test_a_line_is_seen_from_outside_no_sooner_than_its_change(flow: TriggerFlow) -> None:
    """Invariant 14."""
    pk = driving.settled(flow)
    with transaction.atomic():
        driving.decide(pk, "gate", 1, flow=flow)
        assert driving.history(pk) == ["started", "interrupt_decided"]
        transaction.set_rollback(True)
    assert driving.history(pk) == ["started"]
    assert driving.interrupt(pk, "gate").status == "waiting"


def test_several_lines_of_one_change_are_numbered_in_their_order(flow: TriggerFlow) -> None:
    pk = driving.settled(flow)
    with begin(pk, using="default") as transition:
        for name in ("one", "two", "three"):
            transition.add_event(EventKind.EMITTED, name=name)
    rows = Event.objects.filter(execution_id=pk).order_by("sequence").values_list("sequence", "name")
    assert list(rows) == [(1, ""), (2, "one"), (3, "two"), (4, "three")]
    driving.consistent(pk)


# -- append only


@pytest.fixture
def written(flow: TriggerFlow) -> uuid.UUID:
    """An execution with a decision and some history."""
    pk = driving.settled(flow)
    driving.decide(pk, "gate", 1, flow=flow)
    return pk


@pytest.mark.parametrize("model", [Event, Decision])
def test_history_and_decisions_cannot_be_changed_through_the_orm(written: uuid.UUID, model: Any) -> None:
    """Invariant 14."""
    before = driving.everything(written)
    row = model.objects.first()
    row.actor_label = "somebody else"
    changes = [
        row.save,
        row.delete,
        lambda: row.save(update_fields=["actor_label"]),
        lambda: row.save(force_update=True),
        lambda: model.objects.update(actor_label="x"),
        lambda: model.objects.filter(pk=row.pk).update(actor_label="x"),
        lambda: model.objects.all().delete(),
        lambda: model.objects.bulk_update([row], ["actor_label"]),
        lambda: model.objects.update_or_create(pk=row.pk, defaults={"actor_label": "x"}),
        lambda: getattr(row.execution, f"{model._meta.model_name}s").update(actor_label="x"),
        lambda: getattr(row.execution, f"{model._meta.model_name}s").all().delete(),
    ]
    for change in changes:
        with pytest.raises(TypeError, match=r"never changed|only together with their execution"), transaction.atomic():
            change()
    assert driving.everything(written) == before


def test_a_row_of_history_cannot_be_inserted_over_another(written: uuid.UUID) -> None:
    from django.db import IntegrityError

    row = Event.objects.order_by("sequence")[0]
    with pytest.raises(IntegrityError), transaction.atomic():
        Event(pk=row.pk, execution_id=written, sequence=99, kind="emitted", created_at=row.created_at).save()
    with pytest.raises(IntegrityError), transaction.atomic():
        Event(execution_id=written, sequence=row.sequence, kind="emitted", created_at=row.created_at).save()


def test_retention_deletes_an_execution_whole(flow: TriggerFlow, written: uuid.UUID) -> None:
    other = driving.settled(flow)
    driving.drain(written, flow)
    batch = TriggerFlow(name="batch")
    batch.batch(("one", driving.nothing()), ("two", lambda data: data.pause_for())).to(driving.nothing(), name="end")
    joined = driving.settled(batch)
    emit.write_state(joined, [StateChange("set", "note", 1)], using="default")
    Execution.objects.filter(pk__in=[written, joined]).delete()
    for model in (Step, Interrupt, Event, Decision, Join, State):
        assert not model.objects.exclude(execution_id=other).exists()
    assert not JoinSlot.objects.exists()
    driving.consistent(other)


def test_the_sweep_writes_history_as_the_system(flow: TriggerFlow, travel: Travel) -> None:
    pk = driving.settled(flow)
    travel(61)
    sweep.sweep(using="default")
    line = Event.objects.order_by("sequence").reverse()[0]
    assert (line.kind, line.actor_id, line.actor_label) == ("interrupt_overdue", "", "rule:deadline")
    driving.consistent(pk)
