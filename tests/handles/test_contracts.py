"""A flow's contract at the doors: nothing is stored of an input that does not match, and results are checked."""

from __future__ import annotations

import pytest

from tests.handles import loops
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.definition import registry
from triggerflow_django.models import Execution

pytestmark = pytest.mark.django_db(transaction=True)


def keeping(**parts: object) -> TriggerFlow:
    flow = TriggerFlow(name="contracts")
    flow.set_contract(**parts)
    flow.to(lambda data: data.set_state("got", data.input), name="keep")
    return flow


def test_an_input_is_coerced_before_the_first_chunk_sees_it() -> None:
    execution = keeping(initial_input=dict[str, int]).start_execution({"a": "5"}, auto_close=False)
    assert execution.get_state("got") == {"a": 5}
    row = execution.row()
    assert row is not None
    assert row.input == {"a": 5}


def test_an_input_that_does_not_match_is_refused_and_nothing_is_stored() -> None:
    flow = keeping(initial_input=dict[str, int])
    for start in (flow.start, flow.start_execution, flow.create_execution(auto_close=False).start):
        with pytest.raises(exceptions.ContractError, match=r"\$: Input should be a valid dictionary"):
            start("nope")
    assert not Execution.objects.exists()


def test_the_same_input_in_another_spelling_is_the_same_start() -> None:
    flow = keeping(initial_input=dict[str, int])
    first = flow.start_execution({"a": "5"}, key="k", auto_close=False)
    assert flow.start_execution({"a": 5}, key="k", auto_close=False).id == first.id


def test_what_a_type_makes_must_be_json_within_the_limits() -> None:
    flow = keeping(initial_input=float)
    with pytest.raises(exceptions.JsonValueError):
        flow.start_execution(float("nan"), auto_close=False)
    assert not Execution.objects.exists()


def test_an_async_start_is_refused_the_same_way() -> None:
    execution = keeping(initial_input=int).create_execution(auto_close=False)
    with pytest.raises(exceptions.ContractError):
        loops.run(execution.async_start("x"))


def test_a_registered_flow_is_checked_through_its_handle_too() -> None:
    flow = registry.register(keeping(initial_input={"type": "integer"}))
    try:
        with pytest.raises(exceptions.ContractError):
            flow.start_execution("x", runner="rq", auto_close=False)
    finally:
        registry.unregister(flow.name)
    assert not Execution.objects.exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_result_that_does_not_match_fails_the_chunk_that_gave_it() -> None:
    flow = TriggerFlow(name="contracts")
    flow.set_contract(result={"type": "object"})
    flow.to(lambda data: data.set_result(data.input), name="give")
    good = flow.create_execution(auto_close=False)
    good.start({"a": 1})
    assert good.close() == {"$final_result": {"a": 1}}
    bad = flow.create_execution(auto_close=False)
    with pytest.raises(exceptions.ContractError, match="the result does not match"):
        bad.start([1])
    assert bad.get_status() == "failed"
