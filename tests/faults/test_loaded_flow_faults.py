"""A process with the original of a flow dies in a chunk; one that has the flow as data only brings it to its end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults import loaded_flows
from tests.faults.processes import Crew
from tests.faults.soundness import sound
from triggerflow_django import TriggerFlow
from triggerflow_django.conf import get_settings
from triggerflow_django.engine.sweep import sweep

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def test_what_the_original_began_when_it_was_killed_the_loaded_one_ends(
    crew: Crew, travel: Callable[[float], None]
) -> None:
    victim = crew.start(loaded_flows.start)
    execution_id = victim.expect("id")
    victim.expect("reached")
    victim.kill()

    text = loaded_flows.ORIGINAL.get_json_flow()
    loaded = TriggerFlow()
    for handler in (loaded_flows.prepare, loaded_flows.ask, loaded_flows.grant):
        loaded.register_chunk_handler(handler)
    loaded.register_condition_handler(loaded_flows.is_granted).load_json_flow(text)

    travel(get_settings().LEASE_SECONDS + 1)
    sweep(using="default")
    handle = loaded.get_execution(execution_id)
    handle.wait(timeout=60)
    assert list(handle.get_pending_interrupts()) == ["gate"]
    assert "ask: waiting" in handle.to_svg()
    handle.continue_with("gate", {"granted": True})
    log = handle.close()["log"]
    assert sorted(log[:3]) == ["prepare 1", "prepare 1", "prepare 2"]
    assert log[3:] == ["granted"]
    assert sound(handle.pk).status == "completed"
