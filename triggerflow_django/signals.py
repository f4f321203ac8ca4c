"""Django signals for observers: what happened, after it was committed.

Senders are the verbs of the engine, through ``send_after_commit``. Receivers get ``sender``
(``models.Execution``), ``signal`` and the arguments named at each signal. They run after the
commit, in the process that made it, and what they raise is logged: a receiver changes nothing any
more. Delivery is at most once: a process killed between the commit and the call sends nothing, so
what must not be missed belongs into the flow.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from django.db import models, transaction
from django.dispatch import Signal

_logger = logging.getLogger(__name__)

# All signals send: execution_id (str, hex), flow_name (str), using (str, the database alias).

# Nothing more. The execution has been started.
execution_started = Signal()

# Also: interrupt_id (str), interrupt_pk (UUID), type (str). A chunk paused; an answer is awaited.
interrupt_opened = Signal()

# Also: interrupt_id (str), interrupt_pk (UUID), type (str), door (str: admin, api, command, code,
# event, deadline, link), actor (str: the label stored with the decision). The answer is stored.
interrupt_decided = Signal()

# Also: interrupt_id (str), interrupt_pk (UUID), type (str). Its due time passed without an answer.
interrupt_overdue = Signal()

# Also: step_id (int), node (str), error_type (str), error_message (str). The step failed for good:
# its retries, if it had any, are used up.
step_failed = Signal()

# Also: status (str: completed, failed, cancelled). The snapshot is final.
execution_closed = Signal()

_NAMES: Final = {
    execution_started: "execution_started",
    interrupt_opened: "interrupt_opened",
    interrupt_decided: "interrupt_decided",
    interrupt_overdue: "interrupt_overdue",
    step_failed: "step_failed",
    execution_closed: "execution_closed",
}


def send_after_commit(signal: Signal, *, sender: type[models.Model], using: str, **kwargs: Any) -> None:
    """Send ``signal`` once the open transaction of ``using`` commits; never if it rolls back.

    Without an open transaction it is sent at once. Receivers get ``using`` and ``kwargs``. Nothing
    a receiver raises reaches the caller; see ``_send`` for the receivers after it.
    """

    # A function and not a partial: Django's robust hooks fail on what has no __qualname__.
    def send() -> None:
        _send(signal, sender, {"using": using, **kwargs})

    transaction.on_commit(send, using=using, robust=True)


def _send(signal: Signal, sender: type[models.Model], arguments: dict[str, Any]) -> None:
    try:
        answers = signal.send_robust(sender, **arguments)
    except Exception as error:
        # send_robust itself fails on a raising receiver without __qualname__ (a callable object)
        # and on async receivers in a thread with a running loop; the receivers after it are lost.
        _log(signal, "", error, arguments)
        return
    for receiver, answer in answers:
        if isinstance(answer, Exception):
            name = getattr(receiver, "__qualname__", type(receiver).__qualname__)
            name = f"{receiver.__module__}.{name}"
            _log(signal, name, answer, arguments)


def _log(signal: Signal, receiver: str, error: Exception, arguments: dict[str, Any]) -> None:
    name = _NAMES.get(signal, "")
    _logger.error(
        "A receiver of %s raised",
        name,
        exc_info=error,
        extra={
            "event": "triggerflow.receiver.failed",
            "signal": name,
            "receiver": receiver,
            "execution_id": arguments.get("execution_id"),
        },
    )
