"""``triggerflow_start``: it inserts and rings; it runs nothing itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.management.shell import run
from triggerflow_django import TriggerFlow
from triggerflow_django.definition import registry
from triggerflow_django.definition.flow import FlowDefinition
from triggerflow_django.models import Execution, Step, StepStatus

pytestmark = pytest.mark.django_db

START = ["start", "refund", "--reason", "order 17", "--format", "json"]


def test_it_starts_and_leaves_the_steps_to_who_runs_them(flow: TriggerFlow, file: Callable[[str], Path]) -> None:
    ran = run(*START, "--input", file('{"amount": 120}'), "--key", "order-17", "--runner", "rq")
    assert ran.code == 0, ran.error
    row = Execution.objects.get()
    assert (row.id.hex, row.input, row.key, row.runner) == (
        ran.document["execution"]["id"],
        {"amount": 120},
        "order-17",
        "rq",
    )
    assert Step.objects.get().status == StepStatus.READY
    assert Step.objects.get().queue == "triggerflow"
    assert ran.document["changed"] is True
    assert ran.document["left_to_holder"] == 0


def test_the_runner_is_that_of_the_settings(flow: TriggerFlow, settings: Any) -> None:
    settings.TRIGGERFLOW = {"RUNNER": "rq"}
    assert run(*START).document["execution"]["runner"] == "rq"


def test_inline_it_says_that_nobody_runs_it_and_how_to_change_that(flow: TriggerFlow) -> None:
    ran = run("start", "refund", "--reason", "x", "--runner", "inline")
    told = " ".join(ran.out.split())
    assert "It runs inline: 1 ready step left to the process that holds it" in told
    assert f"manage.py triggerflow_handover {Execution.objects.get().id.hex} --reason TEXT" in told.replace("\\ ", "")


def test_the_same_key_and_input_lead_to_the_first_execution(flow: TriggerFlow) -> None:
    one, other = run(*START, "--key", "k"), run(*START, "--key", "k")
    assert one.document["execution"]["id"] == other.document["execution"]["id"]
    assert (one.document["changed"], other.document["changed"]) == (True, False)
    assert Execution.objects.count() == 1


def test_the_same_key_with_another_input_gives_exit_code_5(flow: TriggerFlow) -> None:
    run(*START, "--key", "k")
    ran = run(*START, "--key", "k", "--input", "-", stdin=b"2")
    assert (ran.code, ran.document["error"]["code"]) == (5, "key_conflict")


def test_a_key_that_is_none_is_a_mistake_of_the_command_line(flow: TriggerFlow) -> None:
    assert run(*START, "--key", "k" * 201).code == 2
    assert not Execution.objects.exists()


def test_an_unknown_flow_lists_what_is_registered(flow: TriggerFlow) -> None:
    ran = run("start", "refunds", "--reason", "x")
    assert ran.code == 3
    assert "'refunds'" in ran.error
    assert "refund" in ran.error.split("registered: ")[1]


def test_a_bare_definition_is_no_flow_to_start(flow: TriggerFlow) -> None:
    registry.register(FlowDefinition("bare"))
    try:
        assert run("start", "bare", "--reason", "x").code == 3
    finally:
        registry.unregister("bare")
