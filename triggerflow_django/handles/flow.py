"""``TriggerFlow``: a flow's definition together with the means to create and start executions of it."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from typing import Any, Literal

from django.db import models

from triggerflow_django import conf, exceptions, jsongate
from triggerflow_django.definition import registry
from triggerflow_django.definition.chunk import UNSET, _Unset
from triggerflow_django.definition.flow import FlowDefinition
from triggerflow_django.engine import family, intervene
from triggerflow_django.engine.calls import Db
from triggerflow_django.engine.start import NewExecution, auto_close_seconds
from triggerflow_django.handles import reading, trampoline, verbs
from triggerflow_django.handles.execution import TriggerFlowExecution, execution_uuid
from triggerflow_django.handles.flow_data import FlowDataMethods
from triggerflow_django.handles.saving import RequirementMethods
from triggerflow_django.handles.streaming import FlowStreamMethods
from triggerflow_django.handles.trampoline import Verb
from triggerflow_django.models import Execution, Runner
from triggerflow_django.models.fields import new_id

RunnerName = Literal["inline", "rq"]


class TriggerFlow(FlowDataMethods, FlowStreamMethods, RequirementMethods, FlowDefinition):
    """A flow: ``flow.to(ask).to(commit)``. Bind it at module level of an app's ``flows.py`` to register it.

    ``skip_exceptions``: a chunk that raises only ends its own chain, the execution is not failed by it.
    ``blueprint``: what ``save_blueprint()`` of another flow gave, to begin with.
    """

    def __init__(
        self, name: str | None = None, *, skip_exceptions: bool = False, blueprint: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(name, skip_exceptions=skip_exceptions, blueprint=blueprint)
        self.runtime_resources: dict[str, Any] = {}
        self._required: dict[str, str] = {}

    def update_runtime_resources(self, **resources: Any) -> None:
        """Give live objects to the chunks of all its executions in this process."""
        self.runtime_resources.update(resources)

    # -- handles

    def create_execution(
        self,
        *,
        auto_close: bool = True,
        auto_close_timeout: float | dt.timedelta | _Unset | None = UNSET,
        skip_exceptions: bool | None = None,
        runtime_resources: Mapping[str, Any] | None = None,
        runner: RunnerName | None = None,
        key: str | None = None,
        subject: models.Model | None = None,
        started_by: Any = None,
        concurrency: int | None = None,
        intervention_mode: Literal["planned", "auto"] | _Unset | None = UNSET,
        using: str | None = None,
    ) -> TriggerFlowExecution:
        """A handle for a new execution; nothing is stored before its first write.

        ``auto_close_timeout``: seconds of idleness before it closes by itself, ``None`` for never. ``runner``: ``rq``
        (workers) or ``inline`` (this process). ``key``: a business key; starting twice with one key and the same input
        gives the same execution. ``subject``: the model instance it is about. ``started_by``: the user who starts it,
        for history and for ``exclude_starter``. ``concurrency``: how many of its steps may be ready or running at once,
        on all workers together; a step that waits for an answer does not count. ``intervention_mode``: ``planned`` (the
        default where the flow has an intervention point), ``auto``, or ``None`` for none. ``using``: the database
        alias.

        Raises: UnregisteredFlowError for ``runner="rq"`` with a flow other processes cannot find; InvalidPolicyError.
        """
        settings = conf.get_settings()
        timeout = settings.AUTO_CLOSE_TIMEOUT if isinstance(auto_close_timeout, _Unset) else auto_close_timeout
        if key is not None and not jsongate.is_name(key):
            raise exceptions.InvalidPolicyError(f"key={key!r}: give a text of 1 to 200 characters")
        if concurrency is not None and (type(concurrency) is not int or not 1 <= concurrency < 2**31):
            raise exceptions.InvalidPolicyError(f"concurrency={concurrency!r}: give a whole number, 1 or more, or None")
        new = NewExecution(
            id=new_id(),
            flow_name=self.name,
            graph=self.graph,
            runner=self._runner(runner),
            skip_exceptions=self.skip_exceptions if skip_exceptions is None else skip_exceptions,
            auto_close=bool(auto_close),
            auto_close_timeout=auto_close_seconds(timeout),
            key=key,
            subject=subject,
            started_by=started_by,
            concurrency=concurrency,
            intervention_mode=self._intervention_mode(intervention_mode),
        )
        return TriggerFlowExecution(
            self, new, using=using or settings.DATABASE, resources=runtime_resources, is_fresh=True
        )

    def _runner(self, wanted: str | None) -> Runner:
        registered = registry.is_registered(self)
        if wanted is None:
            return Runner(conf.get_settings().RUNNER) if registered else Runner.INLINE
        if wanted not in Runner.values:
            raise exceptions.InvalidPolicyError(f"runner={wanted!r}: use {' or '.join(map(repr, Runner.values))}")
        if wanted == Runner.RQ and not registered:
            raise exceptions.UnregisteredFlowError(
                f"flow {self.name!r} is not registered, so no worker could find it: bind it at module level of an "
                "installed app's "
                "flows.py, or call triggerflow_django.register(flow); or use runner='inline'"
            )
        return Runner(wanted)

    def _intervention_mode(self, wanted: str | _Unset | None) -> str:
        if isinstance(wanted, _Unset):
            wanted = "planned" if intervene.has_points(self.graph) else None
        return intervene.checked_mode(wanted, self.graph)

    def get_execution(self, execution_id: str | uuid.UUID, *, using: str | None = None) -> TriggerFlowExecution:
        """The handle of a stored execution of this flow.

        Raises: UnknownExecutionError where there is none of that id, or it is of another flow.
        """
        alias = using or conf.get_settings().DATABASE
        return trampoline.run_sync(
            self._find(execution_id, alias), using=alias, runs_chunks=False, name="get_execution"
        )

    async def async_get_execution(
        self, execution_id: str | uuid.UUID, *, using: str | None = None
    ) -> TriggerFlowExecution:
        """See ``get_execution``."""
        return await trampoline.run_async(self._find(execution_id, using or conf.get_settings().DATABASE))

    def _find(self, execution_id: str | uuid.UUID, using: str) -> Verb[TriggerFlowExecution]:
        pk = execution_uuid(execution_id)
        row: Execution | None = yield Db(lambda: reading.row(pk, using))
        if row is None or row.flow_name != self.name:
            raise exceptions.UnknownExecutionError(f"flow {self.name!r} has no execution {pk.hex}")
        return self._handle(row, using)

    def _handle(self, row: Execution, using: str) -> TriggerFlowExecution:
        new = NewExecution(
            id=row.pk,
            flow_name=row.flow_name,
            graph=self.graph,
            runner=Runner(row.runner),
            interactive=row.interactive,
            skip_exceptions=row.skip_exceptions,
            auto_close=row.auto_close,
            auto_close_timeout=row.auto_close_timeout,
            intervention_mode=row.intervention_mode,
        )
        return TriggerFlowExecution(self, new, using=using)

    @classmethod
    def attach(cls, execution_id: str | uuid.UUID, *, using: str | None = None) -> TriggerFlowExecution:
        """The handle of a stored execution of any registered flow.

        Raises: UnknownExecutionError; UnknownFlowError where its flow is not registered here.
        """
        alias = using or conf.get_settings().DATABASE
        return trampoline.run_sync(cls._attach(execution_id, alias), using=alias, runs_chunks=False, name="attach")

    @classmethod
    async def async_attach(cls, execution_id: str | uuid.UUID, *, using: str | None = None) -> TriggerFlowExecution:
        """See ``attach``."""
        return await trampoline.run_async(cls._attach(execution_id, using or conf.get_settings().DATABASE))

    @classmethod
    def _attach(cls, execution_id: str | uuid.UUID, using: str) -> Verb[TriggerFlowExecution]:
        pk = execution_uuid(execution_id)
        row: Execution | None = yield Db(lambda: reading.row(pk, using))
        if row is None:
            raise exceptions.UnknownExecutionError(f"there is no execution {pk.hex}")
        below: FlowDefinition | None = None
        if row.root_id is not None:
            below = yield Db(lambda: family.flow_of(row, using=using))
        flow = below or registry.get(row.flow_name)
        if not isinstance(flow, TriggerFlow):
            raise exceptions.UnknownFlowError(f"flow {row.flow_name!r} is registered, but not as a TriggerFlow")
        return flow._handle(row, using)

    # -- starting

    def start_execution(self, value: Any = None, **options: Any) -> TriggerFlowExecution:
        """Create an execution and start it; returns its handle once it has settled (inline) or is committed (rq),
        without waiting for it to close.

        Options: those of ``create_execution``.
        """
        execution = self.create_execution(**options)
        execution._sync(verbs.start_execution(execution, value), "start_execution")
        return execution

    async def async_start_execution(self, value: Any = None, **options: Any) -> TriggerFlowExecution:
        """See ``start_execution``."""
        execution = self.create_execution(**options)
        await execution._async(verbs.start_execution(execution, value))
        return execution

    def start(self, value: Any = None, **options: Any) -> dict[str, Any]:
        """Run the flow from start to end and return the close snapshot. For flows that do not pause.

        Options: those of ``create_execution``, and ``timeout``, another name of ``auto_close_timeout``.

        Raises: the first error of a chunk; NoHandleError (a RuntimeError) where a chunk pauses; then nothing is left
        open and nothing is in anybody's inbox. KeyConflictError for the ``key`` of an open execution somebody holds.
        """
        execution = self._hidden(options)
        snapshot: dict[str, Any] = execution._sync(verbs.start_hidden(execution, value), "start")
        return snapshot

    async def async_start(self, value: Any = None, **options: Any) -> dict[str, Any]:
        """See ``start``."""
        execution = self._hidden(options)
        snapshot: dict[str, Any] = await trampoline.run_async(verbs.start_hidden(execution, value))
        return snapshot

    def _hidden(self, options: dict[str, Any]) -> TriggerFlowExecution:
        if options.get("auto_close", True) is not True:
            raise exceptions.InvalidPolicyError(
                "flow.start() always closes what it started; use flow.start_execution(..., auto_close=False)"
            )
        if "timeout" in options:
            options["auto_close_timeout"] = options.pop("timeout")
        execution = self.create_execution(**options)
        execution.hide()
        return execution
