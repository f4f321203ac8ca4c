"""``skip_exceptions``: a chunk that raises ends its own chain, and the execution is not failed by it."""

from __future__ import annotations

import pytest

from tests.flows import running
from tests.flows.running import Flaky
from triggerflow_django import TriggerFlow
from triggerflow_django.models import Lifecycle

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("place", ["flow", "execution"])
def test_a_skipped_exception_ends_its_own_chain_and_nothing_else(place: str) -> None:
    flow = TriggerFlow(name="skipping", skip_exceptions=place == "flow")
    start = flow.to(running.same)
    start.to(Flaky(1)).to(running.keep("never"))
    start.to(running.keep()).to(running.append())
    flow.when("E").to(running.append())
    execution = running.begin(flow, 5, skip_exceptions=None if place == "flow" else True)
    execution.emit("E", 6)
    assert execution.get_state() == {"out": 5, "log": [5, 6]}
    assert execution.get_status() == "running"
    assert running.nodes(execution, "failed") == ["Flaky"]
    assert execution.close() == {"out": 5, "log": [5, 6]}
    assert (execution.get_status(), execution.row().lifecycle) == ("completed", Lifecycle.CLOSED)


def test_an_execution_may_insist_on_exceptions_its_flow_skips() -> None:
    flow = TriggerFlow(name="skipping", skip_exceptions=True)
    flow.to(Flaky(1))
    with pytest.raises(LookupError):
        running.begin(flow, 5, skip_exceptions=False)


def test_a_skipped_failure_in_a_limited_loop_lets_the_next_item_in() -> None:
    flow = TriggerFlow(name="skipping", skip_exceptions=True)
    flow.for_each(concurrency=1).to(Flaky(2)).to(running.append()).end_for_each().to(running.keep())
    execution = running.begin(flow, [1, 2, 3])
    assert running.log(execution) == [1, 3]
    assert execution.close() == {"log": [1, 3]}


def test_a_skipped_failure_can_still_be_retried() -> None:
    flow = TriggerFlow(name="skipping", skip_exceptions=True)
    flow.batch(Flaky(1), ("b", running.same)).to(running.keep())
    execution = running.begin(flow, 5)
    assert execution.retry() == 1
    assert execution.get_state("out") == {"Flaky": 5, "b": 5}
    running.nothing_is_left(execution)
