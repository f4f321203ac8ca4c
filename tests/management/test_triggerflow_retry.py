"""``triggerflow_retry``: failed steps become ready again, and nothing else moves."""

from __future__ import annotations

import pytest

from tests.management.shell import run
from triggerflow_django import TriggerFlowExecution
from triggerflow_django.models import Step, StepStatus

pytestmark = pytest.mark.django_db

REASON = ["--reason", "order was entered", "--format", "json"]


def failed_steps() -> list[int]:
    return list(Step.objects.filter(status=StepStatus.FAILED).order_by("pk").values_list("pk", flat=True))


def test_all_failed_steps_become_ready_and_wait_for_the_holder(failed: TriggerFlowExecution) -> None:
    with pytest.raises(LookupError):
        failed.emit("break", 8)
    ran = run("retry", failed.id, *REASON)
    assert (ran.document["retried"], ran.document["left_to_holder"]) == (2, 2)
    assert failed_steps() == []
    failed.set_state("mended", True)
    failed.wait()
    assert failed.get_status() == "waiting"
    assert list(failed.get_pending_interrupts()) == ["gate"]


def test_one_step_alone_becomes_ready(failed: TriggerFlowExecution) -> None:
    with pytest.raises(LookupError):
        failed.emit("break", 8)
    one, other = failed_steps()
    assert run("retry", failed.id, "--step", other, *REASON).document["retried"] == 1
    assert failed_steps() == [one]


@pytest.mark.parametrize("words", [[], ["--step", "987654"]])
def test_where_nothing_failed_there_is_nothing_to_retry(waiting: TriggerFlowExecution, words: list[str]) -> None:
    ran = run("retry", waiting.id, *words, *REASON)
    assert (ran.code, ran.document["error"]["code"]) == (3, "unknown_step")
