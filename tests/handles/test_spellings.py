"""Every method in both spellings, with the same arguments; reads work in a running loop in either."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from tests.handles.loops import in_a_loop
from triggerflow_django import TriggerFlow, TriggerFlowExecution, TriggerFlowRuntimeData
from triggerflow_django.runtime.data import StateView

#: What only looks at or changes memory, and so needs no other spelling.
_IN_MEMORY = {
    TriggerFlow: {
        "chunk", "to", "side_branch", "batch", "for_each", "match", "if_condition", "collect", "when", "case",
        "elif_condition", "case_else", "else_condition", "end_match", "end_condition", "end_for_each",
        "update_runtime_resources", "create_execution", "set_contract", "end", "intervention_point",
        "declare_resource_requirement",
        "to_sub_flow",
        "save_blueprint", "load_blueprint", "get_flow_config", "get_json_flow", "get_yaml_flow", "load_flow_config",
        "load_json_flow", "load_yaml_flow", "register_chunk_handler", "register_condition_handler", "to_mermaid",
        "to_svg",
        "get_runtime_stream", "get_async_runtime_stream",  # each other's twin
    },
    TriggerFlowExecution: {
        "declare_resource_requirement", "adopt", "drain_operation", "ensure", "hide", "read_snapshot",
        "take_background_failures",
        "get_runtime_stream", "get_async_runtime_stream",
    },
    TriggerFlowRuntimeData: {"get_resource", "require_resource"},
    StateView: {"keys", "values", "items"},
}  # fmt: skip


def _public_methods(owner: type) -> dict[str, Any]:
    found = inspect.getmembers(owner, lambda member: inspect.isfunction(member) or inspect.ismethod(member))
    return {name: member for name, member in found if not name.startswith("_")}


@pytest.mark.once
@pytest.mark.parametrize("owner", list(_IN_MEMORY), ids=lambda owner: owner.__name__)
def test_every_method_that_reaches_the_database_has_both_spellings(owner: type) -> None:
    methods = _public_methods(owner)
    sync = {name for name in methods if not name.startswith("async_")} - _IN_MEMORY[owner]
    assert {f"async_{name}" for name in sync} == {name for name in methods if name.startswith("async_")}
    for name in sync:
        assert inspect.iscoroutinefunction(methods[f"async_{name}"]), name
        assert not inspect.iscoroutinefunction(methods[name]), name


#: ``async_load`` gives resources again, as TriggerFlow's does; ``async_pause_for`` hands everything on.
_DIFFERENT = {"load", "pause_for"}


@pytest.mark.once
@pytest.mark.parametrize("owner", list(_IN_MEMORY), ids=lambda owner: owner.__name__)
def test_both_spellings_take_the_same_arguments(owner: type) -> None:
    methods = _public_methods(owner)
    for name, method in methods.items():
        if f"async_{name}" in methods and name not in _DIFFERENT:
            theirs = inspect.signature(methods[f"async_{name}"]).parameters
            assert theirs == inspect.signature(method).parameters, name


def _asking() -> TriggerFlow:
    flow = TriggerFlow("asking")

    async def ask(data: Any) -> Any:
        data.set_state("order.total", 12)
        return await data.async_pause_for(type="approval", payload="go on?", interrupt_id="gate")

    flow.to(ask)
    return flow


_READS: list[tuple[str, tuple[Any, ...], Any]] = [
    ("get_status", (), "waiting"),
    ("get_lifecycle_state", (), "open"),
    ("is_open", (), True),
    ("is_sealed", (), False),
    ("is_closed", (), False),
    ("is_waiting", (), True),
    ("get_snapshot", (), None),
    ("get_state", (), {"order": {"total": 12}}),
    ("get_state", ("order.total",), 12),
    ("get_state", ("order.tax", "none"), "none"),
    ("get_interrupt", ("nobody",), None),
]


@pytest.mark.django_db(transaction=True)
def test_reads_in_a_script() -> None:
    execution = _asking().start_execution()
    for name, arguments, expected in _READS:
        assert getattr(execution, name)(*arguments) == expected, name
    row = execution.row()
    assert row is not None
    assert row.id.hex == execution.id
    assert list(execution.get_pending_interrupts()) == ["gate"]
    assert execution.get_interrupt("gate") == execution.get_pending_interrupts()["gate"]


@pytest.mark.django_db(transaction=True)
@in_a_loop
async def test_sync_and_async_reads_agree_in_a_running_loop() -> None:
    execution = await _asking().async_start_execution()
    for name, arguments, expected in _READS:
        assert getattr(execution, name)(*arguments) == expected, name
        assert await getattr(execution, f"async_{name}")(*arguments) == expected, name
    assert execution.row() == await execution.async_row()
    assert execution.get_pending_interrupts() == await execution.async_get_pending_interrupts()
    assert execution.get_interrupt("gate") == await execution.async_get_interrupt("gate")


@pytest.mark.django_db(transaction=True)
@in_a_loop
async def test_sync_writes_that_run_no_chunk_work_in_a_running_loop() -> None:
    execution = _asking().create_execution(auto_close=False)
    execution.seal(reason="not yet")
    assert execution.is_sealed()
    execution.unseal()
    document = execution.save()
    assert document["execution_id"] == execution.id
    assert execution.load(document) is execution
    execution.emit_nowait("nobody listens")
    assert execution.cancel(reason="enough") == {}
    assert await execution.async_get_status() == "cancelled"


@pytest.mark.django_db(transaction=True)
def test_records_are_copies() -> None:
    execution = _asking().start_execution()
    execution.get_pending_interrupts()["gate"]["status"] = "resumed"
    execution.get_state()["order"]["total"] = 0
    assert execution.get_pending_interrupts()["gate"]["status"] == "waiting"
    assert execution.get_state("order.total") == 12
