"""Flows that are registered while a test of the commands runs, and the people who use them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User

from triggerflow_django import TriggerFlow, TriggerFlowExecution
from triggerflow_django.definition import registry


def fragile(data: Any) -> Any:
    """Fails until the state says it is mended."""
    if not data.get_state("mended"):
        raise LookupError("no such order")
    return data.input


def refund_flow(**pause: Any) -> TriggerFlow:
    """It asks once, under the id ``gate``, and keeps the answer."""
    flow = TriggerFlow(name="refund")

    def ask(data: Any) -> Any:
        return data.pause_for(
            **{"type": "approval", "payload": {"question": "Refund 120?"}, "interrupt_id": "gate", **pause}
        )

    flow.to(ask).to(lambda data: data.set_state("decision", data.input), name="settle")
    flow.when("paid").to(lambda data: data.set_state("paid", data.input), name="note")
    flow.when("break").to(fragile)
    return flow


@pytest.fixture
def register() -> Iterator[Callable[[TriggerFlow], TriggerFlow]]:
    """Register a flow for the length of the test."""
    names: list[str] = []

    def _register(flow: TriggerFlow) -> TriggerFlow:
        registry.register(flow)
        names.append(flow.name)
        return flow

    yield _register
    for name in names:
        registry.unregister(name)


@pytest.fixture
def flow(register: Callable[[TriggerFlow], TriggerFlow]) -> TriggerFlow:
    return register(refund_flow())


@pytest.fixture
def waiting(flow: TriggerFlow) -> TriggerFlowExecution:
    """An execution that waits for a decision on ``gate``, which names nobody."""
    return flow.start_execution({"amount": 120}, auto_close=False)


@pytest.fixture
def failed(waiting: TriggerFlowExecution) -> TriggerFlowExecution:
    """It waits for a decision and has a failed step, too."""
    with pytest.raises(LookupError):
        waiting.emit("break", 7)
    return waiting


@pytest.fixture
def user() -> Callable[..., User]:
    """Make a user with permissions of this app, in groups."""

    def _user(name: str, *permissions: str, groups: tuple[str, ...] = (), **fields: Any) -> User:
        made: User = User.objects.create_user(name, **fields)
        made.user_permissions.set(
            Permission.objects.filter(content_type__app_label="triggerflow", codename__in=permissions)
        )
        made.groups.set([Group.objects.get_or_create(name=group)[0] for group in groups])
        return made

    return _user


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str | bytes], Path]:
    """A file with that in it."""

    def _file(content: str | bytes) -> Path:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return _file
