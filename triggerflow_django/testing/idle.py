"""``run_until_idle``: act on what is due and run what is ready, in this process, until nothing is left."""

from __future__ import annotations

from triggerflow_django import conf, exceptions
from triggerflow_django.definition import registry
from triggerflow_django.engine import claim
from triggerflow_django.engine.sweep import sweep
from triggerflow_django.handles import TriggerFlow, TriggerFlowExecution
from triggerflow_django.models import Execution
from triggerflow_django.runtime import bridge
from triggerflow_django.testing.targets import Target, handle_of


def run_until_idle(*executions: Target, using: str | None = None, raise_errors: bool = True) -> int:
    """Do what workers and the sweep would do, round after round, until nothing is ready or due any more.

    Without arguments it runs every execution of a registered flow, whether made for ``inline`` or for ``rq``. Given
    executions, it runs only their steps; a handle may be of an unregistered flow, and its chunks get the resources the
    handle was given. What is due (deadlines, auto-close, expired leases) is acted on in the whole database, since time
    passes for everybody. Nothing is waited for: a retry that backs off stays until ``travel`` has moved the clock.

    ``using``: the database alias, where no handle says it. Returns how many runs of steps ended here, those that failed
    included.

    Raises, when all is done and unless ``raise_errors=False``: the first error of a chunk that failed for good;
    MissingChunkError for a step whose chunk the code lacks; UnknownFlowError where a step is ready whose flow is not
    registered (pass the handle); RuntimeError where the sweep could not act on a row. Always: SyncInLoopError in a
    running event loop.
    """
    require_no_loop("run_until_idle")
    run = _Run([handle_of(each, using) for each in executions], using or conf.get_settings().DATABASE)
    while run.sweep() + run.drain():
        pass
    if raise_errors and (errors := run.errors + run.left_over()):
        raise errors[0]
    return run.ended


def require_no_loop(name: str) -> None:
    """Refuse to run chunks where that would stop the loop they may need.

    Raises: SyncInLoopError, with the spelling that works.
    """
    if bridge.in_running_loop():
        raise exceptions.SyncInLoopError(
            f"{name}() runs chunks and would block this event loop; use await asgiref.sync.sync_to_async({name})(...)"
        )


class _Run:
    """One call: what it has done so far. Without handles it runs whatever it can."""

    def __init__(self, handles: list[TriggerFlowExecution], using: str) -> None:
        self.handles = handles
        self.aliases = list(dict.fromkeys(handle.using for handle in handles)) or [using]
        self.ended = 0
        self.errors: list[BaseException] = []
        self._broken_rows = 0

    def sweep(self) -> int:
        """Act on what is due. Returns how many rows that changed."""
        reports = [sweep(using=alias) for alias in self.aliases]
        self._broken_rows = sum(report.errors for report in reports)
        return sum(report.total() for report in reports)

    def drain(self) -> int:
        """Run what is ready. Returns how many runs ended."""
        before = self.ended
        for handle in self.handles or [handle_of(row, None) for row in self._ready() if _is_known(row)]:
            self._drain(handle)
        return self.ended - before

    def left_over(self) -> list[BaseException]:
        """What this call had to leave as it is."""
        strangers = [row for row in self._ready() if not _is_known(row)] if not self.handles else []
        found: list[BaseException] = [
            exceptions.UnknownFlowError(
                f"execution {row.id.hex} has a step that is ready, and its flow {row.flow_name!r} is not registered "
                "here; pass the handle, run_until_idle(execution), or register the flow"
            )
            for row in strangers
        ]
        if self._broken_rows:
            told = f"rows that are due and cannot be acted on: {self._broken_rows}"
            found.append(RuntimeError(f"{told}; see the log of triggerflow_django.engine.sweep"))
        return found

    def _ready(self) -> list[Execution]:
        found: list[Execution] = []
        for alias in self.aliases:
            ready = claim.ready(alias).order_by().values("execution_id")
            found += Execution.objects.using(alias).filter(pk__in=ready).defer("input", "snapshot").order_by("pk")
        return found

    def _drain(self, handle: TriggerFlowExecution) -> None:
        drain = handle.drain_operation().drain
        drain.waits = False
        drain.run()
        self.ended += drain.ended
        self.errors += drain.failures


def _is_known(row: Execution) -> bool:
    return isinstance(registry.find(row.flow_name), TriggerFlow)
