"""How many workers listen: of the living, and never an error."""

from __future__ import annotations

from typing import Any

from rq import Worker

from tests.worker.conftest import Bells
from triggerflow_django import wakeups
from triggerflow_django.worker import presence


def test_workers_are_counted_by_queue(bells: Bells) -> None:
    queue = wakeups.bell_queue("triggerflow")
    assert presence.listening("triggerflow") == 0
    workers = [Worker([queue], name=f"w{number}", connection=bells.client()) for number in range(2)]
    for worker in workers:
        worker.register_birth()
    assert presence.listening("triggerflow") == 2
    assert presence.listening("other") == 0


def test_a_worker_that_was_killed_does_not_count(bells: Bells) -> None:
    worker = Worker([wakeups.bell_queue("triggerflow")], name="w", connection=bells.client())
    worker.register_birth()
    bells.client().delete(worker.key)  # as it expires when nobody renews it
    assert presence.listening("triggerflow") == 0


def test_where_redis_does_not_answer_it_is_unknown(bells: Bells) -> None:
    bells.stop()
    assert presence.listening("triggerflow") is None
    bells.start()


def test_a_queue_that_the_settings_do_not_have_is_unknown(settings: Any) -> None:
    settings.RQ_QUEUES = {}
    assert presence.listening("triggerflow") is None
