"""Guards of the package removed one at a time, to see that a test notices: ``python -m tests.mutants``.

``mutant.py``: what a mutant is; ``guards_*.py``: the mutants; ``laboratory.py``: a copy of the tree in which one is
tried; ``__main__.py``: the command.
"""

from __future__ import annotations
