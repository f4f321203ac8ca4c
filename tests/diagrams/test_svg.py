"""The drawing: valid, safe, the same every time; nothing in it overlaps or runs through a box."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.definition.test_blueprint import everything
from tests.diagrams.flows import HOSTILE, chunk, loops, sixty, wide
from tests.flows import random_flows
from triggerflow_django import diagrams
from triggerflow_django.definition.flow import FlowDefinition
from triggerflow_django.diagrams.layout import Layout, Rect, layout
from triggerflow_django.diagrams.picture import picture
from triggerflow_django.diagrams.svg import _look
from triggerflow_django.diagrams.text import clean, width

pytestmark = pytest.mark.once
SVG = "{http://www.w3.org/2000/svg}"
ALLOWED = {"svg", "title", "desc", "style", "rect", "g", "path", "polygon", "circle", "text"}
FLOWS = {"everything": everything, "loops": loops, "sixty": sixty, "wide": wide}


def placed(flow: FlowDefinition, mode: diagrams.Mode = "detailed") -> tuple[Any, Layout]:
    drawn = picture(flow.graph, mode)
    looks = {box.id: _look(box) for box in drawn.boxes}
    titles = {group.id: width(clean(group.text), 11) for group in drawn.groups}
    return drawn, layout(drawn, {box: (look.w, look.h) for box, look in looks.items()}, titles)


def apart(one: Rect, other: Rect, by: float = 1.0) -> bool:
    """Whether there is air between two places."""
    return (
        one.x + one.w + by <= other.x
        or other.x + other.w + by <= one.x
        or one.y + one.h + by <= other.y
        or other.y + other.h + by <= one.y
    )


def within(inner: Rect, outer: Rect) -> bool:
    return (
        outer.x <= inner.x + 0.2
        and outer.y <= inner.y + 0.2
        and inner.x + inner.w <= outer.x + outer.w + 0.2
        and inner.y + inner.h <= outer.y + outer.h + 0.2
    )


def curve(points: tuple[tuple[float, float], ...]) -> list[tuple[float, float]]:
    """Points along a way, as the drawing bends it."""
    found = []
    for (x, y), (to_x, to_y) in itertools.pairwise(points):
        middle = (y + to_y) / 2
        for step in range(11):
            t = step / 10
            a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
            found.append((a * x + b * x + c * to_x + d * to_x, a * y + b * middle + c * middle + d * to_y))
    return found


def assert_readable(flow: FlowDefinition, mode: diagrams.Mode = "detailed") -> None:
    """No box touches another, frames hold exactly their own, and no arrow runs through a box."""
    drawn, made = placed(flow, mode)
    for one, other in itertools.combinations(made.boxes, 2):
        assert apart(made.boxes[one], made.boxes[other]), (one, other)
    parents = {group.id: group.parent for group in drawn.groups}
    frames = {group.id: rect for group, rect in made.frames}
    for group, frame in made.frames:
        own = {box for inner in drawn.groups for box in inner.boxes if group.id in lineage(inner.id, parents)}
        for box, rect in made.boxes.items():
            assert within(rect, frame) if box in own else apart(rect, frame, 0), (group.id, box)
        for other, rect in frames.items():
            nested = other in lineage(group.id, parents) or group.id in lineage(other, parents)
            assert nested or apart(frame, rect), (group.id, other)
    for way in made.ways:
        for x, y in curve(way.points):
            for box, rect in made.boxes.items():
                if box in (way.arrow.source, way.arrow.target):
                    continue
                inside = rect.x + 0.5 < x < rect.x + rect.w - 0.5 and rect.y + 0.5 < y < rect.y + rect.h - 0.5
                assert not inside, (way.arrow, box)
    whole = Rect(0, 0, made.w, made.h)
    assert all(within(rect, whole) for rect in [*made.boxes.values(), *frames.values()])


def lineage(group: str, parents: dict[str, str]) -> set[str]:
    found = set()
    while group:
        found.add(group)
        group = parents[group]
    return found


@pytest.mark.parametrize("mode", ["detailed", "simplified"])
@pytest.mark.parametrize("name", FLOWS)
def test_nothing_overlaps_and_no_arrow_runs_through_a_box(name: str, mode: diagrams.Mode) -> None:
    assert_readable(FLOWS[name](), mode)


@given(random_flows.descriptions)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_nothing_overlaps_in_any_flow(description: random_flows.Description) -> None:
    flow = random_flows.write(description)
    assert_readable(flow)
    assert_readable(flow, "simplified")


@pytest.mark.parametrize("name", FLOWS)
def test_every_chunk_and_every_arrow_is_drawn(name: str) -> None:
    flow = FLOWS[name]()
    root = ET.fromstring(flow.to_svg())  # noqa: S314 - our own
    titles = [title.text for title in root.iter(f"{SVG}title")]
    for node in flow.graph.nodes.values():
        if node.chunk is not None:
            assert any(str(title).startswith(node.chunk.name) for title in titles), node.id
    drawn = picture(flow.graph, "detailed")
    ways = [path for path in root.iter(f"{SVG}path") if "tf-way" in path.get("class", "")]
    assert len(ways) == len(drawn.arrows)


def test_a_drawing_is_one_element_that_scales_and_can_be_read_aloud() -> None:
    root = ET.fromstring(sixty().to_svg())  # noqa: S314
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    assert re.fullmatch(r"0 0 [\d.]+ [\d.]+", root.get("viewBox", ""))
    assert [child.tag for child in root][:2] == [f"{SVG}title", f"{SVG}desc"]
    assert "sign" in str(root.find(f"{SVG}desc").text)  # type: ignore[union-attr]


def test_the_same_graph_gives_the_same_bytes() -> None:
    states: dict[str, diagrams.State] = {"sign": "done", "intake": "failed"}
    assert sixty().to_svg() == sixty().to_svg()
    assert diagrams.svg(loops().graph, states) == diagrams.svg(loops().graph, dict(reversed(states.items())))


def test_another_process_draws_the_same_bytes() -> None:
    program = (
        "from tests.diagrams.flows import loops, sixty\n"
        "for flow in (loops(), sixty()):\n"
        "    print(flow.to_svg(), flow.to_svg('simplified'), flow.to_mermaid('detailed'))\n"
    )
    drawn = [
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert drawn[0] == drawn[1]
    assert loops().to_svg().encode() in drawn[0]


def test_sixty_nodes_take_less_than_fifty_milliseconds() -> None:
    graph = sixty().graph
    assert len(graph.nodes) >= 60
    taken = []
    for _ in range(7):
        started = time.thread_time()
        diagrams.svg(graph)
        taken.append(time.thread_time() - started)
    assert min(taken) < 0.05


def test_a_large_flow_is_drawn_in_a_few_seconds() -> None:
    flow = FlowDefinition("large")
    chain: Any = flow
    for number in range(300):
        chain = chain.to(chunk(f"c{number}")).batch(chunk(f"a{number}"), chunk(f"b{number}"))
    started = time.thread_time()
    assert len(flow.to_svg()) > 100_000
    assert time.thread_time() - started < 10


# -- names


def flow_of(names: list[str]) -> FlowDefinition:
    """A flow with these names wherever a name can stand."""
    flow = FlowDefinition(names[0])
    for name in names:
        process: Any = flow.when(name).to((f"{name}", chunk("x"))).if_condition(name).to((f"2{name}", chunk("x")))
        process.end_condition().for_each().batch((f"3{name}", chunk("x"))).end_for_each().collect(name)
        flow.when({"runtime_data": name, "flow_data": name}).to_sub_flow(FlowDefinition(name), name=f"4{name}")
    return flow


def assert_safe(svg: str) -> None:
    """Well-formed, and nothing but shapes and text in it."""
    root = ET.fromstring(svg)  # noqa: S314
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in ALLOWED
        for name, value in element.attrib.items():
            assert not name.lower().startswith("on")
            assert name not in ("href", "{http://www.w3.org/1999/xlink}href", "style", "id")
            assert "url(" not in value
    styles = [element.text or "" for element in root.iter(f"{SVG}style")]
    assert all("@import" not in style and "url(" not in style for style in styles)
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]", svg)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_breaks_out_of_a_drawing(name: str) -> None:
    flow = flow_of([name])
    assert_safe(flow.to_svg())
    assert_safe(flow.to_svg("simplified"))
    states: dict[str, diagrams.State] = dict.fromkeys(flow.graph.nodes, "waiting")
    assert_safe(diagrams.svg(flow.graph, states, dict.fromkeys(flow.graph.nodes, 12)))


@given(st.lists(st.text(min_size=1, max_size=60).filter(lambda text: "\0" not in text), min_size=1, max_size=4))
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_text_breaks_out_of_a_drawing(names: list[str]) -> None:
    try:
        flow = flow_of(list(dict.fromkeys(names)))
    except ValueError:
        return
    assert_safe(flow.to_svg())


def test_a_long_name_is_shortened_and_told_in_full() -> None:
    flow = FlowDefinition("long")
    flow.to(("handle_the_" + "very_" * 30 + "long_name", chunk("x")))
    root = ET.fromstring(flow.to_svg())  # noqa: S314
    texts = [str(text.text) for text in root.iter(f"{SVG}text")]
    assert any(text.endswith("\u2026") for text in texts)
    assert max(map(len, texts)) < 40
    assert any("very_" * 30 in str(title.text) for title in root.iter(f"{SVG}title"))


# -- states


def test_states_are_told_by_mark_outline_and_word_not_by_colour_only() -> None:
    flow = FlowDefinition("f")
    flow.to(chunk("a")).to(chunk("b")).to(chunk("c")).to(chunk("d")).to(chunk("e")).to(chunk("f"))
    states: dict[str, diagrams.State] = dict(zip("abcde", diagrams.STATES, strict=True))
    root = ET.fromstring(diagrams.svg(flow.graph, states, {"a": 3, "b": 1}))  # noqa: S314
    marks = {}
    for state in diagrams.STATES:
        groups = [group for group in root.iter(f"{SVG}g") if f"tf-{state}" in group.get("class", "").split()]
        assert len(groups) == 2, "the box and the legend"
        marks[state] = {path.get("d") for path in groups[0].iter(f"{SVG}path") if path.get("class") == "tf-mark"}
    assert len({str(mark) for mark in marks.values()}) == 5
    titles = {str(title.text) for title in root.iter(f"{SVG}title")}
    assert {"a: done, 3 times", "b: running", "c: waiting", "d: failed", "e: cancelled", "f"} <= titles
    assert "\u00d73" in [text.text for text in root.iter(f"{SVG}text")]
    assert root.find(f"{SVG}desc").text == "a: done, 3 times. b: running. c: waiting. d: failed. e: cancelled."  # type: ignore[union-attr]


def test_another_state_or_mode_is_refused_and_an_unknown_node_is_ignored() -> None:
    graph = loops().graph
    with pytest.raises(ValueError, match="'gone'"):
        diagrams.svg(graph, {"draft": "gone"})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="mode='pretty'"):
        diagrams.svg(graph, mode="pretty")  # type: ignore[arg-type]
    assert diagrams.svg(graph, {"nobody": "done"})


def test_a_page_may_bring_the_style_itself_and_the_style_leaves_the_page_alone() -> None:
    assert "<style>" not in diagrams.svg(loops().graph, with_style=False)
    rules = re.sub(r"@media \(prefers-color-scheme:dark\)\{(.*?\})\}", r"\1", diagrams.STYLE, flags=re.DOTALL)
    for selectors in re.findall(r"([^{}]+)\{[^{}]*\}", rules):
        assert all(selector.strip().startswith("svg.tf-diagram") for selector in selectors.split(","))
