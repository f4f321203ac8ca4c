"""A client of the gates that may lose its connection or its life at any moment, and tells the test what it sees."""

from __future__ import annotations

import random
import time
import uuid
from typing import Any

from django.db import Error, InterfaceError, OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from tests.faults.flows import GATES
from tests.faults.histories import FAIL, OK, UNKNOWN
from tests.faults.processes import Link
from triggerflow_django.engine.decide import decide
from triggerflow_django.exceptions import InterruptNotWaitingError
from triggerflow_django.models import Door, Interrupt

#: How often a COMMIT is never sent, and how often it is done and the client hears of an error.
_UNSENT, _UNHEARD = 0.15, 0.15
_AGAIN = 3


def resume_at_random(link: Link, execution_id: str, gates: list[str], who: str, seed: int) -> None:
    """Answer gates, ask again where it is unknown what came of it, and look at them now and then.

    Says ``invoke`` (gate, value, request id, time) and then ``ok``, ``fail`` or ``unknown`` (time, the answer shown);
    ``read`` (gate, time, time, answer).
    """
    dice = random.Random(seed)  # noqa: S311 - no secret
    _lose_commits(dice)
    pk = uuid.UUID(execution_id)
    for number, gate in enumerate(gates):
        if dice.random() < 0.3:
            _look(link, pk, gate)
        value = f"{who} {number}"
        request_id = f"request of {value}" if dice.random() < 0.7 else None
        for _attempt in range(_AGAIN if request_id else 1):
            link.say("invoke", (gate, value, request_id, time.monotonic()))
            outcome, shown = _resume(pk, gate, value, request_id)
            link.say(outcome, (time.monotonic(), shown))
            if outcome != UNKNOWN:
                break
        _look(link, pk, gate)


def _resume(pk: uuid.UUID, gate: str, value: str, request_id: str | None) -> tuple[str, Any]:
    try:
        record = decide(
            pk, gate, value, door=Door.CODE, using="default", request_id=request_id, graph=GATES.graph, actor=value
        )
    except InterruptNotWaitingError:
        return FAIL, None
    except (Error, InterfaceError):
        connection.close()
        return UNKNOWN, None
    return OK, record["resume_value"]


def _look(link: Link, pk: uuid.UUID, gate: str) -> None:
    began = time.monotonic()
    try:
        row = Interrupt.objects.values("decision__payload").get(execution_id=pk, interrupt_id=gate)
    except (Error, InterfaceError):
        connection.close()
    else:
        link.say("read", (gate, began, time.monotonic(), row["decision__payload"]))


def _lose_commits(dice: random.Random) -> None:
    real = BaseDatabaseWrapper._commit

    def commit(self: BaseDatabaseWrapper) -> None:
        chance = dice.random()
        if chance < _UNSENT:
            raise OperationalError("the connection was lost before the COMMIT (says a test)")
        real(self)
        if chance > 1 - _UNHEARD:
            raise OperationalError("the connection was lost after the COMMIT (says a test)")

    BaseDatabaseWrapper._commit = commit
