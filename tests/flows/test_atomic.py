"""``atomic=True``: what the chunk wrote with the ORM commits with its step or not at all."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group

from tests.flows import running
from triggerflow_django import TriggerFlow
from triggerflow_django.models import StepKind

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def flow() -> TriggerFlow:
    return TriggerFlow(name="atomic")


def writes(data: Any) -> Any:
    Group.objects.create(name=f"attempt {data.attempt}")
    return data.input


def names() -> list[str]:
    return sorted(Group.objects.values_list("name", flat=True))


def test_what_an_atomic_chunk_wrote_commits_with_its_step(flow: TriggerFlow) -> None:
    flow.to(flow.chunk(writes, atomic=True)).to(running.keep())
    assert running.run(flow, 5) == {"out": 5}
    assert names() == ["attempt 1"]


def test_what_an_atomic_chunk_wrote_is_undone_when_it_raises(flow: TriggerFlow) -> None:
    def fail_once(data: Any) -> Any:
        writes(data)
        if data.attempt == 1:
            raise LookupError
        return data.input

    flow.to(flow.chunk(fail_once, atomic=True, retries=1, backoff=0.001)).to(running.keep())
    assert running.run(flow, 5) == {"out": 5}
    assert names() == ["attempt 2"]


def refused_value(data: Any) -> Any:
    writes(data)
    return {1, 2}


def refused_pause(data: Any) -> Any:
    writes(data)
    return data.pause_for(interrupt_id="q", approvers=["user:nobody here"])


@pytest.mark.parametrize("chunk", [refused_value, refused_pause])
def test_what_an_atomic_chunk_wrote_is_undone_when_its_outcome_is_refused(flow: TriggerFlow, chunk: Any) -> None:
    flow.to(flow.chunk(chunk, atomic=True))
    running.broken(flow, None, ValueError)
    assert names() == []


def test_an_atomic_chunk_may_pause_emit_and_write_state(flow: TriggerFlow) -> None:
    def ask(data: Any) -> Any:
        writes(data)
        data.set_state("key", 1)
        data.emit("E", 2)
        return data.pause_for(interrupt_id="q")

    flow.to(flow.chunk(ask, atomic=True)).to(running.keep())
    flow.when("E").to(running.append())
    execution = running.begin(flow)
    assert execution.get_state() == {"key": 1, "log": [2]}
    running.answer(execution, "q", "yes")
    assert execution.get_state("out") == "yes"
    assert names() == ["attempt 1"]


def test_conditions_after_an_atomic_chunk_are_asked_outside_of_its_transaction(flow: TriggerFlow) -> None:
    def check(data: Any) -> bool:
        assert names() == ["attempt 1"]
        return data.get_state("key") == 1

    def note(data: Any) -> Any:
        data.set_state("key", 1)
        return writes(data)

    flow.to(flow.chunk(note, atomic=True)).match().case(check).to(running.keep()).end_match()
    execution = running.begin(flow, 5)
    assert execution.get_state("out") == 5
    assert [step.kind for step in running.steps(execution)] == [StepKind.CHUNK, StepKind.ROUTE, StepKind.CHUNK]
