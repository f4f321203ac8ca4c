"""Which execution's chunk is running in this context, so that a call that would wait for itself can be refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_executions: Final[ContextVar[tuple[str, ...]]] = ContextVar("triggerflow_running_executions", default=())


@contextmanager
def running(execution_id: str) -> Iterator[None]:
    """Mark the block as user code of a chunk of this execution (id in hexadecimal)."""
    token = _executions.set((*_executions.get(), execution_id))
    try:
        yield
    finally:
        _executions.reset(token)


def is_inside(execution_id: str) -> bool:
    """Whether this code was called by a chunk of that execution."""
    return execution_id in _executions.get()
