"""``TriggerFlowExecution``: the handle of one execution, whichever process made it.

It holds an id and the means to act; every fact is read from the row. Each method exists as ``name()`` and
``async_name()``, over one implementation.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from triggerflow_django import exceptions
from triggerflow_django.definition import deprecated
from triggerflow_django.definition.graph import Graph
from triggerflow_django.engine import lifecycle, start
from triggerflow_django.engine.calls import Db
from triggerflow_django.engine.drain import InlineDrain
from triggerflow_django.engine.facts import Facts
from triggerflow_django.engine.start import NewExecution
from triggerflow_django.engine.transition import Carrier
from triggerflow_django.handles import reading, trampoline, verbs
from triggerflow_django.handles.drawing import DrawingMethods
from triggerflow_django.handles.intervening import InterventionMethods
from triggerflow_django.handles.lifecycle import LifecycleMethods
from triggerflow_django.handles.looking import LookingMethods
from triggerflow_django.handles.result import ResultMethods
from triggerflow_django.handles.saving import SavingMethods
from triggerflow_django.handles.state import StateMethods
from triggerflow_django.handles.streaming import StreamMethods
from triggerflow_django.handles.sub_flows import SubFlowMethods
from triggerflow_django.handles.trampoline import Drain, Verb
from triggerflow_django.models import Execution, Runner
from triggerflow_django.runtime import bridge, current
from triggerflow_django.runtime.old_names import OldStateNames
from triggerflow_django.runtime.resources import Resources

if TYPE_CHECKING:
    from triggerflow_django.handles.flow import TriggerFlow

#: Names of the handle's own tasks in an event loop.
_DRAIN: Final = "triggerflow-drain"
_AUTO_CLOSE: Final = "triggerflow-auto-close"


class TriggerFlowExecution(
    DrawingMethods,
    InterventionMethods,
    LifecycleMethods,
    LookingMethods,
    OldStateNames,
    ResultMethods,
    SavingMethods,
    StateMethods,
    StreamMethods,
    SubFlowMethods,
):
    """One run of a flow. Made by ``flow.create_execution``, ``flow.start_execution`` or ``flow.get_execution``.

    Nothing is stored before the first write (``start``, ``emit``, ``set_state``, ``load``, ``save``).
    """

    def __init__(
        self,
        flow: TriggerFlow,
        new: NewExecution,
        *,
        using: str,
        resources: Mapping[str, Any] | None = None,
        is_fresh: bool = False,
    ) -> None:
        self.flow = flow
        self.new = new
        self.using = using
        #: Whether nothing of it can be stored yet.
        self.is_fresh = is_fresh
        self._given_resources: dict[str, Any] = dict(resources or {})
        self._own_resources: dict[str, Any] = {}
        self._required: dict[str, str] = {}
        self._sub_flow_resources: dict[uuid.UUID, dict[str, Any]] = {}
        self._background: set[asyncio.Task[Any]] = set()
        self._background_failures: list[BaseException] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} of {self.flow.name!r}>"

    @classmethod
    def attach(cls, execution_id: str) -> TriggerFlowExecution:
        """The handle of a stored execution of a registered flow, by id.

        Raises: UnknownExecutionError; UnknownFlowError.
        """
        from triggerflow_django.handles.flow import TriggerFlow  # noqa: PLC0415 - a flow makes handles, a handle names its flow

        return TriggerFlow.attach(execution_id)

    @classmethod
    async def async_attach(cls, execution_id: str) -> TriggerFlowExecution:
        """See ``attach``."""
        from triggerflow_django.handles.flow import TriggerFlow  # noqa: PLC0415 - see attach

        return await TriggerFlow.async_attach(execution_id)

    # -- what the verbs need

    @property
    def id(self) -> str:
        """The execution's id, hexadecimal."""
        return self.new.id.hex

    @property
    def pk(self) -> uuid.UUID:
        """The row's primary key."""
        return self.new.id

    @property
    def auto_close(self) -> bool:
        """Whether it closes by itself once it has been idle."""
        return self.new.auto_close

    @property
    def runs_inline(self) -> bool:
        """Whether this handle runs its steps, rather than workers."""
        return self.new.runner == Runner.INLINE

    @property
    def graph_for_routing(self) -> Graph:
        """The flow's graph as it was when this handle was made."""
        return self.new.graph

    @property
    def has_sub_flows(self) -> bool:
        """Whether its flow contains other flows."""
        return self.new.graph.has_sub_flows

    def ensure(self) -> None:
        """Insert the row unless it exists. (A database function.)"""
        self.is_fresh = False
        start.ensure(self.new, using=self.using)

    def adopt(self, row: Execution) -> None:
        """Become the handle of a row: the one its key, or a saved snapshot, leads to."""
        self.is_fresh = False
        self._replace(
            id=row.pk,
            runner=Runner(row.runner),
            auto_close=row.auto_close,
            auto_close_timeout=row.auto_close_timeout,
            skip_exceptions=row.skip_exceptions,
            interactive=row.interactive,
            intervention_mode=row.intervention_mode,
        )

    def hide(self) -> None:
        """Nobody will hold this handle (``flow.start``): a chunk that pauses fails."""
        self._replace(interactive=False)

    def _replace(self, **changes: Any) -> None:
        self.new = dataclasses.replace(self.new, **changes)

    def drain_operation(self, carrier: Carrier | None = None) -> Drain:
        """A drain of this execution, for the trampoline; it begins with what the ``carrier`` holds."""
        new = self.new
        facts = Facts(
            id=new.id,
            flow_name=new.flow_name,
            interactive=new.interactive,
            skip_exceptions=new.skip_exceptions,
            intervention_mode=new.intervention_mode,
        )
        return Drain(
            InlineDrain(
                facts,
                using=self.using,
                graph=new.graph,
                resources_of=lambda _facts: self.resources,
                handle=self,
                carrier=carrier,
                own_resources=self._sub_flow_resources,
            )
        )

    @property
    def resources(self) -> Resources:
        """The live objects its chunks can get in this process."""
        return Resources(self._own_resources, self._given_resources, self.flow.runtime_resources)

    def take_background_failures(self) -> list[BaseException]:
        """The errors of work that ``emit_nowait`` left behind, once."""
        taken, self._background_failures = self._background_failures, []
        return taken

    @property
    def background_drains(self) -> frozenset[asyncio.Task[Any]]:
        """What ``emit_nowait`` left running in this event loop."""
        return frozenset(task for task in self._background if task.get_name() == _DRAIN)

    def read_snapshot(self) -> Any:
        """The snapshot of the row, ``None`` until it is closed. (A database function.)"""
        return reading.snapshot(self.pk, self.using)

    def _sync(self, verb: Verb[Any], name: str, *, runs_chunks: bool = True) -> Any:
        # Called by one of its own chunks it only commits; what follows is for the drain that runs the chunk.
        runs_chunks = runs_chunks and self.runs_inline and not current.is_inside(self.id)
        try:
            return trampoline.run_sync(verb, using=self.using, runs_chunks=runs_chunks, name=name)
        finally:
            if runs_chunks and bridge.in_running_loop():
                self._watch_auto_close()

    async def _async(self, verb: Verb[Any]) -> Any:
        try:
            return await trampoline.run_async(verb)
        finally:
            self._watch_auto_close()

    def _read(self, function: Any, *arguments: Any) -> Any:
        return bridge.call(lambda: function(self.pk, self.using, *arguments))

    async def _async_read(self, function: Any, *arguments: Any) -> Any:
        def read() -> Verb[Any]:
            return (yield Db(lambda: function(self.pk, self.using, *arguments)))

        return await trampoline.run_async(read())

    # -- starting

    def start(
        self,
        value: Any = None,
        *,
        timeout: float | dt.timedelta | None = None,
        wait_for_result: bool | None = None,
    ) -> Any:
        """Start it with an input. With auto_close: wait until it has closed and return the snapshot; else the handle
        once it has settled.

        ``timeout``: seconds of idleness after which it closes (instead of ``auto_close_timeout``). A second start does
        nothing. ``wait_for_result``: deprecated, ignored.

        Raises: the first error of a chunk that failed for good; JsonValueError; KeyConflictError.
        """
        self._set_timeout(timeout, wait_for_result)
        return self._sync(verbs.start_and_wait(self, value), "start")

    async def async_start(
        self,
        value: Any = None,
        *,
        timeout: float | dt.timedelta | None = None,
        wait_for_result: bool | None = None,
    ) -> Any:
        """See ``start``."""
        self._set_timeout(timeout, wait_for_result)
        return await self._async(verbs.start_and_wait(self, value))

    def _set_timeout(self, timeout: float | dt.timedelta | None, wait_for_result: bool | None) -> None:
        if wait_for_result is not None:
            deprecated.warn("wait_for_result=", "it is ignored; auto_close says whether start() waits")
        if timeout is not None:
            self._replace(auto_close_timeout=start.auto_close_seconds(timeout))

    def wait(self, timeout: float | None = None) -> TriggerFlowExecution:
        """Wait until nothing of it is active: it is idle, waiting or closed. Inline it runs what is ready. Returns the
        handle.

        Raises: WaitTimeoutError after ``timeout`` seconds.
        """
        self._sync(verbs.wait(self, timeout), "wait")
        return self

    async def async_wait(self, timeout: float | None = None) -> TriggerFlowExecution:
        """See ``wait``."""
        await self._async(verbs.wait(self, timeout))
        return self

    # -- answering and emitting

    def continue_with(
        self,
        interrupt_id: str,
        payload: Any = None,
        *,
        resume_request_id: str | None = None,
        actor: Any = None,
        comment: str = "",
    ) -> Any:
        """Answer an interrupt and go on. Returns its record (``status`` ``resumed``) once what follows has settled
        (inline) or is committed (rq). Inline, for an interrupt of a sub flow: the child's snapshot once that is
        closed, or the pause marker of its next question.

        ``actor``: the deciding user, to whom the interrupt's policy applies; without one the calling code is trusted
        and recorded as such. The same ``resume_request_id`` with the same answer is answered alike again.

        Raises: see ``engine.decide``; then the first error of a chunk that failed for good.
        """
        verb = verbs.answer(self, interrupt_id, payload, request_id=resume_request_id, actor=actor, comment=comment)
        record: Any = self._sync(verb, "continue_with")
        return record

    async def async_continue_with(
        self,
        interrupt_id: str,
        payload: Any = None,
        *,
        resume_request_id: str | None = None,
        actor: Any = None,
        comment: str = "",
    ) -> Any:
        """See ``continue_with``."""
        verb = verbs.answer(self, interrupt_id, payload, request_id=resume_request_id, actor=actor, comment=comment)
        record: Any = await self._async(verb)
        return record

    def emit(self, event: str, value: Any = None, *, actor: Any = None) -> list[Any] | None:
        """Emit an event into it. Returns what the handlers returned (inline), ``None`` without handlers or where
        workers run it.

        An interrupt that waits for the event is answered by it, if the actor may; else the emit is refused whole.
        """
        results: list[Any] | None = self._sync(verbs.emit_event(self, event, value, actor, drain=True), "emit")
        return results

    async def async_emit(self, event: str, value: Any = None, *, actor: Any = None) -> list[Any] | None:
        """See ``emit``."""
        results: list[Any] | None = await self._async(verbs.emit_event(self, event, value, actor, drain=True))
        return results

    def emit_nowait(self, event: str, value: Any = None, *, actor: Any = None) -> None:
        """Commit an event without waiting for its handlers. Inline they run in the running loop, or with the next call
        that waits.

        Their errors are raised by ``close()``.
        """
        self._sync(verbs.emit_event(self, event, value, actor, drain=False), "emit_nowait", runs_chunks=False)
        self._drain_in_background()

    async def async_emit_nowait(self, event: str, value: Any = None, *, actor: Any = None) -> None:
        """See ``emit_nowait``."""
        await self._async(verbs.emit_event(self, event, value, actor, drain=False))
        self._drain_in_background()

    def _drain_in_background(self) -> None:
        if not self.runs_inline or not bridge.in_running_loop():
            return

        async def work() -> None:
            self._background_failures += await trampoline.run_async(verbs.drain(self))

        self._keep(asyncio.get_running_loop().create_task(work(), name=_DRAIN))

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _watch_auto_close(self) -> None:
        """In a running loop, close an idle inline execution when it is due; elsewhere the sweep does."""
        if not (self.runs_inline and self.auto_close) or any(
            task.get_name() == _AUTO_CLOSE for task in self._background
        ):
            return

        async def watch() -> None:
            while (seconds := await self._async_read(reading.seconds_to_auto_close)) is not None:
                if seconds > 0:
                    await asyncio.sleep(seconds)
                else:
                    await self._async_read(lambda pk, using: lifecycle.auto_close(pk, using=using))

        self._keep(asyncio.get_running_loop().create_task(watch(), name=_AUTO_CLOSE))

    def _once(self, function: Any) -> Verb[Any]:
        def act() -> Any:
            self.ensure()
            return function()

        return (yield Db(act))


def execution_uuid(execution_id: str | uuid.UUID) -> uuid.UUID:
    """The primary key an id stands for.

    Raises: UnknownExecutionError for text that is no id.
    """
    if isinstance(execution_id, uuid.UUID):
        return execution_id
    try:
        return uuid.UUID(execution_id)
    except (ValueError, AttributeError, TypeError):
        raise exceptions.UnknownExecutionError(f"there is no execution {execution_id!r}") from None
