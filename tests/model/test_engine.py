"""The model of docs/model does not drift from the engine: what it names is there, and does what it says."""

from __future__ import annotations

import importlib
import itertools
import re
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection

from tests.engine import driving
from triggerflow_django import TriggerFlow
from triggerflow_django.engine import clock, heartbeat, lifecycle, sweep
from triggerflow_django.models import InterruptStatus, Lifecycle, Step, StepStatus

#: An UPDATE's table and its conditions, as the ORM and ``engine.rows`` write them.
_UPDATE = re.compile(r'^UPDATE "(\w+)" SET (?:.*) WHERE (.*)$', re.DOTALL)


def function(path: str) -> Any:
    """The engine's function behind ``module:name`` or ``module:Class.name``."""
    module, _, name = path.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.once
def test_every_guard_of_the_model_is_a_function_of_the_engine(model: SimpleNamespace) -> None:
    for guard in model.guards.GUARDS.values():
        assert callable(function(guard.function)), guard.function


@pytest.mark.once
def test_the_words_of_the_model_are_the_engine_s(model: SimpleNamespace) -> None:
    """What a row may say is what is seen in the model's first states, a few words that it leaves out apart."""
    first = model.states.State(steps=(model.states.Step("ready", lost=1), model.states.Step("-")), faults=1)
    states, known = [first], {first}
    for state in itertools.islice(states, 20_000):  # grows
        fresh = {model.states.alike(after) for *_told, after in model.check.moves(state, model.guards.ALL)} - known
        known |= fresh
        states += fresh
    seen: dict[str, set[str]] = {
        "step": {step.status for state in known for step in state.steps},
        "gate": {state.gate for state in known},
        "lifecycle": {state.lifecycle for state in known},
    }
    not_modelled = {"held", "delegated"}
    assert seen["step"] - {"-"} == set(StepStatus.values) - not_modelled
    assert seen["gate"] - {"-"} == set(InterruptStatus.values) - {"expired"}
    assert seen["lifecycle"] == set(Lifecycle.values)


class Sent:
    """Which UPDATEs are sent, and which functions of the package were under way at that moment."""

    def __init__(self) -> None:
        self.updates: list[tuple[str, frozenset[str], frozenset[str]]] = []

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if found := _UPDATE.match(sql):
            columns = frozenset(re.findall(r'"(\w+)"\s*(?:=|IN|<=)', found[2]))
            self.updates.append((found[1], columns, _under_way()))
        return execute(sql, params, many, context)

    def by(self, path: str, table: str) -> list[frozenset[str]]:
        """The columns that the conditions of a function's updates of a table look at."""
        return [columns for where, columns, callers in self.updates if where == table and path in callers]


def _under_way() -> frozenset[str]:
    frame, names = sys._getframe(2), set()
    while frame is not None:
        names.add(f"{frame.f_globals.get('__name__')}:{frame.f_code.co_qualname}")
        frame = frame.f_back
    return frozenset(names)


@pytest.mark.django_db
def test_the_engine_sends_the_conditional_updates_that_the_model_names(model: SimpleNamespace) -> None:
    sent = Sent()
    with connection.execute_wrapper(sent):
        walk()
    for name, guard in model.guards.GUARDS.items():
        if guard.update is None:
            continue
        table, columns = guard.update
        assert set(columns) in map(set, sent.by(guard.function, table)), (name, sent.by(guard.function, table))
        # Not one of the function's updates of that table goes without it.
        assert all(set(columns) <= each for each in sent.by(guard.function, table)), name


def walk() -> None:
    """Everything the model's guards are about, once: a claim, a heartbeat, a lost lease, an answer, a close."""
    flow = TriggerFlow(name="refund")
    flow.to(lambda data: data.pause_for(interrupt_id="gate"), name="ask").to(lambda data: data.input, name="book")
    pk = driving.start(flow)
    running, step = driving.claimed(pk, flow)
    heartbeat.renew(heartbeat.Lease(running.context.token, "default"))
    Step.objects.filter(pk=step.pk).update(lease_expires_at=clock.expression(plus=-1))
    assert sweep.sweep(using="default").lost_steps == 1
    driving.drain(pk, flow)
    driving.decide(pk, "gate", "yes")
    driving.drain(pk, flow)
    other = driving.settled(flow)
    lifecycle.request_close(other, using="default", pending_interrupts="cancel")
