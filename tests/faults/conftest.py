"""Child processes that none of these tests leaves behind, and a clock that makes leases expire without waiting."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator

import pytest

from tests.faults.processes import Crew
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
