"""The docs name everything that is public, say of it what the code says, and no link leads nowhere."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any, Final

import pytest
from django.core.management import get_commands, load_command_class
from django.dispatch import Signal

import triggerflow_django
from tests import documents
from triggerflow_django import TriggerFlow, TriggerFlowExecution, TriggerFlowRuntimeData, conf, exceptions, signals
from triggerflow_django.definition.chunk import ChunkOptions
from triggerflow_django.definition.process import Process

DOCS: Final = documents.ROOT / "docs"
ALL_PAGES: Final = [documents.README, *documents.PAGES]
#: Pages about one part of TriggerFlow each.
PARTS: Final = [
    name
    for name in ("contracts", "flow_data", "streams", "sub_flows", "interventions", "diagrams", "blueprints")
    if (DOCS / f"{name}.md").exists()
]
#: Public to the other modules of ``handles`` only.
INNER: Final = {
    "adopt", "background_drains", "drain_operation", "ensure", "graph_for_routing", "has_sub_flows", "hide",
    "read_snapshot", "take_background_failures",
}  # fmt: skip


def missing_from(text: str, names: set[str]) -> set[str]:
    """The names that do not occur in the text as whole words."""
    return {name for name in names if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)}


def page(name: str) -> str:
    """All code of one page of the docs."""
    return documents.code(DOCS / f"{name}.md")


def first_column(name: str) -> str:
    """The first cells of all tables of one page of the docs."""
    return "\n".join(re.findall(r"^\|([^|]*)\|", documents.prose(DOCS / f"{name}.md"), re.MULTILINE))


def not_called(text: str, names: set[str]) -> set[str]:
    """The names that are neither called in the code nor a code span of their own (``execution.name`` counts)."""
    return {name for name in names if not re.search(rf"(?<!\w){name}\(|^[\w.]*?(?<!\w){name}$", text, re.MULTILINE)}


def public(kind: type) -> set[str]:
    """The public names of a class; an ``async_`` twin is told together with its sync one."""
    names = {name for name in dir(kind) if not name.startswith("_") or name == "____"}
    return {name for name in names if name.removeprefix("async_") == name or name.removeprefix("async_") not in names}


def arguments(function: Any) -> set[str]:
    """The names of a function's arguments."""
    return set(inspect.signature(function).parameters) - {"self"}


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.once
def test_every_public_name_of_the_package_is_told() -> None:
    assert missing_from("\n".join(map(documents.code, ALL_PAGES)), set(triggerflow_django.__all__)) == set()


