"""What a flow declares to need, and whether a saved execution would run here."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from tests.handles import loops
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.definition import deprecated
from triggerflow_django.models import Execution

pytestmark = pytest.mark.django_db(transaction=True)


def asking(*, name: str = "needs", chunk: str = "ask") -> TriggerFlow:
    flow = TriggerFlow(name=name)
    flow.to(lambda data: data.pause_for(interrupt_id="gate"), name=chunk).to(
        lambda data: data.set_state("out", data.require_resource("format")(data.input)), name="use"
    )
    return flow


def test_a_copy_that_would_run_is_ready_and_nothing_is_stored() -> None:
    flow = asking()
    execution = flow.start_execution(auto_close=False)
    saved = execution.save()
    Execution.objects.all().delete()
    report = flow.create_execution().inspect_load(saved)
    assert report == {
        "ready": True,
        "execution_id": execution.id,
        "flow_name": "needs",
        "status": "waiting",
        "lifecycle_state": "open",
        "pending_interrupts": ["gate"],
        "missing_resource_keys": [],
        "diagnostics": [],
    }
    assert not Execution.objects.exists()


def test_everything_that_stands_in_the_way_is_told() -> None:
    saved = asking().start_execution(auto_close=False).save()
    other = asking(name="another", chunk="renamed")
    other.declare_resource_requirement("format")
    report = other.create_execution().inspect_load(saved)
    assert report["ready"] is False
    assert report["missing_resource_keys"] == ["format"]
    assert report["diagnostics"] == [
        "it is of flow 'needs', not of 'another'",
        "it stands on ask, which the flow does not have",
        "resource 'format' is missing",
    ]
    with pytest.raises(exceptions.SnapshotError):
        other.create_execution().inspect_load("{}")


@pytest.mark.parametrize("where", ["given", "flow", "argument", "settings", "handle"])
def test_a_resource_may_come_from_anywhere(where: str, settings: Any) -> None:
    flow = asking()
    flow.declare_resource_requirement("format")
    saved = flow.start_execution(auto_close=False).save()
    Execution.objects.all().delete()
    with pytest.raises(exceptions.MissingResourceError, match="needs resources that are not there: format"):
        loops.run(flow.create_execution(auto_close=False).async_load(saved))
    assert not Execution.objects.exists()
    given = {"format": str.upper}
    execution = flow.create_execution(auto_close=False, runtime_resources=given if where == "given" else None)
    if where == "flow":
        flow.update_runtime_resources(**given)
    if where == "settings":
        settings.TRIGGERFLOW = {"RESOURCES": {"format": "tests.handles.test_inspect_load.upper"}}
    if where == "handle":
        execution.declare_resource_requirement("more")
        with pytest.raises(exceptions.MissingResourceError, match="format, more"):
            loops.run(execution.async_load(saved))
        given = {**given, "more": 1}
    extra = given if where in ("argument", "handle") else None
    assert execution.inspect_load(saved, extra)["ready"]
    loops.run(execution.async_load(saved, runtime_resources=extra))
    execution.continue_with("gate", "yes")
    assert execution.get_state("out") == "YES"


def upper() -> Any:
    return str.upper


def test_load_does_not_look() -> None:
    flow = asking()
    flow.declare_resource_requirement("format")
    saved = flow.start_execution(auto_close=False).save()
    assert flow.create_execution(auto_close=False).load(saved).get_status() == "waiting"


@pytest.mark.parametrize("wrong", ["", None, 1, "x" * 201])
def test_a_name_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(exceptions.DefinitionError, match="resource"):
        asking().declare_resource_requirement(wrong)


def test_the_states_former_names_warn_once_and_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deprecated, "_told", set())
    flow = TriggerFlow(name="old names")

    def use(data: Any) -> None:
        data.set_runtime_data("a", 1)
        data.append_runtime_data("list", data.get_runtime_data("a"))
        data.set_runtime_data("gone", 1)
        data.del_runtime_data("gone")

    async def use_async(data: Any) -> None:
        await data.async_set_runtime_data("b", await data.async_get_runtime_data("a"))
        await data.async_append_runtime_data("list", 2)
        await data.async_del_runtime_data("absent")

    flow.to(use).to(use_async)
    with pytest.warns(DeprecationWarning, match="is deprecated") as caught:
        execution = flow.start_execution(auto_close=False)
    told = sorted(str(warning.message).split("(")[0] for warning in caught)
    assert told == ["append_runtime_data", "del_runtime_data", "get_runtime_data", "set_runtime_data"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        execution.set_runtime_data("c", 3)
        assert execution.get_runtime_data() == {"a": 1, "list": [1, 2], "b": 1, "c": 3}
