"""Django signals reach observers after the commit, and no observer can do harm."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import transaction
from django.dispatch import Signal

from triggerflow_django import signals

pytestmark = pytest.mark.django_db(transaction=True)

Received = list[dict[str, Any]]


@pytest.fixture
def connect() -> Iterator[Callable[[Signal, Callable[..., Any]], None]]:
    """Connect a receiver for the length of the test."""
    connected: list[tuple[Signal, Callable[..., Any]]] = []

    def _connect(signal: Signal, receiver: Callable[..., Any]) -> None:
        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))

    yield _connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


@pytest.fixture
def received(connect: Callable[[Signal, Callable[..., Any]], None]) -> Received:
    """What arrived through ``execution_closed``."""
    found: Received = []
    connect(signals.execution_closed, lambda **kwargs: found.append(kwargs))
    return found


def send(**kwargs: Any) -> None:
    # Any model will do as sender here; the engine sends its Execution.
    signals.send_after_commit(signals.execution_closed, sender=Group, using="default", execution_id="ab12", **kwargs)


def test_nothing_is_sent_before_the_commit(received: Received) -> None:
    with transaction.atomic():
        send(status="completed")
        assert received == []
    assert len(received) == 1


def test_receivers_get_the_sender_the_alias_and_the_arguments(received: Received) -> None:
    send(flow_name="refund", status="completed")
    assert received == [
        {
            "signal": signals.execution_closed,
            "sender": Group,
            "using": "default",
            "execution_id": "ab12",
            "flow_name": "refund",
            "status": "completed",
        }
    ]


def test_nothing_is_sent_when_the_transaction_rolls_back(received: Received) -> None:
    with transaction.atomic():
        send(status="completed")
        transaction.set_rollback(True)
    assert received == []


def test_nothing_is_sent_from_a_savepoint_that_rolls_back(received: Received) -> None:
    with transaction.atomic():
        with transaction.atomic():
            send(status="failed")
            transaction.set_rollback(True)
        send(status="completed")
    assert [arguments["status"] for arguments in received] == ["completed"]


def test_a_receiver_that_raises_stops_nobody_and_is_logged(
    connect: Callable[[Signal, Callable[..., Any]], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    found: Received = []

    def broken(**kwargs: Any) -> None:
        raise LookupError("no mail server")

    connect(signals.execution_closed, broken)
    connect(signals.execution_closed, lambda **kwargs: found.append(kwargs))
    with caplog.at_level(logging.ERROR, "triggerflow_django.signals"), transaction.atomic():
        send(status="completed")
        group = Group.objects.create(name="kept")
    assert len(found) == 1
    assert Group.objects.filter(pk=group.pk).exists()
    [record] = [record for record in caplog.records if record.name == "triggerflow_django.signals"]
    assert record.__dict__["event"] == "triggerflow.receiver.failed"
    assert record.__dict__["signal"] == "execution_closed"
    assert record.__dict__["receiver"].endswith(".broken")
    assert record.__dict__["execution_id"] == "ab12"
    assert record.exc_info
    assert isinstance(record.exc_info[1], LookupError)


def test_not_even_a_receiver_without_a_name_harms_the_caller(
    connect: Callable[[Signal, Callable[..., Any]], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Mailer:
        def __call__(self, **kwargs: Any) -> None:
            raise LookupError

    connect(signals.execution_closed, Mailer())
    with transaction.atomic():
        send(status="completed")
    send(status="completed")
    records = [record for record in caplog.records if record.name == "triggerflow_django.signals"]
    assert [record.__dict__["signal"] for record in records] == ["execution_closed"] * 2


def test_what_was_committed_is_visible_to_a_receiver(
    connect: Callable[[Signal, Callable[..., Any]], None],
) -> None:
    seen: list[bool] = []
    connect(
        signals.execution_closed,
        lambda **kwargs: seen.append(
            not transaction.get_connection().in_atomic_block and Group.objects.filter(name="kept").exists()
        ),
    )
    with transaction.atomic():
        send(status="completed")
        Group.objects.create(name="kept")
    assert seen == [True]
