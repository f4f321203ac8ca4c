"""What an execution of one small flow must look like from outside: plain Python that knows nothing of the engine.

The flow: ``first``, then ``a`` and ``b`` side by side, ``joined`` once both are done, ``ask`` (a question with a
deadline that answers by itself), ``book``; and ``pays`` for each event ``pay``. Each chunk that commits appends its
name to ``ran``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

LEASE, DUE = 60, 100


class RefusedError(Exception):
    """The engine has to refuse this; ``args``: the name of its error."""


@dataclass
class Model:
    """One execution. Every method is one thing that happens; times are seconds the clock was moved."""

    now: int = 0
    ran: list[str] = field(default_factory=list)
    ready: Counter[str] = field(default_factory=lambda: Counter(first=1))
    #: Nodes whose worker died, with the end of the lease.
    lost: list[tuple[str, int]] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    filled: set[str] = field(default_factory=set)
    gate: str = ""
    due: int = 0
    answer: Any = None
    request: str = ""
    lifecycle: str = "open"
    closing: str = ""
    outcome: str = ""
    snapshot: dict[str, Any] | None = None

    # -- what shows

    @property
    def active(self) -> int:
        return self.ready.total() + len(self.lost)

    @property
    def state(self) -> dict[str, Any]:
        return {"ran": self.ran} if self.ran else {}

    @property
    def status(self) -> str:
        if self.outcome:
            return self.outcome
        if self.failed.total():
            return "failed"
        if self.active:
            return "running"
        return "waiting" if self.gate == "waiting" else "running"

    # -- workers

    def run(self, node: str, *, raises: bool) -> None:
        """A ready step of a node has been run to its commit."""
        self.ready[node] -= 1
        if raises:
            self.failed[node] += 1
        else:
            self.ran = [*self.ran, node]
            self._follow(node)
        self._settle()

    def _follow(self, node: str) -> None:
        match node:
            case "first":
                self.ready.update(["a", "b"])
            case "a" | "b":
                self.filled.add(node)
                if self.filled == {"a", "b"}:
                    self.ready.update(["joined"])
            case "joined":
                self.ready.update(["ask"])
            case "ask":
                self.gate, self.due = "waiting", self.now + DUE

    def die(self, node: str) -> None:
        """A worker has claimed it and is gone."""
        self.ready[node] -= 1
        self.lost.append((node, self.now + LEASE))

    def lose_code(self, node: str) -> None:
        """A worker whose code lacks the node has met it, and the grace is over."""
        self.ready[node] -= 1
        self.failed[node] += 1
        self._settle()

    def sweep(self, seconds: int) -> None:
        self.now += seconds
        for entry in [entry for entry in self.lost if entry[1] <= self.now]:
            self.lost.remove(entry)
            self.ready[entry[0]] += 1
        if self.gate == "waiting" and self.due <= self.now and self.lifecycle == "open":
            self._resume("by default")

    # -- people

    def decide(self, interrupt_id: str, answer: Any, request: str) -> Any:
        """The answer that is on record afterwards."""
        if interrupt_id != "gate" or not self.gate:
            raise RefusedError("UnknownInterruptError")
        if self.request and request == self.request:
            if answer != self.answer:
                raise RefusedError("RequestIdConflictError")
            return self.answer
        self._require_open()
        if self.gate != "waiting":
            raise RefusedError("InterruptNotWaitingError")
        self.request = request
        self._resume(answer)
        return answer

    def emit_pay(self) -> None:
        self._require_open()
        self.ready.update(["pays"])

    def retry(self) -> None:
        if self.lifecycle == "closed":
            raise RefusedError("ExecutionNotOpenError")
        if not self.failed.total():
            raise RefusedError("UnknownStepError")
        self.ready.update(self.failed)
        self.failed.clear()

    def seal(self, *, shut: bool) -> None:
        if self.lifecycle == "closed" or (not shut and self.closing):
            raise RefusedError("ExecutionNotOpenError")
        self.lifecycle = "sealed" if shut else "open"

    def close(self, policy: str) -> None:
        if self.lifecycle == "closed":
            return
        if self.gate == "waiting" and policy == "error":
            raise RefusedError("PendingInterruptsError")
        if not self.closing:
            self.closing, self.lifecycle = policy, "sealed"
        if policy == "cancel" and self.gate == "waiting":
            self.gate, self.closing = "cancelled", "cancelled"
        elif policy == "cancel" and self.closing == "error":
            self.closing = "cancel"
        self._settle()

    def cancel(self) -> None:
        if self.lifecycle == "closed":
            return
        self._end("cancelled")

    # -- inside

    def _require_open(self) -> None:
        if self.lifecycle != "open":
            raise RefusedError("ExecutionNotOpenError")

    def _resume(self, answer: Any) -> None:
        self.gate, self.answer = "resumed", answer
        self.ready.update(["book"])

    def _settle(self) -> None:
        """A close that was asked for ends once nothing is active, or is given up where a question was asked."""
        if not self.closing or self.active:
            return
        if self.gate == "waiting" and self.closing == "error":
            self.closing, self.lifecycle = "", "open"
            return
        cancelled = self.gate == "waiting" or self.closing == "cancelled"
        self._end("cancelled" if cancelled else "failed" if self.failed.total() else "completed")

    def _end(self, outcome: str) -> None:
        if self.gate == "waiting":
            self.gate = "cancelled"
        self.lifecycle, self.outcome, self.closing = "closed", outcome, ""
        self.ready.clear()
        self.lost.clear()
        self.snapshot = self.state
