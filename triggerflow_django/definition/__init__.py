"""THE GRAPH, in pure Python: how a flow is written down, and where a signal goes in it.

Nothing here imports Django, RQ or Redis, so a flow can be built, drawn and reasoned about without a configured project.
"""
