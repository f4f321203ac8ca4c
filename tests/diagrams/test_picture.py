"""What a picture is made of: the boxes, the ways between them, the frames."""

from __future__ import annotations

from typing import Any

import pytest

from tests.diagrams.flows import chunk
from triggerflow_django.definition.flow import FlowDefinition
from triggerflow_django.diagrams.picture import picture

pytestmark = pytest.mark.once


def frames(flow: FlowDefinition) -> dict[str, tuple[set[str], str]]:
    """By opener: the chunks right in the frame, and the frame around it."""
    drawn = picture(flow.graph, "detailed")
    chunks = {box.id for box in drawn.boxes if box.kind in ("chunk", "sub_flow")}
    return {group.id: (chunks & set(group.boxes), group.parent) for group in drawn.groups}


def test_a_frame_holds_what_runs_in_the_fan_out_and_nothing_else() -> None:
    flow = FlowDefinition("f")
    chain: Any = flow.to(chunk("before")).for_each().to(chunk("body")).side_branch(chunk("aside"))
    chain.batch(chunk("left"), chunk("right")).end_for_each().to(chunk("after"))
    flow.when("left").to(chunk("then"))
    assert frames(flow) == {
        "before/for_each-1": ({"body", "aside"}, ""),
        "body/batch-1": ({"left", "right", "then"}, "before/for_each-1"),
    }


def test_what_also_runs_elsewhere_is_in_no_frame() -> None:
    flow = FlowDefinition("f")
    flow.for_each().to(chunk("body")).end_for_each().to(chunk("after"))
    flow.when("Event").to("body")
    flow.when(["body", "Other"]).to(chunk("both"))
    assert frames(flow) == {"START/for_each-1": (set(), "")}


def test_a_way_back_to_before_the_fan_out_does_not_empty_the_frame() -> None:
    flow = FlowDefinition("f")
    flow.to(chunk("first")).for_each().to(chunk("body")).end_for_each().to(chunk("last")).to("first")
    assert frames(flow) == {"first/for_each-1": ({"body"}, "")}


def test_what_is_reached_by_way_of_the_end_too_is_after_the_fan_out() -> None:
    flow = FlowDefinition("f")
    flow.batch(chunk("a"), chunk("b")).to(chunk("c"))
    flow.when("a").to("c")
    assert frames(flow) == {"START/batch-1": ({"a", "b"}, "")}


def test_a_chunk_that_is_attached_nowhere_is_not_drawn() -> None:
    flow = FlowDefinition("f")
    flow.chunk(chunk("spare"))
    flow.to(chunk("used"))
    assert [box.id for box in picture(flow.graph, "detailed").boxes if box.kind == "chunk"] == ["used"]


def test_an_empty_flow_is_drawn() -> None:
    flow = FlowDefinition("empty")
    assert flow.to_mermaid() == "flowchart TD\n"
    assert flow.to_svg().startswith("<svg")
