"""The demo's input: ``cases/*.json`` in, frozen ``Case`` objects out.

A file belongs to one flow. A case says who starts the flow with what, what people do then, and how it has to end::

    {"name": "approved", "story": "A manager approves.", "by": "clerk", "input": {...},
     "acts": [{"answer": "approval", "by": "clerk", "with": {"approved": true}, "refused": "decision_refused"},
              {"answer": "approval", "by": "manager", "with": {"approved": true}}],
     "expect": {"status": "completed", "snapshot": {...}, "rows": {"refunds": [...]}}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

from project.demo.roles import ROLES

FOLDER: Final = Path(__file__).resolve().parent / "cases"

ActKind = Literal["answer", "emit", "cancel"]


class CaseError(ValueError):
    """A case file is not written as described above; the message names the file and the case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Something a person does to the execution: answers an interrupt, emits an event, or cancels."""

    kind: ActKind
    #: The interrupt's id, the event's name, or the reason for cancelling.
    target: str
    #: The role of the person.
    by: str
    #: The answer, or the event's value.
    value: Any = None
    #: What the person writes beside an answer.
    comment: str = ""
    #: The request id of an answer; the same one again is the same request again.
    request: str | None = None
    #: The ``code`` of the error with which it has to be refused, and nothing changed; empty: it has to be accepted.
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One input of one flow, and how it has to end."""

    flow: str
    name: str
    #: What happens, in a sentence, for who reads the file.
    story: str
    #: The role of who starts it.
    by: str
    input: Any
    #: Whether the start is requested twice under one key, as a double click does.
    twice: bool
    acts: tuple[Act, ...]
    #: The execution's last status.
    status: str
    snapshot: dict[str, Any]
    #: What lies in the demo's own tables afterwards; see ``walk.rows_of``.
    rows: dict[str, Any]
    #: Type and message of the error of the step that has to fail; empty: none.
    failure: str

    @property
    def path(self) -> str:
        """``demo.refund/approved``."""
        return f"{self.flow}/{self.name}"


def load(folder: Path = FOLDER) -> list[Case]:
    """The cases of every file in a folder, by file name and in the order of the file.

    Raises: CaseError; OSError.
    """
    files = sorted(folder.glob("*.json"))
    if not files:
        raise CaseError(f"{folder}: there is no *.json")
    cases = [case for file in files for case in _read(file)]
    paths = [case.path for case in cases]
    if doubles := sorted({path for path in paths if paths.count(path) > 1}):
        raise CaseError(f"{folder}: more than one case called {', '.join(doubles)}")
    return cases


def _read(file: Path) -> list[Case]:
    place = file.name
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        cases = []
        for number, entry in enumerate(document["cases"], 1):
            place = f"{file.name}, case {number} ({entry.get('name')})"
            cases.append(_case(document["flow"], entry))
    except KeyError as error:
        raise CaseError(f"{place}: {error} is missing") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise CaseError(f"{place}: {error}") from error
    return cases


def _case(flow: str, entry: Mapping[str, Any]) -> Case:
    _only(entry, "name", "story", "by", "input", "twice", "acts", "expect")
    expected = entry["expect"]
    _only(expected, "status", "snapshot", "rows", "failure")
    return Case(
        flow=flow,
        name=entry["name"],
        story=entry["story"],
        by=_role(entry["by"]),
        input=entry["input"],
        twice=entry.get("twice", False),
        acts=tuple(_act(act) for act in entry.get("acts", [])),
        status=expected["status"],
        snapshot=expected["snapshot"],
        rows=expected.get("rows", {}),
        failure=expected.get("failure", ""),
    )


def _act(entry: Mapping[str, Any]) -> Act:
    _only(entry, *get_args(ActKind), "by", "with", "comment", "request", "refused")
    kinds: list[ActKind] = [kind for kind in get_args(ActKind) if kind in entry]
    if len(kinds) != 1:
        raise CaseError(f"an act is one of {', '.join(get_args(ActKind))}; {dict(entry)} is {len(kinds)} of them")
    return Act(
        kind=kinds[0],
        target=entry[kinds[0]],
        by=_role(entry["by"]),
        value=entry.get("with"),
        comment=entry.get("comment", ""),
        request=entry.get("request"),
        refused=entry.get("refused", ""),
    )


def _only(entry: Mapping[str, Any], *known: str) -> None:
    if unknown := sorted(set(entry) - set(known)):
        raise CaseError(f"{', '.join(unknown)} means nothing here; known: {', '.join(known)}")


def _role(name: str) -> str:
    if name not in ROLES:
        raise CaseError(f"there is no role {name!r}; known: {', '.join(ROLES)}")
    return name
