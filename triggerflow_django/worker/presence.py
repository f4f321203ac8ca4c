"""How many workers listen to a queue, as Redis knows it: for people who wonder why nothing runs."""

from __future__ import annotations

import logging

from rq import worker_registration

from triggerflow_django import wakeups

logger = logging.getLogger(__name__)


def listening(queue: str) -> int | None:
    """How many live workers a queue has; ``None`` where Redis does not say, or the settings have no such queue.

    Never raises.
    """
    try:
        bells = wakeups.bell_queue(queue)
        names = worker_registration.get_keys(queue=bells)
        # A worker that was killed stays registered until another one tidies up; its own key expires by itself.
        return int(bells.connection.exists(*names)) if names else 0
    except Exception:  # whatever is wrong with Redis or its settings: nothing depends on the answer
        logger.debug("triggerflow.presence.unknown", exc_info=True, extra={"queue": queue})
        return None
