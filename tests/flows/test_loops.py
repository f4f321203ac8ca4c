"""Emitting events, and loops that go round through them; a loop never mixes with its own slow past."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.flows import running
from tests.handles import loops
from triggerflow_django import TriggerFlow

pytestmark = pytest.mark.django_db


@pytest.fixture
def flow() -> TriggerFlow:
    return TriggerFlow(name="loop")


# -- emit


def test_the_events_of_a_chunk_come_in_call_order_and_before_its_end(flow: TriggerFlow) -> None:
    def tell(data: Any) -> str:
        data.emit("A", 1)
        data.set_state("key", 2)
        data.emit_nowait("B", 3)
        data.emit("A", 1)
        return "end"

    flow.to(tell).to(running.append(), name="after")
    flow.when(["A", "B"], mode="simple_or").to(running.append(), name="event")
    flow.when({"runtime_data": "key"}).to(running.append(), name="state")
    assert running.run(flow)["log"] == [1, 2, 3, 1, "end"]


def test_emit_in_a_chunk_returns_at_once_and_what_it_causes_follows_the_commit(flow: TriggerFlow) -> None:
    def tell(data: Any) -> Any:
        data.emit("A", 1)
        return data.get_state("heard", "nothing yet")

    flow.to(tell).to(running.keep())
    flow.when("A").to(running.keep("heard"))
    assert running.run(flow) == {"heard": 1, "out": "nothing yet"}


def test_the_four_spellings_are_the_same(flow: TriggerFlow) -> None:
    async def tell(data: Any) -> None:
        data.emit("E", 1)
        data.emit_nowait("E", 2)
        await data.async_emit("E", 3)
        await data.async_emit_nowait("E", 4)

    flow.to(tell)
    flow.when("E").to(running.append())
    assert running.run(flow)["log"] == [1, 2, 3, 4]


def test_a_chunk_that_raises_has_emitted_nothing(flow: TriggerFlow) -> None:
    def tell(data: Any) -> None:
        data.emit("E", 1)
        data.set_state("key", 1)
        raise LookupError

    flow.to(tell)
    flow.when("E").to(running.append())
    execution, _ = running.broken(flow, None, LookupError)
    assert execution.get_state() == {}


def test_the_handle_gets_what_the_handlers_returned(flow: TriggerFlow) -> None:
    flow.when("E").to(lambda data: data.input + 1)
    flow.when("E").to(lambda data: data.input + 2).to(running.keep())
    execution = running.begin(flow)
    assert execution.emit("E", 10) == [11, 12]
    assert execution.emit("unknown", 10) is None
    assert execution.get_state("out") == 12


def test_an_event_may_come_before_the_start(flow: TriggerFlow) -> None:
    flow.to(running.append(), name="start")
    flow.when("E").to(running.append(), name="event")
    execution = flow.create_execution(auto_close=False)
    assert execution.emit("E", "early") == ["early"]
    assert execution.get_status() == "created"
    execution.start("start")
    assert running.log(execution) == ["early", "start"]


def test_what_nobody_waits_for_runs_with_the_next_call_or_at_the_close(flow: TriggerFlow) -> None:
    flow.when("E").to(running.append())
    execution = running.begin(flow)
    execution.emit_nowait("E", 1)
    execution.emit_nowait("E", 2)
    assert running.log(execution) == []
    assert execution.close() == {"log": [1, 2]}


@pytest.mark.django_db(transaction=True)
def test_in_a_loop_emit_nowait_runs_in_the_background(flow: TriggerFlow) -> None:
    async def walk() -> None:
        heard = asyncio.Event()

        async def listen(data: Any) -> None:
            heard.set()

        flow.when("E").to(listen)
        execution = flow.create_execution(auto_close=False)
        await execution.async_start()
        await execution.async_emit_nowait("E")
        await asyncio.wait_for(heard.wait(), 60)
        await execution.async_close()

    loops.run(walk())


# -- loops


def test_a_loop_goes_round_until_it_stops(flow: TriggerFlow) -> None:
    def body(data: Any) -> None:
        data.append_state("seen", data.input)
        data.emit("Loop" if data.input < 20 else "Done", data.input + 1)

    flow.to(lambda data: data.emit("Loop", 0))
    flow.when("Loop").to(body)
    flow.when("Done").to(running.keep())
    assert running.run(flow) == {"seen": list(range(21)), "out": 21}


def test_a_loop_may_pause_in_every_round(flow: TriggerFlow) -> None:
    def ask(data: Any) -> Any:
        return data.pause_for(interrupt_id=f"round {data.input}")

    flow.to(lambda data: data.emit("Loop", 1))
    flow.when("Loop").to(ask).to(
        lambda data: data.emit("Loop", data.input) if data.input < 4 else data.emit("Done", data.input)
    )
    flow.when("Done").to(running.keep())
    execution = running.begin(flow)
    for number in (1, 2, 3):
        running.answer(execution, f"round {number}", number + 1)
    assert execution.get_state("out") == 4
    running.nothing_is_left(execution)


def rounds(flow: TriggerFlow, first: str, second: str) -> Any:
    """Two rounds through a fan-out of which the first one waits; then they are answered, the first last."""
    execution = running.begin(flow)
    execution.emit("Loop", 1)
    execution.emit("Loop", 2)
    assert running.log(execution) == []
    running.answer(execution, second, "b")
    assert len(running.log(execution)) == 1
    running.answer(execution, first, "a")
    running.nothing_is_left(execution)
    return running.log(execution)


def asking(data: Any) -> Any:
    return data.pause_for(interrupt_id=f"q{data.input}")


def test_a_loop_that_enters_a_batch_again_does_not_mix_with_the_round_before(flow: TriggerFlow) -> None:
    flow.when("Loop").batch(("ask", asking), ("quick", running.same)).to(running.append())
    assert rounds(flow, "q1", "q2") == [{"ask": "b", "quick": 2}, {"ask": "a", "quick": 1}]


def test_a_loop_that_enters_a_for_each_again_does_not_mix(flow: TriggerFlow) -> None:
    def ask_first(data: Any) -> Any:
        number, index = data.input
        return data.pause_for(interrupt_id=f"q{number}") if index == 0 else number

    body = flow.when("Loop").to(lambda data: [[data.input, 0], [data.input, 1]]).for_each(concurrency=1).to(ask_first)
    body.end_for_each().to(running.append())
    assert rounds(flow, "q1", "q2") == [["b", 2], ["a", 1]]


def test_a_loop_that_enters_hit_all_again_does_not_mix(flow: TriggerFlow) -> None:
    block = flow.when("Loop").match(mode="hit_all").case(lambda data: True).to(asking)
    block.case(lambda data: True).to(running.same).end_match().to(running.append())
    assert rounds(flow, "q1", "q2") == [["b", 2], ["a", 1]]


def test_a_collection_inside_a_batch_does_not_mix_rounds(flow: TriggerFlow) -> None:
    flow.when("Loop").batch(("ask", asking), ("quick", running.same))
    flow.when(["ask", "quick"]).to(running.append())
    assert rounds(flow, "q1", "q2") == [
        {"event": {"ask": "b", "quick": 2}},
        {"event": {"ask": "a", "quick": 1}},
    ]


def test_a_batch_whose_branch_goes_round_nests_its_rounds(flow: TriggerFlow) -> None:
    def again(data: Any) -> Any:
        if data.input < 3:
            data.emit("Loop", data.input + 1)
        return data.input

    flow.when("Loop").batch(("a", again), ("b", running.same), concurrency=1).to(running.append())
    execution = running.begin(flow)
    execution.emit("Loop", 1)
    assert sorted(running.log(execution), key=str) == [{"a": n, "b": n} for n in (1, 2, 3)]
    running.nothing_is_left(execution)


def test_one_chunk_opens_fan_outs_by_an_event_and_again_by_the_answer(flow: TriggerFlow) -> None:
    def ask(data: Any) -> Any:
        data.emit("Fan", "asked")
        return data.pause_for(interrupt_id="q", resume_to={"event": "Fan"})

    flow.to(ask)
    flow.when("Fan").batch(("a", running.same), ("b", running.same), concurrency=1).to(running.append())
    execution = running.begin(flow)
    running.answer(execution, "q", "answered")
    assert running.log(execution) == [{"a": "asked", "b": "asked"}, {"a": "answered", "b": "answered"}]
    running.nothing_is_left(execution)
