"""Child processes that none of these tests leaves behind, and a clock that makes leases expire without waiting."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.faults import flows
from tests.faults.processes import Crew
from tests.faults.rescue import Redis, Rescue
from triggerflow_django import wakeups
from triggerflow_django.engine import clock


@pytest.fixture
def crew(database_url: str) -> Iterator[Crew]:
    """Starts processes that work on the test database."""
    made = Crew(database_url)
    yield made
    made.dismiss()


@pytest.fixture
def travel() -> Iterator[Callable[[float], None]]:
    """Move the engine's clock on by seconds, here and in children started afterwards."""
    former = clock.offset()

    def move(seconds: float) -> None:
        clock.set_offset(clock.offset() + dt.timedelta(seconds=seconds))

    yield move
    clock.set_offset(former)


@pytest.fixture(scope="session")
def one_redis() -> Iterator[Redis]:
    """One Valkey for all tests here that ring."""
    made = Redis()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def redis(one_redis: Redis, crew: Crew, settings: Any) -> Iterator[Redis]:
    """An empty Valkey at which this process and its children ring, with flows that workers find."""
    one_redis.start()
    one_redis.flush()
    settings.RQ_QUEUES = {"triggerflow": {"URL": one_redis.url}}
    crew.redis_url = one_redis.url
    wakeups.bell_queue.cache_clear()
    flows.register()
    yield one_redis
    flows.unregister()
    wakeups.bell_queue.cache_clear()


@pytest.fixture
def rescue(request: pytest.FixtureRequest, crew: Crew, travel: Callable[[float], None]) -> Rescue:
    """What the test's ``cell`` needs to come to its end."""
    cell = request.node.callspec.params["cell"]
    return Rescue(crew, travel, cell, request.getfixturevalue("redis") if cell.runner == "rq" else None)
