"""What child processes run for ``test_loaded_flow_faults``: the original of a flow that others have as data."""

from __future__ import annotations

import os
import signal
from typing import Any

from tests.faults.processes import Link
from triggerflow_django import TriggerFlow

_link: list[Link] = []


def prepare(data: Any) -> Any:
    """Wait to be killed, in the process that has a link to say so."""
    if _link:
        _link[0].say("reached")
        os.kill(os.getpid(), signal.SIGSTOP)
    data.append_state("log", f"prepare {data.attempt}")
    return data.input


def ask(data: Any) -> Any:
    """Ask."""
    return data.pause_for(interrupt_id="gate")


def is_granted(data: Any) -> bool:
    """Whether the answer says so."""
    return bool(data.input["granted"])


def grant(data: Any) -> None:
    """The end."""
    data.append_state("log", "granted")


ORIGINAL = TriggerFlow(name="faults loaded")
(
    ORIGINAL.for_each(1)
    .to(prepare)
    .end_for_each()
    .to(ask)
    .if_condition(is_granted)
    .to(grant)
    .end_condition()
)  # fmt: skip


def start(link: Link) -> str:
    """Start one with the original and die in its first chunk."""
    _link.append(link)
    handle = ORIGINAL.create_execution(auto_close=False)
    link.say("id", handle.id)
    handle.start([1, 2, 3])
    return handle.id
