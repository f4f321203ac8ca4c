"""The whole table: every point at which a process can be lost, times every fault, and why a cell is left out.

``DJANGO_SETTINGS_MODULE=project.settings python -m tests.faults.crashtable`` prints it.

Each scene's test module takes its cells from here. ``test_crash_table`` sees to it that each cell is taken by one of
them or left out for a reason, and that each verb has all its moments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.faults.crashpoints import IS_POSTGRES, VERBS, Point

MOMENTS: Final = ("entered", "written", "committed", "left")

#: The columns. The runner under which a fault is tried: Redis rings only for ``rq``.
FAULTS: Final = {
    "kill": "SIGKILL",
    "boom": "an exception nobody expects",
    "error": "a database error; at `committed` the commit is done and the client is told that it is not",
    "cut": "the server cuts the connection",
    "freeze": "SIGSTOP for two leases, then SIGCONT",
    "redis down": "Redis stops, and comes back when the process is done",
    "flushall": "FLUSHALL",
}
REDIS_FAULTS: Final = ("redis down", "flushall")

#: Chunks that run inside the transaction of their commit.
_ATOMIC: Final = ("part", "book")

_ALL = ("entered", "written", "committed")
#: Of verbs that are one statement without a transaction.
_STATEMENT = ("entered", "committed", "left")
_RINGING = ("entered", "left")


def _points(verb: str, moments: tuple[str, ...], *nodes: str) -> list[Point]:
    return [Point(verb, moment, node) for node in nodes or ("",) for moment in moments]


#: The rows, by scene: who does what to which execution when the fault strikes.
SCENES: Final[dict[str, list[Point]]] = {
    # Start an order, run it to its gate, answer, run it to its end, close it.
    "order": [
        *_points("start", _ALL),
        *_points("claim", _STATEMENT),
        *_points("chunk", ("",), "split", "part", "tally", "ask", "book"),
        *_points("commit", _ALL, "split", "tally", "ask"),
        *_points("atomic", _ALL, "part", "book"),
        *_points("decide", _ALL),
        *_points("close", _ALL),
        *_points("renew", _STATEMENT, "tally"),
    ],
    # The same order, struck where it rings.
    "bells": _points("ring", _RINGING, "start", "commit", "decide"),
    # Close an order while it has work to do: the request, and the commit that freezes the snapshot.
    "closing": [*_points("close", _ALL), *_points("commit", _ALL, "ask")],
    # A chunk that raises: for good, or to be tried again and claimed again, alone.
    "failing": [*_points("fail", _ALL), Point("fail", "left")],
    "retried": [*_points("fail", _STATEMENT), *_points("claim", _STATEMENT)],
    # What somebody asks of an execution that waits (or, for ``retry``, has failed).
    **{
        verb: _points(verb, _ALL)
        for verb in ("cancel", "emit", "write state", "seal", "unseal", "retry", "hand over", "load")
    },
    # A row that is inserted before its execution is started; and one that ``flow.start`` leaves when it raises.
    "ensure": _points("ensure", _ALL),
    "abandon": _points("abandon", _ALL),
    # A sweep, by what it finds.
    "lost": _points("lost", _STATEMENT),
    "lost too often": _points("lost", _ALL),
    **{f"due: {what}": _points("deadline", _ALL) for what in ("answer", "overdue", "event", "fail")},
    "idle": _points("auto_close", _ALL),
    "closing too long": _points("force_close", _ALL),
    "silent": _points("ring for ready", _RINGING),
    "turn": _points("turn", ("entered", "committed")),
}

#: Moments of a verb that are no rows.
MOMENTS_LEFT_OUT: Final[dict[tuple[str, str], str]] = {
    **dict.fromkeys(
        [("claim", "written"), ("renew", "written"), ("turn", "written")],
        "it is one statement: nothing of it is written and not committed",
    ),
    **dict.fromkeys(
        [("ring", "written"), ("ring", "committed"), ("ring for ready", "written"), ("ring for ready", "committed")],
        "it commits nothing",
    ),
    ("turn", "left"): "what follows its commit is the sweep, whose acts are rows of their own",
    **dict.fromkeys(
        [(verb, moment) for verb in ("delegate", "cancel_below") for moment in ("entered", "written", "committed")],
        "sub flows have a matrix of their own: tests/faults/test_sub_flow_faults.py",
    ),
    **dict.fromkeys(
        [
            (verb, "left")
            for verb in VERBS
            if verb not in ("claim", "fail", "lost", "renew", "ring", "ring for ready", "turn")
        ],
        "between its commit and its end it only rings, which is a row of its own, and builds what it returns",
    ),
}


@dataclass(frozen=True)
class Cell:
    """One row and one column."""

    scene: str
    point: Point
    fault: str
    #: Let workers run the steps where this process could.
    by_bells: bool = False

    def __str__(self) -> str:
        return f"{self.scene}-{self.point}-{self.fault}{'-by bells' if self.by_bells else ''}"

    @property
    def runner(self) -> str:
        """Who runs the steps: workers, where it is about bells."""
        by_bells = self.by_bells or self.fault in REDIS_FAULTS or self.scene in ("bells", "silent", "turn", "hand over")
        return "rq" if by_bells else "inline"

    @property
    def is_inside(self) -> bool:
        """Whether a process that stands here keeps a lock that others wait for.

        On SQLite there is only one, and who has written anything holds it. On PostgreSQL an atomic chunk has locked
        nothing of the engine yet.
        """
        return self.point.moment == "written" or (
            not IS_POSTGRES and self.point.verb == "chunk" and self.point.node in _ATOMIC
        )

    @property
    def is_committed(self) -> bool:
        """Whether the database had acknowledged what the verb does when the fault struck."""
        return self.point.moment in ("committed", "left")

    @property
    def left_out(self) -> str:
        """Why it is not tried; empty where it is."""
        return _left_out(self)


#: Why a cell is left out.
NO_SERVER: Final = "SQLite has no server that could cut a connection"
RINGS_NOTHING: Final = (
    "flow.start() rings only at its start, which is a row of its own, and would wait for a worker here"
)


def _left_out(cell: Cell) -> str:
    if cell.fault == "cut" and not IS_POSTGRES:
        return NO_SERVER
    if cell.scene == "abandon" and cell.fault in REDIS_FAULTS:
        return RINGS_NOTHING
    return ""


ALL: Final = [Cell(scene, point, fault) for scene, points in SCENES.items() for point in points for fault in FAULTS]


def cells(*scenes: str) -> list[Cell]:
    """What a test of these scenes has to try."""
    return [cell for cell in ALL if cell.scene in scenes and not cell.left_out]


def table() -> str:
    """The table, as Markdown: ``x`` tried, else the number of the reason it is left out for."""
    reasons = list(dict.fromkeys(cell.left_out for cell in ALL if cell.left_out))
    lines = [f"| scene | point | {' | '.join(FAULTS)} |", "|---|---|" + "---|" * len(FAULTS)]
    for scene, points in SCENES.items():
        for point in points:
            marks = [
                "x" if not cell.left_out else str(reasons.index(cell.left_out) + 1)
                for cell in (Cell(scene, point, fault) for fault in FAULTS)
            ]
            lines.append(f"| {scene} | {point} | {' | '.join(marks)} |")
    lines += ["", *(f"{number}. {reason}" for number, reason in enumerate(reasons, 1))]
    lines += ["", *(f"- {verb}, {moment}: {reason}" for (verb, moment), reason in MOMENTS_LEFT_OUT.items())]
    return "\n".join(lines)


if __name__ == "__main__":
    tried = [cell for cell in ALL if not cell.left_out]
    print(f"{len(tried)} of {len(ALL)} cells are tried on {'PostgreSQL' if IS_POSTGRES else 'SQLite'}.\n\n{table()}")  # noqa: T201
