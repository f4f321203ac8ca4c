"""Who acts: a user within their permissions, or the shell with a reason; both are in the history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.management.shell import rows, run
from triggerflow_django import TriggerFlowExecution
from triggerflow_django.management import acting
from triggerflow_django.models import Event, Execution

pytestmark = pytest.mark.django_db

#: Command, what it takes besides an id, the permission it asks for, the kind of the event it leaves.
VERBS = [
    ("start", [], "start_execution", "started"),
    ("emit", ["paid"], "emit_event", "emitted"),
    ("retry", [], "retry_step", "step_retried"),
    ("close", ["--pending", "cancel"], "close_execution", "close_requested"),
    ("cancel", [], "cancel_execution", "cancelled"),
    ("seal", [], "seal_execution", "sealed"),
    ("handover", [], "retry_step", "handed_over"),
]
each_verb = pytest.mark.parametrize(("name", "words", "permission", "kind"), VERBS, ids=[verb[0] for verb in VERBS])
ALL = sorted({verb[2] for verb in VERBS})


def target(name: str, execution: TriggerFlowExecution) -> str:
    return "refund" if name == "start" else execution.id


def newest(kind: str) -> Event:
    found = Event.objects.filter(kind=kind).order_by("-pk").first()
    assert found is not None
    return found


@each_verb
def test_a_user_needs_the_permission_and_no_other_will_do(
    failed: TriggerFlowExecution, user: Callable[..., User], name: str, words: list[str], permission: str, kind: str
) -> None:
    user("ann", *[other for other in ALL if other != permission])
    before = rows()
    ran = run(name, target(name, failed), *words, "--user", "ann", "--reason", "x", "--format", "json")
    assert (ran.code, ran.document["error"]["code"]) == (4, "not_permitted")
    assert f"triggerflow.{permission}" in ran.error
    assert rows() == before
    assert failed.get_lifecycle_state() == "open"


@each_verb
def test_a_user_with_the_permission_acts_and_history_says_so(
    failed: TriggerFlowExecution, user: Callable[..., User], name: str, words: list[str], permission: str, kind: str
) -> None:
    # Whoever emits has to be somebody who may answer what waits for the event; here nothing does.
    ann = user("ann", permission)
    ran = run(name, target(name, failed), *words, "--user", "ann", "--reason", "order withdrawn")
    assert ran.code == 0, ran.error
    event = newest(kind)
    assert (event.actor_id, event.actor_label) == (str(ann.pk), "ann")
    assert event.data["reason"] == f"order withdrawn [cmd:{acting.shell_name()}]"


@each_verb
def test_the_shell_is_trusted_with_a_reason_which_history_keeps(
    failed: TriggerFlowExecution, name: str, words: list[str], permission: str, kind: str
) -> None:
    ran = run(name, target(name, failed), *words, "--reason", "  order withdrawn ")
    assert ran.code == 0, ran.error
    event = newest(kind)
    assert (event.actor_id, event.actor_label) == ("", f"cmd:{acting.shell_name()}")
    assert event.data["reason"] == "order withdrawn"


@each_verb
@pytest.mark.parametrize("reason", [[], ["--reason", "  "]])
def test_neither_user_nor_reason_changes_nothing(
    failed: TriggerFlowExecution, name: str, words: list[str], permission: str, kind: str, reason: list[str]
) -> None:
    before = rows()
    ran = run(name, target(name, failed), *words, *reason)
    assert ran.code == 2
    assert "--reason" in ran.error
    assert rows() == before
    assert failed.get_lifecycle_state() == "open"


@each_verb
def test_an_unknown_user_gives_exit_code_3(
    failed: TriggerFlowExecution, name: str, words: list[str], permission: str, kind: str
) -> None:
    ran = run(name, target(name, failed), *words, "--user", "nobody", "--format", "json")
    assert (ran.code, ran.document["error"]["code"]) == (3, "unknown_user")
    assert failed.get_lifecycle_state() == "open"


def test_an_account_that_is_not_active_may_do_nothing(failed: TriggerFlowExecution, user: Callable[..., User]) -> None:
    user("root", is_superuser=True, is_active=False)
    ran = run("seal", failed.id, "--user", "root")
    assert ran.code == 4
    assert "not active" in ran.error


def test_a_superuser_may_do_everything_that_permissions_guard(
    failed: TriggerFlowExecution, user: Callable[..., User]
) -> None:
    user("root", is_superuser=True)
    assert run("seal", failed.id, "--user", "root").code == 0


def test_who_starts_is_the_starter_whom_an_interrupt_may_exclude(
    waiting: TriggerFlowExecution, user: Callable[..., User]
) -> None:
    ann = user("ann", "start_execution")
    run("start", "refund", "--user", "ann")
    row = Execution.objects.exclude(pk=waiting.pk).get()
    assert (row.started_by_id, row.started_by_label) == (str(ann.pk), "ann")


def test_the_shells_name_does_not_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    before = acting.shell_name()
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "HOSTNAME"):
        monkeypatch.setenv(name, "somebody-else")
    assert acting.shell_name() == before


def test_an_account_without_a_name_is_told_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless(_number: int) -> Any:
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", nameless)
    monkeypatch.setattr("os.getuid", lambda: 4711)
    assert acting.shell_name().startswith("4711@")


def test_a_reason_that_cannot_be_stored_is_refused(failed: TriggerFlowExecution) -> None:
    ran = run("seal", failed.id, "--reason", "a" * 70_000, "--format", "json")
    assert (ran.code, ran.document["error"]["code"]) == (6, "invalid_json_value")
    assert failed.get_lifecycle_state() == "open"
