"""``triggerflow_show``, ``triggerflow_list`` and ``triggerflow_resume`` of parents and children."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.management.conftest import refund_flow
from tests.management.shell import run
from triggerflow_django import TriggerFlow
from triggerflow_django.models import Execution

pytestmark = pytest.mark.django_db


@pytest.fixture
def parent(register: Callable[[TriggerFlow], TriggerFlow]) -> TriggerFlow:
    flow = TriggerFlow(name="month end")
    flow.to_sub_flow(refund_flow(), name="pay back").to(lambda data: data.set_state("got", data.input), name="keep")
    return register(flow)


def shown(target: str) -> str:
    ran = run("show", target)
    assert ran.code == 0, ran.error
    return " ".join(ran.out.split())


def document(target: str) -> dict[str, Any]:
    found: dict[str, Any] = run("show", target, "--format", "json").document
    return found


def test_a_parent_is_shown_with_its_child_and_the_child_with_its_parent(parent: TriggerFlow) -> None:
    execution = parent.start_execution(1, auto_close=False)
    child = Execution.objects.get(flow_name="refund").id.hex
    told = shown(execution.id)
    assert "(pay back) was delegated 0s ago" in told
    assert f"Sub flows, newest first: waiting {child} refund" in told
    found = document(execution.id)
    assert found["sub_flows"] == [{"execution": child, "flow": "refund", "status": "waiting"}]
    assert (found["part_of"], found["waits_for"][0]["execution"]) == (None, child)
    below = document(child)
    assert below["part_of"] == {"execution": execution.id, "node": "pay back"}
    assert below["flow_known_here"] is True  # though nobody registered it
    assert f"part of {execution.id} (pay back)" in shown(child)


def test_a_child_s_question_is_listed_once_and_answered_where_it_is(parent: TriggerFlow) -> None:
    execution = parent.start_execution(1, auto_close=False)
    child = Execution.objects.get(flow_name="refund").id.hex
    rows = run("list", "--format", "json").document["executions"]
    assert [row["id"] for row in rows if row["pending_interrupts"]] == [child]
    answered = run("resume", child, "gate", "--override", "--reason", "x", "--answer", "-", stdin=b"true")
    assert answered.code == 0, answered.error
    assert execution.wait().close() == {"got": {"decision": True}}
