"""Insert an execution, and start it: the row, the START signal and the first steps in one commit, in the caller's
transaction if there is one.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, models, transaction

from triggerflow_django import conf, exceptions, jsongate, signals
from triggerflow_django.definition.graph import START, Graph
from triggerflow_django.definition.routing import Signal
from triggerflow_django.engine import actor as actors
from triggerflow_django.engine import clock, effects
from triggerflow_django.engine.transition import Carrier, Transition, begin, routed
from triggerflow_django.models import EventKind, Execution, Lifecycle, Runner, StreamStatus
from triggerflow_django.runtime.state import StateChange


@dataclass(frozen=True, slots=True)
class Parent:
    """Where a sub flow hangs, and what it has from there: what it is about, and whether its stream is kept."""

    step_id: int
    root_id: uuid.UUID
    subject_type_id: int | None
    subject_id: str
    is_streamed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NewExecution:
    """What an execution's row is inserted with."""

    id: uuid.UUID
    flow_name: str
    graph: Graph
    runner: Runner
    interactive: bool = True
    skip_exceptions: bool = False
    auto_close: bool = True
    auto_close_timeout: float | None = 10.0
    key: str | None = None
    subject: models.Model | None = None
    #: A user instance, a bare label, or ``None``.
    started_by: Any = None
    #: How many of its steps may be ready or running at once; ``None`` for any number.
    concurrency: int | None = None
    #: When interventions are inserted: planned, auto, or empty for none.
    intervention_mode: str = ""
    #: Why it is started, for history.
    reason: str = ""
    #: Of a sub flow.
    parent: Parent | None = None


def ensure(new: NewExecution, *, using: str) -> uuid.UUID:
    """Insert the execution's row unless it exists, so that events and state can reach it before it is started.

    Raises: KeyConflictError for a key that another execution has.
    """
    if not Execution.objects.using(using).filter(pk=new.id).exists():
        try:
            with transaction.atomic(using=using):
                transition = _transition(new, None, using)
                transition.save()
        except IntegrityError:
            if Execution.objects.using(using).filter(pk=new.id).exists():
                return new.id
            found = _by_key(new, using) if new.key is not None else None
            if found is None:
                raise
            raise exceptions.KeyConflictError(
                f"key {new.key!r} of flow {new.flow_name!r} belongs to execution {found.id.hex}; get that one by its "
                "id, or start with the same input"
            ) from None
    return new.id


def start(
    new: NewExecution, value: Any, *, using: str, is_fresh: bool = False, carrier: Carrier | None = None
) -> tuple[uuid.UUID, bool]:
    """Start an execution. Returns its id, and whether this call started it. ``is_fresh``: its row cannot exist yet.

    A second start of one execution does nothing. A ``key`` used before with the same input leads to the execution of
    then.

    Raises: JsonValueError for an input that is not JSON; ContractError for one that is not as the flow's contract says;
    KeyConflictError for a key used with another input.
    """
    value = new.graph.contract.checked("initial_input", value)
    value = jsongate.check(value, limits=conf.get_settings().answer_limits, root="input")
    if new.key is not None:
        return _start_keyed(new, value, using, carrier)
    if not is_fresh and Execution.objects.using(using).filter(pk=new.id).exists():
        return _start_existing(new, new.id, value, using, carrier)
    try:
        _insert_started(new, value, using, carrier)
    except IntegrityError:
        if not Execution.objects.using(using).filter(pk=new.id).exists():
            raise
        return _start_existing(new, new.id, value, using, carrier)
    return new.id, True


def start_child(new: NewExecution, value: Any, changes: Sequence[StateChange], *, using: str) -> None:
    """Insert a sub flow, with its first state, and start it; in the transaction of the commit that delegates to it.
    ``value`` has been checked.
    """
    _insert_started(new, value, using, None, changes)


def _start_keyed(new: NewExecution, value: Any, using: str, carrier: Carrier | None) -> tuple[uuid.UUID, bool]:
    found = _by_key(new, using)
    if found is None:
        try:
            # A savepoint: the loser of a race must be able to go on in its own transaction.
            with transaction.atomic(using=using):
                _insert_started(new, value, using, carrier)
        except IntegrityError:
            found = _by_key(new, using)
            if found is None:
                raise
        else:
            return new.id, True
    if found.started_at is None:
        return _start_existing(new, found.pk, value, using, carrier)
    if not jsongate.same(found.input, value):
        raise exceptions.KeyConflictError(
            f"key {new.key!r} of flow {new.flow_name!r} was used before, by execution {found.id.hex}, with another "
            "input; "
            "use another key, or the same input to get that execution"
        )
    return found.pk, False


