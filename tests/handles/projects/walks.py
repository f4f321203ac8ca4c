"""Walks of a flow in a project with other settings: ``python -m tests.handles.projects.walks NAME``.

Run as a program of its own, under DJANGO_SETTINGS_MODULE; migrates its database first and fails by an assertion.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
import time
from typing import Any

import django
import pytest


def without_time_zones() -> None:
    """Deadlines, retries and closing by itself, with naive local times everywhere."""
    from triggerflow_django import TriggerFlow
    from triggerflow_django.engine import clock, sweep
    from triggerflow_django.models import Event, Step
    from triggerflow_django.testing import travel

    flow = TriggerFlow("far from Greenwich")

    @flow.chunk(retries=1, backoff=0.001)
    def ask(data: Any) -> Any:
        if data.attempt == 1:
            raise LookupError("not yet")
        return data.pause_for(interrupt_id="gate", due_in=60, on_due={"answer": "by default"})

    async def record(data: Any) -> None:
        await data.async_set_state("answer", data.input)

    flow.to(ask).to(record)
    execution = flow.start_execution(auto_close_timeout=60)
    record_ = execution.get_interrupt("gate")
    assert record_ is not None
    assert abs(record_["created_at"] - time.time()) < 60, "a stamp is a moment, not a wall clock"
    assert abs(record_["due_at"] - time.time() - 60) < 60
    row = execution.row()
    assert row is not None
    local = dt.datetime.now()  # noqa: DTZ005 - the project stores local time
    for stored in (row.created_at, row.started_at, clock.read("default"), Step.objects.latest("pk").available_at):
        assert stored.tzinfo is None
        assert abs((stored - local).total_seconds()) < 60, (stored, local)
    assert sweep.sweep(using="default").total() == 0
    with travel(seconds=61):
        assert sweep.sweep(using="default").deadlines == 1
        execution.wait()
        assert sweep.sweep(using="default").auto_closed == 0
    with travel(seconds=130):
        assert sweep.sweep(using="default").auto_closed == 1
    assert execution.get_snapshot() == {"answer": "by default"}
    assert asyncio.run(flow.async_start(started_by="nobody", skip_exceptions=True)) == {}
    assert not Event.objects.filter(created_at__gt=local + dt.timedelta(hours=1)).exists()
    document = execution.save()
    assert flow.create_execution().load(document, as_new=True).get_snapshot() == {"answer": "by default"}


def with_members() -> None:
    """Members start, are named, are excluded and decide."""
    from tests.handles.projects.members.models import Member
    from triggerflow_django import TriggerFlow
    from triggerflow_django.exceptions import DecisionRefusedError
    from triggerflow_django.models import Decision, Execution

    ann, ben = (Member.objects.create(email=f"{name}@example.org") for name in ("ann", "ben"))
    flow = TriggerFlow("members")
    flow.to(
        (
            "ask",
            lambda data: data.pause_for(
                interrupt_id="gate", approvers=["user:ann@example.org", ben], exclude_starter=True
            ),
        )
    ).to(("record", lambda data: data.set_state("answer", data.input)))
    execution = flow.start_execution(auto_close=False, started_by=ann, subject=ben)
    with pytest.raises(DecisionRefusedError, match="you started this execution"):
        execution.continue_with("gate", "no", actor=ann)
    execution.continue_with("gate", "yes", actor=ben)
    row = Execution.objects.get()
    assert (row.started_by_id, row.started_by_label) == (str(ann.pk), "ann@example.org")
    assert row.subject == ben
    decision = Decision.objects.get()
    assert (decision.actor_id, decision.actor_label) == (str(ben.pk), "ben@example.org")
    ben.delete()
    assert Decision.objects.get().actor_label == "ben@example.org"
    assert execution.close() == {"answer": "yes"}


def two_databases() -> None:
    """Executions in the second database: nothing of them touches the first."""
    from django.contrib.auth.models import Group
    from django.core.management import call_command
    from django.db import connections

    from triggerflow_django import TriggerFlow, register

    call_command("migrate", database="second", verbosity=0)
    flow = register(TriggerFlow("in the second"))

    @flow.chunk(atomic=True)
    def book(data: Any) -> str:
        Group.objects.using("second").create(name=f"booked {data.input}")
        assert data.execution.get_status() == "running"
        return str(data.input)

    async def ask(data: Any) -> Any:
        assert (await data.execution.async_row())._state.db == "second"
        return await data.async_pause_for(interrupt_id="gate")

    flow.to(book).to(ask).to(("record", lambda data: data.set_state("answer", data.input)))

    def refuse(_execute: Any, sql: str, *_arguments: Any) -> Any:
        raise AssertionError(f"the first database was asked: {sql}")

    with connections["default"].execute_wrapper(refuse):
        document = _a_walk_in_the_second(flow)
    _the_first_is_its_own(flow, document)
    asyncio.run(_loops_find_the_second(flow))


def _a_walk_in_the_second(flow: Any) -> dict[str, Any]:
    from django.contrib.auth.models import Group
    from django.db import transaction
    from django.test import override_settings

    from triggerflow_django import TriggerFlow, signals
    from triggerflow_django.engine import sweep
    from triggerflow_django.models import Execution

    told: list[str] = []
    signals.execution_closed.connect(lambda using, **_arguments: told.append(using), weak=False)
    group = Group.objects.using("second").create(name="what it is about")
    execution = flow.start_execution("a", using="second", auto_close=False, key="a", subject=group)
    assert execution.row().subject_id == str(group.pk)
    assert flow.start_execution("a", using="second", key="a").id == execution.id
    assert flow.get_execution(execution.id, using="second").is_waiting()
    assert TriggerFlow.attach(execution.id, using="second").is_waiting()
    execution.set_state("note", 1)
    execution.continue_with("gate", "yes")
    assert execution.close() == {"note": 1, "answer": "yes"}
    assert told == ["second"]
    assert sweep.sweep(using="second").total() == 0
    with override_settings(TRIGGERFLOW={"DATABASE": "second"}):
        assert flow.get_execution(execution.id).is_closed()
        assert flow.start_execution("b").using == "second"
    with transaction.atomic(using="second"):
        flow.start_execution("c", using="second")
        transaction.set_rollback(True, using="second")
    assert Execution.objects.using("second").count() == 2
    document: dict[str, Any] = execution.save()
    return document


def _the_first_is_its_own(flow: Any, document: dict[str, Any]) -> None:
    from django.db import transaction

    from triggerflow_django.exceptions import UnknownExecutionError
    from triggerflow_django.models import Execution

    with transaction.atomic():
        flow.start_execution("d", using="second")
        transaction.set_rollback(True)
    assert Execution.objects.using("second").count() == 3
    with pytest.raises(UnknownExecutionError):
        flow.get_execution(document["execution_id"])
    assert not Execution.objects.exists()
    assert flow.create_execution().load(document).get_snapshot() == {"note": 1, "answer": "yes"}
    assert Execution.objects.get().id.hex == document["execution_id"]


async def _loops_find_the_second(flow: Any) -> None:
    from asgiref.sync import async_to_sync, sync_to_async
    from django.db import transaction

    from triggerflow_django.exceptions import SyncInLoopError

    started = flow.start_execution("e", using="second")
    await started.async_continue_with("gate", "yes")
    assert started.get_state() == {"answer": "yes"}

    async def start() -> None:
        flow.start_execution("f", using="second")

    def under_a_transaction() -> None:
        with transaction.atomic(using="second"), pytest.raises(SyncInLoopError):
            async_to_sync(start)()

    await sync_to_async(under_a_transaction)()


if __name__ == "__main__":
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    globals()[sys.argv[1]]()
