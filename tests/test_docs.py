"""What the README and the docs show runs as it stands there, and prints what they say it prints."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core import checks, mail
from django.db import connections
from django.dispatch import Signal

from tests import documents
from triggerflow_django import TriggerFlow, signals
from triggerflow_django.approvals import policy
from triggerflow_django.definition import registry

#: The examples of testing.md are tests themselves: tests/testing runs those. Those of install.md are the files of a
#: project: test_install.py follows that page.
WITH_EXAMPLES = [
    page for page in documents.PAGES if page.stem not in ("testing", "install") and documents.blocks(page, "python")
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=lambda page: page.stem)
def test_the_examples_of_a_page_run_from_top_to_bottom(page: Path) -> None:
    with restored():
        run(page)


@pytest.mark.django_db(transaction=True)
def test_the_mail_receiver_writes_to_those_who_decide() -> None:
    with restored():
        namespace = run(documents.ROOT / "docs" / "signals.md")  # receivers are held weakly: the names have to live on
        flow = TriggerFlow(name="refund")
        flow.to(lambda data: data.pause_for(type="approval", payload={"question": "Refund 120?"}, interrupt_id="q"))
        flow.when("other").to(lambda data: data.pause_for(type="webhook", payload={"question": "not for people"}))
        execution = flow.start_execution(auto_close=False)
        execution.emit("other")
    assert "ask_by_mail" in namespace
    [message] = mail.outbox
    assert message.subject == "refund: Refund 120?"
    assert f"/{execution.id}/q/" in message.body


@pytest.mark.once
def test_the_database_settings_of_the_docs_are_those_of_the_project() -> None:
    shown = [
        run_block(block)["DATABASES"]["default"]
        for block in documents.blocks(documents.ROOT / "docs" / "reliability.md", "python")
        if block.text.startswith("DATABASES")
    ]
    from project import settings as project

    postgres, sqlite = shown
    assert sqlite["OPTIONS"] == project._SQLITE_OPTIONS
    assert postgres["OPTIONS"]["options"] == " ".join(f"-c {k}={v}" for k, v in project._POSTGRES_SETTINGS.items())
    with mock.patch.object(settings, "DATABASES", {"default": sqlite}):
        assert checks.run_checks(tags=[checks.Tags.compatibility]) == []


@pytest.mark.once
def test_the_first_flow_of_the_readme_runs_in_a_project_of_its_own(tmp_path: Path) -> None:
    files = {block.file: block for block in documents.blocks(documents.README, "python") if block.file}
    [use] = [block for block in documents.blocks(documents.README, "python") if not block.file]
    assert sorted(files) == ["settings.py", "shop/flows.py"]
    (tmp_path / "shop").mkdir()
    for name, block in files.items():
        (tmp_path / name).write_text(block.text, encoding="utf-8")
    (tmp_path / "shop" / "__init__.py").touch()
    with (tmp_path / "settings.py").open("a", encoding="utf-8") as file:
        file.write("SECRET_KEY = 'x'\nDATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ")
        file.write(f"{str(tmp_path / 'db.sqlite3')!r}}}}}\n")

    def manage(*arguments: str) -> str:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("COV")},
            "DJANGO_SETTINGS_MODULE": "settings",
            "PYTHONPATH": os.pathsep.join([str(tmp_path), str(documents.ROOT)]),
        }
        command = [sys.executable, "-m", "django", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    manage("check")
    manage("migrate", "--verbosity=0")
    assert manage("shell", "--verbosity=0", "--command", use.text).splitlines() == use.expected


# -- running a page ----------------------------------------------------------------------------------------------------


def run(page: Path) -> dict[str, Any]:
    """Run the Python blocks of a page in one namespace; returns it. What it leaves behind, ``restored`` takes back."""
    namespace: dict[str, Any] = {"__name__": f"docs_{page.stem}", "print": _printer(page)}
    for block in documents.blocks(page, "python"):
        run_block(block, namespace)
    return namespace


def run_block(block: documents.Block, namespace: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run one block; a traceback shows the page and the line in it."""
    namespace = {} if namespace is None else namespace
    code = compile("\n" * block.line + block.text, str(block.page), "exec", dont_inherit=True)
    exec(code, namespace)  # noqa: S102 - our own pages
    return namespace


def _printer(page: Path) -> Any:
    lines = page.read_text(encoding="utf-8").splitlines()

    def shown(*values: object) -> None:
        """A print that holds what it prints against the comment behind it."""
        number = sys._getframe(1).f_lineno
        _, mark, expected = lines[number - 1].partition("  # ")
        if mark:
            assert " ".join(map(str, values)) == expected, f"{page.name}, line {number}"

    return shown


@contextmanager
def restored() -> Iterator[None]:
    """Take back what a page left behind: registered flows, approver rules, receivers, connections of other threads."""
    known = {flow.name for flow in registry.flows()}
    observed = {signal: list(signal.receivers) for signal in vars(signals).values() if isinstance(signal, Signal)}
    with mock.patch.dict(policy._rules):
        try:
            yield
        finally:
            for flow in list(registry.flows()):
                if flow.name not in known:
                    registry.unregister(flow.name)
            for signal, receivers in observed.items():
                signal.receivers = receivers
                signal.sender_receivers_cache.clear()
            asyncio.run(_disconnect())


async def _disconnect() -> None:
    await sync_to_async(connections.close_all)()
