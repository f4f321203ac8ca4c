"""``manage.py demo --once`` and ``python -m project.demo --inline``: what they print, and when they exit with what."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command

from project.demo import case as cases
from project.demo import roles
from project.demo.models import Article, Refund
from triggerflow_django.models import Execution

ROOT = Path(__file__).resolve().parent.parent.parent

CASE: dict[str, Any] = {
    "name": "approved",
    "story": "A manager approves.",
    "by": "clerk",
    "input": {"order": "A-1", "amount_cents": 6000, "currency": "EUR", "reason": "broken"},
    "acts": [
        {"answer": "approval", "by": "clerk", "with": {"approved": True}, "refused": "decision_refused"},
        {"answer": "approval", "by": "manager", "with": {"approved": True}},
    ],
    "expect": {
        "status": "completed",
        "snapshot": {
            "request": {"order": "A-1", "amount_cents": 6000, "currency": "EUR", "reason": "broken"},
            "granted_by": "decision",
            "outcome": {"refunded_cents": 6000},
        },
        "rows": {"refunds": [{"order": "A-1", "amount_cents": 6000, "currency": "EUR"}]},
    },
}


def write(folder: Path, *entries: dict[str, Any]) -> Path:
    (folder / "refund.json").write_text(json.dumps({"flow": "demo.refund", "cases": entries}), encoding="utf-8")
    return folder


def run(capsys: pytest.CaptureFixture[str], **options: Any) -> list[str]:
    call_command("demo", "--once", **options)
    return capsys.readouterr().out.splitlines()


@pytest.mark.django_db(transaction=True)
def test_it_prints_each_execution_with_its_snapshot_and_a_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heading, first, second, summary = run(capsys, cases=write(tmp_path, CASE))
    assert heading.startswith("1 cases, decided by the users clerk, manager, finance. ")
    assert first == (
        "ok   completed demo.refund/approved "
        "[clerk starts; clerk: answer approval (decision_refused); manager: answer approval]"
    )
    execution = Execution.objects.get()
    name, _, snapshot = second.strip().partition(" ")
    assert name == execution.pk.hex
    assert json.loads(snapshot) == execution.snapshot == CASE["expect"]["snapshot"]
    assert summary.startswith("1 executions (demo.refund 1): all ended as expected; 2 acts by people, 1 of which ")


@pytest.mark.django_db(transaction=True)
def test_it_says_why_an_execution_failed(capsys: pytest.CaptureFixture[str]) -> None:
    _, line, *_ = run(capsys, only="demo.refund/nothing-to-refund")
    assert line == (
        "ok   failed    demo.refund/nothing-to-refund [clerk starts] "
        "ValueError: order A-1601: there is nothing to refund"
    )


def _status(case: dict[str, Any]) -> None:
    case["expect"]["status"] = "failed"


def _snapshot(case: dict[str, Any]) -> None:
    case["expect"]["snapshot"]["outcome"]["refunded_cents"] = 5999


def _true_is_not_one(case: dict[str, Any]) -> None:
    case["expect"]["rows"]["refunds"][0]["amount_cents"] = 6000.0


def _rows(case: dict[str, Any]) -> None:
    del case["expect"]["rows"]


def _failure(case: dict[str, Any]) -> None:
    case["expect"]["failure"] = "ValueError: no"


def _accepted(case: dict[str, Any]) -> None:
    case["acts"][1]["refused"] = "answer_schema"


def _refused(case: dict[str, Any]) -> None:
    del case["acts"][0]["refused"]


def _refused_otherwise(case: dict[str, Any]) -> None:
    case["acts"][0]["refused"] = "answer_schema"


def _unanswered(case: dict[str, Any]) -> None:
    del case["acts"][1]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_status, 'status: expected "failed", got "completed"'),
        (_snapshot, '"refunded_cents":5999'),
        (_true_is_not_one, '"amount_cents":6000.0'),
        (_rows, "rows: expected {}, got"),
        (_failure, 'failure: expected "ValueError: no", got ""'),
        (_accepted, "manager: answer approval: expected answer_schema, got accepted"),
        (_refused, "clerk: answer approval: expected to be accepted, got decision_refused (interrupt 'approval'"),
        (_refused_otherwise, "clerk: answer approval: expected answer_schema, got decision_refused"),
        (_unanswered, "it still waits for an answer to approval"),
    ],
)
def test_a_case_that_ends_otherwise_fails_the_command_and_is_told(
    spoil: Callable[[dict[str, Any]], None], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = copy.deepcopy(CASE)
    spoil(case)
    right = {**CASE, "name": "right"}
    with pytest.raises(CommandError, match=r"not as expected: demo\.refund/approved") as raised:
        run(capsys, cases=write(tmp_path, case, right))
    assert raised.value.returncode == 1
    out = capsys.readouterr().out
    assert "\nFAIL " in out
    assert told in out
    assert "\nok   completed demo.refund/right " in out
    assert "2 executions (demo.refund 2): 1 did NOT end as expected" in out


@pytest.mark.django_db(transaction=True)
def test_it_can_be_run_twice_on_one_database(capsys: pytest.CaptureFixture[str]) -> None:
    for only in ("demo.refund/double-click", "demo.publication/same-request-again") * 2:
        run(capsys, only=only)
    assert Refund.objects.count() == 4  # two cases of that name's beginning, twice
    assert Article.objects.count() == 2
    assert User.objects.count() == len(roles.ROLES)


@pytest.mark.django_db(transaction=True)
def test_a_user_who_was_there_before_keeps_everything() -> None:
    manager = User.objects.create_user("manager", password="secret")
    users = roles.load()
    assert users["manager"] == manager
    manager.refresh_from_db()
    assert manager.check_password("secret")
    assert not manager.is_staff
    assert users["clerk"].is_staff
    assert not users["clerk"].has_usable_password()
    assert set(Group.objects.values_list("name", "user__username")) == {(role, role) for role in roles.ROLES}


@pytest.mark.django_db(transaction=True)
def test_what_cannot_be_walked_is_said_and_nothing_is_started(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"there is no \*\.json"):
        call_command("demo", "--once", cases=tmp_path)
    with pytest.raises(CommandError, match="no case's flow/name contains 'xyz'"):
        call_command("demo", "--once", only="xyz")
    assert not Execution.objects.exists()


def _without_name(case: dict[str, Any]) -> None:
    del case["name"]


def _with_typing_error(case: dict[str, Any]) -> None:
    case["expct"] = case.pop("expect")


def _by_nobody(case: dict[str, Any]) -> None:
    case["acts"][0]["by"] = "director"


def _two_acts_in_one(case: dict[str, Any]) -> None:
    case["acts"][0]["emit"] = "Approved"


@pytest.mark.once
@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_without_name, r"refund.json, case 2 \(None\): 'name' is missing"),
        (_with_typing_error, r"refund.json, case 2 \(spoilt\): expct means nothing here; known: name, "),
        (_by_nobody, r"refund.json, case 2 \(spoilt\): there is no role 'director'; known: clerk, manager, finance"),
        (_two_acts_in_one, r"refund.json, case 2 \(spoilt\): an act is one of answer, emit, cancel; "),
    ],
)
def test_a_case_written_wrong_is_refused_by_file_and_name(
    spoil: Callable[[dict[str, Any]], None], told: str, tmp_path: Path
) -> None:
    case = {**copy.deepcopy(CASE), "name": "spoilt"}
    spoil(case)
    with pytest.raises(cases.CaseError, match=told):
        cases.load(write(tmp_path, CASE, case))


@pytest.mark.once
def test_two_cases_of_one_name_and_text_that_is_no_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(cases.CaseError, match=r"more than one case called demo\.refund/approved"):
        cases.load(write(tmp_path, CASE, CASE))
    (tmp_path / "refund.json").write_text("{", encoding="utf-8")
    with pytest.raises(cases.CaseError, match=r"refund\.json: "):
        cases.load(tmp_path)


# -- as a process of its own -------------------------------------------------------------------------------------------


def _environment(folder: Path, **more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1", **more}


def _command(*options: str) -> list[str]:
    return [sys.executable, "-m", "project.demo", "--inline", *options]


@pytest.mark.once
@pytest.mark.parametrize("debug", ["0", "1"])
def test_without_a_database_it_makes_one_and_throws_it_away(debug: str, tmp_path: Path) -> None:
    result = subprocess.run(
        _command("--only", "demo.refund/withdrawn"),
        cwd=ROOT,
        env=_environment(tmp_path, DEBUG=debug),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "\nok   cancelled demo.refund/withdrawn " in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_with_a_database_it_uses_that_one(database_url: str, tmp_path: Path) -> None:
    result = subprocess.run(
        _command("--only", "demo.refund/broken-mug"),
        cwd=ROOT,
        env=_environment(tmp_path, DATABASE_URL=database_url),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert Execution.objects.get().pk.hex in result.stdout
    assert Refund.objects.get().amount_cents == 1290


@pytest.mark.once
def test_a_wrong_expectation_ends_the_process_with_1(tmp_path: Path) -> None:
    case = copy.deepcopy(CASE)
    _snapshot(case)
    (tmp_path / "cases").mkdir()
    (tmp_path / "tmp").mkdir()
    result = subprocess.run(
        _command("--cases", str(write(tmp_path / "cases", case))),
        cwd=ROOT,
        env=_environment(tmp_path / "tmp"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr == "CommandError: not as expected: demo.refund/approved\n"
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.once
def test_a_sigterm_leaves_no_folder_behind(tmp_path: Path) -> None:
    with subprocess.Popen(
        _command(), cwd=ROOT, env=_environment(tmp_path), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(f"{len(cases.load())} cases")
        assert process.stdout.readline().startswith("ok ")
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
    assert process.returncode == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
