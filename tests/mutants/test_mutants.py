"""The mutants are those of the code as it stands, and the command tells one that is caught from one that is not.

Trying them all out takes minutes: ``python -m tests.mutants``.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.mutants import __main__ as command
from tests.mutants.guards import MUTANTS
from tests.mutants.laboratory import ROOT
from tests.mutants.mutant import Edit, Mutant, StaleMutantError

pytestmark = pytest.mark.once

FLAGGED = "test_wakeups.py::test_where_redis_fails_that_is_counted_and_not_raised"
SWALLOWS = Edit("wakeups.py", "    except Exception:  # whatever", "    except ZeroDivisionError:  # whatever")
HARMLESS = Edit("wakeups.py", "    except Exception:  # whatever", "    except Exception:  # what")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.guard)
def test_a_mutant_is_of_the_code_as_it_stands(mutant: Mutant) -> None:
    mutant.require_current(ROOT)


def test_there_are_enough_and_each_has_a_name_of_its_own() -> None:
    assert len(MUTANTS) >= 20
    assert [guard for guard, times in Counter(mutant.guard for mutant in MUTANTS).items() if times > 1] == []


@pytest.mark.parametrize(
    ("mutant", "says"),
    [
        (Mutant("gone", (Edit("wakeups.py", "no such line", ""),), (FLAGGED,)), "stands 0 times in wakeups.py"),
        (Mutant("twice", (Edit("wakeups.py", "import", ""),), (FLAGGED,)), "not once"),
        (Mutant("no change", (Edit("wakeups.py", "_PATIENCE: Final", "_PATIENCE: Final"),), (FLAGGED,)), "nothing"),
        (Mutant("no test", (SWALLOWS,), ("test_wakeups.py::test_of_nothing",)), "no test tests/test_wakeups.py"),
        (Mutant("no file", (SWALLOWS,), ("test_of_nothing.py::test_of_nothing",)), "no test tests/test_of_nothing.py"),
    ],
    ids=lambda value: getattr(value, "guard", ""),
)
def test_a_stale_mutant_fails_loudly_and_changes_nothing(mutant: Mutant, says: str) -> None:
    with pytest.raises(StaleMutantError, match=says):
        mutant.require_current(ROOT)
    with pytest.raises(StaleMutantError, match=says):
        command.run([mutant], jobs=1)


def test_a_mutant_is_put_back(tmp_path: Path) -> None:
    (tmp_path / "triggerflow_django").mkdir()
    file = tmp_path / "triggerflow_django" / "wakeups.py"
    file.write_text("one\ntwo\n", encoding="utf-8")
    mutant = Mutant("both", (Edit("wakeups.py", "one", "1"), Edit("wakeups.py", "two", "2")), ())

    def interrupted() -> None:
        with mutant.applied(tmp_path):
            assert file.read_text(encoding="utf-8") == "1\n2\n"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert file.read_text(encoding="utf-8") == "one\ntwo\n"


@pytest.mark.slow
def test_the_command_says_which_are_caught_and_fails_for_one_that_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    guarded, free = Mutant("a guard", (SWALLOWS,), (FLAGGED,)), Mutant("no guard", (HARMLESS,), (FLAGGED,))
    assert command.run([guarded], jobs=1) == 0
    assert f"| a guard | `wakeups.py` | `{FLAGGED}` (ConnectionError: nobody answers)" in capsys.readouterr().out
    assert command.run([free], jobs=1) == 1
    told = capsys.readouterr().out
    assert "| no guard | `wakeups.py` | NOBODY: IT SURVIVED" in told
    assert "1 guards removed one at a time: 0 caught, 1 survived, 0 not tried" in told


@pytest.mark.slow
def test_a_run_that_says_nothing_is_no_catch(capsys: pytest.CaptureFixture[str]) -> None:
    broken = Mutant("broken", (Edit("wakeups.py", "from rq import Queue\n", "from rq import Nothing\n"),), (FLAGGED,))
    assert command.run([broken], jobs=1) == 1
    assert "0 caught, 0 survived, 1 not tried" in capsys.readouterr().out
    # Only PostgreSQL shows what this one shows; on SQLite it is skipped, which says nothing either.
    shown = (
        "faults/test_crash_matrix.py"
        "::test_a_commit_that_goes_through_after_the_process_looked_for_it_is_found_all_the_same"
    )
    with pytest.raises(SystemExit, match=r"\d skipped"):
        command.run([Mutant("skipped", (SWALLOWS,), (shown,))], jobs=1)
