"""``triggerflow_handover``: an inline execution that nobody holds goes to workers."""

from __future__ import annotations

import pytest

from tests.management.shell import run
from triggerflow_django import TriggerFlow, TriggerFlowExecution
from triggerflow_django.definition import registry
from triggerflow_django.models import Execution, Step

pytestmark = pytest.mark.django_db

REASON = ["--reason", "host is gone", "--format", "json"]


def test_it_is_run_by_workers_from_then_on(flow: TriggerFlow) -> None:
    started = run("start", "refund", "--runner", "inline", *REASON).document
    assert started["left_to_holder"] == 1
    ran = run("handover", started["execution"]["id"], *REASON)
    assert (ran.document["changed"], ran.document["execution"]["runner"], ran.document["left_to_holder"]) == (
        True,
        "rq",
        0,
    )
    assert Step.objects.get().queue == "triggerflow"
    assert run("handover", started["execution"]["id"], *REASON).document["changed"] is False


def test_an_unregistered_flow_stays_inline(waiting: TriggerFlowExecution) -> None:
    registry.unregister("refund")
    ran = run("handover", waiting.id, *REASON)
    assert (ran.code, ran.document["error"]["code"]) == (3, "unknown_flow")
    assert Execution.objects.get().runner == "inline"


def test_a_flow_that_lacks_what_it_stands_on_gives_exit_code_5(waiting: TriggerFlowExecution) -> None:
    registry.unregister("refund")
    other = TriggerFlow(name="refund")
    other.to(("something", lambda data: None))
    registry.register(other)
    ran = run("handover", waiting.id, *REASON)
    assert (ran.code, ran.document["error"]["code"]) == (5, "missing_chunk")
