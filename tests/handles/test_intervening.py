"""Interventions: notes from outside for the chunks still to come. They start, stop and answer nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.handles import loops
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine.interventions import LEDGER
from triggerflow_django.models import Event, EventKind, Execution, Intervention

pytestmark = pytest.mark.django_db(transaction=True)


def see(data: Any) -> None:
    """Note what this chunk sees."""
    data.append_state("seen", [[one["payload"], one["status"]] for one in data.interventions])


def planned() -> TriggerFlow:
    """A gate, a point for the target ``risk``, a chunk that looks, a point for nobody in particular, one that looks."""
    flow = TriggerFlow(name="planned")
    gate = flow.to(lambda data: data.pause_for(interrupt_id="gate"), name="ask")
    place = gate.intervention_point(name="before risk", target="risk").to(see, name="assess")
    place.intervention_point().to(see, name="report")
    return flow


def asked(flow: TriggerFlow, **options: Any) -> Any:
    return flow.start_execution(auto_close=False, **options)


def statuses(execution: Any) -> list[str]:
    return [record["status"] for record in execution.get_interventions()]


def test_one_is_inserted_at_the_point_of_its_target_and_seen_from_there_on() -> None:
    execution = asked(planned())
    record = execution.intervene({"text": "use A"}, author="reviewer", note="saw it", target="risk", metadata={"n": 1})
    assert (record["status"], record["version"], record["author"], record["note"]) == (
        "pending",
        1,
        "reviewer",
        "saw it",
    )
    assert (record["target"], record["payload"], record["metadata"]) == ("risk", {"text": "use A"}, {"n": 1})
    execution.intervene("for all")
    execution.intervene("elsewhere", target="another")
    assert statuses(execution) == ["pending"] * 3
    execution.continue_with("gate", 1)
    assert execution.get_state("seen") == [
        [[{"text": "use A"}, "inserted"]],
        [[{"text": "use A"}, "inserted"], ["for all", "inserted"]],
    ]
    first, second, third = execution.get_interventions()
    assert (first["point"], second["point"], third["status"]) == (
        "before risk",
        "assess/intervention_point-1",
        "pending",
    )
    assert first["inserted_at"] <= second["inserted_at"]


def test_what_was_never_inserted_expires_with_the_close_and_the_snapshot_tells_of_all() -> None:
    execution = asked(planned())
    taken = execution.intervene(1, target="risk")
    left = execution.intervene(2, target="nowhere")
    execution.continue_with("gate", 1)
    snapshot = execution.close()
    assert {pk: record["status"] for pk, record in snapshot[LEDGER].items()} == {
        taken["id"]: "inserted",
        left["id"]: "expired",
    }
    assert statuses(execution) == ["inserted", "expired"]
    assert execution.row().pending_interventions == 0


def test_a_cancel_lets_them_expire_too() -> None:
    execution = asked(planned())
    execution.intervene(1)
    execution.cancel()
    assert statuses(execution) == ["expired"]


def test_it_is_no_way_past_a_gate() -> None:
    execution = asked(planned())
    before = execution.get_pending_interrupts()
    for target in (None, "risk", "ask", "gate"):
        execution.intervene({"approved": True}, target=target)
    execution.wait()
    assert execution.get_pending_interrupts() == before
    assert execution.get_status() == "waiting"
    assert execution.get_state() == {}


def test_in_mode_auto_the_next_chunk_it_is_for_sees_it() -> None:
    flow = TriggerFlow(name="auto")
    gate = flow.to(lambda data: data.pause_for(interrupt_id="gate"), name="ask")
    gate.to(see, name="first").to(see, name="second").to(see, name="third")
    execution = asked(flow, intervention_mode="auto")
    execution.intervene("for any")
    execution.intervene("for second", target="second")
    execution.continue_with("gate", 1)
    assert execution.get_state("seen") == [
        [["for any", "inserted"]],
        [["for any", "inserted"], ["for second", "inserted"]],
        [["for any", "inserted"], ["for second", "inserted"]],
    ]
    assert [record["point"] for record in execution.get_interventions()] == ["first", "second"]


def test_an_atomic_chunk_sees_them_too_and_one_that_raises_inserts_nothing() -> None:
    flow = TriggerFlow(name="auto")
    broken = {"yes": True}

    def look(data: Any) -> None:
        see(data)
        if broken["yes"]:
            raise LookupError

    flow.to(lambda data: data.pause_for(interrupt_id="gate"), name="ask").to(flow.chunk("look", atomic=True)(look))
    execution = asked(flow, intervention_mode="auto")
    execution.intervene("note")
    with pytest.raises(LookupError):
        execution.continue_with("gate", 1)
    assert statuses(execution) == ["pending"]
    broken["yes"] = False
    execution.retry()
    assert execution.get_state("seen") == [[["note", "inserted"]]]
    assert statuses(execution) == ["inserted"]


def test_a_chunk_marks_what_it_has_heeded() -> None:
    flow = TriggerFlow(name="consume")
    refused: list[type] = []

    def heed(data: Any) -> None:
        (one,) = data.get_interventions(status="inserted")
        assert data.mark_intervention_consumed(one["id"])["status"] == "consumed"
        assert data.get_interventions(status="inserted") == []
        for wrong, error in (
            (one["id"], exceptions.InterventionStatusError),
            ("unknown", exceptions.UnknownInterventionError),
        ):
            with pytest.raises(error):
                data.mark_intervention_consumed(wrong)
            refused.append(error)
        assert data.get_latest_intervention()["id"] == one["id"]
        assert data.get_latest_intervention(since_version=1) is None

    flow.to(lambda data: data.pause_for(interrupt_id="gate"), name="ask").intervention_point().to(heed).to(see)
    execution = asked(flow)
    execution.intervene("note")
    execution.continue_with("gate", 1)
    assert len(refused) == 2
    assert execution.get_state("seen") == [[["note", "consumed"]]]
    assert statuses(execution) == ["consumed"]
    assert execution.get_interventions(status="consumed")[0]["ended_at"] is not None
    assert issubclass(exceptions.UnknownInterventionError, KeyError)
    assert issubclass(exceptions.InterventionStatusError, ValueError)


def test_who_may_not_is_told_and_nothing_is_stored() -> None:
    plain = TriggerFlow(name="plain")
    plain.to(lambda data: data.input, name="nothing")
    execution = asked(plain)
    with pytest.raises(exceptions.InterventionsOffError, match="takes no interventions"):
        execution.intervene(1)
    closed = asked(planned())
    closed.cancel()
    with pytest.raises(exceptions.ExecutionNotOpenError):
        closed.intervene(1)
    sealed = asked(planned())
    sealed.seal()
    with pytest.raises(exceptions.ExecutionNotOpenError):
        sealed.intervene(1)
    off = asked(planned(), intervention_mode=None)
    with pytest.raises(exceptions.InterventionsOffError):
        off.intervene(1)
    good = asked(planned())
    for wrong in ({"payload": object()}, {"payload": 1, "target": ""}, {"payload": 1, "metadata": {"a": float("nan")}}):
        with pytest.raises(exceptions.JsonValueError):
            good.intervene(**wrong)
    assert not Intervention.objects.exists()
    with pytest.raises(ValueError, match="intervention points; use 'planned'"):
        planned().create_execution(intervention_mode="auto")
    with pytest.raises(ValueError, match="use 'planned', 'auto' or None"):
        planned().create_execution(intervention_mode="now")


def test_history_says_who_left_it() -> None:
    user = get_user_model().objects.create_user("reviewer")
    execution = asked(planned())
    record = execution.intervene("note", target="risk", actor=user)
    event = Event.objects.get(execution_id=execution.pk, kind=EventKind.INTERVENED)
    assert (event.actor_id, event.actor_label, event.name) == (str(user.pk), "reviewer", "risk")
    assert event.data == {"intervention": record["id"]}
    assert record["author"] == "reviewer"


def test_before_the_start_it_waits_for_the_first_point() -> None:
    flow = TriggerFlow(name="early")
    flow.intervention_point().to(see)
    execution = flow.create_execution(auto_close=False)
    execution.intervene("early")
    execution.start()
    assert execution.get_state("seen") == [[["early", "inserted"]]]


@pytest.mark.parametrize("as_new", [False, True])
def test_a_saved_execution_takes_them_along(as_new: bool) -> None:
    flow = planned()
    execution = asked(flow)
    execution.intervene("use A", target="risk")
    document = json.loads(json.dumps(execution.save()))
    if not as_new:
        Execution.objects.all().delete()
    loaded = flow.create_execution(auto_close=False).load(document, as_new=as_new)
    assert loaded.row().pending_interventions == 1
    loaded.intervene("more", target="risk")
    loaded.continue_with("gate", 1)
    assert [record["version"] for record in loaded.get_interventions()] == [1, 2]
    assert statuses(loaded) == ["inserted", "inserted"]
    broken = {**document, "rows": {**document["rows"], "interventions": [{"id": 1}]}}
    with pytest.raises(exceptions.SnapshotError):
        flow.create_execution(auto_close=False).load(broken, as_new=True)


def test_an_execution_without_any_asks_for_none() -> None:
    flow = TriggerFlow(name="plain")
    flow.to(lambda data: data.set_state("a", 1), name="one").to(lambda data: data.input, name="two")
    with CaptureQueriesContext(connection) as captured:
        flow.start()
    assert not [query for query in captured.captured_queries if '"triggerflow_intervention"' in query["sql"]]


def test_it_is_there_in_a_loop_too() -> None:
    async def walk() -> list[str]:
        flow = planned()
        execution = flow.create_execution(auto_close=False)
        await execution.async_start()
        await execution.async_intervene("use A", target="risk")
        await execution.async_continue_with("gate", 1)
        return [record["status"] for record in await execution.async_get_interventions(target="risk")]

    assert loops.run(walk()) == ["inserted"]


def test_points_are_nodes_with_names_of_their_own() -> None:
    flow = TriggerFlow(name="points")
    flow.intervention_point().intervention_point().intervention_point(name="last", target="x")
    assert list(flow.graph.nodes) == [
        "START/intervention_point-1",
        "START/intervention_point-1/intervention_point-1",
        "last",
    ]
    with pytest.raises(exceptions.DefinitionError, match="target=''"):
        flow.intervention_point(target="")
