"""Make an execution's rows from a saved document (``saved``): where the row exists, it is the truth and nothing is
written.

Counters and status are counted from the restored rows, not taken from the document. Restoring never answers an
interrupt and never moves past one.
"""

from __future__ import annotations

import uuid
from typing import Any, Final

from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.db import DatabaseError, models, transaction

from triggerflow_django import exceptions, signals
from triggerflow_django.approvals import policy
from triggerflow_django.definition.graph import Graph
from triggerflow_django.engine import clock, flow_data, missing, soundness
from triggerflow_django.engine.transition import Transition
from triggerflow_django.models import (
    ACTIVE_STATUSES,
    Decision,
    Event,
    EventKind,
    Execution,
    Interrupt,
    InterruptStatus,
    Intervention,
    InterventionStatus,
    Join,
    JoinPage,
    JoinSlot,
    Runner,
    State,
    Step,
    StepKind,
    StepStatus,
)
from triggerflow_django.models.fields import new_id

#: Columns a restored execution does not take over: they are counted anew, or belong to another table.
_COUNTED: Final = (
    "active_steps",
    "pending_interrupts",
    "pending_interventions",
    "failed_steps",
    "state_revision",
    "subject_type_id",
    "root_id",
    "cancels_sub_flows",
    "parent_step_id",
    "stream",
)


def restore(
    document: dict[str, Any], *, flow_name: str, graph: Graph, runner: Runner, as_new: bool, using: str
) -> Execution:
    """The row of a saved execution: the existing one, or one made from the document. With ``as_new``: a copy under new
    ids and without its key.

    Raises: SnapshotError for a document of another flow, one whose waiting steps stand on nodes the flow does not have,
    or one whose rows do not fit.
    """
    if document["flow_name"] != flow_name:
        raise exceptions.SnapshotError(
            f"this is a saved execution of flow {document['flow_name']!r}, not of {flow_name!r}"
        )
    try:
        pk = uuid.UUID(document["execution_id"])
    except ValueError:
        raise exceptions.SnapshotError(f"execution_id {document['execution_id']!r} is not an id") from None
    if not as_new and (found := _existing(pk, flow_name, using)) is not None:
        return found
    try:
        _require_no_sub_flows(document)
        soundness.require(document)
        with transaction.atomic(using=using):
            flow_data.offer(flow_name, document.get("flow_data", {}), using=using)
            return _Restoring(document, graph, runner, using, new_id() if as_new else pk, as_new).insert()
    except (DatabaseError, ValidationError, ValueError, TypeError, LookupError) as error:
        if isinstance(error, exceptions.TriggerFlowError):
            raise
        # Somebody else may have loaded the same document at the same moment.
        if not as_new and (found := _existing(pk, flow_name, using)) is not None:
            return found
        raise exceptions.SnapshotError(
            f"the rows of the saved execution do not fit: {type(error).__name__}: {error}"
        ) from error


def _require_no_sub_flows(document: dict[str, Any]) -> None:
    """Refuse a document of an execution that waits for sub flows: these are not in it.

    Raises: SubFlowsActiveError (a RuntimeError).
    """
    for step in document["rows"]["steps"]:
        begun = step.get("kind") == StepKind.SUB_FLOW and step.get("attempt")
        if begun and step.get("status") in ACTIVE_STATUSES:
            raise exceptions.SubFlowsActiveError(
                f"the saved execution waits for the sub flow of {step.get('node')!r}, an execution of its own that is "
                "not in it; load it where its row is, or save it when its sub flows have ended"
            )


def _existing(pk: uuid.UUID, flow_name: str, using: str) -> Execution | None:
    found = Execution.objects.using(using).filter(pk=pk).first()
    if found is not None and found.flow_name != flow_name:
        raise exceptions.SnapshotError(f"execution {pk.hex} is of flow {found.flow_name!r} here, not of {flow_name!r}")
    return found


