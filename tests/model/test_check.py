"""The model of docs/model, checked whole; and each of its guards switched off, to see that the check can fail."""

from __future__ import annotations

import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests import documents
from tests.model.conftest import FOLDER

pytestmark = pytest.mark.once

#: A change of these numbers is a change of the model: look at it, then write them here and in docs/model.md.
STATES, TRANSITIONS = 380_717, 2_513_542

#: What breaks first where a guard (or two) is missing.
CONTROLS = {
    "claim-ready": "the counters count what there is",
    "commit-lease": "only the newest attempt's outcome is applied",
    "commit-running": "a step's outcome is applied once",
    "lost-still": "a step is paused while its question waits, and no longer",
    "renew-own": "whatever the order in which it goes on, it never goes in a circle",
    "decide-waiting": "a decision is never changed",
    "decide-open": "the gate is opened in an open execution only",
    "decide-replay": "nobody is told no whose decision it is",
    "lock": "the gate is opened in an open execution only",
    "close-gate": "nothing goes on in a closed execution",
    "close-steps": "nothing goes on in a closed execution",
    "settle": "while it is not at rest, something can go on by itself",
    "reopen": "while it is not at rest, something can go on by itself",
    "max-lost": "a step runs no more often than it may be lost",
    "sweep-lost": "while it is not at rest, something can go on by itself",
    "sweep-bells": "while it is not at rest, something can go on by itself",
    "ring-after-commit sweep-bells": "while it is not at rest, something can go on by itself",
}


@pytest.mark.slow
def test_every_property_holds_in_every_state(model: SimpleNamespace) -> None:
    found = model.check.check()
    assert found.broken == "", "\n".join(found.trace)
    assert (found.states, found.transitions) == (STATES, TRANSITIONS)
    assert set(found.verbs) == {verb.__name__ for verb in model.verbs.VERBS}  # and so nothing holds for want of trying


def test_every_guard_has_its_control(model: SimpleNamespace) -> None:
    assert {name for names in CONTROLS for name in names.split()} == set(model.guards.GUARDS)


@pytest.mark.parametrize("without", CONTROLS)
def test_without_a_guard_a_property_breaks(model: SimpleNamespace, without: str) -> None:
    # Without an operator there are fewer states; these break all the same, only sooner.
    start = model.states.State(requests=0) if without in {"renew-own", "max-lost", "commit-lease"} else None
    found = model.check.check(without.split(), start)
    assert found.broken == CONTROLS[without]
    assert found.trace[0] == "the execution is started"


def test_bells_alone_are_enough_where_nothing_goes_wrong_and_they_ring_after_the_commit(model: SimpleNamespace) -> None:
    calm = model.states.State(faults=0)
    assert model.check.check(["sweep-bells"], calm).broken == ""
    early = model.check.check(["sweep-bells", "ring-after-commit"], calm)
    assert early.trace[-5:-1] == [
        "decider 0 rings, and will commit",
        "worker 0 takes a bell",
        "worker 0 finds nothing and ends its drain",
        "decider 0 decides and is told yes",
    ]


# -- the command and the page


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it as a reader does: with the standard library and nothing else."""
    call = [sys.executable, "-E", "-S", "-B", str(FOLDER / "check.py"), *arguments]
    return subprocess.run(call, capture_output=True, text=True, check=False)


def test_the_command_tells_what_it_found() -> None:
    done = command("--faults", "0")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(r"7,321 states, [\d,]+ transitions, [\d.]+ s\nevery property holds", done.stdout)
    done = command("--without", "claim-ready")
    assert done.returncode == 1
    assert (
        "BROKEN: the counters count what there is. A shortest way there:\n   0  the execution is started" in done.stdout
    )


def test_the_command_lists_the_guards(model: SimpleNamespace) -> None:
    told = command("--guards").stdout
    assert re.findall(r"^(\S+)", told, re.MULTILINE) == list(model.guards.GUARDS)


def test_the_page_tells_the_figures_the_properties_and_the_guards(model: SimpleNamespace) -> None:
    text = " ".join((FOLDER.parent / "model.md").read_text(encoding="utf-8").split())
    assert f"{STATES:,} states" in text
    assert f"{TRANSITIONS:,} transitions" in text
    for name, guard in model.guards.GUARDS.items():
        assert f"| `{name}` | {guard.rule} |" in text
    for holds in (*model.properties.PROPERTIES, *model.properties.PROPERTIES_OF_CHANGES):
        assert f"- {holds}" in text.lower()


def test_a_trace_on_the_page_is_the_one_the_command_prints() -> None:
    [shown] = [b.text for b in documents.blocks(FOLDER.parent / "model.md", "text") if "BROKEN" in b.text]
    line, _, rest = shown.partition("\n")
    told = command(*line.removeprefix("$ python docs/model/check.py ").split()).stdout
    assert rest.splitlines()[1:] == told.splitlines()[1:]  # the first says how many seconds it took
