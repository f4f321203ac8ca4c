"""Save and load: an execution carried to another database goes on there; where its row exists, the row is the truth."""

from __future__ import annotations

import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import emit, lifecycle
from triggerflow_django.models import Decision, Event, EventKind, Execution, Interrupt, Join, Step
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


def test_saving_changes_nothing(pk: uuid.UUID) -> None:
    before = driving.everything(pk)
    saved(pk)
    assert driving.everything(pk) == before


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


def test_work_that_was_under_way_when_it_was_saved_is_run_again() -> None:
    flow = TriggerFlow(name="work")
    flow.to(driving.nothing(), name="one").to(driving.nothing(), name="two")
    pk = driving.start(flow)
    driving.claim(pk, flow)
    document = saved(pk, flow)
    another_database()
    carried(document, flow)
    step = driving.step(pk, "one")
    assert (step.status, step.attempt, step.lease_token) == ("ready", 1, None)
    assert driving.consistent(pk).active_steps == 1
    driving.drain(pk, flow)
    assert driving.statuses(pk) == {"one": "done", "two": "done"}


def test_an_answer_on_its_way_to_a_chunk_that_resumes_itself_is_not_lost() -> None:
    flow = TriggerFlow(name="review")

    def review(data: Any) -> Any:
        if data.is_resume:
            data.set_state("heard", [data.resume.value, data.resume.interrupt_id])
            return None
        return data.pause_for(interrupt_id="gate", resume_to="self")

    flow.to(review)
    pk = driving.settled(flow)
    driving.decide(pk, "gate", "yes", flow=flow)
    document = saved(pk, flow)
    for as_new in (False, True):
        another_database()
        loaded = carried(document, flow, as_new=as_new)
        driving.drain(loaded, flow)
        assert driving.state(loaded) == {"heard": ["yes", "gate"]}
        driving.consistent(loaded)


@pytest.mark.parametrize("end", ["close", "cancel"])
def test_a_closed_execution_loads_as_closed_and_accepts_nothing(pk: uuid.UUID, end: str) -> None:
    """Invariant 11."""
    if end == "close":
        snapshot = finish(pk)
    else:
        lifecycle.cancel(pk, using="default")
        snapshot = driving.row(pk).snapshot
    document = saved(pk)
    another_database()
    carried(document)
    execution = driving.consistent(pk)
    assert (execution.lifecycle, execution.snapshot) == ("closed", snapshot)
    assert execution.status == ("completed" if end == "close" else "cancelled")
    with pytest.raises(exceptions.ExecutionNotOpenError):
        emit.emit(pk, "shipped", 1, using="default")


def test_a_sealed_execution_loads_as_sealed_and_a_failed_one_as_failed() -> None:
    flow = TriggerFlow(name="broken")
    flow.to(lambda data: data.input["x"], name="breaks")
    pk = driving.settled(flow, {})
    lifecycle.seal(pk, using="default")
    document = saved(pk, flow)
    another_database()
    carried(document, flow)
    execution = driving.consistent(pk)
    assert (execution.lifecycle, execution.status, execution.failed_steps) == ("sealed", "failed", 1)
    lifecycle.unseal(pk, using="default")
    with pytest.raises(KeyError):
        flow.get_execution(pk).retry()
    assert driving.step(pk, "breaks").attempt == 2


def test_key_subject_and_starter_come_along(clerk: User) -> None:
    flow = contract()
    group = Group.objects.create(name="beside")
    pk = driving.settled(flow, 1, key="7", subject=group, started_by=clerk)
    document = saved(pk, flow)
    another_database()
    carried(document)
    execution = driving.row(pk)
    assert (execution.key, execution.subject, execution.started_by_id) == ("7", group, str(clerk.pk))


def test_deep_values_survive_the_document_that_wraps_them() -> None:
    deep: Any = 1
    for _ in range(31):
        deep = [deep]
    flow = TriggerFlow(name="deep")
    flow.to(
        lambda data: (data.set_state("deep", data.input[0]), data.pause_for(interrupt_id="gate", payload=data.input))[
            1
        ],
        name="ask",
    )
    pk = driving.settled(flow, deep)
    driving.decide(pk, "gate", deep, flow=flow)
    emit.emit(pk, "unheard", deep, using="default", graph=flow.graph)
    document = saved(pk, flow)
    another_database()
    assert carried(document, flow) == pk
    assert driving.state(pk) == {"deep": deep[0]}


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


# -- who may decide, in a database where other people have other ids


def asking(**arguments: Any) -> TriggerFlow:
    flow = TriggerFlow(name="asking")
    flow.to(lambda data: data.pause_for(interrupt_id="gate", **arguments), name="ask")
    return flow


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


# -- changed code


def test_a_document_of_another_flow_is_refused(pk: uuid.UUID) -> None:
    other = TriggerFlow(name="other")
    with pytest.raises(exceptions.SnapshotError, match="of flow 'contract', not of 'other'"):
        carried(saved(pk), other)


def test_a_node_an_execution_stands_on_must_be_there_and_is_named(pk: uuid.UUID) -> None:
    document = saved(pk)
    another_database()
    changed = TriggerFlow(name="contract")
    changed.to(driving.nothing(), name="legal")
    with pytest.raises(
        exceptions.SnapshotError, match=r"stands on (finance|line), which flow 'contract' does not have"
    ):
        carried(document, changed)
    assert not Execution.objects.exists()


def test_a_change_elsewhere_in_the_flow_strands_nobody(pk: uuid.UUID) -> None:
    document = saved(pk)
    another_database()
    changed = contract()
    changed.when("more").to(driving.nothing(), name="more")
    carried(document, changed)
    assert finish(pk, changed) == ENDED


# -- as text and as a file


def test_a_document_may_be_text_bytes_or_a_file(pk: uuid.UUID, tmp_path: Path) -> None:
    path = tmp_path / "execution.json"
    document = saved(pk, path=path)
    text = json.dumps(document)
    assert json.loads(path.read_text()) == json.loads(text)
    assert list(tmp_path.iterdir()) == [path]
    for source in (document, text, text.encode(), path, str(path), "\n " + text):
        another_database()
        handle = contract().create_execution(auto_close=False)
        assert handle.load(source).pk == pk
        driving.consistent(pk)


def test_saving_what_is_not_idle_is_refused_on_request() -> None:
    flow = TriggerFlow(name="work")
    flow.to(driving.nothing(), name="one")
    pk = driving.start(flow)
    with pytest.raises(exceptions.NotIdleError, match="has 1 active steps") as caught:
        saved(pk, flow, require_idle=True)
    assert isinstance(caught.value, RuntimeError)
    driving.drain(pk, flow)
    assert saved(pk, flow, require_idle=True)["pending_task_count"] == 0


def test_a_document_says_on_top_what_triggerflow_s_documentation_names(pk: uuid.UUID) -> None:
    document = saved(pk)
    assert (document["kind"], document["execution_id"]) == ("triggerflow.execution_snapshot", pk.hex)
    assert (document["status"], document["lifecycle_state"], document["flow_name"]) == ("waiting", "open", "contract")
    assert set(document["interrupts"]) == {"legal", "finance", "line-1", "line-2", "line-3", "line-4"}
    assert document["interrupts"]["legal"]["resume_value"] == "yes"
    assert document["runtime_data"] == {"note": {"deep": [1, None]}}
    assert Event.objects.filter(execution_id=pk, kind=EventKind.STARTED).count() == 1
