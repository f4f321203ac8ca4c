"""``BellJob``: an RQ job that can only ring.

Whoever can write to Redis can put any job into a queue. This class reads as little of it as possible, so that nothing
in it is imported, unpickled, unpacked without bound or called back; what is not a bell of ours fails by name and the
worker lives.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import Any, Final

from redis.exceptions import ResponseError
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus
from rq.utils import now, utcparse

from triggerflow_django import wakeups
from triggerflow_django.exceptions import TriggerFlowError
from triggerflow_django.worker import entry

#: A bell's data is a hundred bytes; nothing larger is even unpacked.
_MOST_BYTES: Final = 4_096
_CALLS: Final[dict[str, Callable[[str], None]]] = {wakeups.DRAIN: entry.drain, wakeups.SWEEP: entry.sweep}


class RefusedJobError(TriggerFlowError):
    """A job in Redis is not a bell; it was not run."""

    code = "refused_job"


class BellJob(Job):
    """What a worker makes of a job in Redis: one of our two calls with a queue's name, or a refusal."""

    #: Why it is no bell, in words; empty where it is one.
    refusal = ""

    def refresh(self) -> None:
        """Read the job from Redis.

        Raises: NoSuchJobError, also where its key holds something that is no hash at all.
        """
        try:
            super().refresh()
        except ResponseError as error:
            raise NoSuchJobError(f"job {self.id} cannot be read: {error}") from error

    def restore(self, raw_data: Any) -> None:
        """Read a job's hash. Never raises: one that cannot be read must not end the worker that meets it."""
        fields = {_text(key): value for key, value in dict(raw_data).items() if isinstance(value, bytes | str)}
        self.origin = _text(fields.get("origin", ""))
        self.description = _text(fields.get("description", ""))[:200] or None
        self.worker_name = _text(fields.get("worker_name", "")) or None
        self.created_at = _moment(fields.get("created_at")) or now()
        self.enqueued_at = _moment(fields.get("enqueued_at"))
        self.started_at = _moment(fields.get("started_at"))
        self.ended_at = _moment(fields.get("ended_at"))
        self.last_heartbeat = _moment(fields.get("last_heartbeat"))
        self.group_id = None
        self.timeout = -1
        self.result_ttl = 0
        self.failure_ttl = 86_400
        status = _text(fields.get("status", ""))
        self._status = JobStatus(status) if status in JobStatus._value2member_map_ else JobStatus.QUEUED
        self.meta = {}
        self._dependency_ids = []
        name, queue, self.refusal = _bell(fields.get("data", b""))
        self.data = self.serializer.dumps([name, None, [queue], {}])

    def perform(self) -> Any:
        """Do what the bell asks for.

        Raises: RefusedJobError.
        """
        if self.refusal:
            raise RefusedJobError(f"job {self.id} is not a bell of triggerflow_django and was not run: {self.refusal}")
        _CALLS[str(self.func_name)](*self.args)


def _bell(data: bytes | str) -> tuple[str, str, str]:
    """(call, queue, why it is refused) of a job's data."""
    try:
        packed = data.encode() if isinstance(data, str) else data
        if len(packed) > _MOST_BYTES:
            return "refused", "", f"its data has {len(packed)} bytes"
        unpacker = zlib.decompressobj()
        try:
            text = unpacker.decompress(packed, _MOST_BYTES)
        except zlib.error:
            text = packed
        if unpacker.unconsumed_tail:
            return "refused", "", "its data is larger than a bell's"
        match json.loads(text):
            case [str(name), None, [str(queue)], {**keywords}] if name in _CALLS and not keywords:
                return name, queue, ""
            case [str(name), *_]:
                return "refused", "", f"it asks for {name[:100]!r}"
        return "refused", "", "its data has another form"
    except (ValueError, RecursionError):
        return "refused", "", "its data is not JSON"


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _moment(value: bytes | str | None) -> Any:
    try:
        return utcparse(_text(value)) if value else None
    except ValueError:
        return None