@pytest.mark.once
@pytest.mark.parametrize(
    ("kind", "pages"),
    [
        (TriggerFlow, ["flows", "executions", *PARTS]),
        (Process, ["flows", *PARTS]),
        (TriggerFlowExecution, ["executions", "pausing", *PARTS]),
        (TriggerFlowRuntimeData, ["executions", *PARTS]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_public_method_is_told(kind: type, pages: list[str]) -> None:
    assert not_called("\n".join(map(page, pages)), public(kind) - INNER) == set()


@pytest.mark.once
@pytest.mark.parametrize("kind", [TriggerFlow, TriggerFlowExecution], ids=lambda kind: kind.__name__)
def test_every_method_that_reaches_the_database_has_an_async_twin_with_the_same_arguments(kind: type) -> None:
    without = set(dir(triggerflow_django.definition.flow.FlowDefinition)) | INNER | {"update_runtime_resources"}
    without |= {"create_execution", "declare_resource_requirement"}  # store nothing
    without |= {"get_runtime_stream", "get_async_runtime_stream"}  # each other's twin
    for name, method in inspect.getmembers(kind, callable):
        if name.startswith(("_", "async_")) or name in without:
            continue
        twin = inspect.unwrap(getattr(kind, f"async_{name}"))
        assert inspect.iscoroutinefunction(twin)
        assert arguments(method) <= arguments(twin), name


@pytest.mark.once
def test_every_argument_is_told() -> None:
    assert missing_from(first_column("flows"), {field.name for field in dataclasses.fields(ChunkOptions)}) == set()
    assert missing_from(first_column("pausing"), arguments(TriggerFlowRuntimeData.pause_for)) == set()
    assert missing_from(first_column("executions"), arguments(TriggerFlow.create_execution)) == set()
    assert missing_from(page("pausing"), arguments(TriggerFlowExecution.continue_with)) == set()
    for function in (TriggerFlowExecution.close, TriggerFlowExecution.load):
        assert missing_from(page("executions"), arguments(function)) == set()


@pytest.mark.django_db
def test_every_key_of_an_interrupts_record_is_told() -> None:
    flow = TriggerFlow(name="refund")
    flow.to(lambda data: data.pause_for(interrupt_id="q"))
    record = flow.start_execution(auto_close=False).get_interrupt("q")
    assert record is not None
    assert missing_from(first_column("pausing"), set(record)) == set()


@pytest.mark.once
def test_every_error_is_told_with_its_built_in_and_its_code() -> None:
    text = (DOCS / "errors.md").read_text(encoding="utf-8")
    for name, kind in inspect.getmembers(exceptions, inspect.isclass):
        built_in = [base.__name__ for base in kind.__bases__ if base not in (exceptions.TriggerFlowError, Exception)]
        also = "".join(f"`{base}` " for base in built_in)
        assert f"\n| `{name}` | {also}| `{kind.code}` |" in text
    rows = re.findall(r"^\| `(\w+)`", text, re.MULTILINE)
    assert missing_from("\n".join(rows), set(rows)) == set()
    assert all(hasattr(exceptions, name) for name in rows)


@pytest.mark.once
def test_the_table_of_bad_input_gives_the_codes_the_errors_have() -> None:
    rows = re.findall(r"^\|.*?`(\w+Error)`.*\| `(\w+)` \|$", documents.prose(DOCS / "pausing.md"), re.MULTILINE)
    assert len(rows) > 15
    for name, code in rows:
        assert getattr(exceptions, name).code == code


@pytest.mark.once
def test_every_system_check_is_told_and_no_other() -> None:
    source = (documents.ROOT / "triggerflow_django" / "checks.py").read_text(encoding="utf-8")
    ids = set(re.findall(r"triggerflow\.[EW]\d{3}", source))
    assert len(ids) >= 9
    assert set(re.findall(r"^\| `(triggerflow\.\w+)`", documents.prose(DOCS / "operations.md"), re.MULTILINE)) == ids
    for told in ALL_PAGES:
        assert set(re.findall(r"triggerflow\.[EW]\d{3}", documents.code(told))) <= ids


@pytest.mark.once
def test_every_django_signal_is_told() -> None:
    names = {name for name, value in vars(signals).items() if isinstance(value, Signal)}
    assert set(re.findall(r"^\| `(\w+)`", documents.prose(DOCS / "signals.md"), re.MULTILINE)) == names


# -- tables, commands, links -------------------------------------------------------------------------------------------


@pytest.mark.once
def test_the_readme_shows_the_settings_as_they_are() -> None:
    assert f"\n\n{conf.settings_table()}\n" in documents.README.read_text(encoding="utf-8")


@pytest.mark.once
def test_no_setting_is_named_that_does_not_exist() -> None:
    keys = {field.name for field in dataclasses.fields(conf.Settings)}
    for told in documents.PAGES:
        assert set(re.findall(r"setting `([A-Z_]+)`", documents.prose(told))) <= keys


@pytest.mark.once
def test_every_command_that_is_named_exists() -> None:
    for told in ALL_PAGES:
        for name in re.findall(r"manage\.py ([a-z_]+)", documents.code(told)):
            assert name in get_commands(), f"{told.name}: manage.py {name}"


@pytest.mark.once
def test_the_options_of_the_worker_and_the_tick_are_told() -> None:
    options = set()
    for own in ("triggerflow_tick", "triggerflow_worker"):
        parser = load_command_class("triggerflow_django", own).create_parser("manage.py", own)
        options |= {option for action in parser._actions for option in action.option_strings}
    told_options = set(re.findall(r"^\| `(--[a-z-]+)`", documents.prose(DOCS / "operations.md"), re.MULTILINE))
    assert told_options >= {"--loop", "--interval", "--burst", "--max-jobs", "--no-fork"}
    assert told_options <= options


@pytest.mark.once
def test_the_commands_of_the_readme_are_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([\w-]+):", (documents.ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    told = set(re.findall(r"^make ([\w-]+)", documents.code(documents.README), re.MULTILINE))
    assert told == {"demo", "demo-once", "test"}
    assert told <= targets


@pytest.mark.once
@pytest.mark.parametrize("told", ALL_PAGES, ids=lambda told: told.stem)
def test_every_link_leads_somewhere(told: Path) -> None:
    for link in documents.links(told):
        assert "://" not in link or link.startswith("https://")
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (told.parent / path).resolve() if path else told
        assert target.exists(), f"{told.name}: {link}"
        assert not anchor or anchor in documents.anchors(target), f"{told.name}: {link}"


@pytest.mark.once
def test_the_map_leads_to_every_page() -> None:
    linked = {link.partition("#")[0] for link in documents.links(DOCS / "index.md")}
    assert {told.name for told in documents.PAGES} - {"index.md"} <= linked


@pytest.mark.once
def test_nothing_is_promised_to_happen_exactly_once_without_saying_what() -> None:
    for told in [*ALL_PAGES, documents.ROOT / "CHANGELOG.md"]:
        for sentence in re.split(r"(?<=[.:])\s", documents.prose(told)):
            if "exactly once" in sentence.lower():
                assert "step's recorded result and its database effects" in " ".join(sentence.split())
