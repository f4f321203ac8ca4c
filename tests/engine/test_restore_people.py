"""Loading where other people have other ids: who may decide is who was named; and copies are independent."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import emit, lifecycle
from triggerflow_django.models import Decision, Execution, Interrupt, Step
from triggerflow_django.runtime.state import StateChange

pytestmark = pytest.mark.django_db


def contract() -> TriggerFlow:
    """Two questions in a batch, one in each item of a loop, a chunk that asks itself, an and-join of events."""
    flow = TriggerFlow(name="contract")
    flow.batch(
        ("legal", lambda data: data.pause_for(interrupt_id="legal", payload=data.input)),
        ("finance", lambda data: data.pause_for(interrupt_id="finance")),
    ).to(lambda data: data.set_state("signed", data.input), name="sign")
    flow.when("lines").for_each(concurrency=2).to(
        lambda data: data.pause_for(interrupt_id=f"line-{data.input}"), name="line"
    ).end_for_each().to(lambda data: data.set_state("lines", data.input), name="end")
    flow.when(["paid", "shipped"]).to(lambda data: data.set_state("both", data.input), name="both")
    return flow


def another_database() -> None:
    """What an emptied database looks like."""
    Execution.objects.all().delete()
    assert not Step.objects.exists()


def carried(document: dict[str, Any], flow: TriggerFlow | None = None, **options: Any) -> uuid.UUID:
    """Load a document that went through JSON, by code that was loaded anew too."""
    handle = (flow or contract()).create_execution(auto_close=False)
    return handle.load(json.loads(json.dumps(document)), **options).pk


def saved(pk: uuid.UUID, flow: TriggerFlow | None = None, **options: Any) -> dict[str, Any]:
    return (flow or contract()).get_execution(pk).save(**options)


@pytest.fixture
def pk() -> uuid.UUID:
    """Half of everything is done: one branch answered, one item answered, one of two events heard."""
    flow = contract()
    pk = driving.settled(flow, {"order": 7})
    graph = flow.graph
    driving.decide(pk, "legal", "yes", flow=flow, request_id="r-1", comment="fine")
    emit.emit(pk, "lines", [1, 2, 3, 4], using="default", graph=graph)
    emit.emit(pk, "paid", 5, using="default", graph=graph)
    driving.drain(pk, flow)
    driving.decide(pk, "line-2", "two", flow=flow)
    driving.drain(pk, flow)
    emit.write_state(pk, [StateChange("set", "note", {"deep": [1, None]})], using="default", graph=graph)
    driving.consistent(pk)
    return pk


def finish(pk: uuid.UUID, flow: TriggerFlow | None = None) -> Any:
    """Answer what waits, emit what is missing, and close; the snapshot."""
    flow = flow or contract()
    for interrupt in Interrupt.objects.filter(execution_id=pk, status="waiting"):
        driving.decide(pk, interrupt.interrupt_id, f"answer {interrupt.interrupt_id}", flow=flow)
        driving.drain(pk, flow)
    emit.emit(pk, "shipped", 6, using="default", graph=flow.graph)
    driving.drain(pk, flow)
    lifecycle.request_close(pk, using="default")
    return driving.consistent(pk).snapshot


ENDED = {
    "note": {"deep": [1, None]},
    "signed": {"legal": "yes", "finance": "answer finance"},
    "lines": ["answer line-1", "two", "answer line-3", "answer line-4"],
    "both": {"event": {"paid": 5, "shipped": 6}},
}


# -- copies


def test_a_copy_is_independent_under_ids_of_its_own(pk: uuid.UUID) -> None:
    document = saved(pk)
    copy = carried(document, as_new=True)
    assert copy != pk
    before = driving.everything(pk)
    driving.consistent(copy)
    assert finish(copy) == ENDED
    assert driving.everything(pk) == before
    assert driving.row(copy).key is None
    assert finish(pk) == ENDED
    ids = Interrupt.objects.values_list("pk", flat=True)
    assert len(ids) == len(set(ids)) == 12
    assert Decision.objects.count() == 12


def test_a_copy_of_a_keyed_execution_has_no_key(pk: uuid.UUID) -> None:
    Execution.objects.filter(pk=pk).update(key="7")
    copy = carried(saved(pk), as_new=True)
    assert (driving.row(copy).key, driving.row(pk).key) == (None, "7")


def test_a_copy_waits_under_the_same_interrupt_ids_and_unnamed_ones_are_answered_by_the_id_they_show() -> None:
    flow = TriggerFlow(name="unnamed")
    flow.to(lambda data: data.pause_for(), name="ask")
    pk = driving.settled(flow)
    copy = carried(saved(pk, flow), flow, as_new=True)
    (shown,) = flow.get_execution(copy).get_pending_interrupts()
    driving.decide(copy, shown, 1, flow=flow)
    assert Interrupt.objects.get(execution_id=pk).status == "waiting"


def asking(**arguments: Any) -> TriggerFlow:
    flow = TriggerFlow(name="asking")
    flow.to(lambda data: data.pause_for(interrupt_id="gate", **arguments), name="ask")
    return flow


# -- who may decide, in a database where other people have other ids


def test_a_named_user_is_the_one_of_that_name_there_and_not_whoever_has_that_number(clerk: User) -> None:
    flow = asking(approvers="user:clerk")
    pk = driving.settled(flow)
    document = saved(pk, flow)
    another_database()
    number = clerk.pk
    clerk.delete()
    stranger = User.objects.create_user("stranger", pk=number)
    with pytest.raises(exceptions.ApproversError, match="there is no user 'clerk'"):
        carried(document, flow)
    assert not Execution.objects.exists()
    namesake = User.objects.create_user("clerk")
    carried(document, flow)
    with pytest.raises(exceptions.DecisionRefusedError):
        driving.decide(pk, "gate", 1, actor=stranger)
    driving.decide(pk, "gate", 1, actor=namesake)


def test_a_named_group_is_the_one_of_that_name_there(finance: Group, clerk: User) -> None:
    flow = asking(approvers="group:finance")
    pk = driving.settled(flow)
    document = saved(pk, flow)
    another_database()
    Group.objects.filter(pk=finance.pk).update(name="cleaners")
    Group.objects.create(name="finance").user_set.add(boss := User.objects.create_user("boss"))
    carried(document, flow)
    with pytest.raises(exceptions.DecisionRefusedError, match="only the group finance"):
        driving.decide(pk, "gate", 1, actor=clerk)
    driving.decide(pk, "gate", 1, actor=boss)


def test_a_group_that_is_the_same_here_may_have_been_emptied_since(finance: Group) -> None:
    flow = asking(approvers="group:finance")
    pk = driving.settled(flow)
    document = saved(pk, flow)
    another_database()
    finance.user_set.clear()
    carried(document, flow)
    assert driving.interrupt(pk, "gate").approvers[0]["id"] == str(finance.pk)


def test_the_excluded_starter_is_the_one_of_that_name_there(manager: User, root: User) -> None:
    flow = asking(exclude_starter=True)
    pk = driving.settled(flow, started_by=root)
    document = saved(pk, flow)
    another_database()
    root.delete()
    namesake = User.objects.create_superuser("root")
    carried(document, flow)
    with pytest.raises(exceptions.DecisionRefusedError, match="you started this execution"):
        driving.decide(pk, "gate", 1, actor=namesake)
