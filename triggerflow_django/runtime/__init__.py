"""WHAT A CHUNK HOLDS: ``data`` (``TriggerFlowRuntimeData``) and what stands behind it.

All of it works in memory. What a chunk does is written into a ``Journal`` that the engine commits, whole or not at all.
"""
