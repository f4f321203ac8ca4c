"""What may be deleted: a whole execution with all that belongs to it, and nothing of its record alone."""

from __future__ import annotations

import pytest
from django.db import models
from django.db.models import RestrictedError

from triggerflow_django import TriggerFlow
from triggerflow_django.models import Decision, Event, Execution, Interrupt, Join, JoinSlot, State, Step

pytestmark = pytest.mark.django_db


@pytest.fixture
def execution() -> Execution:
    """One with a decision, history, state, and a join that is still open."""
    flow = TriggerFlow(name="refund")
    flow.to(lambda data: data.pause_for(interrupt_id="q")).to(lambda data: data.set_state("answer", data.input))
    flow.when(["paid", "packed"]).to(lambda data: None)
    handle = flow.start_execution(auto_close=False)
    handle.continue_with("q", "yes")
    handle.emit("paid")
    row = handle.row()
    assert row is not None
    return row


def test_deleting_an_execution_deletes_all_that_belongs_to_it(execution: Execution) -> None:
    tables: list[type[models.Model]] = [Execution, State, Step, Interrupt, Decision, Event, Join, JoinSlot]
    assert all(table._default_manager.exists() for table in tables)
    Execution.objects.filter(pk=execution.pk).delete()
    assert not any(table._default_manager.exists() for table in tables)


def test_a_decision_is_not_deleted_or_changed_alone(execution: Execution) -> None:
    decision = Decision.objects.get()
    with pytest.raises(TypeError, match="only together with their execution"):
        Decision.objects.all().delete()
    with pytest.raises(TypeError, match="only together with their execution"):
        decision.delete()
    with pytest.raises(TypeError, match="never changed"):
        Decision.objects.update(payload="no")
    with pytest.raises(TypeError, match="never changed"):
        decision.save()


def test_not_even_past_the_model_is_a_decision_taken_from_its_interrupt(execution: Execution) -> None:
    with pytest.raises(RestrictedError):
        models.Model.delete(Decision.objects.get())
