"""``triggerflow_cancel``: by id, or by filter after a count and a yes; nothing behind a gate runs."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import OperationalError

from tests.management.shell import run
from triggerflow_django import TriggerFlow, TriggerFlowExecution
from triggerflow_django.engine import lifecycle
from triggerflow_django.models import Event, Execution, Step
from triggerflow_django.testing import travel

pytestmark = pytest.mark.django_db

REASON = ["--reason", "wrong price list"]


def statuses() -> list[str]:
    return list(Execution.objects.order_by("pk").values_list("status", flat=True))


@pytest.fixture
def three(flow: TriggerFlow) -> list[TriggerFlowExecution]:
    """Two that wait, and one that was answered and is idle."""
    found = [flow.start_execution(number, auto_close=False) for number in range(3)]
    found[2].continue_with("gate", True)
    return found


# -- by id -------------------------------------------------------------------------------------------------------------


def test_by_id_it_asks_nothing_and_runs_nothing(waiting: TriggerFlowExecution) -> None:
    ran = run("cancel", waiting.id, *REASON)
    assert ran.code == 0, ran.error
    row = Execution.objects.get()
    assert (row.status, row.lifecycle, row.close_reason) == ("cancelled", "closed", "wrong price list")
    assert not Step.objects.filter(node="settle").exists()


def test_cancelling_again_changes_nothing(waiting: TriggerFlowExecution) -> None:
    run("cancel", waiting.id, *REASON)
    events = Event.objects.count()
    ran = run("cancel", waiting.id, *REASON, "--format", "json")
    assert (ran.code, ran.document["changed"]) == (0, False)
    assert Event.objects.count() == events


def test_several_ids_are_all_found_before_one_is_cancelled(three: list[TriggerFlowExecution]) -> None:
    assert run("cancel", three[0].id, uuid.uuid4().hex, *REASON).code == 3
    three[2].close()
    assert run("cancel", three[0].id, three[2].id, *REASON).code == 5
    assert statuses() == ["waiting", "waiting", "completed"]
    ran = run("cancel", three[0].id, three[1].id, three[0].id, *REASON, "--format", "json")
    assert ran.document["cancelled"] == [three[0].id, three[1].id]


def test_a_dry_run_by_id_changes_nothing(waiting: TriggerFlowExecution) -> None:
    ran = run("cancel", waiting.id, *REASON, "--dry-run", "--format", "json")
    assert ran.document["executions"] == [waiting.id]
    assert statuses() == ["waiting"]


# -- by filter ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [[], ["cafecafe", "--flow", "refund"]])
def test_ids_or_a_filter_have_to_be_given_and_not_both(waiting: TriggerFlowExecution, words: list[str]) -> None:
    ran = run("cancel", *words, *REASON, "--yes")
    assert ran.code == 2
    assert statuses() == ["waiting"]


def test_a_dry_run_counts_and_changes_nothing(three: list[TriggerFlowExecution]) -> None:
    ran = run("cancel", "--flow", "refund", *REASON, "--dry-run")
    assert "3 executions:" in ran.out
    assert "Nothing was changed." in ran.out
    document = run("cancel", "--flow", "refund", *REASON, "--dry-run", "--format", "json").document
    assert (document["matched"], document["dry_run"]) == (3, True)
    assert {(group["status"], group["count"]) for group in document["groups"]} == {("waiting", 2), ("idle", 1)}
    assert set(document["executions"]) == {each.id for each in three}
    assert statuses() == ["waiting", "waiting", "running"]


def test_without_a_terminal_it_needs_a_yes(three: list[TriggerFlowExecution]) -> None:
    ran = run("cancel", "--status", "waiting", *REASON)
    assert ran.code == 2
    assert "2 executions:" in ran.error
    assert "--yes" in ran.error
    assert statuses() == ["waiting", "waiting", "running"]


def test_with_a_yes_it_cancels_what_the_filter_finds_and_no_more(three: list[TriggerFlowExecution]) -> None:
    ran = run("cancel", "--status", "waiting", *REASON, "--yes", "--format", "json")
    assert (ran.document["matched"], len(ran.document["cancelled"])) == (2, 2)
    assert "2 executions:" in ran.error  # the count comes first, whatever the format
    assert statuses() == ["cancelled", "cancelled", "running"]
    assert Event.objects.filter(kind="cancelled", data__isnull=False).count() == 2


@pytest.mark.parametrize(("typed", "code", "left"), [("2\n", 0, 0), ("3\n", 1, 2), ("y\n", 1, 2), ("", 1, 2)])
def test_at_a_terminal_the_number_has_to_be_typed(
    three: list[TriggerFlowExecution], typed: str, code: int, left: int
) -> None:
    ran = run("cancel", "--status", "waiting", *REASON, typed=typed)
    assert ran.code == code
    assert "Type 2 to cancel them" in ran.error
    assert statuses().count("waiting") == left


def test_older_than_goes_by_the_databases_clock(flow: TriggerFlow) -> None:
    flow.start_execution(1, auto_close=False)
    with travel(hours=5):
        flow.start_execution(2, auto_close=False)
        run("cancel", "--older-than", "6h", *REASON, "--yes")
        assert statuses() == ["waiting", "waiting"]
        run("cancel", "--older-than", "4h", *REASON, "--yes")
        assert statuses() == ["cancelled", "waiting"]


@pytest.mark.parametrize("age", ["3", "3 days", "-3d", "d", "99999999w", "", "1e3s"])
def test_an_age_that_is_none_is_refused(waiting: TriggerFlowExecution, age: str) -> None:
    assert run("cancel", f"--older-than={age}", *REASON, "--yes").code
    assert statuses() == ["waiting"]


def test_a_filter_that_finds_nothing_asks_nothing(waiting: TriggerFlowExecution) -> None:
    ran = run("cancel", "--flow", "refunds", *REASON, "--format", "json")
    assert (ran.code, ran.document["matched"]) == (0, 0)
    assert statuses() == ["waiting"]


def test_closed_executions_are_never_found(three: list[TriggerFlowExecution]) -> None:
    three[2].close()
    assert run("cancel", "--flow", "refund", *REASON, "--dry-run", "--format", "json").document["matched"] == 2


def test_what_moved_on_since_the_count_is_left_alone(
    three: list[TriggerFlowExecution], monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = three[0]

    def while_asking(command: Any, rows: list[Execution], *, is_sure: bool) -> None:
        answered.continue_with("gate", True)

    monkeypatch.setattr("triggerflow_django.management.commands.triggerflow_cancel.Command._ask", while_asking)
    ran = run("cancel", "--status", "waiting", *REASON, "--yes", "--format", "json")
    assert ran.document["cancelled"] == [three[1].id]
    assert ran.document["moved_on"] == [answered.id]
    assert statuses() == ["running", "cancelled", "running"]


def test_one_that_cannot_be_cancelled_does_not_keep_the_others(
    three: list[TriggerFlowExecution], monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel = lifecycle.cancel

    def locked(pk: uuid.UUID, **options: Any) -> bool:
        if pk == three[1].pk:
            raise OperationalError("canceling statement due to lock timeout")
        return cancel(pk, **options)

    monkeypatch.setattr(lifecycle, "cancel", locked)
    ran = run("cancel", "--flow", "refund", *REASON, "--yes", "--format", "json")
    assert ran.code == 1
    assert ran.document["failed"] == [three[1].id]
    assert statuses() == ["cancelled", "waiting", "cancelled"]
    text = run("cancel", "--flow", "refund", *REASON, "--yes")
    assert "lock timeout" in text.out
    assert "1 execution could not be cancelled" in text.error


def test_ctrl_c_in_the_middle_says_how_far_it_came(
    three: list[TriggerFlowExecution], monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel = lifecycle.cancel

    def interrupted(pk: uuid.UUID, **options: Any) -> bool:
        if pk == three[1].pk:
            raise KeyboardInterrupt
        return cancel(pk, **options)

    monkeypatch.setattr(lifecycle, "cancel", interrupted)
    ran = run("cancel", "--flow", "refund", *REASON, "--yes", "--format", "json")
    assert ran.code == 130
    assert ran.document["error"]["cancelled"] == [three[2].id]
    assert statuses() == ["waiting", "waiting", "cancelled"]
