"""Save and load: an execution carried to another database goes on there; where its row exists, the row is the truth."""

from __future__ import annotations

import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import emit, lifecycle
from triggerflow_django.models import Decision, Event, Execution, Interrupt, Join, Step
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


# -- in the same database


def test_loading_where_the_row_exists_attaches_to_it_and_writes_nothing(pk: uuid.UUID) -> None:
    document = saved(pk)
    driving.decide(pk, "finance", "no", flow=contract())
    before = driving.everything(pk)
    assert carried(document) == pk
    assert driving.everything(pk) == before
    with pytest.raises(exceptions.InterruptNotWaitingError):
        driving.decide(pk, "finance", "yes")


# -- in another database


def test_a_round_trip_keeps_the_id_and_everything_that_has_to_go_on(pk: uuid.UUID) -> None:
    document = saved(pk)
    untouched = finish(pk)
    another_database()
    assert carried(document) == pk
    execution = driving.consistent(pk)
    assert (execution.status, execution.pending_interrupts, execution.active_steps) == ("waiting", 4, 0)
    assert execution.input == {"order": 7}
    assert driving.state(pk) == {"note": {"deep": [1, None]}}
    assert driving.interrupt(pk, "legal").payload == {"order": 7}
    assert finish(pk) == untouched == ENDED


def test_partial_joins_go_on_and_finished_branches_are_not_run_again(pk: uuid.UUID) -> None:
    document = saved(pk)
    another_database()
    carried(document)
    assert sorted(Join.objects.values_list("filled", "expected")) == [(1, 2), (1, 2), (1, 4)]
    finish(pk)
    assert Step.objects.filter(node="legal").count() == 1
    assert Step.objects.filter(node="line").count() == 4


def test_a_decided_interrupt_is_answered_alike_by_request_id_after_a_load(pk: uuid.UUID) -> None:
    """Invariant 4."""
    document = saved(pk)
    first = driving.decide(pk, "legal", "yes", request_id="r-1")
    another_database()
    carried(document)
    assert driving.decide(pk, "legal", "yes", request_id="r-1") == first
    with pytest.raises(exceptions.RequestIdConflictError):
        driving.decide(pk, "legal", "no", request_id="r-1")
    with pytest.raises(exceptions.InterruptNotWaitingError, match="was decided by code"):
        driving.decide(pk, "legal", "no")


def test_a_load_answers_no_interrupt_and_moves_past_none(pk: uuid.UUID) -> None:
    """5.10: retry, load, intervening and migrating never resume an interrupt."""
    document = saved(pk)
    another_database()
    flow = contract()
    carried(document, flow)
    driving.drain(pk, flow)
    assert driving.consistent(pk).pending_interrupts == 4
    assert "sign" not in driving.statuses(pk)
    assert Decision.objects.count() == 2


def test_history_comes_along_and_the_load_is_a_line_of_it(pk: uuid.UUID) -> None:
    """Invariant 14."""
    document = saved(pk)
    columns = ("sequence", "kind", "name", "actor_id", "actor_label", "data", "created_at")
    before = list(Event.objects.order_by("sequence").values(*columns))
    another_database()
    carried(document)
    after = list(Event.objects.order_by("sequence").values(*columns))
    assert after[:-1] == before
    assert (after[-1]["kind"], after[-1]["data"]) == ("loaded", {"saved_as": pk.hex, "as_new": False})
    driving.consistent(pk)


def test_key_subject_and_starter_come_along(clerk: User) -> None:
    flow = contract()
    group = Group.objects.create(name="beside")
    pk = driving.settled(flow, 1, key="7", subject=group, started_by=clerk)
    document = saved(pk, flow)
    another_database()
    carried(document)
    execution = driving.row(pk)
    assert (execution.key, execution.subject, execution.started_by_id) == ("7", group, str(clerk.pk))


@pytest.mark.django_db(transaction=True)
def test_of_two_loads_at_the_same_moment_one_makes_the_row_and_both_get_it(pk: uuid.UUID) -> None:
    document = saved(pk)
    another_database()
    barrier = threading.Barrier(2)

    def load() -> uuid.UUID:
        try:
            connection.ensure_connection()
            barrier.wait(30)
            return carried(document)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        assert [done.result(60) for done in [pool.submit(load) for _ in range(2)]] == [pk, pk]
    driving.consistent(pk)
    assert finish(pk) == ENDED
