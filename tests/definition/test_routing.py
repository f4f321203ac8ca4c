"""Where a signal goes: pure walks, without a database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest

from triggerflow_django import exceptions
from triggerflow_django.definition import routing
from triggerflow_django.definition.flow import FlowDefinition
from triggerflow_django.definition.graph import START, Graph, Source
from triggerflow_django.definition.routing import Ask, Defer, Fill, Open, Run, Scope, Signal

Write = Callable[[FlowDefinition], Any]


def ask(data: Any) -> Any:
    return data.input


def check(data: Any) -> Any:
    return data.input


def graph(write: Write) -> Graph:
    flow = FlowDefinition("refund")
    write(flow)
    return flow.graph


def numbers() -> Iterator[str]:
    yield from (f"T{index}" for index in range(100))


def walk(
    known: Graph,
    source: Source = START,
    value: Any = None,
    scope: Scope = (),
    *,
    evaluate: bool = True,
    window: int = 100,
) -> list[Any]:
    """All effects of a walk; conditions are answered by calling them with the value."""
    return driven(routing.walk(known, Signal(source, value, scope), numbers(), evaluate=evaluate, window=window))


def driven(steps: routing.Walk, answer: Callable[[Ask], Any] = lambda ask: ask.condition(ask.value)) -> list[Any]:
    effects: list[Any] = []
    said: Any = None
    while True:
        try:
            effect = steps.send(said)
        except StopIteration:
            return effects
        said = answer(effect) if isinstance(effect, Ask) else None
        if not isinstance(effect, Ask):
            effects.append(effect)


def nodes(effects: list[Any]) -> list[str]:
    return [effect.node for effect in effects if isinstance(effect, Run)]


# -- chunks


def test_a_signal_runs_all_that_listen_with_the_same_value() -> None:
    known = graph(lambda flow: (flow.to(ask), flow.to(check), flow.when("E").to(("other", ask))))
    assert walk(known, value={"amount": 3}) == [
        Run("ask", {"amount": 3}, (), START),
        Run("check", {"amount": 3}, (), START),
    ]
    assert walk(known, ("event", "E"), 5) == [Run("other", 5, (), ("event", "E"))]


def test_a_signal_nobody_listens_to_leads_nowhere() -> None:
    known = graph(lambda flow: flow.to(ask))
    assert walk(known, ("event", "unknown")) == []
    assert walk(known, ("done", "gone")) == []


def test_a_walk_gives_the_same_effects_each_time() -> None:
    known = graph(lambda flow: flow.for_each().batch(ask, check).end_for_each())
    assert walk(known, value=[1, 2]) == walk(known, value=[1, 2])


# -- batch


def test_a_batch_opens_its_join_and_runs_its_branches_in_scopes_of_their_own() -> None:
    known = graph(lambda flow: flow.batch(ask, check, concurrency=1))
    node, end = "START/batch-1", "START/batch-1/end"
    assert walk(known, value=7) == [
        Open(end, "T0", (), ("ask", "check"), None, 0, 1),
        Run("ask", 7, ((node, "T0", "0"),), START),
        Run("check", 7, ((node, "T0", "1"),), START),
    ]
    assert walk(known, ("done", "check"), 8, ((node, "T0", "1"),)) == [Fill(end, "T0", "check", 8, ())]


def test_a_chunk_in_two_fan_outs_closes_the_one_it_ran_in() -> None:
    known = graph(lambda flow: (flow.batch(ask, check), flow.when("E").batch(ask, ("third", ask))))
    one, two = "START/batch-1", "when(event:E)/batch-1"
    assert walk(known, ("done", "ask"), 1, ((one, "A", "0"),)) == [Fill(f"{one}/end", "A", "ask", 1, ())]
    assert walk(known, ("done", "ask"), 1, ((two, "B", "0"),)) == [Fill(f"{two}/end", "B", "ask", 1, ())]
    inner: Scope = ((one, "A", "0"), (two, "B", "0"))
    assert walk(known, ("done", "ask"), 1, inner) == [Fill(f"{two}/end", "B", "ask", 1, inner[:1])]


def test_a_chunk_of_a_fan_out_that_finishes_elsewhere_is_told_what_to_do() -> None:
    known = graph(lambda flow: (flow.batch(ask, check), flow.when("E").to(ask)))
    with pytest.raises(
        exceptions.JoinClosedError, match=r"ask finished outside of the fan-out .* needs a name= of its own"
    ):
        walk(known, ("done", "ask"))


# -- for_each


@pytest.mark.parametrize("value", [5, "text", None, {"a": 1}, True, 1.5])
def test_what_is_no_list_is_one_item(value: Any) -> None:
    opened, ran = walk(graph(lambda flow: flow.for_each().to(ask).end_for_each()), value=value)
    assert (opened.items, opened.entered) == ([value], 1)
    assert (ran.value, ran.source) == (value, ("item", "START/for_each-1"))


@pytest.mark.parametrize("value", [[], ()])
def test_an_empty_list_passes_at_once(value: Any) -> None:
    known = graph(lambda flow: flow.for_each().to(ask).end_for_each().to(check))
    assert walk(known, value=value) == [Run("check", [], (), ("fired", "START/for_each-1/end"))]


@pytest.mark.parametrize(("concurrency", "window", "entered"), [(None, 3, 3), (2, 3, 2), (5, 3, 5), (None, 100, 10)])
def test_only_a_window_of_the_items_is_entered(concurrency: int | None, window: int, entered: int) -> None:
    known = graph(lambda flow: flow.for_each(concurrency).to(ask).end_for_each())
    opened, *ran = walk(known, value=list(range(10)), window=window)
    assert (opened.items, opened.entered, opened.concurrency) == (list(range(10)), entered, concurrency)
    assert [run.value for run in ran] == list(range(entered))
    assert [run.scope for run in ran] == [(("START/for_each-1", "T0", str(index)),) for index in range(entered)]


def test_one_more_item_is_entered_under_the_same_activation() -> None:
    known = graph(lambda flow: flow.for_each().to(ask).end_for_each())
    signal = Signal(("item", "START/for_each-1"), "x", (("outer", "A", "1"),))
    steps = routing.enter_item(known, "START/for_each-1", 7, signal, "T0", numbers(), window=3)
    scope: Scope = (("outer", "A", "1"), ("START/for_each-1", "T0", "7"))
    assert list(steps) == [Run("ask", "x", scope, ("item", "START/for_each-1"))]


def test_an_item_fills_its_own_place() -> None:
    known = graph(lambda flow: flow.for_each().to(ask).end_for_each())
    filled = walk(known, ("done", "ask"), "v", (("START/for_each-1", "T0", "7"),))
    assert filled == [Fill("START/for_each-1/end", "T0", "7", "v", ())]


# -- match


def matching(flow: FlowDefinition, mode: Any = "hit_first", *, with_else: bool = False) -> None:
    block = flow.match(mode=mode).case(lambda value: value > 1).to(("big", ask)).case(3).to(("three", ask))
    (block.case_else().to(("other", ask)) if with_else else block).end_match().to(("after", ask))


@pytest.mark.parametrize(
    ("value", "with_else", "expected"),
    [(5, False, ["big"]), (3, False, ["big"]), (0, False, ["after"]), (0, True, ["other"])],
)
def test_the_first_case_that_holds_is_taken(value: int, with_else: bool, expected: list[str]) -> None:
    assert nodes(walk(graph(lambda flow: matching(flow, with_else=with_else)), value=value)) == expected


def test_a_branch_of_hit_first_leads_on_in_the_scope_it_came_from() -> None:
    known = graph(matching)
    assert walk(known, ("done", "big"), 9) == [Run("after", 9, (), ("fired", "START/match-1/end"))]


def test_all_cases_that_hold_are_joined() -> None:
    known = graph(lambda flow: matching(flow, "hit_all", with_else=True))
    opened, *ran = walk(known, value=3)
    assert (opened.slots, nodes(ran)) == (("0", "1"), ["big", "three"])
    scope: Scope = (("START/match-1", "T0", "1"),)
    assert walk(known, ("done", "three"), 9, scope) == [Fill("START/match-1/end", "T0", "1", 9, ())]


def test_one_chunk_in_two_cases_fills_the_place_of_the_case_it_ran_in() -> None:
    known = graph(lambda flow: flow.match(mode="hit_all").case(1).to(ask).case(lambda value: value).to(ask).end_match())
    assert nodes(walk(known, value=1)) == ["ask", "ask"]
    for ordinal in "01":
        filled = walk(known, ("done", "ask"), 9, (("START/match-1", "T0", ordinal),))
        assert filled == [Fill("START/match-1/end", "T0", ordinal, 9, ())]


def test_the_else_of_hit_all_needs_no_join() -> None:
    known = graph(lambda flow: matching(flow, "hit_all", with_else=True))
    (ran,) = walk(known, value=0)
    assert walk(known, ("done", "other"), 1, ran.scope) == [Run("after", 1, (), ("fired", "START/match-1/end"))]
    assert nodes(walk(graph(lambda flow: matching(flow, "hit_all")), value=0)) == ["after"]


def test_conditions_are_asked_in_order_and_no_further_than_needed() -> None:
    asked: list[Any] = []
    first, second = (lambda value: 0), (lambda value: "truthy")
    known = graph(
        lambda flow: flow.match().case(first).to(ask).case(second).to(check).case(lambda value: 1).to(ask).end_match()
    )

    def answer(question: Ask) -> Any:
        asked.append(question.condition)
        return question.condition(question.value)

    steps = routing.walk(known, Signal(START, 1), numbers(), evaluate=True, window=1)
    assert nodes(driven(steps, answer)) == ["check"]
    assert asked == [first, second]


def test_where_conditions_may_not_be_asked_the_whole_choice_is_deferred() -> None:
    known = graph(matching)
    deferred = Defer("START/match-1", 3, (), START)
    assert walk(known, value=3, evaluate=False) == [deferred]
    steps = routing.walk(known, Signal(START, 3), numbers(), evaluate=True, window=1)
    assert driven(steps, lambda question: routing.DEFER) == [deferred]
    again = routing.enter(known, "START/match-1", Signal(START, 3), numbers(), evaluate=True, window=1)
    assert nodes(driven(again)) == ["big"]


def test_plain_values_need_nobody_to_ask() -> None:
    known = graph(lambda flow: flow.match().case("a").to(ask).case({"k": [1]}).to(check).end_match())
    assert nodes(walk(known, value="a", evaluate=False)) == ["ask"]
    assert nodes(walk(known, value={"k": [1]}, evaluate=False)) == ["check"]


# -- when and collect


def test_a_join_of_events_is_keyed_by_the_execution_at_the_top_and_by_the_item_below() -> None:
    known = graph(lambda flow: (flow.when(["A", "B"]).to(ask), flow.for_each().to(check).end_for_each()))
    item: Scope = (("START/for_each-1", "T0", "4"),)
    (at_top,) = walk(known, ("event", "A"), 1)
    (below,) = walk(known, ("event", "A"), 1, item)
    (other,) = walk(known, ("event", "B"), 1, (("START/for_each-1", "T0", "5"),))
    assert (at_top.activation, at_top.slot, at_top.scope) == ("", "event:A", ())
    assert len({at_top.activation, below.activation, other.activation}) == 3
    assert below.scope == item


@pytest.mark.parametrize("mode", ["batch", "hit_all"])
def test_the_branches_of_one_fan_out_share_a_layer(mode: str) -> None:
    def write(flow: FlowDefinition) -> None:
        flow.when(["A", "B"]).to(("both", ask))
        if mode == "batch":
            flow.batch(ask, check)
        else:
            flow.match(mode="hit_all").case(1).to(ask).case(1).to(check).end_match()

    known = graph(write)
    opener = next(node.id for node in known.nodes.values() if node.kind in ("batch", "match"))
    fills = [
        walk(known, ("event", event), 1, ((opener, activation, ordinal),))[0]
        for event, activation, ordinal in [("A", "T0", "0"), ("B", "T0", "1"), ("B", "T9", "1")]
    ]
    assert fills[0].activation == fills[1].activation != fills[2].activation
    assert fills[0].scope == fills[1].scope == ((opener, "T0", ""),)


@pytest.mark.parametrize(("mode", "value"), [("or", ["event", "A", 3]), ("simple_or", 3)])
def test_an_or_passes_each_value_on(mode: Any, value: Any) -> None:
    known = graph(lambda flow: flow.when(["A", "B"], mode=mode).to(ask))
    scope: Scope = (("n", "T", "0"),)
    (ran,) = walk(known, ("event", "A"), 3, scope)
    assert (ran.node, ran.value, ran.scope) == ("ask", value, scope)


def test_an_or_names_a_state_key_by_its_whole_name() -> None:
    known = graph(lambda flow: flow.when({"runtime_data": ["user:name", "b"]}, mode="or").to(ask))
    (ran,) = walk(known, ("runtime_data", "user:name"), 3)
    assert ran.value == ["runtime_data", "user:name", 3]


# -- activations


def test_activations_follow_from_the_path_and_differ_within_it() -> None:
    one, again, other = (list(islice(routing.activations(path), 50)) for path in ("p", "p", "q"))
    assert one == again
    assert len({*one, *other}) == 100
    assert {len(token) for token in one} == {16}
