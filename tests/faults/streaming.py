"""What child processes run for ``test_streams``."""

from __future__ import annotations

import time
from typing import Any

from django.db import connections

from tests.faults import flows
from tests.faults.processes import Link
from triggerflow_django import TriggerFlow

#: Items of the chunk that is killed, and after how many it says so.
ITEMS = 40
SAID_AFTER = 10


def _write(data: Any) -> None:
    for number in range(ITEMS):
        data.put([data.attempt, number])
        if flows.link is not None and number == SAID_AFTER:
            data._frame.stream().flush()
            flows.link.say("writing")
            flows.link.wait_for("go on")
        if flows.link is not None:
            time.sleep(0.01)


def _summary(data: Any) -> Any:
    data.put("done")
    return data.pause_for(interrupt_id="gate")


WRITING = {style: TriggerFlow(name=f"faults writing {style}") for style in ("plain", "atomic")}
for _style, _flow in WRITING.items():
    _flow.to(_flow.chunk("write", atomic=_style == "atomic")(_write)).to(("summary", _summary))


def write(link: Link, style: str, execution_id: str) -> None:
    """Run what is ready of an execution."""
    flows.link = link
    WRITING[style].get_execution(execution_id).drain_operation().drain.run()


def follow(link: Link, style: str, execution_id: str, position: int) -> None:
    """Say each item with its position, as another process that reads."""
    stream = WRITING[style].get_execution(execution_id).get_runtime_stream(timeout=30, position=position)
    for pair in stream.positions():
        link.say("item", pair)


def put_many(link: Link, execution_id: str, who: int, count: int) -> None:
    """Append items as fast as possible, at the test's word."""
    from triggerflow_django.engine import stream
    from triggerflow_django.engine.stream import Draft
    from triggerflow_django.handles.execution import execution_uuid
    from triggerflow_django.models import StreamItemKind

    pk = execution_uuid(execution_id)
    connections["default"].ensure_connection()
    link.say("ready")
    link.wait_for("go on")
    for number in range(count):
        draft = Draft(StreamItemKind.ITEM, [who, number])
        stream.append(pk, [draft], source=pk, using="default", look=stream.looking(pk, "default"))
