"""``triggerflow_close`` and ``triggerflow_seal``: they ask, say how it stands, and never wait."""

from __future__ import annotations

import pytest

from tests.management.shell import run
from triggerflow_django import TriggerFlow, TriggerFlowExecution
from triggerflow_django.engine.sweep import sweep
from triggerflow_django.models import Event, Execution, Interrupt
from triggerflow_django.testing import travel

pytestmark = pytest.mark.django_db

REASON = ["--reason", "shop closes"]


def test_an_idle_execution_is_closed_at_once(waiting: TriggerFlowExecution) -> None:
    waiting.continue_with("gate", True)
    ran = run("close", waiting.id, *REASON)
    assert "is closed." in " ".join(ran.out.split())
    row = Execution.objects.get()
    assert (row.lifecycle, row.status, row.close_reason) == ("closed", "completed", "shop closes")


def test_waiting_interrupts_keep_it_open_and_the_error_says_what_to_do(waiting: TriggerFlowExecution) -> None:
    ran = run("close", waiting.id, *REASON, "--format", "json")
    assert (ran.code, ran.document["error"]["code"]) == (5, "pending_interrupts")
    assert "--pending cancel" in ran.error
    assert waiting.get_lifecycle_state() == "open"


def test_waiting_interrupts_are_cancelled_when_that_is_said(waiting: TriggerFlowExecution) -> None:
    ran = run("close", waiting.id, *REASON, "--pending", "cancel", "--format", "json")
    assert (ran.document["execution"]["lifecycle"], ran.document["execution"]["status"]) == ("closed", "cancelled")
    assert Interrupt.objects.get().status == "cancelled"


@pytest.fixture
def busy(flow: TriggerFlow) -> str:
    """An execution with a ready step that nobody runs."""
    return str(run("start", "refund", *REASON, "--format", "json").document["execution"]["id"])


def test_with_steps_active_it_is_closing_and_the_command_returns(busy: str) -> None:
    ran = run("close", busy, *REASON)
    assert ran.code == 0
    assert "is closing: it closes when no step is active." in " ".join(ran.out.split())
    assert run("show", busy, "--format", "json").document["closing"] is True


def test_a_timeout_cancels_what_is_left_then(busy: str) -> None:
    ran = run("close", busy, *REASON, "--timeout", "90")
    assert "is cancelled" in ran.out
    sweep(using="default")
    assert not Execution.objects.get().is_closed
    with travel(seconds=91):
        sweep(using="default")
    assert Execution.objects.get().is_closed
    assert Event.objects.filter(kind="closed").get().data["cancelled_steps"] == [{"node": "ask", "status": "ready"}]


@pytest.mark.parametrize("timeout", ["-1", "nan", "inf", "1e99"])
def test_a_timeout_that_is_none_is_a_mistake_of_the_command_line(busy: str, timeout: str) -> None:
    assert run("close", busy, *REASON, f"--timeout={timeout}").code == 2
    assert Execution.objects.get().closing is False


def test_closing_again_changes_nothing(waiting: TriggerFlowExecution) -> None:
    run("close", waiting.id, "--pending", "cancel", *REASON)
    events = Event.objects.count()
    ran = run("close", waiting.id, *REASON, "--format", "json")
    assert (ran.code, ran.document["changed"]) == (0, False)
    assert Event.objects.count() == events


# -- seal --------------------------------------------------------------------------------------------------------------


def test_a_sealed_execution_refuses_events_until_it_is_opened_again(waiting: TriggerFlowExecution) -> None:
    assert run("seal", waiting.id, *REASON, "--format", "json").document["changed"] is True
    assert run("seal", waiting.id, *REASON, "--format", "json").document["changed"] is False
    assert run("emit", waiting.id, "paid", *REASON).code == 5
    ran = run("seal", waiting.id, "--undo", *REASON)
    assert "is now open" in " ".join(ran.out.split())
    assert run("emit", waiting.id, "paid", *REASON).code == 0
    assert [event.kind for event in Event.objects.filter(kind__in=["sealed", "unsealed"]).order_by("sequence")] == [
        "sealed",
        "unsealed",
    ]


def test_a_closing_execution_is_not_opened_again(busy: str) -> None:
    run("close", busy, *REASON)
    assert run("seal", busy, "--undo", *REASON).code == 5
