"""``manage.py triggerflow_tick``: one pass, or a loop that ends when told to."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from triggerflow_django import TriggerFlow
from triggerflow_django.engine import lifecycle
from triggerflow_django.models import Execution

ROOT = Path(__file__).resolve().parents[2]


def idle_execution() -> Execution:
    """One that is due to close by itself."""
    flow = TriggerFlow(name="tick")
    flow.to(("done", lambda data: None))
    flow.start_execution(1, auto_close_timeout=0.0)
    return Execution.objects.get()


def tick(*arguments: str) -> str:
    out = io.StringIO()
    call_command("triggerflow_tick", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.django_db(transaction=True)
def test_one_pass_acts_on_what_is_due_and_says_so() -> None:
    execution = idle_execution()
    assert json.loads(tick("--format", "json"))["auto_closed"] == 1
    execution.refresh_from_db()
    assert execution.is_closed
    assert "auto_closed=0" in tick()


@pytest.mark.django_db(transaction=True)
def test_a_row_that_cannot_be_repaired_gives_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object, **_kwargs: object) -> bool:
        raise LookupError("of this row")

    idle_execution()
    monkeypatch.setattr(lifecycle, "auto_close", broken)
    with pytest.raises(CommandError, match="1 rows could not be repaired") as caught:
        tick()
    assert caught.value.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--database", "nowhere"], "there is no database 'nowhere'"),
        (["--interval", "3"], "goes with --loop"),
        (["--loop", "--interval", "0"], "more than 0"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: list[str], told: str) -> None:
    with pytest.raises(CommandError, match=told):
        tick(*arguments)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_loop_acts_and_ends_when_told_to(database_url: str, number: signal.Signals) -> None:
    idle_execution()
    process = subprocess.Popen(
        [sys.executable, "manage.py", "triggerflow_tick", "--loop", "--interval", "3600", "--format", "json"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["auto_closed"] == 1
        process.send_signal(number)
        assert process.wait(30) == 0
        process.stdout.close()
    finally:
        process.kill()
        process.wait()
    assert Execution.objects.get().is_closed
