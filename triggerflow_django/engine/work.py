"""One run of one step: what its chunk is given, what it left behind, and how that is written.

Database access happens in plain functions that ``program.run`` sends to the database thread as ``Db``; user code is
only yielded as ``Call``.
"""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Final

from django.db import InterfaceError, InternalError, OperationalError, ProgrammingError, connections, transaction

from triggerflow_django import conf, jsongate
from triggerflow_django.definition import routing
from triggerflow_django.definition.chunk import Chunk, ChunkOptions, Handler, may_read_state
from triggerflow_django.definition.graph import Graph, Source
from triggerflow_django.engine import calls, commit, fail, flow_data, interventions, records, resolve, stream
from triggerflow_django.engine.calls import Call, Db
from triggerflow_django.engine.context import RunContext
from triggerflow_django.engine.effects import Emitted
from triggerflow_django.engine.facts import Facts
from triggerflow_django.engine.publisher import Publisher
from triggerflow_django.models import Interrupt, InterventionMode, State, Step, StepStatus
from triggerflow_django.runtime import bridge, state
from triggerflow_django.runtime.data import Frame, Resume, TriggerFlowRuntimeData
from triggerflow_django.runtime.interventions import Change
from triggerflow_django.runtime.journal import Journal

logger = logging.getLogger(__name__)

_COMMIT_TRIES: Final = 7
#: By which a database asks to try a transaction again (serialization failure, deadlock, lock timeout).
_TRY_AGAIN: Final = frozenset({"40001", "40P01", "55P03"})
#: Seconds a chunk may need to end after its timeout has struck before its step is given up to others.
_OVERTIME: Final = 5.0


