"""Invariants 15 and 16: data is only data, and nothing but the rows decides what happens."""

from __future__ import annotations

import ast
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction

import triggerflow_django
from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import emit, lifecycle, sweep
from triggerflow_django.models import Execution, Interrupt, Step

pytestmark = pytest.mark.django_db

Travel = Callable[[float], None]

PACKAGE = Path(triggerflow_django.__file__).parent


def gated() -> TriggerFlow:
    """A flow that asks, and then commits."""
    flow = TriggerFlow(name="refund")
    flow.to(lambda data: data.pause_for(interrupt_id="gate"), name="ask").to(
        lambda data: data.set_state("decision", data.input), name="commit"
    )
    return flow


def modules() -> list[tuple[str, ast.Module]]:
    """Every module of the package, parsed."""
    return [
        (str(path.relative_to(PACKAGE)), ast.parse(path.read_text(encoding="utf-8")))
        for path in sorted(PACKAGE.rglob("*.py"))
        if "migrations" not in path.parts
    ]


# -- 15


def test_15_nothing_is_evaluated_unpickled_or_imported_from_data() -> None:
    forbidden = {"eval", "exec", "compile", "__import__", "mark_safe", "loads_pickle"}
    modules_forbidden = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle", "yaml"}
    #: Where names of the settings and of this package become code: never a name from a row.
    imports_by_name = {"__init__.py", "runtime/resources.py"}
    #: Its loader is a SafeLoader that refuses tags and aliases; tests/definition/test_blueprint_hostile.py tries it.
    reads_yaml = "definition/yaml_text.py"
    found: list[str] = []
    for name, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = node.func
                word = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
                by_name = word in {"import_string", "import_module"} and name not in imports_by_name
                is_regular = word == "compile" and isinstance(called, ast.Attribute)  # re.compile
                if (word in forbidden and not is_regular) or (by_name and name != "apps.py"):
                    found.append(f"{name}:{node.lineno} {word}")
            elif isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                allowed = {"yaml"} if name == reads_yaml else set()
                bad = modules_forbidden - allowed
                found += [f"{name}:{node.lineno} {each}" for each in names if each.split(".")[0] in bad]
    assert found == []


@pytest.mark.parametrize("hostile", ["os.system", "call:os.system", "builtins.eval", "call:subprocess.run"])
def test_15_a_name_in_a_payload_or_in_approvers_is_never_called(hostile: str, clerk: User) -> None:
    flow = TriggerFlow(name="refund")
    flow.to(lambda data: data.pause_for(interrupt_id="gate", approvers=data.input["who"]), name="ask")
    pk = driving.start(flow, {"who": hostile})
    (failure,) = driving.drain(pk, flow)
    assert isinstance(failure, exceptions.ApproversError)


def anybody(*_asked: object) -> bool:
    """What a rule would be that lets everybody in."""
    return True


@pytest.mark.parametrize("name", ["os.system", f"{__name__}.anybody"])
def test_15_a_name_in_a_row_leads_to_a_registered_rule_or_nowhere(name: str, clerk: User) -> None:
    pk = driving.settled(gated())
    Interrupt.objects.update(approvers=[{"kind": "callable", "label": name}])
    with pytest.raises(exceptions.DecisionRefusedError, match=f"whom the rule {re.escape(name)} accepts"):
        driving.decide(pk, "gate", "echo", actor=clerk)


def test_15_a_flow_s_name_in_a_row_leads_to_a_registered_flow_or_nowhere() -> None:
    pk = driving.settled(gated())
    Execution.objects.update(flow_name="os.system")
    with pytest.raises(exceptions.UnknownFlowError, match=r"no flow named 'os\.system' is registered"):
        TriggerFlow.attach(pk)


# -- 16


@pytest.mark.django_db(transaction=True)
def test_16_a_drain_more_or_less_sooner_or_later_has_no_influence_on_the_result(travel: Travel) -> None:
    """A wake-up only says "look": dropped, doubled and late ones all find what the rows say."""

    def walk(drains: Callable[[uuid.UUID, TriggerFlow], None]) -> Any:
        flow = gated()
        flow.when("lines").for_each().to(lambda data: data.input * 2, name="line").end_for_each().to(
            lambda data: data.set_state("lines", data.input), name="end"
        )
        pk = driving.start(flow, {"order": 7})
        drains(pk, flow)
        emit.emit(pk, "lines", [1, 2, 3], using="default", graph=flow.graph)
        drains(pk, flow)
        driving.drain(pk, flow)
        driving.decide(pk, "gate", "yes", flow=flow)
        drains(pk, flow)
        lifecycle.request_close(pk, using="default", graph=flow.graph)
        driving.drain(pk, flow)
        drains(pk, flow)
        travel(10**5)
        drains(pk, flow)
        return driving.consistent(pk).snapshot

    def none(_pk: uuid.UUID, _flow: TriggerFlow) -> None:
        """Lost."""

    def once(pk: uuid.UUID, flow: TriggerFlow) -> None:
        driving.drain(pk, flow)

    def many(pk: uuid.UUID, flow: TriggerFlow) -> None:
        for _ in range(3):
            driving.drain(pk, flow)
            sweep.sweep(using="default")

    results = [walk(drains) for drains in (none, once, many)]
    assert results == [{"decision": "yes", "lines": [2, 4, 6]}] * 3
    with transaction.atomic():
        assert not Step.objects.exclude(status="done").exists()
