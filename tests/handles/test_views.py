"""Views under WSGI and under ASGI, sync and async, with and without ATOMIC_REQUESTS."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import Group
from django.core.handlers.asgi import ASGIHandler
from django.db import connections
from django.test import AsyncClient, Client

from tests.handles.loops import in_a_loop
from triggerflow_django.models import Execution

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.handles.pages")]

_STARTS = ["start", "start-async", "start-sync-in-async"]
_ANSWERS = ["answer", "answer-async"]
_WALKS = list(itertools.product(_STARTS, _ANSWERS))


@pytest.mark.parametrize(("start", "answer"), _WALKS)
def test_under_wsgi(client: Client, start: str, answer: str) -> None:
    started = client.get(f"/{start}/order").json()
    assert started["status"] == "waiting"
    assert client.get(f"/{answer}/{started['id']}").json() == {"answer": "yes"}
    again = client.get(f"/{answer}/{started['id']}")
    assert (again.status_code, again.json()) == (409, {"code": "execution_not_open"})


@pytest.mark.parametrize(("start", "answer"), _WALKS)
@in_a_loop
async def test_with_djangos_async_client(start: str, answer: str) -> None:
    client = AsyncClient()
    started = (await client.get(f"/{start}/order")).json()
    assert started["status"] == "waiting"
    assert (await client.get(f"/{answer}/{started['id']}")).json() == {"answer": "yes"}


async def _request(path: str) -> tuple[int, bytes]:
    """One request to the ASGI application, as a server makes it: status and body. ``ApplicationCommunicator`` runs it
    in a task of its own, and Django gives each request a thread of its own for sync code.
    """
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"testserver")],
    }
    communicator = ApplicationCommunicator(ASGIHandler(), scope)
    await communicator.send_input({"type": "http.request", "body": b"", "more_body": False})
    head = await communicator.receive_output(timeout=30)
    body = await communicator.receive_output(timeout=30)
    await communicator.wait(timeout=30)
    return head["status"], body["body"]


async def _get(path: str) -> Any:
    status, body = await _request(path)
    assert status == 200, body
    return json.loads(body)


@pytest.mark.parametrize(("start", "answer"), _WALKS)
@in_a_loop
async def test_under_asgi(start: str, answer: str) -> None:
    started = await _get(f"/{start}/order")
    assert started["status"] == "waiting"
    assert await _get(f"/{answer}/{started['id']}") == {"answer": "yes"}


@in_a_loop
async def test_under_asgi_many_requests_at_once() -> None:
    started = await asyncio.gather(*(_get(f"/{_STARTS[n % 3]}/order {n}") for n in range(9)))
    assert {each["status"] for each in started} == {"waiting"}
    answered = await asyncio.gather(*(_get(f"/{_ANSWERS[n % 2]}/{each['id']}") for n, each in enumerate(started)))
    assert answered == [{"answer": "yes"}] * 9
    assert await Execution.objects.filter(status="completed").acount() == 9


def test_a_view_that_fails_after_a_start_has_started_it(client: Client) -> None:
    with pytest.raises(ValueError, match="after the start"):
        client.get("/start-and-fail/order")
    assert Execution.objects.get().status == "waiting"
    assert Group.objects.get().name == "booked order"


@pytest.fixture
def atomic_requests() -> Iterator[None]:
    """ATOMIC_REQUESTS, as the handler reads it."""
    settings = connections["default"].settings_dict
    before, settings["ATOMIC_REQUESTS"] = settings["ATOMIC_REQUESTS"], True
    yield
    settings["ATOMIC_REQUESTS"] = before


@pytest.mark.usefixtures("atomic_requests")
class TestAtomicRequests:
    """Each sync view is a transaction (Django refuses the setting for async views)."""

    def test_a_view_starts_and_another_answers(self, client: Client) -> None:
        started = client.get("/start/order").json()
        assert started["status"] == "waiting"
        assert client.get(f"/answer/{started['id']}").json() == {"answer": "yes"}

    def test_a_view_that_fails_after_a_start_leaves_nothing(self, client: Client) -> None:
        with pytest.raises(ValueError, match="after the start"):
            client.get("/start-and-fail/order")
        assert not Execution.objects.exists()
        assert not Group.objects.exists()

    def test_a_chunk_that_fails_leaves_nothing_either_if_the_view_lets_it_through(self, client: Client) -> None:
        with pytest.raises(LookupError, match="no such order"):
            client.get("/start/bad")
        assert not Execution.objects.exists()
        assert not Group.objects.exists()

    def test_a_view_may_opt_out(self, client: Client) -> None:
        with pytest.raises(ValueError, match="after the start"):
            client.get("/start-and-fail-non-atomic/order")
        assert Execution.objects.get().status == "waiting"

    @in_a_loop
    async def test_sync_views_under_asgi_are_transactions_too(self) -> None:
        started = await _get("/start/order")
        assert await _get(f"/answer/{started['id']}") == {"answer": "yes"}
        status, _body = await _request("/start/bad")
        assert status == 500
        assert await Execution.objects.acount() == 1
