"""``python -m tests.mutants``: take out one guard at a time; does a test notice?

First every named test has to pass as the code stands. Then a table: each guard, the test that caught its removal, the
seconds. Exit code 1 where a mutant survived or could not be tried.
"""

from __future__ import annotations

import argparse
import queue
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from tests.mutants.guards import MUTANTS
from tests.mutants.laboratory import ROOT, Laboratory, LaboratoryError, Result, laboratory
from tests.mutants.mutant import Mutant, StaleMutantError


def main(arguments: Sequence[str]) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("--only", default="", metavar="TEXT", help="only guards whose name or file has this in it")
    parser.add_argument("--list", action="store_true", help="name the guards and end")
    asked = parser.parse_args(arguments)
    mutants = [m for m in MUTANTS if asked.only in m.guard or any(asked.only in edit.file for edit in m.edits)]
    if asked.list:
        for mutant in mutants:
            print(f"{mutant.guard:75} {', '.join(sorted({edit.file for edit in mutant.edits}))}")  # noqa: T201
        return 0
    return run(mutants, jobs=asked.jobs)


def run(mutants: Sequence[Mutant], *, jobs: int) -> int:
    """Try mutants out, several at a time, and print the table. Returns the exit code."""
    began = time.monotonic()
    for mutant in mutants:
        mutant.require_current(ROOT)
    with ExitStack() as stack:
        free: queue.Queue[Laboratory] = queue.Queue()
        for _ in range(max(1, min(jobs, len(mutants)))):
            free.put(stack.enter_context(laboratory()))
        _require_passing(free, mutants)
        pool = stack.enter_context(ThreadPoolExecutor(free.qsize()))
        results, broken = [], 0
        for outcome in pool.map(lambda mutant: _try_out(free, mutant), mutants):
            if isinstance(outcome, Result):
                results.append(outcome)
                _say(_line(outcome))
            else:
                broken += 1
                _say(f"!! {outcome}")
    survived = [result for result in results if result.caught is None]
    _say(
        f"{len(mutants)} guards removed one at a time: {len(results) - len(survived)} caught, "
        f"{len(survived)} survived, {broken} not tried; {time.monotonic() - began:.0f} s with {jobs} jobs"
    )
    return 1 if survived or broken or not mutants else 0


def _require_passing(free: queue.Queue[Laboratory], mutants: Sequence[Mutant]) -> None:
    """A test that fails anyway catches nothing."""
    room = free.get()
    try:
        for needs_postgres in (False, True):
            tests = {test: None for m in mutants if m.needs_postgres == needs_postgres for test in m.tests}
            if tests and (failed := room.run(list(tests), needs_postgres=needs_postgres)):
                raise SystemExit(f"tests/{failed.test} fails with every guard in its place: {failed.error}")
    except LaboratoryError as error:
        raise SystemExit(f"with every guard in its place: {error}") from None
    finally:
        free.put(room)
    _say("as the code stands, every named test passes")


def _try_out(free: queue.Queue[Laboratory], mutant: Mutant) -> Result | Exception:
    room = free.get()
    try:
        return room.try_out(mutant)
    except (LaboratoryError, StaleMutantError) as error:
        return error
    finally:
        free.put(room)


def _line(result: Result) -> str:
    files = ", ".join(sorted({edit.file for edit in result.mutant.edits}))
    caught = f"`{result.caught.test}` {_short(result.caught.error)}" if result.caught else "NOBODY: IT SURVIVED"
    database = " (PostgreSQL)" if result.mutant.needs_postgres else ""
    return f"| {result.mutant.guard}{database} | `{files}` | {caught} | {result.seconds:.1f} |"


def _short(error: str) -> str:
    return f"({error[:70]})" if error else ""


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - what the command is for


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
