"""Diagrams of a flow: Mermaid text, and an SVG that shows how far an execution is.

Pure Python: a graph (and states) in, text out.
"""

from __future__ import annotations

from collections.abc import Mapping

from triggerflow_django.definition.graph import Graph
from triggerflow_django.diagrams import mermaid as _mermaid
from triggerflow_django.diagrams.picture import Mode, picture
from triggerflow_django.diagrams.style import STYLE
from triggerflow_django.diagrams.svg import STATES, State, drawing

__all__ = ["STATES", "STYLE", "Mode", "State", "mermaid", "svg"]


def mermaid(graph: Graph, mode: Mode = "simplified") -> str:
    """The graph as a Mermaid flowchart.

    Raises: DefinitionError (a ValueError) for another mode.
    """
    return _mermaid.text(picture(graph, mode))


def svg(
    graph: Graph,
    states: Mapping[str, State] | None = None,
    counts: Mapping[str, int] | None = None,
    *,
    mode: Mode = "detailed",
    with_style: bool = True,
) -> str:
    """The graph as one ``<svg>`` element. ``states``: by node id ``done``, ``running``, ``waiting``, ``failed`` or
    ``cancelled``; what is not in it has not been reached. ``counts``: how often each ran. ``with_style=False`` leaves
    out the style sheet; the page then has to bring ``STYLE`` itself.

    Raises: DefinitionError (a ValueError) for another mode or state.
    """
    return drawing(picture(graph, mode), states, counts, with_style=with_style)