class _Restoring:
    """The rows of one document on their way into the database."""

    def __init__(
        self, document: dict[str, Any], graph: Graph, runner: Runner, using: str, pk: uuid.UUID, as_new: bool
    ) -> None:
        self.document = document
        self.rows = document["rows"]
        self.graph = graph
        self.runner = runner
        self.using = using
        self.pk = pk
        self.as_new = as_new
        self.now = clock.read(using)
        self.decisions: dict[str, uuid.UUID] = {}
        self.interrupts: dict[str, uuid.UUID] = {}
        self.steps: dict[int, int] = {}

    def insert(self) -> Execution:
        """Insert all rows, children after what they refer to."""
        execution = self._execution()
        transition = Transition(execution, now=self.now, using=self.using, graph=self.graph, is_new=True)
        transition.add_event(EventKind.LOADED, data={"saved_as": self.document["execution_id"], "as_new": self.as_new})
        state = self.document["runtime_data"]
        if state:
            execution.state_revision = 1
        transition.save()
        if state:
            State.objects.using(self.using).create(execution=execution, data=state, revision=1)
        self._steps()
        self._joins()
        self._decisions()
        waiting = self._interrupts()
        self._interventions()
        Event.objects.using(self.using).bulk_create(
            [self._row(Event, columns, id=None) for columns in self.rows["events"]]
        )
        for interrupt in waiting:
            transition_arguments = {
                "interrupt_id": interrupt.interrupt_id,
                "interrupt_pk": interrupt.pk,
                "type": interrupt.type,
            }
            signals.send_after_commit(
                signals.interrupt_opened,
                sender=Execution,
                using=self.using,
                execution_id=execution.id.hex,
                flow_name=execution.flow_name,
                **transition_arguments,
            )
        return execution

    def _row(self, model: type[models.Model], columns: dict[str, Any], **changes: Any) -> Any:
        """An instance with the document's values, each through its field's own conversion."""
        values: dict[str, Any] = {}
        for field in model._meta.concrete_fields:
            if field.attname not in columns:
                continue
            value = columns[field.attname]
            plain = field.target_field if isinstance(field, models.ForeignKey) else field
            values[field.attname] = (
                value if value is None or isinstance(plain, models.JSONField) else plain.to_python(value)
            )
            if getattr(field, "choices", None) and values[field.attname] not in dict(field.flatchoices):
                raise exceptions.SnapshotError(f"{model._meta.model_name}.{field.attname} is {value!r}")
        if any(field.attname == "execution_id" for field in model._meta.concrete_fields):
            values["execution_id"] = self.pk
        return model(**values | changes)

    def _execution(self) -> Execution:
        columns = {name: value for name, value in self.rows["execution"].items() if name not in _COUNTED}
        columns.pop("subject_type", None)
        execution: Execution = self._row(Execution, columns, id=self.pk, runner=self.runner)
        steps = self.rows["steps"]
        interrupts = self.rows["interrupts"]
        execution.active_steps = sum(step["status"] in ACTIVE_STATUSES for step in steps)
        execution.failed_steps = (
            0 if execution.skip_exceptions else sum(step["status"] == StepStatus.FAILED for step in steps)
        )
        execution.pending_interrupts = sum(interrupt["status"] == InterruptStatus.WAITING for interrupt in interrupts)
        execution.pending_interventions = sum(
            intervention["status"] == InterventionStatus.PENDING for intervention in self.rows["interventions"]
        )
        execution.subject_type = self._subject_type()
        if execution.started_by_id:
            # Ids are of the database that gave them; a starter may be excluded from deciding.
            named = policy.user_id(execution.started_by_label, using=self.using)
            execution.started_by_id = named or execution.started_by_id
        if self.as_new:
            execution.key = None
        return execution

    def _subject_type(self) -> ContentType | None:
        app_label, _, model = (self.rows["execution"].get("subject_type") or "").partition(".")
        return ContentType.objects.db_manager(self.using).filter(app_label=app_label, model=model).first()

    def _steps(self) -> None:
        steps = []
        for columns in self.rows["steps"]:
            step: Step = self._row(Step, columns, id=None)
            if step.status == StepStatus.RUNNING:  # nobody runs it here
                step.status = StepStatus.READY
            step.lease_token = step.lease_expires_at = None
            step.queue = "" if self.runner == Runner.INLINE else step.queue or "default"
            if step.status not in (StepStatus.DONE, StepStatus.CANCELLED) and not missing.is_known(step, self.graph):
                raise exceptions.SnapshotError(
                    f"the saved execution stands on {missing.standing_on(step)}, which flow {self.graph.name!r} "
                    "does not have any more"
                )
            step.save(using=self.using, force_insert=True)
            self.steps[columns["id"]] = step.pk
            steps.append(step)
        for step in steps:
            if step.cause_id is not None:
                step.cause_id = self.steps.get(step.cause_id)
        Step.objects.using(self.using).bulk_update(steps, ["cause_id"])

    def _joins(self) -> None:
        joins: dict[int, int] = {}
        for columns in self.rows["joins"]:
            join = self._row(Join, columns, id=None)
            if join.node not in self.graph.nodes:
                raise exceptions.SnapshotError(
                    f"the saved execution stands on node {join.node!r}, which flow {self.graph.name!r} does not "
                    "have any more"
                )
            join.save(using=self.using, force_insert=True)
            joins[columns["id"]] = join.pk
        slots = [
            self._row(JoinSlot, columns, id=None, join_id=joins[columns["join_id"]]) for columns in self.rows["slots"]
        ]
        JoinSlot.objects.using(self.using).bulk_create(slots)
        JoinPage.objects.using(self.using).bulk_create(
            self._row(JoinPage, columns, id=None, join_id=joins[columns["join_id"]]) for columns in self.rows["pages"]
        )

    def _decisions(self) -> None:
        for columns in self.rows["decisions"]:
            decision = self._row(Decision, columns, **({"id": new_id()} if self.as_new else {}))
            decision.save(using=self.using)
            self.decisions[columns["id"]] = decision.pk

    def _interventions(self) -> None:
        fresh = {"id": new_id} if self.as_new else {}
        Intervention.objects.using(self.using).bulk_create(
            self._row(Intervention, columns, **{name: make() for name, make in fresh.items()})
            for columns in self.rows["interventions"]
        )

    def _interrupts(self) -> list[Interrupt]:
        waiting = []
        for columns in self.rows["interrupts"]:
            decided = columns["decision_id"]
            interrupt: Interrupt = self._row(
                Interrupt,
                columns,
                step_id=self.steps[columns["step_id"]],
                decision_id=None if decided is None else self.decisions[decided],
                **({"id": new_id()} if self.as_new else {}),
            )
            if interrupt.status == InterruptStatus.WAITING:
                interrupt.approvers = policy.rebound(interrupt.approvers, using=self.using)
            interrupt.save(using=self.using, force_insert=True)
            self.interrupts[columns["id"]] = interrupt.pk
            if interrupt.status == InterruptStatus.WAITING:
                waiting.append(interrupt)
        if self.as_new:
            for old, new in self.interrupts.items():
                steps = Step.objects.using(self.using).filter(execution_id=self.pk, resumed_from_id=uuid.UUID(old))
                steps.update(resumed_from_id=new)
        return waiting
