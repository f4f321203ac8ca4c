"""A chunk: one user function in a flow, with the options under which it runs.

In: a function (sync, async, lambda or any callable) and its options. Out: a ``Chunk`` the chain methods accept, and
facts about the function that the engine needs before it calls it (is it async, does it look at the execution's state).
"""

from __future__ import annotations

import dis
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType
from typing import Any, Final

from triggerflow_django import exceptions, jsongate

Handler = Callable[[Any], Any]

#: Seconds an option may say; a timer takes no more than some centuries.
_LONGEST: Final = 100 * 366 * 86400

#: What a chunk can read off ``data`` without its execution's state. Anything else, and the state is loaded before the
#: call.
_STATELESS_ATTRIBUTES: Final = frozenset(
    {
        "input", "inputs", "value", "event", "type", "trigger_event", "trigger_type", "signal_info",
        "is_resume", "resume", "execution_id", "attempt", "idempotency_key",
        "resources", "get_resource", "require_resource", "set_resource",
        "emit", "emit_nowait", "async_emit", "async_emit_nowait", "pause_for", "async_pause_for",
        "is_cancelled", "async_is_cancelled", "set_state", "async_set_state",
    }
)  # fmt: skip


class _Unset:
    """Marks an option nobody gave, where ``None`` means something."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = _Unset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkOptions:
    """How the engine runs one chunk."""

    #: How often a chunk that raised or timed out is run again before the step fails.
    retries: int = 0
    #: Seconds before the first retry; doubles each time, jittered and capped. ``None``:
    #: ``TRIGGERFLOW["RETRY_BACKOFF"]``.
    backoff: float | None = None
    #: Seconds one call may take. ``None``: no limit. Unset: ``TRIGGERFLOW["CHUNK_TIMEOUT"]``.
    timeout: float | _Unset | None = UNSET
    #: The queue whose workers run it. ``None``: ``TRIGGERFLOW["DEFAULT_QUEUE"]``.
    queue: str | None = None
    #: Run user code and record the outcome in one database transaction (sync functions only).
    atomic: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.retries, bool) or not isinstance(self.retries, int) or self.retries < 0:
            raise exceptions.DefinitionError(f"retries={self.retries!r}: give a whole number, 0 or more")
        if self.backoff is not None and not _is_positive(self.backoff):
            raise exceptions.DefinitionError(f"backoff={self.backoff!r}: give seconds, more than 0")
        if self.timeout is not None and self.timeout is not UNSET and not _is_positive(self.timeout):
            raise exceptions.DefinitionError(
                f"timeout={self.timeout!r}: give seconds, more than 0, or None for no limit"
            )
        if self.queue is not None and not jsongate.is_name(self.queue, most=100):
            raise exceptions.DefinitionError(f"queue={self.queue!r}: give the name of a queue, 1 to 100 characters")


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _LONGEST


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """A user function under its node id. Made by ``flow.chunk(...)`` or on the way by ``flow.to(function)``.

    It can still be called like the function it wraps, so that a test may call it directly.
    """

    #: The node's id in the graph: the name, or for a lambda its owner's id with an ordinal.
    id: str
    #: What people and joins call it.
    name: str
    handler: Handler
    options: ChunkOptions
    #: Whether calling it gives a coroutine.
    is_async: bool = False
    #: Whether the execution's state is loaded before it is called (see ``may_read_state``).
    reads_state: bool = True

    def __call__(self, data: Any) -> Any:
        return self.handler(data)


def is_lambda(handler: Handler) -> bool:
    """Whether the function was written as a lambda, so that its name tells nothing."""
    return getattr(handler, "__name__", None) == "<lambda>"


def function_name(handler: Handler) -> str:
    """The name a chunk gets from its function; a partial or a callable object borrows that of what it wraps or is."""
    if isinstance(handler, functools.partial):
        return function_name(handler.func)
    name = getattr(handler, "__name__", None)
    return name if isinstance(name, str) else type(handler).__name__


def _unwrap(handler: Handler) -> Any:
    function: Any = handler
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function) and not inspect.isclass(function):
        function = function.__call__
    return function


def identity(handler: Handler) -> tuple[int, ...]:
    """What two mentions of one function have in common; a bound method is a new object at each mention."""
    if inspect.ismethod(handler):
        return id(handler.__self__), id(handler.__func__)
    return (id(handler),)


def is_async(handler: Handler) -> bool:
    """Whether calling it gives a coroutine, as far as that can be known without calling it."""
    return inspect.iscoroutinefunction(_unwrap(handler))


def takes_one_argument(handler: Handler) -> bool:
    """Whether it can be called as ``handler(data)``; ``True`` where its signature cannot be read."""
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(object())
    except TypeError:
        return False
    return True


def may_read_state(handler: Handler) -> bool:
    """Whether the function could look at the execution's state.

    ``False`` only if its byte code shows that ``data`` is used for nothing but attributes that need no state. A large
    state is then not loaded for a step that leaves it alone. In doubt (``data`` handed on, closures, C functions):
    ``True``.
    """
    function = inspect.unwrap(_unwrap(handler))
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType) or code.co_argcount == 0 or isinstance(handler, functools.partial):
        return True
    data = code.co_varnames[1 if inspect.ismethod(function) and code.co_argcount > 1 else 0]
    if data in code.co_cellvars:
        return True
    instructions = [item for item in dis.get_instructions(code) if item.opname not in ("CACHE", "EXTENDED_ARG")]
    for position, item in enumerate(instructions):
        if item.argval != data and not (isinstance(item.argval, tuple) and data in item.argval):
            continue
        if item.opname in ("COPY_FREE_VARS", "MAKE_CELL"):
            continue
        following = instructions[position + 1] if position + 1 < len(instructions) else None
        plain_load = item.opname in ("LOAD_FAST", "LOAD_FAST_BORROW", "LOAD_FAST_CHECK")
        attribute = following is not None and following.opname in ("LOAD_ATTR", "LOAD_METHOD")
        if not (plain_load and attribute and following is not None and following.argval in _STATELESS_ATTRIBUTES):
            return True
    return False