def _by_key(new: NewExecution, using: str) -> Execution | None:
    return Execution.objects.using(using).filter(flow_name=new.flow_name, key=new.key).first()


def _insert_started(
    new: NewExecution, value: Any, using: str, carrier: Carrier | None, changes: Sequence[StateChange] = ()
) -> None:
    def insert(defer: bool) -> None:
        with transaction.atomic(using=using):
            transition = _transition(new, None if defer else new.graph, using)
            transition.write_state(changes)
            _begin_work(transition, value, carrier, new.reason)
            transition.save()

    try:
        routed(insert)
    except IntegrityError:
        if carrier is not None:
            carrier.steps = []  # rolled back: the loser of a race has nothing to go on with
        raise


def _start_existing(
    new: NewExecution, execution_id: uuid.UUID, value: Any, using: str, carrier: Carrier | None
) -> tuple[uuid.UUID, bool]:
    def start_row(defer: bool) -> bool:
        with begin(execution_id, using=using, graph=new.graph, defer=defer) as transition:
            if transition.execution.started_at is not None or transition.execution.is_closed:
                return False
            transition.require_open("start")
            if execution_id == new.id:  # start(timeout=) after an event or a state write had inserted the row
                transition.execution.auto_close_timeout = new.auto_close_timeout
            _begin_work(transition, value, carrier, new.reason)
        return True

    return execution_id, routed(start_row)


def _begin_work(transition: Transition, value: Any, carrier: Carrier | None, reason: str) -> None:
    execution = transition.execution
    execution.input = value
    execution.started_at = transition.now
    actor = actors.Actor(execution.started_by_id, execution.started_by_label)
    why = {"reason": actors.words(reason, root="reason")} if reason else {}
    transition.add_event(EventKind.STARTED, actor=actor, data=why)
    effects.route(transition, Signal(START, value), cause=None)
    transition.carry(carrier)
    transition.notify(signals.execution_started)


def _transition(new: NewExecution, graph: Graph | None, using: str) -> Transition:
    now = clock.read(using)
    who = actors.of(new.started_by)
    execution = Execution(
        id=new.id,
        flow_name=new.flow_name,
        flow_fingerprint=new.graph.fingerprint,
        runner=new.runner,
        lifecycle=Lifecycle.OPEN,
        interactive=new.interactive,
        skip_exceptions=new.skip_exceptions,
        concurrency=new.concurrency,
        intervention_mode=new.intervention_mode,
        input=None,
        key=new.key,
        auto_close=new.auto_close,
        auto_close_timeout=new.auto_close_timeout,
        started_by_id=who.id,
        started_by_label=who.label,
        created_at=now,
    )
    if new.parent is not None:
        execution.parent_step_id, execution.root_id = new.parent.step_id, new.parent.root_id
        execution.subject_type_id, execution.subject_id = new.parent.subject_type_id, new.parent.subject_id
        if new.parent.is_streamed:  # from the beginning, so that its questions come in their order
            execution.stream = StreamStatus.KEPT
    if new.subject is not None:
        if new.subject.pk is None:
            raise exceptions.InvalidPolicyError(f"subject={type(new.subject).__name__}: it is not saved yet")
        manager = ContentType.objects.db_manager(using)
        execution.subject_type = manager.get_for_model(new.subject, for_concrete_model=False)
        execution.subject_id = str(new.subject.pk)
    return Transition(execution, now=now, using=using, graph=graph, is_new=True)


def auto_close_seconds(timeout: float | dt.timedelta | None) -> float | None:
    """A checked ``auto_close_timeout``: seconds, 0 or more, or ``None`` for never.

    Raises: InvalidPolicyError.
    """
    seconds = timeout.total_seconds() if isinstance(timeout, dt.timedelta) else timeout
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 100 * 366 * 86400:
        raise exceptions.InvalidPolicyError(
            f"auto_close_timeout={timeout!r}: give seconds, 0 or more, or None for never"
        )
    return float(seconds)
