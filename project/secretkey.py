"""The secret key of an installation that was given none: made once, kept in a private file.

In: the file's path. Out: the key. Guarantee: only its owner can read the file, and processes that
start at the same time all get the same key.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from django.core.management import utils


def read_or_make(path: Path) -> str:
    """The key in ``path``; the first caller makes the file (mode 0600).

    Raises ``OSError`` where the file can neither be read nor made.
    """
    if not path.exists():
        _make(path)
    return path.read_text(encoding="ascii").strip()


def _make(path: Path) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 0600
    unfinished = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(utils.get_random_secret_key() + "\n")
        # A link appears whole or not at all, and never over another one's key.
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(unfinished)
    finally:
        unfinished.unlink()
