"""A document from anywhere: what is not sound is refused with its path, quickly, and nothing in it is run."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.definition.test_blueprint import everything, register
from triggerflow_django import exceptions
from triggerflow_django.definition.flow import FlowDefinition

pytestmark = pytest.mark.once

GOOD: dict[str, Any] = everything().get_flow_config()


def load(config: Any) -> FlowDefinition:
    return register(FlowDefinition("f")).load_flow_config(config)


def changed(*path: Any, to: Any) -> dict[str, Any]:
    """The good document with something else at a path."""
    config = copy.deepcopy(GOOD)
    place: Any = config
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = to
    return config


def node(kind: str) -> int:
    """The number of the first node of a kind."""
    return next(number for number, node in enumerate(GOOD["nodes"]) if node["kind"] == kind)


BATCH, LOOP, MATCH, WHEN, COLLECT, END = map(node, ("batch", "for_each", "match", "when", "collect", "end"))


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (changed("kind", to="other"), r"\$\.kind: 'other' is not"),
        (changed("version", to=2), r"\$\.version: version 2"),
        (changed("version", to="1"), r"\$\.version: a number belongs here, not a text"),
        (changed("version", to=True), r"\$\.version: a number"),
        (changed("surprise", to=1), r"\$: unknown: 'surprise'"),
        (changed("name", to=""), r"\$\.name: a text of 1 to 200"),
        (changed("nodes", to={}), r"\$\.nodes: a list belongs here, not a mapping"),
        (changed("nodes", 0, to=None), r"\$\.nodes\[0\]: a mapping belongs here, not nothing"),
        (changed("nodes", 0, "kind", to="exec"), r"\$\.nodes\[0\]\.kind: use chunk"),
        (changed("nodes", 1, "id", to=GOOD["nodes"][0]["id"]), r"\$\.nodes\[1\]\.id: .*twice"),
        (changed("nodes", 0, "import", to="os.system"), r"\$\.nodes\[0\]: unknown: 'import'"),
        (changed("nodes", 0, "handler", to=["ask"]), r"\$\.nodes\[0\]\.handler: a text belongs here, not a list"),
        (changed("nodes", 0, "options", to={"retries": -1}), r"\$\.nodes\[0\]\.options: retries=-1"),
        (changed("nodes", 0, "options", to={"retry": 1}), r"\$\.nodes\[0\]\.options: unknown: 'retry'"),
        (changed("nodes", 0, "options", to={"atomic": 1}), r"\$\.nodes\[0\]\.options\.atomic"),
        (changed("nodes", 0, "options", to={"timeout": "x"}), r"\$\.nodes\[0\]\.options: timeout='x'"),
        (changed("nodes", 0, "built_in", to="exec"), r"\$\.nodes\[0\]\.built_in: use end"),
        (changed("nodes", BATCH, "slots", to=[]), r"slots: at least one"),
        (changed("nodes", BATCH, "slots", to=["a", "a"]), r"slots: at least one, and none of them twice"),
        (changed("nodes", BATCH, "slots", to=["a", "other"]), r"\$\.edges\[\d+\]: .*slot='b' is none of them"),
        (changed("nodes", BATCH, "slots", to=["a", "b", "c"]), r"branch 2 leads to one chunk"),
        (changed("nodes", BATCH, "concurrency", to=0), r"concurrency: a whole number"),
        (changed("nodes", BATCH, "end", to="nowhere"), r"there is no node 'nowhere'"),
        (changed("nodes", BATCH, "end", to="ask"), r"not the two ends of one block"),
        (changed("nodes", END, "of", to="ask"), r"not the two ends of one block"),
        (changed("nodes", MATCH, "cases", to=[]), r"cases: at least one"),
        (changed("nodes", MATCH, "cases", 0, to={}), r"cases\[0\]: condition is missing"),
        (changed("nodes", MATCH, "cases", 0, to={"equals": 1, "condition": "is_small"}), r"cases\[0\]: unknown"),
        (changed("nodes", MATCH, "mode", to="hit_some"), r"mode: use hit_first, hit_all"),
        (changed("nodes", MATCH, "else", to="yes"), r"else: true or false belongs here"),
        (changed("nodes", WHEN, "mode", to="xor"), r"mode: use and, or, simple_or"),
        (changed("nodes", WHEN, "slots", to=["event:A", "event:B", "event:C"]), r"nothing fills its slot 'event:C'"),
        (changed("nodes", COLLECT, "chain", to=1), r"chain: a text belongs here, not a number"),
        (changed("edges", 0, "from", to="START"), r"\$\.edges\[0\]: write type:name"),
        (changed("edges", 0, "from", to="gossip:x"), r"\$\.edges\[0\]: .*no kind of source|there is no node"),
        (changed("edges", 0, "from", to="done:nobody"), r"\$\.edges\[0\]: there is no node 'nobody'"),
        (changed("edges", 0, "from", to="item:ask"), r"\$\.edges\[0\]: 'ask' \(chunk\) has no item"),
        (changed("edges", 0, "from", to="fired:ask"), r"\$\.edges\[0\]: 'ask' \(chunk\) has no fired"),
        (changed("edges", 0, to={"from": "done:ask", "to": "ask"}), r"\$\.edges\[0\]: .*would follow itself"),
        (changed("edges", 0, "to", to="nobody"), r"\$\.edges\[0\]: there is no node 'nobody'"),
        (changed("edges", 0, "slot", to="x"), r"\$\.edges\[0\]: .*has no slots"),
        (changed("chains", to={"when(event:A)": 0}), r"\$\.chains"),
        (changed("contract", to={"initial_input": {"type": "no such"}}), r"\$\.contract: .*no such"),
        (changed("contract", to={"initial_input": "int"}), r"\$\.contract\.initial_input: a JSON Schema"),
        (changed("contract", to={"output": {}}), r"\$\.contract: unknown: 'output'"),
        (changed("skip_exceptions", to=1), r"\$\.skip_exceptions: true or false"),
    ],
)
def test_what_is_malformed_is_refused_with_its_path(config: Any, told: str) -> None:
    with pytest.raises(exceptions.BlueprintError, match=told):
        load(config)


@pytest.mark.parametrize("config", [None, [], "x", 1, [GOOD]])
def test_what_is_no_mapping_is_a_type_error(config: Any) -> None:
    with pytest.raises(TypeError, match="a mapping"):
        load(config)
    with pytest.raises((TypeError, ValueError)):
        FlowDefinition("f").load_json_flow(json.dumps(config))


@pytest.mark.parametrize(
    "edges",
    [
        [("fired:m/end", "m")],
        [("branch:m/0", "m")],
        [("branch:m/0", "m/end"), ("fired:m/end", "l"), ("item:l", "l/end"), ("fired:l/end", "m")],
        [("fired:l/end", "l")],
    ],
)
def test_a_circle_without_a_chunk_is_refused(edges: list[tuple[str, str]]) -> None:
    config = {
        "kind": "triggerflow.flow",
        "version": 1,
        "name": "circle",
        "nodes": [
            {"id": "m", "kind": "match", "mode": "hit_first", "cases": [{"equals": 1}], "end": "m/end"},
            {"id": "m/end", "kind": "end", "of": "m"},
            {"id": "l", "kind": "for_each", "end": "l/end"},
            {"id": "l/end", "kind": "end", "of": "l"},
        ],
        "edges": [{"from": "event:START", "to": "m"}, *({"from": one, "to": other} for one, other in edges)],
    }
    with pytest.raises(exceptions.BlueprintError, match="no chunk stands between"):
        load(config)


def test_a_document_that_contains_itself_and_one_that_is_too_deep_are_refused() -> None:
    config = copy.deepcopy(GOOD)
    config["nodes"].append(config)
    with pytest.raises(exceptions.BlueprintError, match=r"deep|large"):
        load(config)
    flow: dict[str, Any] = {"kind": "triggerflow.flow", "version": 1, "name": "f", "nodes": [], "edges": []}
    for _ in range(40):
        flow = {**flow, "nodes": [{"id": "s", "kind": "sub_flow", "flow": flow}]}
    with pytest.raises(exceptions.BlueprintError, match="deep"):
        load(flow)
    with pytest.raises(exceptions.BlueprintError, match="deep"):
        FlowDefinition("f").load_json_flow('{"a":' * 100_000)


def test_levels_up_lead_to_flows_around_it_only() -> None:
    for up in (0, 2, -1, "1", True):
        nodes = [{"id": "s", "kind": "sub_flow", "flow": {"levels_up": up}}]
        config = {"kind": "triggerflow.flow", "version": 1, "name": "f", "nodes": nodes, "edges": []}
        with pytest.raises(exceptions.BlueprintError, match=r"nodes\[0\]\.flow\.levels_up"):
            load(config)


def test_what_is_huge_is_refused_at_once() -> None:
    started = time.monotonic()
    for config in (changed("name", to="x" * 10_000_000), changed("nodes", to=[{}] * 2_000_000)):
        with pytest.raises(exceptions.BlueprintError):
            load(config)
    assert time.monotonic() - started < 5


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{one}: &{one} [{','.join(['*' + other] * 9)}]\n" for other, one in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BOMB, "aliases are not accepted"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "aliases are not accepted"),
        ("!!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
        ("a: 1\na: 2\n", "'a' is there twice"),
        ("[" * 5000 + "\n", "not YAML, or not plain"),
        ("a: 2024-13-45\nb: 1\n", "not YAML, or not plain"),
        ("? [a]\n: 1\n", "not YAML, or not plain|belongs|mapping"),
        ("a: [1, 2\nb\n", "line 3"),
        ("\x00\n", "unreadable|not YAML"),
        ("kind: triggerflow.flow\nversion: 1\nname: 2024-01-01\nnodes: []\nedges: []\n", r"\$\.name: date is not JSON"),
    ],
)
def test_hostile_yaml_is_refused(text: str, told: str) -> None:
    with pytest.raises((exceptions.BlueprintError, exceptions.BlueprintTypeError), match=told):
        FlowDefinition("f").load_yaml_flow(text)


def test_a_file_is_read_only_if_it_is_one_and_never_quoted(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("password: [hunter2\n")
    for method in ("load_json_flow", "load_yaml_flow"):
        load_text = getattr(FlowDefinition("f"), method)
        for path in ("/dev/zero", str(tmp_path), "nowhere.json", "a\0b"):
            with pytest.raises(exceptions.BlueprintError, match="neither a flow nor a file"):
                load_text(path)
        with pytest.raises(exceptions.BlueprintError) as refused:
            load_text(secret)
        assert "hunter2" not in str(refused.value)
    secret.write_bytes(b"x" * 2_000_000)
    with pytest.raises(exceptions.BlueprintError, match="at most"):
        FlowDefinition("f").load_json_flow(secret)


WRONG = st.sampled_from([None, True, 0, -1, 1e300, "", "x", "ask", "\ud800", [], ["x"], {}, {"x": 1}, [[]]])


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path of a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


@given(st.lists(st.tuples(st.sampled_from(places(GOOD)[1:]), WRONG), min_size=1, max_size=3))
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_changed_it_is_refused_with_our_error_or_gives_a_flow(changes: list[Any]) -> None:
    config = copy.deepcopy(GOOD)
    for path, value in changes:
        place: Any = config
        try:
            for part in path[:-1]:
                place = place[part]
            place[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue
    flow = register(FlowDefinition("f"))
    before = flow.graph
    try:
        flow.load_flow_config(config)
    except exceptions.TriggerFlowError:
        assert flow.graph is before
    else:
        flow.to_svg()
        flow.to_mermaid("detailed")
        again = register(FlowDefinition("f")).load_flow_config(flow.get_flow_config())
        assert again.graph.fingerprint == flow.graph.fingerprint
