"""The README and the pages of ``docs/``, as the tests of the documentation read them.

In: the Markdown files of this checkout. Out: their code blocks, code spans, headings and links. The convention is the
one docs/index.md tells the reader: ``python`` blocks run, from top to bottom; behind a ``print`` stands what it prints;
a block whose first line is a file's name is that file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
README: Final = ROOT / "README.md"
PAGES: Final = sorted((ROOT / "docs").glob("*.md"))

_FENCE: Final = re.compile(r"^```(\w*)\s*$")
_FILE: Final = re.compile(r"^# ([\w/]+\.py)$")
_SPAN: Final = re.compile(r"(`+)(.+?)\1", re.DOTALL)
_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_EXPECTATION: Final = re.compile(r"^\s*print\(.*\)  # (.*)$")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    page: Path
    #: The number of the line before its first one.
    line: int
    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The file it stands for, if it names one."""
        found = _FILE.match(self.text.partition("\n")[0])
        return found[1] if found else None

    @property
    def expected(self) -> list[str]:
        """What its prints print, in their order."""
        return [found[1] for line in self.text.splitlines() if (found := _EXPECTATION.match(line))]


def blocks(page: Path, language: str | None = None) -> list[Block]:
    """The fenced blocks of a page, from top to bottom; of one language or of all."""
    found: list[Block] = []
    opened: tuple[int, str] | None = None
    lines = page.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        fence = _FENCE.match(line)
        if fence is None:
            continue
        if opened is None:
            opened = number, fence[1]
        else:
            first, name = opened
            found.append(Block(page, first, name, "\n".join(lines[first : number - 1]) + "\n"))
            opened = None
    assert opened is None, f"{page.name}: the block of line {opened[0]} is never closed"
    return [block for block in found if language in (None, block.language)]


def prose(page: Path) -> str:
    """A page without its blocks, the lines kept."""
    lines = page.read_text(encoding="utf-8").splitlines()
    for block in blocks(page):
        for number in range(block.line - 1, block.line + block.text.count("\n") + 1):
            lines[number] = ""
    return "\n".join(lines)


def code(page: Path) -> str:
    """All code of a page: its blocks and its spans, a line each."""
    spans = [found[2] for found in _SPAN.finditer(prose(page))]
    return "\n".join([*spans, *(block.text for block in blocks(page))])


def links(page: Path) -> list[str]:
    """Where the links of a page lead, as written."""
    return _LINK.findall(_SPAN.sub("", prose(page)))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
