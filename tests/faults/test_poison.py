"""A step that kills its process every time ends as failed, visible, and takes nobody along."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.engine import driving
from tests.faults.flows import ITEMS, ORDERS, POISONED, left_by
from tests.faults.processes import Crew
from tests.faults.programs import drain
from tests.faults.soundness import sound
from triggerflow_django.conf import get_settings
from triggerflow_django.engine.sweep import sweep
from triggerflow_django.models import Step, StepStatus


@pytest.mark.parametrize("style", ["sync", "async"])
@pytest.mark.parametrize(("poison", "number"), [("SIGKILL", signal.SIGKILL), ("abort", signal.SIGABRT)])
def test_a_step_that_kills_its_process_every_time_fails_and_harms_no_other(
    crew: Crew, travel: Callable[[float], None], style: str, poison: str, number: signal.Signals
) -> None:
    flow, fine = POISONED[style], [f"fine{index}" for index in range(5)]
    pk = driving.start(flow, [*fine[:2], poison, *fine[2:]])
    other = driving.start(ORDERS["sync"], ITEMS)
    deaths = 0
    while deaths < 20:
        child = crew.start(drain, flow.name, pk.hex)
        said, value = child.hear()
        if said == "returned":
            break
        assert (said, value) == ("gone", -number)
        deaths += 1
        if deaths == 1:  # in between, others get on as if nothing were
            crew.start(drain, ORDERS["sync"].name, other.hex).expect("returned")
        travel(get_settings().LEASE_SECONDS + 1)
        sweep(using="default")

    assert deaths == get_settings().MAX_LOST == 5
    execution = sound(pk)
    assert (execution.status, execution.active_steps, execution.failed_steps) == ("failed", 0, 1)
    failed = Step.objects.get(execution_id=pk, status=StepStatus.FAILED)
    assert (failed.input, failed.attempt, failed.lost) == (poison, 5, 4)
    assert failed.error is not None
    assert failed.error["type"].endswith("LostStepError")
    assert "died or vanished 5 times" in failed.error["message"]
    # Those claimed beside it may lose a process or two, until it is claimed alone; their rows are there.
    beside = Step.objects.filter(execution_id=pk, node="deadly").exclude(pk=failed.pk)
    assert {step.status for step in beside} == {StepStatus.DONE}
    assert max(step.lost for step in beside) <= 2
    assert set(left_by(pk.hex)) == set(fine)
    assert sound(other).status == "waiting"
