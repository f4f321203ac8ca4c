"""The command line: arguments in, a report and an exit code out."""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import django

from tests.soak.stage import Stage, stage

if TYPE_CHECKING:
    from tests.soak.run import Result

#: Of one kind, in the report.
_MOST_LINES: Final = 8


def main(arguments: Sequence[str]) -> int:
    """Run what the arguments ask for."""
    parsed = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # the servers are stopped then, too
    seed = parsed.seed if parsed.seed is not None else random.SystemRandom().randrange(2**32)
    with stage(sqlite=parsed.sqlite) as made:
        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        return _run(parsed, seed, made)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--executions", type=int, default=1000)
    parser.add_argument("--seconds-limit", type=float, default=600.0, help="more is a failure")
    parser.add_argument("--seed", type=int, help="of whoever is struck next; printed in any case")
    parser.add_argument("--kill-every", type=float, default=0.2, help="seconds")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--sqlite", action="store_true", help="a SQLite file instead of PostgreSQL")
    parser.add_argument(
        "--control", action="append", choices=["fencing", "sweep", "update"], help="only this control; repeatable"
    )
    parser.add_argument("--no-controls", action="store_true", help="the soak alone")
    parser.add_argument("--guarded", action="store_true", help="each control also with its guard in place: no damage")
    return parser


def _run(parsed: argparse.Namespace, seed: int, made: Stage) -> int:
    from tests.soak.controls import CONTROLS, plan_for
    from tests.soak.run import Plan, Soak

    passed = True
    if not parsed.control:
        plan = Plan(
            executions=parsed.executions,
            seed=seed,
            limit=parsed.seconds_limit,
            workers=parsed.workers,
            every=parsed.kill_every,
            # SQLite has one lock for all, and who holds it must not be stopped.
            **({"freeze_every": 0, "crashes": ()} if parsed.sqlite else {}),
        )
        result = Soak(plan, made).run()
        _tell(f"soak on {made.vendor}", result)
        passed = result.is_clean and result.bit
        if not result.bit:
            _say("  the faults met too little work to show anything")
    for name in parsed.control or ([] if parsed.no_controls else CONTROLS):
        control = CONTROLS[name]
        for guarded in (True, False) if parsed.guarded else (False,):
            result = Soak(plan_for(name, seed, guarded=guarded), made).run()
            caught = result.is_clean if guarded else bool(result.damage[control.damage])
            _tell(f"control {name}: {'with' if guarded else 'without'} {control.without}", result)
            _say(f"  {'as expected' if caught else 'NOT as expected'}: {'no damage' if guarded else control.damage}")
            passed = passed and caught
    _say("passed" if passed else "FAILED")
    return 0 if passed else 1


def _tell(title: str, result: Result) -> None:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    _say(f"\n{title}: {result.seconds:.1f} s, seed {result.plan.seed}, {os.cpu_count()} cores, load {load}")
    for name, value in result.facts.items():
        if isinstance(value, dict):
            _say(f"  {name}:")
            for what, times in sorted(value.items(), key=lambda item: -item[1])[:_MOST_LINES]:
                _say(f"    {times} {what}")
        else:
            _say(f"  {name}: {value}")
    for kind, found in result.damage.items():
        _say(f"  {kind}: {len(found)}")
        for line in found[:_MOST_LINES]:
            _say(f"    {line}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
