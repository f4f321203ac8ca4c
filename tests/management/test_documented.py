"""docs/commands.md names every command, option, exit code and word of JSON, and no option that does not exist."""

from __future__ import annotations

import inspect
import re
from typing import Final

import pytest
from django.core.management import load_command_class

from tests import documents
from tests.management.test_base import operator_commands
from triggerflow_django.engine import waits
from triggerflow_django.management import base, wait_lines
from triggerflow_django.management.base import OperatorCommand

pytestmark = pytest.mark.once

PAGE: Final = documents.ROOT / "docs" / "commands.md"
#: Django's own.
_INHERITED: Final = {
    "--help", "--version", "--verbosity", "--settings", "--pythonpath", "--traceback", "--no-color", "--force-color",
    "--skip-checks",
}  # fmt: skip


def section(heading: str) -> str:
    """The text below a heading, up to the next of its level."""
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found[1]


def options(name: str) -> set[str]:
    parser = load_command_class("triggerflow_django", name).create_parser("manage.py", name)
    return {each for action in parser._actions for each in action.option_strings if each.startswith("--")} - _INHERITED


@pytest.mark.parametrize(("name", "command"), operator_commands().items(), ids=operator_commands())
def test_every_option_of_a_command_is_told_and_no_other(name: str, command: OperatorCommand) -> None:
    shared = set(re.findall(r"`(--[a-z-]+)`", section("What all of them share")))
    own = section(name.removeprefix("triggerflow_").capitalize())
    told = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", own))
    assert options(name) <= told | shared
    assert told <= options(name)
    permission = getattr(command, "permission", None)
    assert permission is None or f"`{permission}`" in own


def test_every_exit_code_is_told_and_no_other() -> None:
    codes = {
        0,
        *(getattr(base, name) for name in vars(base) if name.isupper() and isinstance(getattr(base, name), int)),
    }
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", section("What all of them share"), re.MULTILINE)} == codes


def test_every_kind_of_wait_is_told_and_has_words() -> None:
    told = set(re.findall(r"^\| `(\w+)` \|", section("Show"), re.MULTILINE))
    assert told == set(wait_lines._TOLD)
    source = inspect.getsource(waits)
    assert set(re.findall(r'kind="(\w+)"', source)) | set(re.findall(r'return "(\w+)", ', source)) == told
