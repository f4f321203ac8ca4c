"""``flow.to_mermaid()`` and ``flow.to_svg()``."""

from __future__ import annotations

from triggerflow_django import diagrams
from triggerflow_django.definition.graph import Graph


class DiagramMethods:
    """The part of a flow that draws it."""

    @property
    def graph(self) -> Graph:
        """The graph as written so far, frozen."""
        raise NotImplementedError

    def to_mermaid(self, mode: diagrams.Mode = "simplified") -> str:
        """The flow as Mermaid text (``flowchart TD``). ``simplified``: the chunks and where the flow goes from each;
        ``detailed``: also events, conditions, joins and fan-outs. Nothing in a name can break out of its label.

        Raises: DefinitionError (a ValueError) for another mode.
        """
        return diagrams.mermaid(self.graph, mode)

    def to_svg(self, mode: diagrams.Mode = "detailed") -> str:
        """The flow as one ``<svg>`` element: no script, no link, readable in light and dark.

        Raises: DefinitionError (a ValueError) for another mode.
        """
        return diagrams.svg(self.graph, mode=mode)
