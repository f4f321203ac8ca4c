"""A reader's place in a runtime stream, and what comes next there. Any process may read, at any time, again and again.

One indexed query a look while there are items; with none, one more for how the execution stands.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Case, Q, Value, When

from triggerflow_django.engine import clock, lifecycle, projection, records, stream
from triggerflow_django.models import (
    Execution,
    Interrupt,
    Lifecycle,
    Step,
    StreamItem,
    StreamItemKind,
    StreamStatus,
)

#: Items that are in memory at a time.
PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """An item, and the position to go on from after it."""

    position: int
    item: Any


class Cursor:
    """Where one reader stands in one execution's stream. Database functions; not for two threads at a time."""

    def __init__(self, execution_id: uuid.UUID, *, position: int, using: str) -> None:
        self.execution_id = execution_id
        self.using = using
        self.position = position
        #: Read and not taken yet.
        self.entries: deque[Entry] = deque()
        #: Nothing comes after ``entries``.
        self.is_ended = False
        #: The execution is closed (it may also have ended by ``stop_stream``).
        self.is_closed = False
        #: Seconds until the execution closes by itself as things stand.
        self.closes_in: float | None = None
        self._root: uuid.UUID | None = None
        self._mine: dict[uuid.UUID, bool] = {execution_id: True}

    def look(self) -> None:
        """Read on: afterwards there are entries, or there is nothing new, or the stream has ended."""
        if self._read():
            return
        was_known = self._root is not None
        execution = self._stands()
        if execution is None:
            return
        self.is_closed = execution.lifecycle == Lifecycle.CLOSED
        is_expired = execution.stream == StreamStatus.EXPIRED
        # Once more: what came before it was closed is there now.
        if (self.is_closed or is_expired or not was_known) and self._read():
            return
        if is_expired:
            self._add_gap(self.position, None)
        self.is_ended = self.is_closed or is_expired

    def _read(self) -> bool:
        if self._root is None:
            return False
        rows = StreamItem.objects.using(self.using).filter(root_id=self._root, sequence__gt=self.position)
        found = list(rows.order_by("sequence")[:PAGE])
        records_ = self._records(found)
        for row in found:
            if row.sequence > self.position + 1:
                self._add_gap(row.sequence - 1, row.sequence - 1 - self.position)
            self.position = row.sequence
            if not self._belongs(row.source_id):
                continue
            if row.kind == StreamItemKind.STOP:
                if row.source_id == self.execution_id:
                    self.is_ended = True
                    break
                continue
            self.entries.append(Entry(row.sequence, _item(row, records_)))
        return bool(found)

    def _stands(self) -> Execution | None:
        """The execution, once the streams of it and of all its sub flows are open; acts on its auto-close."""
        while (execution := self._opened()) is not None:
            due = execution.auto_close_at
            self.closes_in = None if due is None else (due - execution.db_now).total_seconds()  # type: ignore[attr-defined]
            is_due = self.closes_in is not None and self.closes_in <= 0
            if not (is_due and lifecycle.auto_close(self.execution_id, using=self.using)):
                return execution
        return None

    def _opened(self) -> Execution | None:
        """The execution, read after the streams of it and of all its sub flows are open: it may close meanwhile."""
        me = Q(pk=self.execution_id)
        itself_first = Case(When(me, then=Value(0)), default=Value(1))  # however many sub flows there are
        while True:
            fresh = Q(root_id=self._root or self.execution_id, stream=StreamStatus.NONE)
            rows = Execution.objects.using(self.using).filter(me | fresh).annotate(db_now=clock.expression())
            some = rows.order_by(itself_first).only("root_id", "stream", "lifecycle", "auto_close_at")[:PAGE]
            found = {row.pk: row for row in some}
            execution = found.get(self.execution_id)
            if execution is None:
                return None
            root = stream.root_of(execution)
            unopened = [row.pk for row in found.values() if row.stream == StreamStatus.NONE]
            if self._root is None and root != self.execution_id:
                unopened.insert(0, root)
            for pk in unopened:
                stream.open_stream(pk, using=self.using)
            self._root = root
            if not unopened:
                return execution

    def _add_gap(self, position: int, lost: int | None) -> None:
        item = {"type": "stream", "action": "gap", "execution_id": self.execution_id.hex, "lost": lost}
        self.entries.append(Entry(position, item))

    def _belongs(self, source: uuid.UUID) -> bool:
        """Whether it is this execution or a sub flow of it, however deep."""
        if self.execution_id == self._root:
            return True
        if source not in self._mine:
            child = Execution.objects.using(self.using).filter(pk=source)
            above = Step.objects.using(self.using).filter(pk__in=child.values("parent_step_id"))
            parent = above.values_list("execution_id", flat=True).first()
            self._mine[source] = parent is not None and parent != self._root and self._belongs(parent)
        return self._mine[source]

    def _records(self, rows: Sequence[StreamItem]) -> dict[str, dict[str, Any]]:
        wanted = {row.item["interrupt"] for row in rows if row.kind == StreamItemKind.INTERRUPT}
        if not wanted:
            return {}
        found = Interrupt.objects.using(self.using).filter(pk__in=[uuid.UUID(pk) for pk in wanted])
        return {row.pk.hex: self._record(row) for row in found.select_related("step", "decision")}

    def _record(self, row: Interrupt) -> dict[str, Any]:
        """As this execution shows it: one of a sub flow has the id here by which it can be answered here."""
        record = records.interrupt(row, row.step)
        if row.execution_id == self.execution_id:
            return record
        frames = projection.frames_between(self.execution_id, row.execution_id, self.using)
        return projection.projected(record, frames)


#: What a record says before it is decided.
_UNDECIDED: Final = {
    "status": "waiting", "resolved_at": None, "resumed_at": None, "resume_value": None, "response": None,
    "resume_request_id": None, "resumed_by": None, "door": None, "comment": "", "overdue_at": None,
}  # fmt: skip


def _item(row: StreamItem, interrupts: dict[str, dict[str, Any]]) -> Any:
    if row.kind == StreamItemKind.ITEM:
        return row.item
    source = {"execution_id": row.source_id.hex}
    if row.kind == StreamItemKind.INTERRUPT:
        record = interrupts[row.item["interrupt"]]
        told = {"type": "interrupt", "action": row.item["action"], **source}
        if row.item["action"] == "pause":
            return {**told, "interrupt": {**record, **_UNDECIDED}, "signal": record["source_signal"]}
        return {**told, "interrupt": record, "value": record["resume_value"]}
    return {"type": "stream", "action": str(row.kind), **source, **row.item}
