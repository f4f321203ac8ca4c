"""The life of one step, top to bottom: load what the chunk needs, call it, route, commit.

Written once, as a generator without I/O of its own: it yields ``Db`` (run this on the database thread) and ``Call``
(run this user code) and is driven by a sync and an async trampoline (``drain``). Its return value is what the commit
left.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from triggerflow_django.engine import commit, delegating
from triggerflow_django.engine.calls import Call, Db
from triggerflow_django.engine.context import RunContext
from triggerflow_django.engine.work import Work
from triggerflow_django.models import Step, StepKind

Program = Generator[Db | Call, Any, commit.Committed]


def run(step: Step, context: RunContext) -> Program:
    """Run one claimed step to its commit. Failures of user code become the step's; what is raised here is trouble of
    ours.

    Raises: FencedError where the step was taken over meanwhile.
    """
    facts = context.facts[step.execution_id]
    graph = context.graph_for(facts)
    assert graph is not None  # noqa: S101 - unknown flows are not claimed
    chunk = graph.chunk(step.node) if step.kind == StepKind.CHUNK else None
    work = Work(step, context, facts, graph, chunk)
    try:
        if step.kind == StepKind.SUB_FLOW:
            return (yield from delegating.run(work))
        if step.attempt > 1:
            yield Db(work.tell_restart)
        if chunk is not None and (chunk.reads_state or step.resumed_from_id is not None):
            yield Db(work.load)
        if chunk is not None and work.options.atomic:
            committed: commit.Committed = yield Db(lambda: work.settle(work.run_atomic))
        else:
            outcome = yield from work.run()
            committed = yield Db(lambda: work.settle(lambda: work.complete(outcome)))
        return committed
    except Exception as error:
        if not work.is_to_blame_for(error):
            raise
        # A refusal (of a value, of a pause, by a join) would be the same the next time, unless the chunk raised it.
        failure, retry = error, work.raised is error or work.options.atomic
    committed = yield Db(lambda: work.settle(lambda: work.fail(failure, retry=retry)))
    if committed.failed and not context.swallows(facts):
        context.failures.append(failure)
    return committed
