"""What all commands have in common: ids, exit codes, JSON, and nothing that steers a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.core.management import get_commands, load_command_class
from django.db import OperationalError

from tests.management.shell import Ran, run
from triggerflow_django import TriggerFlow, TriggerFlowExecution, wakeups
from triggerflow_django.management import text
from triggerflow_django.management.base import OperatorCommand
from triggerflow_django.models import Execution, Lifecycle

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).resolve().parents[2]
TAKE_AN_ID = ["show", "emit", "resume", "retry", "close", "cancel", "seal", "handover"]


def act_on(name: str, target: object, *more: object) -> Ran:
    """Run a command that takes an id, with whatever else it requires."""
    words = {"emit": ["paid"], "resume": ["gate", "--override", "--answer", "-"]}.get(name, [])
    reason = [] if name == "show" else ["--reason", "night shift"]
    return run(name, target, *words, *reason, *more, stdin=b"1")


def operator_commands() -> dict[str, OperatorCommand]:
    found = {
        name: load_command_class("triggerflow_django", name)
        for name in get_commands()
        if name.startswith("triggerflow_")
    }
    return {name: command for name, command in found.items() if isinstance(command, OperatorCommand)}


def test_these_are_the_commands() -> None:
    assert {name.removeprefix("triggerflow_") for name in operator_commands()} == {*TAKE_AN_ID, "list", "start"}


# -- ids ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TAKE_AN_ID)
@pytest.mark.parametrize("target", ["01a210b9" * 4, "cafe", "gate", "0" * 40])
def test_an_unknown_execution_gives_exit_code_3(name: str, target: str) -> None:
    ran = act_on(name, target, "--format", "json")
    assert ran.code == 3
    assert ran.document["error"]["code"] == "unknown_execution"
    assert ran.document["error"]["exit_code"] == 3
    assert target in ran.document["error"]["message"]


@pytest.mark.parametrize("form", [lambda id: id[:9], lambda id: str(uuid.UUID(id)), lambda id: id.upper()])
def test_an_id_may_be_short_or_written_with_hyphens(waiting: TriggerFlowExecution, form: Any) -> None:
    ran = run("show", form(waiting.id), "--format", "json")
    assert ran.document["id"] == waiting.id


def test_what_two_ids_begin_with_is_refused_and_both_are_named(flow: TriggerFlow) -> None:
    one, other = (Execution.objects.get(pk=flow.start_execution(auto_close=False).pk) for _ in range(2))
    for row, last in ((one, "1"), (other, "2")):
        Execution.objects.filter(pk=row.pk).delete()
        row.pk = uuid.UUID("01a210b9" + "0" * 23 + last)
        row.save(force_insert=True)
    ran = run("cancel", "01a210b9", "--reason", "x", "--format", "json")
    assert (ran.code, ran.document["error"]["code"]) == (3, "ambiguous_id")
    assert "0001" in ran.error
    assert "0002" in ran.error
    assert Execution.objects.filter(lifecycle=Lifecycle.OPEN).count() == 2


# -- what goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["emit", "resume", "retry", "cancel", "seal", "handover"])
def test_a_closed_execution_gives_exit_code_5(waiting: TriggerFlowExecution, name: str) -> None:
    waiting.close(pending_interrupts="cancel")
    Execution.objects.filter(pk=waiting.pk).update(status="completed")
    ran = act_on(name, waiting.id, "--format", "json")
    assert (ran.code, ran.document["error"]["code"]) == (5, "execution_not_open")


def test_an_unknown_database_is_a_mistake_of_the_command_line() -> None:
    ran = run("list", "--database", "nowhere")
    assert ran.code == 2
    assert "there is no database 'nowhere'; known: default" in ran.error


def test_a_database_that_is_away_gives_exit_code_1(
    waiting: TriggerFlowExecution, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_args: object) -> None:
        raise OperationalError("the server is gone")

    monkeypatch.setattr("triggerflow_django.management.lookup.execution", away)
    ran = run("show", waiting.id, "--format", "json")
    assert (ran.code, ran.document["error"]["code"]) == (1, "database")
    assert "the server is gone" in ran.error


def test_settings_with_mistakes_are_told_without_a_traceback(settings: Any) -> None:
    settings.TRIGGERFLOW = {"RUNER": "rq"}
    ran = run("list")
    assert ran.code == 1
    assert "RUNER" in ran.error


def test_bytes_that_are_no_text_are_a_mistake_of_the_command_line() -> None:
    ran = run("list", "--flow", "caf\udce9")
    assert ran.code == 2
    assert "flow" in ran.error


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("triggerflow_django.management.lookup.execution", interrupt)
    assert run("show", "cafecafe").code == 130


def test_checks_do_not_keep_an_operator_from_acting() -> None:
    assert all(not command.requires_system_checks for command in operator_commands().values())


def test_a_wake_up_that_redis_did_not_take_is_told_and_is_no_failure(
    flow: TriggerFlow, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any, settings: Any
) -> None:
    settings.RQ_QUEUES = {"triggerflow": {"URL": "redis://127.0.0.1:1/0"}}

    def fail_at_once(_ready: object, *, using: str) -> None:
        wakeups.ring("triggerflow", 1)

    monkeypatch.setattr(wakeups, "ring_after_commit", fail_at_once)
    ran = run("start", "refund", "--runner", "rq", "--reason", "x")
    assert ran.code == 0
    assert "next sweep" in ran.error


# -- a real shell ------------------------------------------------------------------------------------------------------


def manage(database_url: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["triggerflow_list", "--format", "json"], 0),
        (["triggerflow_list", "--status", "asleep"], 2),
        (["triggerflow_cancel", "--reason", "x"], 2),
        (["triggerflow_show", "cafecafe"], 3),
    ],
)
def test_the_exit_codes_reach_the_shell_and_no_traceback_does(database_url: str, words: list[str], code: int) -> None:
    ran = manage(database_url, *words)
    assert ran.returncode == code, ran.stderr
    assert "Traceback" not in ran.stderr
    assert bool(ran.stderr) == bool(code)


# -- text --------------------------------------------------------------------------------------------------------------


def test_what_others_wrote_cannot_steer_a_terminal() -> None:
    assert text.safe("a\x1b[2Jb\u202ec\x9bd\re\n\u0000") == "a\\x1b[2Jb\\u202ec\\x9bd\\re\n\\x00"
    assert text.safe("Größe 120 €") == "Größe 120 €"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0s"),
        (59.4, "59s"),
        (60, "1m"),
        (3599, "59m"),
        (3600, "1h"),
        (19_260, "5h21m"),
        (86_400 * 12 + 3 * 3600, "12d3h"),
    ],
)
def test_ages_are_short(seconds: float, told: str) -> None:
    assert text.span(seconds) == told


def test_a_long_command_line_is_one_to_copy() -> None:
    lines = text.command(["triggerflow_resume", "a" * 32, "b" * 32, "--user NAME", "--answer FILE"], "    ")
    assert all(len(line) <= text.WIDTH for line in lines)
    joined = " ".join(line.rstrip("\\").strip() for line in lines)
    assert joined == f"manage.py triggerflow_resume {'a' * 32} {'b' * 32} --user NAME --answer FILE"
    assert all(line.endswith(" \\") for line in lines[:-1])
