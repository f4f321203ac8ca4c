"""The checker of histories finds every kind of lie, and nothing wrong with the truth."""

from __future__ import annotations

import pytest

from tests.faults.histories import FAIL, OK, UNKNOWN, Attempt, Read, Resume, faults

pytestmark = pytest.mark.once


def asked(value: str, *attempts: tuple[float, float, str], request_id: str | None = None, shown: str = "") -> Resume:
    made = [Attempt(*attempt, shown=(shown or value) if attempt[2] == OK else None) for attempt in attempts]
    return Resume("gate", value, request_id, made)


def looked(invoked: float, ended: float, shown: str | None) -> Read:
    return Read("gate", invoked, ended, shown)


WON, LOST = asked("a", (1, 3, OK)), asked("b", (2, 4, FAIL))


@pytest.mark.parametrize(
    ("resumes", "reads", "stored"),
    [
        pytest.param([WON, LOST], [looked(0, 2, None), looked(2, 3, "a"), looked(5, 6, "a")], "a", id="one won"),
        pytest.param([asked("a", (1, 2, UNKNOWN))], [looked(3, 4, None)], None, id="unknown did not happen"),
        pytest.param([asked("a", (1, 2, UNKNOWN))], [looked(3, 4, "a")], "a", id="unknown happened"),
        pytest.param([asked("a", (1, 2, UNKNOWN), (3, 4, FAIL)), LOST], [], "a", id="won without knowing"),
        pytest.param([asked("a", (1, 2, UNKNOWN), (3, 4, OK), request_id="r")], [], "a", id="asked again"),
        pytest.param([asked("a", (1, 9, OK)), asked("b", (2, 4, FAIL))], [], "a", id="refused before the winner heard"),
        pytest.param([], [], None, id="nobody asked"),
    ],
)
def test_the_truth_is_believed(resumes: list[Resume], reads: list[Read], stored: str | None) -> None:
    assert faults(resumes, reads, {"gate": stored}) == []


@pytest.mark.parametrize(
    ("resumes", "reads", "stored", "told"),
    [
        pytest.param([WON, asked("b", (2, 4, OK))], [], "a", "acknowledged ['a', 'b']", id="two won"),
        pytest.param([WON], [], None, "acknowledged 'a', stored None", id="a lost decision"),
        pytest.param([WON, LOST], [], "b", "acknowledged 'a', stored 'b'", id="an overwritten decision"),
        pytest.param([LOST], [], "b", "only ever refused", id="refused, and stored"),
        pytest.param([asked("a", (1, 2, UNKNOWN))], [], "c", "which nobody asked for", id="from nowhere"),
        pytest.param([asked("a", (1, 3, OK), shown="b")], [], "a", "was told that 'b' is stored", id="a wrong record"),
        pytest.param(
            [asked("a", (1, 2, UNKNOWN), (3, 4, FAIL), request_id="r")], [], "a", "asked for again", id="a wrong replay"
        ),
        pytest.param(
            [asked("b", (1, 2, FAIL)), asked("a", (3, 4, OK))], [], "a", "before anybody could", id="refused too early"
        ),
        pytest.param([LOST], [], None, "before anybody could", id="refused for nobody's sake"),
        pytest.param([WON], [looked(4, 5, None)], "a", "seen waiting after", id="an old read"),
        pytest.param(
            [asked("a", (1, 2, UNKNOWN))], [looked(3, 4, "a"), looked(5, 6, None)], "a", "seen waiting", id="gone"
        ),
        pytest.param([WON], [looked(4, 5, "b")], "a", "seen resumed with 'b'", id="seen otherwise"),
        pytest.param([asked("a", (3, 4, OK))], [looked(1, 2, "a")], "a", "before that was asked", id="seen too early"),
    ],
)
def test_each_lie_is_found(resumes: list[Resume], reads: list[Read], stored: str | None, told: str) -> None:
    found = faults(resumes, reads, {"gate": stored})
    assert any(told in fault for fault in found), found
