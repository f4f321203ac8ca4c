"""Payloads come from a file or from standard input, through the JSON gate, and from nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.management.shell import rows, run
from triggerflow_django import TriggerFlow, TriggerFlowExecution
from triggerflow_django.models import Execution

pytestmark = pytest.mark.django_db

MALFORMED = {
    "not JSON": (b"{approved: true}", "not JSON"),
    "nothing": (b"", "not JSON"),
    "two values": (b"1 2", "not JSON"),
    "a key twice": (b'{"approved": false, "approved": true}', '"approved" is given twice'),
    "NaN": (b'{"amount": NaN}', "NaN"),
    "too large a number": (b'{"amount": 1e999}', "Infinity"),
    "NUL": (b'{"a": "\\u0000"}', "NUL"),
    "a lone surrogate": (b'{"a": "\\ud800"}', "surrogate"),
    "too deep": (b"[" * 60 + b"]" * 60, "nested deeper"),
    "too long": (b'"' + b"a" * 300_000 + b'"', "262144"),
    "latin-1": ('"gr\xfc\xdfe"'.encode("latin-1"), "not UTF-8"),
}


@pytest.mark.parametrize(("content", "told"), MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize(
    "words",
    [
        ["start", "refund", "--reason", "x", "--input"],
        ["emit", "ID", "paid", "--reason", "x", "--value"],
        ["resume", "ID", "gate", "--override", "--reason", "x", "--answer"],
    ],
    ids=lambda words: words[0],
)
def test_a_malformed_payload_gives_exit_code_6_and_changes_nothing(
    waiting: TriggerFlowExecution, words: list[str], content: bytes, told: str
) -> None:
    before = rows()
    name, *rest = [waiting.id if word == "ID" else word for word in words]
    ran = run(name, *rest, "-", "--format", "json", stdin=content)
    assert (ran.code, ran.document["error"]["code"]) == (6, "invalid_json_value")
    assert told in ran.document["error"]["message"]
    assert rows() == before
    assert waiting.get_status() == "waiting"


def test_a_file_and_standard_input_give_the_same(flow: TriggerFlow, file: Callable[[str], Path]) -> None:
    given = '{"order": "A-1", "items": [1, 2.5, null, true, "Größe"]}'
    run("start", "refund", "--reason", "x", "--input", file(given))
    run("start", "refund", "--reason", "x", "--input", "-", stdin=given.encode())
    one, other = Execution.objects.order_by("pk")
    assert one.input == other.input == {"order": "A-1", "items": [1, 2.5, None, True, "Größe"]}


def test_without_a_payload_it_is_null(flow: TriggerFlow) -> None:
    run("start", "refund", "--reason", "x", stdin=b'"never read"')
    assert Execution.objects.get().input is None


def test_a_file_that_is_not_there_is_a_mistake_of_the_command_line(flow: TriggerFlow, tmp_path: Path) -> None:
    for path in (tmp_path / "missing.json", tmp_path):
        ran = run("start", "refund", "--reason", "x", "--input", path)
        assert ran.code == 2
        assert str(path) in ran.error
    assert not Execution.objects.exists()


def test_json_on_the_command_line_is_taken_for_a_file_name(flow: TriggerFlow) -> None:
    ran = run("start", "refund", "--reason", "x", "--input", '{"amount": 1}')
    assert ran.code == 2
    assert not Execution.objects.exists()


def test_at_a_terminal_it_says_how_to_end(flow: TriggerFlow) -> None:
    ran = run("start", "refund", "--reason", "x", "--input", "-", typed="[1]")
    assert "Ctrl-D" in ran.error
    assert Execution.objects.get().input == [1]