class Work:
    """One run of one step: what its program (``program.run``) does, in parts."""

    def __init__(self, step: Step, context: RunContext, facts: Facts, graph: Graph, chunk: Chunk | None) -> None:
        self.step = step
        self.context = context
        self.facts = facts
        self.graph = graph
        self.chunk = chunk
        self.options = chunk.options if chunk is not None else ChunkOptions()
        #: What user code raised, to tell it from trouble of our own.
        self.raised: BaseException | None = None
        self.tokens: Iterator[str] = routing.activations(step.path)
        self._state: dict[str, Any] | None = None
        self._resume: Resume | None = None
        #: The driver's connection an atomic chunk ran on.
        self._connection: Any = None
        self.journal = Journal(self.read_state, self.read_flow_data)
        #: What its chunk puts into the stream, if it does.
        self.stream: Publisher | None = None

    def is_to_blame_for(self, error: Exception) -> bool:
        """Whether the step fails by it: whatever is not fencing and not trouble with the database connection.

        So a step over which the engine itself stumbles ends as failed, visible and retryable, not in an endless loop.
        """
        return error is self.raised or not isinstance(error, commit.FencedError | OperationalError | InterfaceError)

    # -- what the chunk is given

    def load(self) -> None:
        """State and answer, before the call."""
        if self.chunk is not None and self.chunk.reads_state:
            self.read_state()
        if self.step.resumed_from_id is not None:
            self._resume = self._read_resume(self.step.resumed_from_id)
        self._insert_due_interventions()

    def read_state(self) -> dict[str, Any]:
        """The committed state; read once per run."""
        if self._state is None:
            # Usually loaded before the call; a chunk may also look where its byte code did not show that it would.
            self._state = bridge.call(self._fetch_state)
        return self._state

    def _fetch_state(self) -> dict[str, Any]:
        rows = State.objects.using(self.context.using).filter(execution_id=self.facts.id)
        data: dict[str, Any] = rows.values_list("data", flat=True).first() or {}
        return data

    def read_flow_data(self) -> dict[str, Any]:
        """What all executions of the flow share, as committed."""
        found: dict[str, Any] = bridge.call(lambda: flow_data.read(self.facts.flow_name, using=self.context.using))
        return found

    def _read_resume(self, pk: uuid.UUID) -> Resume:
        row = Interrupt.objects.using(self.context.using).select_related("decision", "step").get(pk=pk)
        record = records.interrupt(row, row.step)
        return Resume(row.interrupt_id, record["resume_value"], record, record["source_signal"])

    def data(self, journal: Journal, value: Any, source: Source, scope: routing.Scope) -> TriggerFlowRuntimeData:
        """``data`` for the chunk, or for a condition asked about another signal."""
        step, kin = self.step, self.context.kin.get(self.facts.id)
        frame = Frame(
            execution_id=self.facts.id.hex,
            using=self.context.using,
            node=step.node,
            source=source,
            input=value,
            attempt=step.attempt,
            idempotency_key=f"{self.facts.id.hex}:{step.path}",
            interactive=self.facts.interactive,
            resume_count=step.resume_count,
            resume=self._resume,
            is_cancelled=self._is_cancelled,
            interventions=self._interventions,
            resources=self.context.resources_for(self.facts),
            contract=self.graph.contract,
            handle=self.context.handle if kin is None else None,
            flow=kin.flow if kin is not None else None,
            stream=self._publisher if journal is self.journal else None,
            scope=scope,
        )
        return TriggerFlowRuntimeData(frame, journal)

    def _publisher(self) -> Publisher:
        if self.stream is None:
            connection: Any = connections[self.context.using]
            alone = connection.vendor == "sqlite" and (self.options.atomic or connection.is_in_memory_db())
            is_direct = self.context.nested or alone
            self.stream = Publisher(self.step, using=self.context.using, is_direct=is_direct)
        return self.stream

    def tell_restart(self) -> None:
        """Tell who reads the stream that this is a further attempt."""
        stream.tell_restart(self.step, using=self.context.using)

    def _interventions(self) -> list[dict[str, Any]]:
        return interventions.visible(self.facts.id, using=self.context.using)

    def _insert_due_interventions(self) -> None:
        """Mode ``auto``: this chunk sees what is pending for it, and its commit inserts that."""
        if self.chunk is None or self.facts.intervention_mode != InterventionMode.AUTO:
            return
        due = interventions.due_before(self.facts.id, self.step.node, using=self.context.using)
        if due:
            self.journal.interventions.append(Change("insert", ids=[uuid.UUID(record["id"]) for record in due]))
            shown = [{**record, "status": "inserted", "point": self.step.node} for record in due]
            self.journal.seen_interventions = [*self._interventions(), *shown]

    def _is_cancelled(self) -> bool:
        step = self.step
        rows = Step.objects.using(self.context.using)
        mine = rows.filter(pk=step.pk, lease_token=step.lease_token, attempt=step.attempt, status=StepStatus.RUNNING)
        return not mine.exists()

    # -- running

    def run(self) -> Generator[Db | Call, Any, commit.Outcome]:
        """Call the chunk (or route a deferred signal) and route what it caused, conditions included."""
        if self.chunk is None:
            effects = yield from self._route_deferred()
            return self._outcome(None, effects)
        savepoint = (yield Db(self._open_savepoint)) if self.context.nested else None
        try:
            value = yield from self._guarded(self.chunk.handler, self._chunk_data())
        except BaseException:
            if savepoint is not None:
                yield Db(lambda: self._roll_back(savepoint))
            raise
        if savepoint is not None:
            yield Db(lambda: self._keep(savepoint))
        value = self._checked(value)
        effects = []
        for signal in self._signals(value):
            if signal.source[0] == "event":
                effects.append(Emitted(signal.source[1], signal.value))
            effects += yield from self._walk(signal)
        return self._outcome(value, effects)

    def run_atomic(self) -> commit.Committed:
        """User code and the commit in one transaction; conditions are left to a step of their own."""
        assert self.chunk is not None  # noqa: S101 - only chunks are atomic
        # Anew in each try: what a rolled back one left counts for nothing.
        self.raised, self.journal = None, Journal(self.read_state, self.read_flow_data)
        self.tokens = routing.activations(self.step.path)
        if self.stream is not None:
            self.stream.begin_again()
        with transaction.atomic(using=self.context.using):
            self._insert_due_interventions()
            self._connection = connections[self.context.using].connection
            try:
                with self._on_the_clock():
                    value = calls.run_sync(self._call(self.chunk.handler, self._chunk_data()))
            except Exception as error:
                self.raised = error
                raise
            value = self._checked(value)
            effects: list[Any] = []
            for signal in self._signals(value):
                if signal.source[0] == "event":
                    effects.append(Emitted(signal.source[1], signal.value))
                effects += routing.walk(self.graph, signal, self.tokens, evaluate=False, window=_window())
            return self.complete(self._outcome(value, effects))

    def complete(self, outcome: commit.Outcome) -> commit.Committed:
        """The commit."""
        with nullcontext() if self.stream is None else self.stream.delivered():
            return commit.complete(
                self.step,
                outcome,
                graph=self.graph,
                carry=self.context.goes_on(),
                using=self.context.using,
            )

    def fail(self, error: BaseException, *, retry: bool) -> commit.Committed:
        """Record the failure of this attempt, or of the step."""
        using = self.context.using
        with nullcontext() if self.stream is None else self.stream.delivered():
            failed = fail.attempt(self.step, error, self.options, graph=self.graph, using=using, retry=retry)
        return commit.Committed(failed=failed)

    def settle(self, write: Callable[[], commit.Committed]) -> commit.Committed:
        """Write; after a database error, whose outcome is unknown, look on a new connection and act on what is
        there.
        """
        using = self.context.using
        for attempt in range(_COMMIT_TRIES):
            try:
                if (
                    attempt
                    and (found := commit.recover(self.step, token=self.step.lease_token, using=using)) is not None
                ):
                    return found
                return write()
            except commit.FencedError:
                # An earlier try may have gone through after we had looked: a server finishes what it was told.
                found = commit.recover(self.step, token=self.step.lease_token, using=using) if attempt else None
                if found is None:
                    raise
                return found
            except (OperationalError, InterfaceError) as error:
                if connections[using].in_atomic_block or attempt == _COMMIT_TRIES - 1 or self._is_the_chunks_own(error):
                    raise
                logger.warning("triggerflow.commit.unknown", exc_info=True, extra={"step": self.step.pk})
                connections[using].close()
                time.sleep(random.uniform(0.5, 1.0) * 0.05 * 2**attempt)  # noqa: S311 - jitter
        raise AssertionError("unreachable")

    # -- inside

    def _is_the_chunks_own(self, error: Exception) -> bool:
        """Whether an atomic chunk's code raised it, and not because of the transaction around it: such an error counts
        as the chunk's, like any other, and its ``retries`` say how often it is run.
        """
        code = getattr(error.__cause__, "sqlstate", None) or next(iter(error.args), None)
        if error is not self.raised or (isinstance(code, str) and code in _TRY_AGAIN):
            return False
        # One that was lost has been replaced by now.
        return connections[self.context.using].connection is self._connection

    def _chunk_data(self) -> TriggerFlowRuntimeData:
        kind, _, name = self.step.source.partition(":")
        # A try of an atomic chunk that was rolled back may have changed what it was given.
        value = state.detached(self.step.input) if self.options.atomic else self.step.input
        return self.data(self.journal, value, (kind, name), resolve.scope_of(self.step))

    def _guarded(self, handler: Handler, data: TriggerFlowRuntimeData) -> Generator[Db | Call, Any, Any]:
        try:
            with self._on_the_clock():
                return (yield self._call(handler, data))
        except Exception as error:
            self.raised = error
            raise

    def _call(self, handler: Handler, data: TriggerFlowRuntimeData) -> Call:
        return Call(handler, data, calls.timeout_of(self.options))

    @contextmanager
    def _on_the_clock(self) -> Iterator[None]:
        """Let the heartbeat know until when this step may run: one that survives its timeout loses its lease."""
        lease, timeout = self.context.lease, calls.timeout_of(self.options)
        if lease is None or timeout is None:
            yield
            return
        lease.deadlines[self.step.pk] = time.monotonic() + timeout + _OVERTIME
        try:
            yield
        finally:
            lease.deadlines.pop(self.step.pk, None)

    def _checked(self, value: Any) -> Any:
        """The chunk's value, through the JSON gate; a paused chunk has none."""
        if self.journal.pause is not None:
            return None
        settings = conf.get_settings()
        listeners = self.graph.listeners(("done", self.step.node))
        feeds_loop = any(self.graph.nodes[edge.node].kind == "for_each" for edge in listeners)
        limits = settings.fanout_limits if feeds_loop else settings.value_limits
        return jsongate.check(value, limits=limits, root=f"return value of {self.step.node}")

    def _signals(self, value: Any) -> list[routing.Signal]:
        """What happened in the chunk, in call order, its completion last; a paused chunk has not completed."""
        scope = resolve.scope_of(self.step)
        signals = [routing.Signal(emission.source, emission.value, scope) for emission in self.journal.emissions]
        if self.journal.pause is None:
            signals.append(routing.Signal(("done", self.step.node), value, scope))
        return signals

    def _walk(self, signal: routing.Signal) -> Generator[Db | Call, Any, list[Any]]:
        """Phase 1: walk with conditions asked; one that raises is left to a step of its own, and this one stays
        done.
        """
        walk = routing.walk(self.graph, signal, self.tokens, evaluate=True, window=_window())
        return (yield from self._answered(walk, strict=False))

    def _route_deferred(self) -> Generator[Db | Call, Any, list[Any]]:
        """A step of kind route: only conditions and routing; here a condition that raises fails the step."""
        step = self.step
        kind, _, name = step.source.partition(":")
        signal = routing.Signal((kind, name), step.input, resolve.scope_of(step))
        if step.node:
            walk = routing.enter(self.graph, step.node, signal, self.tokens, evaluate=True, window=_window())
        else:
            walk = routing.walk(self.graph, signal, self.tokens, evaluate=True, window=_window())
        return (yield from self._answered(walk, strict=True))

    def _answered(self, walk: routing.Walk, *, strict: bool) -> Generator[Db | Call, Any, list[Any]]:
        effects: list[Any] = []
        answer: Any = None
        while True:
            try:
                effect = walk.send(answer)
            except StopIteration:
                return effects
            answer = None
            if not isinstance(effect, routing.Ask):
                effects.append(effect)
                continue
            try:
                answer = yield from self._ask(effect)
            except Exception:
                if strict:
                    raise
                logger.info("triggerflow.condition.deferred", exc_info=True, extra={"step": self.step.pk})
                self.raised = None
                answer = routing.DEFER

    def _ask(self, ask: routing.Ask) -> Generator[Db | Call, Any, bool]:
        if may_read_state(ask.condition) and self._state is None:
            yield Db(self.read_state)
        # A condition looks; what it writes or emits goes nowhere.
        data = self.data(Journal(self.journal.state, self.journal.flow_data), ask.value, ask.source, ask.scope)
        return bool((yield from self._guarded(ask.condition, data)))

    def _outcome(self, value: Any, effects: list[Any]) -> commit.Outcome:
        return commit.Outcome(
            value=value,
            changes=self.journal.changes,
            flow_changes=self.journal.flow_changes,
            interventions=self.journal.interventions,
            effects=effects,
            pause=self.journal.pause,
            tokens=self.tokens,
        )

    def _open_savepoint(self) -> str | None:
        return connections[self.context.using].savepoint()

    def _keep(self, savepoint: str) -> None:
        try:
            transaction.savepoint_commit(savepoint, using=self.context.using)
        except (InternalError, ProgrammingError) as error:
            # The chunk swallowed a database error, which spoilt all it wrote; the caller's transaction is not to
            # suffer.
            self.raised = error
            self._roll_back(savepoint)
            raise

    def _roll_back(self, savepoint: str) -> None:
        # Django's mark of a failed query comes off first: it forbids every statement, this one too.
        transaction.set_rollback(False, using=self.context.using)
        transaction.savepoint_rollback(savepoint, using=self.context.using)


def _window() -> int:
    return conf.get_settings().FOR_EACH_WINDOW
