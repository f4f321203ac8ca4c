"""A picture as Mermaid text: ``flowchart TD``.

Nothing in a name can end its label or be taken for syntax: every character but letters, digits, space, ``_``, ``-``
and ``.`` is written as one of Mermaid's numeric entities, and the ids are our own.
"""

from __future__ import annotations

from typing import Final

from triggerflow_django.diagrams.picture import Arrow, Group, Kind, Picture
from triggerflow_django.diagrams.text import clean

_SHAPES: Final[dict[Kind, tuple[str, str]]] = {
    "start": ("([", "])"),
    "trigger": (">", "]"),
    "chunk": ("[", "]"),
    "sub_flow": ("[[", "]]"),
    "when": ("{{", "}}"),
    "collect": ("{{", "}}"),
    "match": ("{", "}"),
    "fork": ("[/", "\\]"),
    "join": ("[\\", "/]"),
    "merge": ("((", "))"),
}
_NO_TEXT: Final[dict[Kind, str]] = {"match": "match"}
_DOT: Final = "\u00b7"


def text(picture: Picture) -> str:
    """The flowchart."""
    return _Text(picture).written()


def label(name: str) -> str:
    """A name, quoted and escaped; a dot where there is nothing to see: Mermaid takes no empty label."""
    return '"' + "".join(char if _is_plain(char) else f"#{ord(char)};" for char in _calm(clean(name) or _DOT)) + '"'


def _is_plain(char: str) -> bool:
    return char in " _-." or (char.isalnum() if char.isascii() else char.isalpha())


def _calm(name: str) -> str:
    """``end`` alone is a keyword that older versions of Mermaid take for one even in quotes."""
    return f"{name} " if name.strip().lower() == "end" else name


class _Text:
    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.boxes = {box.id: box for box in picture.boxes}
        self.ids = {box.id: f"n{number}" for number, box in enumerate(picture.boxes)}
        self.lines = ["flowchart TD"]

    def written(self) -> str:
        grouped = {box for group in self.picture.groups for box in group.boxes}
        for box in self.picture.boxes:
            if box.id not in grouped:
                self.box(box.id, 1)
        for group in self.picture.groups:
            if not group.parent:
                self.group(group, 1)
        for arrow in self.picture.arrows:
            self.arrow(arrow)
        return "\n".join(self.lines) + "\n"

    def box(self, box_id: str, depth: int) -> None:
        box = self.boxes[box_id]
        if box.kind != "label":
            before, after = _SHAPES[box.kind]
            shown = box.text or _NO_TEXT.get(box.kind, "")
            self.lines.append(f"{'    ' * depth}{self.ids[box_id]}{before}{label(shown)}{after}")

    def group(self, group: Group, depth: int) -> None:
        indent = "    " * depth
        self.lines.append(f"{indent}subgraph g{self.ids[group.id]} [{label(group.text)}]")
        for box_id in group.boxes:
            self.box(box_id, depth + 1)
        for inner in self.picture.groups:
            if inner.parent == group.id:
                self.group(inner, depth + 1)
        self.lines.append(f"{indent}end")

    def arrow(self, arrow: Arrow) -> None:
        source, target = self.boxes[arrow.source], self.boxes[arrow.target]
        if source.kind == "label" or target.kind != "label":
            if source.kind != "label":
                self.lines.append(f"    {self.ids[source.id]} --> {self.ids[target.id]}")
            return
        for way in self.picture.arrows:
            if way.source == target.id:
                self.lines.append(f"    {self.ids[source.id]} -->|{label(target.text)}| {self.ids[way.target]}")
