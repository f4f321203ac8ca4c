"""Flows to test the test kit with, registered for the length of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User

from triggerflow_django import TriggerFlow, TriggerFlowRuntimeData, register
from triggerflow_django.definition import registry


@contextmanager
def registered(flow: TriggerFlow) -> Iterator[TriggerFlow]:
    """Known to the whole process in the block."""
    register(flow)
    try:
        yield flow
    finally:
        registry.unregister(flow.name)


def approval(name: str, **pause: Any) -> TriggerFlow:
    """Asks, with ``pause_for(**pause)``, then commits what was answered."""
    flow = TriggerFlow(name=name)

    def ask(data: TriggerFlowRuntimeData) -> Any:
        return data.pause_for(**{"type": "approval", "payload": data.input, **pause})

    def commit(data: TriggerFlowRuntimeData) -> None:
        data.set_state("answer", data.input)

    flow.to(ask).to(commit)
    return flow


def work(name: str) -> TriggerFlow:
    """Doubles its input and keeps it; no pause."""
    flow = TriggerFlow(name=name)

    def double(data: TriggerFlowRuntimeData) -> int:
        return int(data.input) * 2

    def keep(data: TriggerFlowRuntimeData) -> None:
        data.set_state("result", data.input)

    flow.to(double).to(keep)
    return flow


class Bank:
    """Fails the first ``failures`` times it is called."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0

    def pay(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise ConnectionError(f"the bank is away ({self.calls})")
        return "paid"


def payment(name: str, bank: Bank, **options: Any) -> TriggerFlow:
    """Pays, as a chunk with these options, and then sends a receipt."""
    flow = TriggerFlow(name=name)

    @flow.chunk("pay", **options)
    def pay(data: TriggerFlowRuntimeData) -> str:
        return bank.pay()

    def receipt(data: TriggerFlowRuntimeData) -> None:
        data.set_state("receipt", data.input)

    flow.to(pay).to(receipt)
    return flow


def person(name: str, *, may_decide: bool = True) -> User:
    """A user, with or without the permission that decides where nobody is named."""
    user: User = User.objects.create_user(name)
    if may_decide:
        user.user_permissions.add(Permission.objects.get(codename="resume_interrupt"))
    return user


def fails(function: Any, *arguments: Any, **named: Any) -> str:
    """The message of the AssertionError it raises."""
    with pytest.raises(AssertionError) as caught:
        function(*arguments, **named)
    assert type(caught.value) is AssertionError
    return str(caught.value)
