"""The table of points and faults is whole: nothing is missing by accident, and what is left out has a reason."""

from __future__ import annotations

import inspect
from collections import Counter
from pathlib import Path

from tests.faults import crashtable, test_crash_closing, test_crash_failures, test_crash_matrix, test_crash_verbs
from tests.faults import test_sweep_faults as sweep_faults
from tests.faults.crashpoints import FAULTS, IS_POSTGRES, VERBS
from tests.faults.crashtable import ALL, MOMENTS, MOMENTS_LEFT_OUT, NO_SERVER, RINGS_NOTHING, SCENES

ROOT = Path(__file__).resolve().parents[2]
_MODULES = (test_crash_matrix, test_crash_closing, test_crash_failures, test_crash_verbs, sweep_faults)


def test_each_cell_is_tried_by_one_test_or_left_out_for_a_reason() -> None:
    tried = Counter(cell for module in _MODULES for cell in module.CELLS)
    assert [str(cell) for cell, times in tried.items() if times > 1] == []
    assert [str(cell) for cell in ALL if (cell in tried) == bool(cell.left_out)] == []
    assert set(tried) <= set(ALL)


def test_each_verb_has_each_moment_or_a_reason_why_not() -> None:
    rows = {(point.verb, point.moment) for points in SCENES.values() for point in points if point.verb != "chunk"}
    wanted = {(verb, moment) for verb in VERBS for moment in MOMENTS}
    assert rows | set(MOMENTS_LEFT_OUT) == wanted
    assert not rows & set(MOMENTS_LEFT_OUT)


def test_each_fault_of_the_table_is_one_that_can_strike() -> None:
    assert set(crashtable.FAULTS) <= set(FAULTS)


def test_the_reasons_are_few_and_said() -> None:
    left_out = Counter(cell.left_out for cell in ALL if cell.left_out)
    points = sum(map(len, SCENES.values()))
    assert left_out == {RINGS_NOTHING: 6} | ({} if IS_POSTGRES else {NO_SERVER: points})


def test_the_table_prints_itself() -> None:
    lines = crashtable.table().splitlines()
    assert sum(line.startswith("| ") for line in lines) == 1 + sum(map(len, SCENES.values()))
    assert any(line.startswith("| order | claim-committed | x |") for line in lines)


def test_points_cost_nothing_while_none_is_armed() -> None:
    """The package neither names a point nor is anything of it wrapped where none is set: that is the child's alone."""
    package = ROOT / "triggerflow_django"
    assert [path for path in package.rglob("*.py") if "crashpoint" in path.read_text()] == []
    for owner, name in VERBS.values():
        real = getattr(owner, name)
        assert inspect.unwrap(real) is real
        assert real.__module__.startswith("triggerflow_django.")
