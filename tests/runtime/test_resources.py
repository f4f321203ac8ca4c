"""Live objects: from the flow, the execution, a chunk, or a provider of the settings; never stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings

from triggerflow_django import TriggerFlow
from triggerflow_django.runtime.resources import Resources

#: How often each provider below was called.
built: list[str] = []

_HERE = "tests.runtime.test_resources"


def make_mailer() -> dict[str, int]:
    """A provider."""
    built.append("mailer")
    return {"number": len(built)}


def make_nothing() -> None:
    """A provider whose resource is None."""
    built.append("nothing")


def make_broken() -> object:
    """A provider that finds its environment variable missing."""
    built.append("broken")
    raise KeyError("MAIL_PASSWORD")


@pytest.fixture(autouse=True)
def providers() -> Iterator[None]:
    """The settings' providers; a change of settings makes the process forget what they built."""
    named = {"mailer": "make_mailer", "nothing": "make_nothing", "broken": "make_broken"}
    with override_settings(TRIGGERFLOW={"RESOURCES": {name: f"{_HERE}.{path}" for name, path in named.items()}}):
        built.clear()
        yield


@pytest.mark.once
class TestLayers:
    """``Resources`` by itself."""

    def test_the_most_specific_wins(self) -> None:
        own: dict[str, Any] = {}
        resources = Resources(own, {"mailer": "execution", "a": 1}, {"mailer": "flow", "a": 2, "b": 2})
        assert (resources["mailer"], resources["a"], resources["b"]) == ("execution", 1, 2)
        resources.set("mailer", "chunk")
        assert resources["mailer"] == own["mailer"] == "chunk"
        assert built == []

    def test_a_provider_is_called_once_a_process_and_only_when_it_is_needed(self) -> None:
        first, second = Resources({}), Resources({})
        assert "mailer" in first
        assert "mailer" in list(first)
        assert len(first) == 3
        assert built == []
        assert first["mailer"] is second["mailer"] is first.get("mailer")
        assert built == ["mailer"]

    def test_none_is_a_resource_too(self) -> None:
        assert Resources({})["nothing"] is None
        assert Resources({}).get("nothing", "default") is None
        assert Resources({})["nothing"] is None
        assert built == ["nothing"]

    def test_an_unknown_name_says_where_resources_come_from(self) -> None:
        with pytest.raises(KeyError, match="no resource named 'unknown'; give it to the flow"):
            Resources({})["unknown"]
        assert Resources({}).get("unknown") is None
        assert Resources({}).get("unknown", 7) == 7
        assert "unknown" not in Resources({})

    def test_a_broken_provider_is_no_missing_resource_and_is_asked_again(self) -> None:
        for look in (lambda: Resources({})["broken"], lambda: Resources({}).get("broken", "default")):
            with pytest.raises(KeyError, match="MAIL_PASSWORD"):
                look()
        assert built == ["broken", "broken"]

    def test_names_are_sorted_and_each_there_once(self) -> None:
        names = Resources({"z": 1}, {"mailer": 1}, {"a": 1}).names()
        assert names == ["a", "broken", "mailer", "nothing", "z"]


@pytest.mark.django_db(transaction=True)
class TestInChunks:
    """``data.get_resource`` and its kin."""

    def test_execution_over_flow_over_settings(self) -> None:
        flow, seen = TriggerFlow("resources"), []

        def look(data: Any) -> None:
            names = ("mailer", "a", "b")
            seen.append([data.require_resource(name) for name in names])
            assert [data.get_resource(name) for name in names] == [data.resources[name] for name in names]
            assert data.get_resource("unknown", "default") == "default"
            with pytest.raises(KeyError):
                data.require_resource("unknown")

        flow.to(look)
        flow.update_runtime_resources(a="flow", b="flow")
        flow.start_execution(runtime_resources={"a": "execution"})
        flow.start(runtime_resources={"mailer": "execution"})
        flow.update_runtime_resources(b="flow, newer")
        flow.start()
        assert seen == [
            [{"number": 1}, "execution", "flow"],
            ["execution", "flow", "flow"],
            [{"number": 1}, "flow", "flow, newer"],
        ]

    def test_a_chunk_sets_one_for_the_chunks_after_it_in_this_execution_only(self) -> None:
        flow, seen = TriggerFlow("resources"), []
        given = {"a": "execution"}

        async def connect(data: Any) -> None:
            data.set_resource("a", object())
            await data.async_set_resource("b", "async")

        def look(data: Any) -> None:
            seen.append((data.get_resource("a"), data.get_resource("b")))

        flow.when("look").to(("look again", look))
        flow.to(connect).to(look)
        execution = flow.start_execution(runtime_resources=given, auto_close=False)
        execution.emit("look")
        other = flow.create_execution(auto_close=False)
        other.emit("look")
        assert seen[0] == seen[1]
        assert type(seen[0][0]) is object
        assert seen[0][1] == "async"
        assert seen[2] == (None, None)
        assert given == {"a": "execution"}
        assert execution.get_state() == {}, "nothing of it is stored"

    def test_conditions_have_them_too(self) -> None:
        flow = TriggerFlow("resources")
        flow.update_runtime_resources(limit=10)
        flow.if_condition(lambda data: data.input > data.require_resource("limit")).to(
            ("large", lambda data: data.set_state("large", True))
        ).end_condition()
        assert flow.start(11) == {"large": True}
        assert flow.start(9) == {}
