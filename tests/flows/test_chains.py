"""Chunks one after another on the real engine: values, names, spellings, and what the start returns."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from tests.flows import running
from tests.handles import loops
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.models import Execution, ExecutionStatus, Lifecycle

pytestmark = pytest.mark.django_db


class Clerk:
    def __call__(self, data: Any) -> Any:
        return [*data.input, "called"]

    def review(self, data: Any) -> Any:
        return [*data.input, "reviewed"]

    async def phone(self, data: Any) -> Any:
        return [*data.input, "phoned"]


def tell(word: str, data: Any) -> Any:
    return [*data.input, word]


def test_every_spelling_of_a_chunk_runs() -> None:
    flow = TriggerFlow(name="spellings")
    clerk = Clerk()

    @flow.chunk
    def decorated(data: Any) -> Any:
        return [*data.input, "decorated"]

    @flow.chunk("a name of its own")
    async def named(data: Any) -> Any:
        return [*data.input, "named"]

    @flow.chunk(retries=1)
    def with_options(data: Any) -> Any:
        return [*data.input, "with options"]

    flow.chunk("made earlier", functools.partial(tell, "made earlier"))
    process = flow.to(decorated).to("a name of its own").to(with_options).to("made earlier")
    process = process.to(("pair", functools.partial(tell, "pair"))).to(functools.partial(tell, "partial"), name="third")
    process.to(clerk).to(clerk.review).to(clerk.phone).to(lambda data: [*data.input, "lambda"]).to(running.keep())
    words = "decorated, named, with options, made earlier, pair, partial, called, reviewed, phoned, lambda"
    assert running.run(flow, [])["out"] == words.split(", ")


def test_a_chunk_without_a_return_passes_none_on() -> None:
    flow = TriggerFlow(name="none")
    flow.to(lambda data: None).to(running.keep())
    assert running.run(flow, 5) == {"out": None}


def test_a_chunk_sees_its_input_under_three_names_and_what_caused_it() -> None:
    flow = TriggerFlow(name="names")

    def look(data: Any) -> Any:
        same = data.input == data.value == data.inputs
        return [same, data.trigger_type, data.type, data.trigger_event, data.event, data.signal_info["value"]]

    flow.to(look, name="first").to(look, name="second").to(running.keep())
    flow.when("E").to(look, name="third").to(running.keep("third"))
    execution = running.begin(flow, 7)
    execution.emit("E", 8)
    first = [True, "event", "event", "START", "START", 7]
    assert execution.get_state("out") == [True, "event", "event", "first", "first", first]
    assert execution.get_state("third") == [True, "event", "event", "E", "E", 8]


def test_everything_attached_to_one_place_gets_the_same_value_in_the_order_it_was_written() -> None:
    flow = TriggerFlow(name="fan")
    place = flow.to(lambda data: data.input + 1)
    for name in ("first", "second", "third"):
        place.to(running.append(), name=name)
    flow.to(running.append("start"))
    assert running.run(flow, 1) == {"log": [2, 2, 2], "start": [1]}


def test_a_side_branch_runs_beside_the_chain() -> None:
    flow = TriggerFlow(name="side")
    flow.to(lambda data: 1).side_branch(lambda data: 99).____("go on").to(running.keep())
    flow.to(running.same).to(lambda data: 98, side_branch=True).to(running.keep("other"))
    assert running.run(flow, 5) == {"out": 1, "other": 5}


def test_one_chunk_in_two_chains_is_one_place_with_both_ways_on() -> None:
    flow = TriggerFlow(name="shared")
    flow.to(running.same).to(running.append(), name="after start")
    flow.when("E").to(running.same).to(running.append(), name="after event")
    execution = running.begin(flow, "start")
    assert running.log(execution) == ["start", "start"]
    execution.emit("E", "event")
    assert running.log(execution) == ["start", "start", "event", "event"]


def test_names_keep_two_uses_of_one_function_apart() -> None:
    flow = TriggerFlow(name="apart")
    flow.to(running.same, name="one").to(running.append(), name="after start")
    flow.when("E").to(running.same, name="two").to(running.append(), name="after event")
    execution = running.begin(flow, "start")
    execution.emit("E", "event")
    assert running.log(execution) == ["start", "event"]


def test_a_flow_may_do_nothing() -> None:
    execution = running.begin(TriggerFlow(name="empty"), 5)
    assert execution.close() == {}


# -- an execution has the flow as it was when it was made


def test_what_is_added_to_a_flow_later_does_not_reach_executions_that_exist() -> None:
    flow = TriggerFlow(name="grows")
    place = flow.to(running.append(), name="first")
    early = flow.create_execution(auto_close=False)
    place.to(running.append(), name="second")
    flow.when("E").to(running.append(), name="third")
    early.start(1)
    early.emit("E", 2)
    assert running.log(early) == [1]
    late = running.begin(flow, 1)
    late.emit("E", 2)
    assert running.log(late) == [1, 1, 2]


# -- what flow.start and its kin return


def test_start_of_a_flow_returns_the_state_it_closed_with_and_not_what_chunks_returned() -> None:
    flow = TriggerFlow(name="start")
    flow.to(running.keep("seen")).to(lambda data: "returned")
    assert flow.start({"amount": 3}) == {"seen": {"amount": 3}}
    row = Execution.objects.get(flow_name="start")
    assert (row.lifecycle, row.status, row.snapshot) == (
        Lifecycle.CLOSED,
        ExecutionStatus.COMPLETED,
        {"seen": {"amount": 3}},
    )


def test_start_of_a_flow_raises_the_error_of_its_chunk_unchanged() -> None:
    flow = TriggerFlow(name="start")
    error = LookupError("no such order")

    def fail(data: Any) -> None:
        raise error

    flow.to(fail).to(running.keep())
    with pytest.raises(LookupError) as caught:
        flow.start(1)
    assert caught.value is error
    assert Execution.objects.get().lifecycle == Lifecycle.CLOSED


def test_start_of_a_flow_never_leaves_it_open() -> None:
    flow = TriggerFlow(name="start")
    flow.to(lambda data: data.pause_for(interrupt_id="q"))
    with pytest.raises(ValueError, match="always closes"):
        flow.start(1, auto_close=False)
    with pytest.raises(RuntimeError, match="gives nobody a handle"):
        flow.start(1)
    assert list(Execution.objects.values_list("lifecycle", flat=True)) == [Lifecycle.CLOSED]


def test_start_execution_returns_the_handle_of_a_settled_execution() -> None:
    flow = TriggerFlow(name="start")
    flow.to(running.keep())
    execution = flow.start_execution(4, auto_close=False)
    assert execution.get_state("out") == 4
    assert execution.is_open()


@pytest.mark.django_db(transaction=True)
def test_the_async_forms_return_the_same() -> None:
    flow = TriggerFlow(name="start")

    async def keep(data: Any) -> None:
        await data.async_set_state("out", data.input)

    flow.to(keep)

    async def walk() -> None:
        assert await flow.async_start(5) == {"out": 5}
        execution = await flow.async_start_execution(6, auto_close=False)
        assert await execution.async_get_state("out") == 6
        assert await execution.async_close() == {"out": 6}

    loops.run(walk())


def test_an_unknown_chunk_name_is_refused_before_anything_runs() -> None:
    with pytest.raises(exceptions.UnknownChunkError):
        TriggerFlow(name="typo").to("asc")
