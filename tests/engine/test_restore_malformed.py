"""Malformed documents: whatever is wrong with one, the error is of the documented kind and nothing was inserted."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import emit
from triggerflow_django.models import Decision, Event, Execution, Interrupt, Join, JoinSlot, State, Step

pytestmark = pytest.mark.django_db

TABLES = (Execution, State, Step, Join, JoinSlot, Interrupt, Decision, Event)
JUNK: tuple[Any, ...] = (None, True, -1, 2**62, "", "a" * 5000, [1], {"x": 1})


def everything() -> TriggerFlow:
    """A flow that leaves a row in each table."""
    flow = TriggerFlow(name="contract")
    flow.batch(
        ("legal", lambda data: data.pause_for(interrupt_id="legal", due_in=3600, on_due={"answer": 1})),
        ("finance", lambda data: data.pause_for(interrupt_id="finance", approvers="user:clerk")),
        ("works", driving.nothing()),
    ).to(driving.nothing(), name="sign")
    flow.when("lines").for_each(concurrency=1).to(driving.nothing(), name="line").end_for_each()
    return flow


@pytest.fixture
def document(clerk: Any) -> dict[str, Any]:
    """A good document, of which no row exists any more."""
    flow = everything()
    pk = driving.settled(flow, {"order": 7}, key="7")
    driving.decide(pk, "legal", "yes", flow=flow, request_id="r-1")
    emit.emit(pk, "lines", [1, 2, 3], using="default", graph=flow.graph)
    handle = flow.get_execution(pk)
    handle.set_state("note", 1, emit=False)
    emit.emit(pk, "lines", [4, 5], using="default", graph=flow.graph)
    found = json.loads(json.dumps(handle.save()))
    assert all(found["rows"][table] for table in ("steps", "joins", "slots", "interrupts", "decisions", "events"))
    Execution.objects.all().delete()
    return found


def load(document: Any) -> uuid.UUID:
    return everything().create_execution(auto_close=False).load(document).pk


def refused(document: Any, kind: type[Exception] | tuple[type[Exception], ...], said: str | None = None) -> None:
    with pytest.raises(kind, match=said) as caught:
        load(document)
    assert isinstance(caught.value, exceptions.TriggerFlowError)
    for model in TABLES:
        assert not model.objects.exists()


# -- not a document at all


@pytest.mark.parametrize("source", [None, 7, 1.5, True, [], [1], (1,), {1}, object(), "[]", b"[1]", "[1, 2]"])
def test_what_is_no_document_is_a_type_error(source: Any) -> None:
    refused(source, exceptions.SnapshotTypeError, "a saved execution is a dict, not")
    assert issubclass(exceptions.SnapshotTypeError, TypeError)


@pytest.mark.parametrize(
    "source",
    [
        "",
        "{",
        '{"a": }',
        '{"a": NaN}',
        '{"a": 1, "a": 2}',
        "no/such/file.json",
        "a\x00b",
        "\ud800",
        b"\xff\xfe",
        "x" * 5000,
    ],
)
def test_text_that_cannot_be_read_is_a_value_error(source: Any) -> None:
    refused(source, exceptions.SnapshotError, "cannot be read")
    assert issubclass(exceptions.SnapshotError, ValueError)


def test_a_file_that_cannot_be_read_is_a_value_error(tmp_path: Path) -> None:
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "none.json", tmp_path, tmp_path / "binary.json"):
        refused(path, exceptions.SnapshotError, "cannot be read")


def test_values_that_are_not_json_are_a_value_error(document: dict[str, Any]) -> None:
    for value in (object(), float("nan"), "\ud800", "\x00", 2**64, {1: 2}, {1, 2}):
        document["runtime_data"] = {"x": value}
        refused(document, exceptions.SnapshotError, r"cannot be read: \$\.runtime_data")


# -- sections


@pytest.mark.parametrize(
    "section",
    [
        "schema_version", "kind", "execution_id", "flow_name", "flow_definition_fingerprint", "status",
        "lifecycle_state", "runtime_data", "interrupts", "resource_keys", "rows",
    ],
)  # fmt: skip
def test_each_section_must_be_there_and_of_its_kind(document: dict[str, Any], section: str) -> None:
    whole = document.pop(section)
    refused(document, exceptions.SnapshotError, f"no section {section!r}|kind")
    for junk in JUNK:
        if type(junk) is not type(whole):
            refused({**document, section: junk}, (exceptions.SnapshotTypeError, exceptions.SnapshotError))


@pytest.mark.parametrize("table", ["execution", "steps", "joins", "slots", "interrupts", "decisions", "events"])
def test_each_table_must_be_there_and_of_its_kind(document: dict[str, Any], table: str) -> None:
    whole = document["rows"].pop(table)
    refused(document, exceptions.SnapshotError, f"no section 'rows.{table}'")
    for junk in JUNK:
        if type(junk) is not type(whole):
            document["rows"][table] = junk
            refused(document, exceptions.SnapshotTypeError, f"section 'rows.{table}' is of type")
    if isinstance(whole, list):
        document["rows"][table] = [*whole, 7]
        refused(document, exceptions.SnapshotTypeError, rf"'rows\.{table}\[\d+\]' is of type int, not dict")


@pytest.mark.parametrize(
    ("section", "value", "said"),
    [
        ("kind", "something.else", "was not made by save"),
        ("schema_version", 2, "reads 1"),
        ("schema_version", 0, "reads 1"),
        ("flow_name", "other", "of flow 'other'"),
        ("execution_id", "not-an-id", "is not an id"),
    ],
)
def test_a_document_of_something_else_is_refused(document: dict[str, Any], section: str, value: Any, said: str) -> None:
    refused({**document, section: value}, exceptions.SnapshotError, said)


# -- rows


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to everything inside, containers included."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def loads_cleanly_or_not_at_all(document: Any) -> None:
    """Either the documented error and nothing inserted, or a consistent execution that the engine can go on with."""
    try:
        with transaction.atomic():
            pk = load(document)
    except exceptions.TriggerFlowError as error:
        if not isinstance(error, TypeError | ValueError):
            raise
        for model in TABLES:
            assert not model.objects.exists()
        return
    driving.consistent(pk)
    flow = everything()
    driving.drain(pk, flow)
    driving.consistent(pk)
    for interrupt in Interrupt.objects.filter(execution_id=pk, status="waiting"):
        try:
            driving.decide(pk, interrupt.interrupt_id, 1, flow=flow)
        except (exceptions.AnswerSchemaError, exceptions.ExecutionNotOpenError):
            continue
        driving.drain(pk, flow)
    flow.get_execution(pk).cancel()
    driving.consistent(pk)
    transaction.set_rollback(False)
    Execution.objects.all().delete()


#: Columns that hold whatever the flow put there.
FREE = {"input", "output", "payload", "value", "snapshot", "data", "answer", "items"}


def broken_at(document: dict[str, Any], table: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The document with each place of a table missing, or replaced by each piece of junk."""
    rows, text = document["rows"][table], json.dumps(document)
    for path in places(rows):
        inside = next((number for number, key in enumerate(path) if key in FREE), len(path))
        if inside < len(path) - 1 or (isinstance(rows, list) and path[0] > 0):
            continue
        for junk in ("(missing)", *JUNK):
            broken = json.loads(text)
            parent = at(broken["rows"][table], path[:-1])
            if junk == "(missing)":
                del parent[path[-1]]
            elif type(junk) is not type(parent[path[-1]]) or junk != parent[path[-1]]:
                parent[path[-1]] = junk
            else:
                continue
            yield f"{table}.{'.'.join(map(str, path))} = {junk!r:.40}", broken


@pytest.mark.slow
@pytest.mark.parametrize("table", ["execution", "steps", "joins", "slots", "interrupts", "decisions", "events"])
def test_a_row_with_anything_wrong_is_refused_or_loads_as_something_the_engine_can_go_on_with(
    document: dict[str, Any], table: str
) -> None:
    wrong: list[str] = []
    for what, broken in broken_at(document, table):
        try:
            with transaction.atomic():
                loads_cleanly_or_not_at_all(broken)
        except Exception as error:
            wrong.append(f"{what}: {type(error).__name__}: {error!s:.200}")
    assert wrong == [], "\n".join(wrong)
