"""``create_execution(concurrency=)``: a limit around everything an execution runs, held across drains and workers."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from tests.flows import running
from tests.flows.asking import answered_in_any_order, asks_if, watching
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import claim, clock, start
from triggerflow_django.engine.waits import standing
from triggerflow_django.models import Execution, StepStatus

pytestmark = pytest.mark.django_db


@pytest.fixture
def flow() -> TriggerFlow:
    return TriggerFlow(name="execution limit")


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_no_more_steps_are_ready_or_running_at_once(flow: TriggerFlow, limit: int) -> None:
    most: list[int] = []
    one, two, three = ((f"branch {number}", watching(most)) for number in range(3))
    flow.batch(one, two, three).for_each().to(watching(most), name="each").end_for_each().to(running.keep())
    flow.to(watching(most), name="beside")
    execution = running.begin(flow, [1, 2, 3], concurrency=limit)
    assert max(most) <= limit
    running.nothing_is_left(execution)
    assert execution.row().places == 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("inner", [None, 1, 3])
def test_it_holds_beside_the_limit_of_a_loop_and_pauses_give_their_place_back(
    flow: TriggerFlow, inner: int | None, seed: int
) -> None:
    most: list[int] = []
    body = flow.for_each(inner).to(asks_if(lambda n: n % 2 == 0)).to(watching(most), name="watch")
    body.end_for_each().to(running.keep())
    execution = running.begin(flow, list(range(9)), concurrency=2)
    assert answered_in_any_order(execution, seed) == 5
    assert execution.get_state("out") == list(range(9))
    assert max(most) <= min(2, inner or 2)
    running.nothing_is_left(execution)


def test_a_step_that_fails_gives_its_place_back_and_takes_one_when_it_is_retried(flow: TriggerFlow) -> None:
    flaky = running.Flaky(1)
    flow.for_each().to(flaky).end_for_each().to(running.keep())
    execution = flow.create_execution(auto_close=False, concurrency=1)
    with pytest.raises(LookupError):
        execution.start([1, 2, 3])
    running.balanced(execution)
    execution.retry()
    assert execution.get_state("out") == [1, 2, 3]
    running.nothing_is_left(execution)


@pytest.mark.django_db(transaction=True)
def test_it_holds_between_drains_of_several_threads(flow: TriggerFlow) -> None:
    lock, now, most = threading.Lock(), [0], [0]

    def busy(data: Any) -> Any:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        threading.Event().wait(0.005)
        with lock:
            now[0] -= 1
        return data.input

    flow.for_each().to(busy).end_for_each().to(running.keep())
    again = flow.create_execution(auto_close=False, concurrency=2)
    start.start(again.new, list(range(30)), using="default")

    def drain(_number: int) -> None:
        try:
            flow.get_execution(again.id).wait(60)
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(drain, range(3)))
    assert again.get_state("out") == list(range(30))
    assert most[0] <= 2
    running.nothing_is_left(again)


def test_what_waits_for_it_says_so(flow: TriggerFlow) -> None:
    flow.batch(("one", running.same), ("two", running.same))
    execution = flow.create_execution(auto_close=False, concurrency=1)
    start.start(execution.new, 1, using="default")
    assert claim.ready("default", execution_id=execution.pk).count() == 1
    (held,) = running.steps(execution, StepStatus.HELD)
    assert held.held_by == "*"
    found = standing(Execution.objects.get(), graph=flow.graph, using="default", now=clock.read("default"))
    (wait,) = [wait for wait in found.waits if wait.kind == "limit"]
    assert wait.facts.items() >= {"by": "the execution", "places": 1, "limit": 1}.items()


@pytest.mark.parametrize("as_new", [True, False])
def test_a_saved_execution_keeps_to_it(flow: TriggerFlow, as_new: bool) -> None:
    body = flow.for_each().to(asks_if(lambda _n: True)).to(running.same, name="last")
    body.end_for_each().to(running.keep())
    execution = flow.create_execution(auto_close=False, concurrency=1)
    execution.start([1, 2])
    document = json.loads(json.dumps(execution.save()))
    if not as_new:
        Execution.objects.all().delete()
    loaded = flow.create_execution(auto_close=False).load(document, as_new=as_new)
    assert loaded.row().concurrency == 1
    answered_in_any_order(loaded, 1)
    running.nothing_is_left(loaded)


@pytest.mark.parametrize("wrong", [0, -1, True, "2", 1.5, 2**31])
def test_a_limit_that_is_none_is_refused(flow: TriggerFlow, wrong: Any) -> None:
    with pytest.raises(exceptions.InvalidPolicyError, match="concurrency="):
        flow.create_execution(concurrency=wrong)
