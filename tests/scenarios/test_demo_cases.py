"""Every case of the demo ends as it says."""

from __future__ import annotations

import pytest

from project.demo import case as cases
from project.demo import money, roles
from project.demo.case import Case
from project.demo.walk import STARTS, walk
from triggerflow_django.definition import registry


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("case", cases.load(), ids=lambda case: case.path)
def test_a_case_ends_as_it_says(case: Case) -> None:
    assert walk(case, users=roles.load(), run="test").problems == ()


@pytest.mark.once
def test_every_flow_of_the_demo_has_a_few_dozen_cases() -> None:
    flows = {flow.name for flow in registry.flows() if flow.name.startswith("demo.")}
    counts = {flow: sum(case.flow == flow for case in cases.load()) for flow in flows}
    assert flows == set(STARTS)
    assert len(flows) == 5
    assert min(counts.values()) >= 24, counts


@pytest.mark.once
def test_money_is_shown_in_units_and_cents() -> None:
    assert [money.shown(cents, "EUR") for cents in (0, 5, 1290, 123456789)] == [
        "0.00 EUR",
        "0.05 EUR",
        "12.90 EUR",
        "1,234,567.89 EUR",
    ]
