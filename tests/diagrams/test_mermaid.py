"""Mermaid text: a strict reader of the part we write finds the picture again, whatever the names are."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.definition.test_blueprint import everything
from tests.diagrams.flows import HOSTILE, chunk, loops, sixty, wide
from tests.diagrams.test_svg import flow_of
from triggerflow_django import diagrams
from triggerflow_django.definition.flow import FlowDefinition
from triggerflow_django.diagrams.mermaid import label
from triggerflow_django.diagrams.picture import picture
from triggerflow_django.diagrams.text import clean

pytestmark = pytest.mark.once

LABEL = r'"((?:[^\W_]|[ _.\-]|#\d{1,7};)+)"'
BOX = re.compile(
    r" +(n\d+)(?:"
    rf"\(\[{LABEL}\]\)|>{LABEL}\]|\[{LABEL}\]|\[\[{LABEL}\]\]|\{{\{{{LABEL}\}}\}}|\{{{LABEL}\}}"
    rf"|\[/{LABEL}\\\]|\[\\{LABEL}/\]|\(\({LABEL}\)\))"
)
ARROW = re.compile(rf" +(n\d+) -->(?:\|{LABEL}\|)? (n\d+)")
GROUP = re.compile(rf" +subgraph (gn\d+) \[{LABEL}\]")
#: What Mermaid looks for in the raw text, before it parses anything.
MAGIC = re.compile(r"%%|style.*:\S*#.*;|classDef|click|linkStyle|javascript:|https?:|<|&|`|\$\$|fa[bklrs]?:|@\{|:::")


def shown(escaped: str) -> str:
    """A label as Mermaid shows it."""
    return re.sub(r"#(\d+);", lambda found: chr(int(found[1])), escaped)


def read(text: str) -> tuple[dict[str, str], list[tuple[str, str, str]], list[str]]:
    """Boxes, arrows and groups; fails on anything else."""
    boxes: dict[str, str] = {}
    arrows, groups, depth = [], [], 0
    lines = text.split("\n")
    assert lines[0] == "flowchart TD"
    assert lines[-1] == ""
    for line in lines[1:-1]:
        if found := BOX.fullmatch(line):
            assert found[1] not in boxes
            boxes[found[1]] = next(part for part in found.groups()[1:] if part is not None)
        elif found := ARROW.fullmatch(line):
            arrows.append((found[1], shown(found[2] or ""), found[3]))
        elif found := GROUP.fullmatch(line):
            groups.append(shown(found[2]))
            depth += 1
        else:
            assert re.fullmatch(r" +end", line), line
            depth -= 1
            assert depth >= 0
    assert depth == 0
    assert all(end in boxes for one, _, other in arrows for end in (one, other))
    return {box: shown(escaped) for box, escaped in boxes.items()}, arrows, groups


def assert_whole(flow: FlowDefinition, mode: diagrams.Mode) -> None:
    """The text is the picture, no less and no more."""
    drawn = picture(flow.graph, mode)
    text = flow.to_mermaid(mode)
    boxes, arrows, groups = read(text)
    assert len(boxes) == len([box for box in drawn.boxes if box.kind != "label"])
    labels = {box.id for box in drawn.boxes if box.kind == "label"}
    assert len(arrows) == len([arrow for arrow in drawn.arrows if arrow.target not in labels])
    assert len(groups) == len(drawn.groups)
    for box in drawn.boxes:
        if box.kind in ("chunk", "sub_flow", "trigger"):
            assert (clean(box.text) or "\u00b7").strip() in {found.strip() for found in boxes.values()}
    for name in re.findall(LABEL, text):
        assert not MAGIC.search(re.sub(r"click|javascript|style|classDef|linkStyle", "", name))


@pytest.mark.parametrize("mode", ["simplified", "detailed"])
@pytest.mark.parametrize("flow", [everything, loops, sixty, wide])
def test_the_text_is_the_picture(flow: Any, mode: diagrams.Mode) -> None:
    assert_whole(flow(), mode)


@pytest.mark.parametrize("mode", ["simplified", "detailed"])
@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_breaks_out_of_its_label(name: str, mode: diagrams.Mode) -> None:
    assert_whole(flow_of([name]), mode)


@given(st.lists(st.text(min_size=1, max_size=60).filter(lambda text: "\0" not in text), min_size=1, max_size=4))
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_text_breaks_out_of_its_label(names: list[str]) -> None:
    try:
        flow = flow_of(list(dict.fromkeys(names)))
    except ValueError:
        return
    assert_whole(flow, "simplified")
    assert_whole(flow, "detailed")


def test_plain_names_stay_readable_and_the_word_end_is_disarmed() -> None:
    assert label("prepare_draft-2.x") == '"prepare_draft-2.x"'
    assert label("审批") == '"审批"'
    assert label("end") == '"end "'
    assert label('a"b') == '"a#34;b"'


def test_simplified_shows_chunks_only_and_detailed_the_routing_too() -> None:
    flow = FlowDefinition("f")
    flow.to(chunk("a")).if_condition(chunk("is_b")).to(chunk("b")).else_condition().to(chunk("c")).end_condition().to(
        chunk("d")
    )
    flow.when(["Paid", "Signed"]).to(chunk("e"))
    boxes, arrows, _ = read(flow.to_mermaid())
    names = [(boxes[one], boxes[other]) for one, _, other in arrows]
    assert sorted(boxes.values()) == ["a", "b", "c", "d", "e", "start"]
    assert names == [("start", "a"), ("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")]
    boxes, arrows, _ = read(flow.to_mermaid("detailed"))
    assert {"on Paid", "on Signed", "all of"} <= set(boxes.values())
    assert {word for _, word, _ in arrows} == {"", "is_b", "else"}


def test_another_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="mode='pretty'"):
        loops().to_mermaid("pretty")  # type: ignore[arg-type]


def test_mermaids_own_parser_agrees(tmp_path: Path) -> None:
    modules = os.environ.get("MERMAID_MODULES", "")
    node = shutil.which("node")
    if not node or not modules:
        pytest.skip("set MERMAID_MODULES to a node_modules folder with mermaid and jsdom")
    texts = []
    flows = [everything(), loops(), sixty(), wide(), *(flow_of([name]) for name in HOSTILE)]
    for flow in flows:
        texts += [(flow.to_mermaid("simplified"), "simplified"), (flow.to_mermaid("detailed"), "detailed")]
    (tmp_path / "texts.json").write_text(json.dumps([text for text, _ in texts]))
    (tmp_path / "node_modules").symlink_to(modules)
    (tmp_path / "parse.mjs").write_text(_PARSE)
    done = subprocess.run([node, "parse.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for (text, mode), found in zip(texts, json.loads(done.stdout), strict=True):
        boxes, arrows, groups = read(text)
        assert found == {"boxes": len(boxes), "arrows": len(arrows), "groups": len(groups), "live": 0}, (mode, text)


_PARSE = """
import fs from 'node:fs';
import { JSDOM } from 'jsdom';
const page = new JSDOM('<!doctype html><body></body>');
globalThis.window = page.window;
globalThis.document = page.window.document;
const mermaid = (await import('mermaid')).default;
mermaid.initialize({ securityLevel: 'loose', startOnLoad: false });
const found = [];
for (const text of JSON.parse(fs.readFileSync('texts.json', 'utf8'))) {
  const { db } = await mermaid.mermaidAPI.getDiagramFromText(text);
  const boxes = [...db.getVertices().values()];
  found.push({
    boxes: boxes.length,
    arrows: db.getEdges().length,
    groups: db.getSubGraphs().length,
    live: boxes.filter((box) => box.link || box.haveCallback || box.styles.length || box.classes.length).length,
  });
}
console.log(JSON.stringify(found));
process.exit(0);
"""
