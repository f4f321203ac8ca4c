"""``triggerflow_list``: which executions there are, in 80 columns or as JSON."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group

from tests.management.shell import run
from triggerflow_django import TriggerFlow, TriggerFlowExecution
from triggerflow_django.models import Execution
from triggerflow_django.testing import travel

pytestmark = pytest.mark.django_db


def listed(*words: object) -> list[str]:
    """The inputs of what is listed, which the tests use as names."""
    ran = run("list", "--format", "json", *words)
    assert ran.code == 0, ran.error
    return [Execution.objects.get(pk=each["id"]).input for each in ran.document["executions"]]


@pytest.fixture
def several(flow: TriggerFlow, register: Callable[[TriggerFlow], TriggerFlow]) -> dict[str, TriggerFlowExecution]:
    """One of each kind, in this order; their inputs are their names."""
    group = Group.objects.create(name="subject")
    late = TriggerFlow(name="late")
    late.to(lambda data: data.pause_for(due_in=dt.timedelta(hours=1)))
    found = {
        "waiting": flow.start_execution("waiting", auto_close=False, key="k1", started_by="ann"),
        "idle": flow.start_execution("idle", auto_close=False, subject=group),
        "failed": flow.start_execution("failed", auto_close=False),
        "closed": flow.start_execution("closed", auto_close=False),
        "late": register(late).start_execution("late", auto_close=False),
    }
    found["idle"].continue_with("gate", True)
    found["closed"].close(pending_interrupts="cancel")
    with pytest.raises(LookupError):
        found["failed"].emit("break")
    run("start", "refund", "--runner", "rq", "--input", "-", "--reason", "x", stdin=b'"busy"')
    return found


def test_open_ones_newest_first_unless_all_are_asked_for(several: dict[str, TriggerFlowExecution]) -> None:
    assert listed() == ["busy", "late", "failed", "idle", "waiting"]
    assert listed("--all") == ["busy", "late", "closed", "failed", "idle", "waiting"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--flow", "late"], ["late"]),
        (["--status", "waiting"], ["late", "waiting"]),
        (["--status", "failed"], ["failed"]),
        (["--status", "idle"], ["idle"]),
        (["--status", "running"], ["busy"]),
        (["--status", "cancelled"], ["closed"]),
        (["--status", "completed"], []),
        (["--key", "k1"], ["waiting"]),
        (["--started-by", "ann"], ["waiting"]),
        (["--runner", "rq"], ["busy"]),
        (["--flow", "refund", "--status", "waiting"], ["waiting"]),
        (["--overdue"], []),
    ],
)
def test_the_filters(several: dict[str, TriggerFlowExecution], words: list[str], found: list[str]) -> None:
    assert listed(*words) == found


def test_by_the_row_it_is_about(several: dict[str, TriggerFlowExecution]) -> None:
    group = Group.objects.get()
    assert listed("--subject", f"auth.Group:{group.pk}") == ["idle"]
    assert listed("--subject", f"auth.group:{group.pk + 1}") == []
    for nonsense in ("auth.Grup:1", "group:1", "1"):
        assert run("list", "--subject", nonsense).code == 2


def test_by_time(several: dict[str, TriggerFlowExecution], flow: TriggerFlow) -> None:
    with travel(hours=2):
        flow.start_execution("new", auto_close=False)
        assert listed("--overdue") == ["late"]
        assert listed("--newer-than", "1h") == ["new"]
        assert "new" not in listed("--older-than", "1h")
        assert len(listed("--older-than", "1h")) == 5


def test_what_does_not_fit_is_counted(several: dict[str, TriggerFlowExecution]) -> None:
    ran = run("list", "--limit", "2", "--format", "json")
    assert (len(ran.document["executions"]), ran.document["total"], ran.document["left_off"]) == (2, 5, 3)
    assert "and 3 more" in run("list", "--limit", "2").out
    assert run("list", "--limit", "0").code == 2


def test_the_text_is_readable_in_80_columns(
    several: dict[str, TriggerFlowExecution], register: Callable[..., TriggerFlow]
) -> None:
    hostile = register(TriggerFlow(name="a flow\x1b[2J with a very long name"))
    hostile.to(("ask", lambda data: data.pause_for()))
    hostile.start_execution(auto_close=False)
    lines = run("list").out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert all(char.isprintable() for line in lines for char in line)
    told = {line.split()[0]: line for line in lines}
    assert told[several["waiting"].id].endswith("1 to decide")
    assert told[several["failed"].id].endswith("1 failed, ...")
    assert " idle " in told[several["idle"].id]


def test_nothing_found_is_said() -> None:
    assert run("list").out.strip() == "None."
    assert run("list", "--format", "json").document == {"executions": [], "total": 0, "left_off": 0}


def test_it_takes_the_same_queries_however_many_there_are(
    several: dict[str, TriggerFlowExecution], django_assert_num_queries: Callable[[int], object]
) -> None:
    with django_assert_num_queries(3):  # type: ignore[attr-defined]
        run("list", "--all")
