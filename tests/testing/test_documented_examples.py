"""The examples of docs/testing.md, collected and run as the tests they are."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final

import pytest
from django.test import TestCase

from tests import documents
from triggerflow_django import testing
from triggerflow_django.definition import registry
from triggerflow_django.testing import assert_walk, decide

PAGE: Final = documents.ROOT / "docs" / "testing.md"


def run(block: documents.Block, namespace: dict[str, Any]) -> None:
    # With the lines of the page, so that a traceback leads there.
    exec(compile("\n" * block.line + block.text, str(PAGE), "exec"), namespace)  # noqa: S102 - our own page


flows_block, *blocks = documents.blocks(PAGE, "python")
assert flows_block.file == "shop/flows.py"
flows = ModuleType("shop.flows")
run(flows_block, vars(flows))
sys.modules.update({"shop": ModuleType("shop"), "shop.flows": flows})
for block in blocks:
    # pytest collects what they define: test cases and test functions.
    run(block, globals())
del sys.modules["shop"], sys.modules["shop.flows"]


@pytest.fixture(autouse=True, scope="module")
def _registered() -> Iterator[None]:
    """As at start-up of a project with this app."""
    registry.register_module(flows)
    yield
    registry.unregister(flows.returns.name)


def test_the_examples_were_collected() -> None:
    cases = {name for name, value in globals().items() if isinstance(value, type) and issubclass(value, TestCase)}
    shown = set(re.findall(r"^class (\w+)\(TestCase\):$", documents.code(PAGE), re.MULTILINE))
    assert len(shown) == 6
    assert cases - {"TestCase"} == shown
    assert "test_small_change" in globals()


def test_the_page_has_a_section_for_everything_that_is_exported() -> None:
    headings = " ".join(documents.anchors(PAGE))
    assert [name for name in testing.__all__ if name not in headings] == []


@pytest.mark.django_db
def test_the_message_of_the_page_is_what_comes() -> None:
    case = globals()["ReturnsTest"]()
    case.setUp()
    case.bank.away = 1
    decide(case.execution, {"approved": True}, as_user=case.manager)
    with pytest.raises(AssertionError) as caught:
        assert_walk(case.execution, ["check", "ask", "pay", "record"])
    [shown] = documents.blocks(PAGE, "text")
    assert masked(str(caught.value)) == masked(shown.text.removesuffix("\n"))


def masked(text: str) -> str:
    """Without what differs each time: the id, and the jitter of the backoff."""
    return re.sub(r"\b[0-9a-f]{32}\b", "<id>", re.sub(r"\b0:0[01]:\d\d\b", "<time>", text))
