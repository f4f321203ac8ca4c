"""Save an execution to carry it elsewhere, load it there, and see before whether that would do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from triggerflow_django import exceptions, jsongate
from triggerflow_django.definition.graph import Graph
from triggerflow_django.engine import missing, restore, saved
from triggerflow_django.engine.calls import Db
from triggerflow_django.engine.start import NewExecution
from triggerflow_django.handles.part import HandlePart
from triggerflow_django.handles.trampoline import Verb
from triggerflow_django.models import Execution, Step, StepStatus
from triggerflow_django.runtime.resources import Resources

if TYPE_CHECKING:
    from triggerflow_django.handles.flow import TriggerFlow


class RequirementMethods:
    """The part of the flow and of the handle that declares which resources chunks cannot do without."""

    _required: dict[str, str]

    def declare_resource_requirement(self, key: str, description: str = "") -> None:
        """Say that chunks need a resource of this name: ``inspect_load`` reports and ``async_load`` refuses where it is
        missing.

        Raises: DefinitionError.
        """
        if not jsongate.is_name(key):
            raise exceptions.DefinitionError(f"resource {key!r}: give a text of 1 to 200 characters")
        self._required[key] = description


class SavingMethods(RequirementMethods, HandlePart):
    """The part of the handle that saves and loads."""

    flow: TriggerFlow
    new: NewExecution
    _given_resources: dict[str, Any]

    @property
    def resources(self) -> Resources:
        """The live objects its chunks can get in this process."""
        raise NotImplementedError

    def adopt(self, row: Execution) -> None:
        """Become the handle of a row."""
        raise NotImplementedError

    def save(self, path: Any = None, *, require_idle: bool = False) -> dict[str, Any]:
        """The execution as a JSON-able dict (and as a file at ``path``: JSON, or YAML for
        ``.yaml`` and ``.yml``). The row stays the truth; this is a copy
        to carry elsewhere.

        Raises: RuntimeError with ``require_idle`` while a step is active.
        """
        return self._export(self._sync(self._once(lambda: self._save(require_idle)), "save", runs_chunks=False), path)

    async def async_save(self, path: Any = None, *, require_idle: bool = False) -> dict[str, Any]:
        """See ``save``."""
        return self._export(await self._async(self._once(lambda: self._save(require_idle))), path)

    def _save(self, require_idle: bool) -> dict[str, Any]:
        return saved.export(self.pk, using=self.using, require_idle=require_idle, resource_keys=self.resources.names())

    def _export(self, document: dict[str, Any], path: Any) -> dict[str, Any]:
        if path is not None:
            saved.write_file(document, path)
        return document

    def load(self, source: Any, *, as_new: bool = False) -> Self:
        """Become the handle of a saved execution: of its row where that exists, else of a row made from the snapshot.

        ``source``: what ``save`` gave, its JSON text, or the path of a file. ``as_new``: an independent copy under a
        new id.

        Raises: SnapshotTypeError (TypeError), SnapshotError (ValueError).
        """
        document = saved.read(source)
        self.adopt(self._sync(self._load(document, as_new), "load", runs_chunks=False))
        return self

    async def async_load(
        self, source: Any, *, as_new: bool = False, runtime_resources: Mapping[str, Any] | None = None
    ) -> Self:
        """See ``load``; ``runtime_resources`` are given to this handle.

        Raises: also MissingResourceError (a RuntimeError) where a declared resource is missing; ``load`` does not look.
        """
        document = saved.read(source)
        self._given_resources.update(runtime_resources or {})
        lacking = sorted(set(self._all_required()) - set(self.resources.names()))
        if lacking:
            raise exceptions.MissingResourceError(
                f"flow {self.flow.name!r} needs resources that are not there: {', '.join(lacking)}; give them as "
                "runtime_resources={...}"
            )
        self.adopt(await self._async(self._load(document, as_new)))
        return self

    def _load(self, document: dict[str, Any], as_new: bool) -> Verb[Execution]:
        def act() -> Execution:
            return restore.restore(
                document,
                flow_name=self.flow.name,
                graph=self.new.graph,
                runner=self.new.runner,
                as_new=as_new,
                using=self.using,
            )

        row: Execution = yield Db(act)
        return row

    def inspect_load(self, source: Any, runtime_resources: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Whether a saved execution could be loaded and run here, without loading it: ``ready``, ``execution_id``,
        ``flow_name``, ``status``, ``lifecycle_state``, ``pending_interrupts``, ``missing_resource_keys``,
        ``diagnostics`` (sentences).

        Raises: SnapshotTypeError (TypeError), SnapshotError (ValueError) for what is no saved execution.
        """
        required, available = self._all_required(), {*self.resources.names(), *(runtime_resources or {})}
        return _report(saved.read(source), self.flow.name, self.new.graph, required, available)

    async def async_inspect_load(
        self, source: Any, runtime_resources: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """See ``inspect_load``."""
        return self.inspect_load(source, runtime_resources)

    def _all_required(self) -> dict[str, str]:
        return {**self.flow._required, **self._required}


def _report(
    document: dict[str, Any], flow_name: str, graph: Graph, required: Mapping[str, str], available: set[str]
) -> dict[str, Any]:
    diagnostics = []
    if document["flow_name"] != flow_name:
        diagnostics.append(f"it is of flow {document['flow_name']!r}, not of {flow_name!r}")
    for row in document["rows"]["steps"]:
        if row.get("status") in (StepStatus.DONE, StepStatus.CANCELLED):
            continue
        step = Step(kind=row.get("kind", ""), node=row.get("node", ""), source=row.get("source", ""))
        if not missing.is_known(step, graph):
            diagnostics.append(f"it stands on {missing.standing_on(step)}, which the flow does not have")
    lacking = sorted(set(required) - available)
    diagnostics += [f"resource {key!r} is missing" + (f": {required[key]}" if required[key] else "") for key in lacking]
    return {
        "ready": not diagnostics,
        "execution_id": document["execution_id"],
        "flow_name": document["flow_name"],
        "status": document["status"],
        "lifecycle_state": document["lifecycle_state"],
        "pending_interrupts": sorted(
            key for key, record in document["interrupts"].items() if record.get("status") == "waiting"
        ),
        "missing_resource_keys": lacking,
        "diagnostics": diagnostics,
    }
