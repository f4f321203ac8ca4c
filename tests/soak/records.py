"""What the soak's processes tell: appended to files line by line, so that a line survives whoever wrote it."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: What workers and horses logged; and what became of each answer.
LOG, ANSWERS = "log", "answers"


def append(folder: Path, name: str, *words: Any) -> None:
    """Add a line."""
    line = json.dumps(words, default=str).encode() + b"\n"
    file = os.open(folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line)  # one write, appended as a whole whoever else writes
    finally:
        os.close(file)


def read(folder: Path, name: str) -> Iterator[list[Any]]:
    """The lines, oldest first."""
    path = folder / name
    if path.exists():
        with path.open() as lines:
            yield from map(json.loads, lines)


def keep_log(folder: Path) -> None:
    """Let this process, and what it forks, write down what the package logs."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            error = record.exc_info[1] if record.exc_info else None
            append(folder, LOG, record.levelname, record.getMessage(), repr(error)[:300] if error else "")

    logger = logging.getLogger("triggerflow_django")
    logger.addHandler(Handler())
    logger.setLevel(logging.INFO)
    logger.propagate = False


def logged(folder: Path) -> Counter[str]:
    """How often each message was logged."""
    return Counter(message for _level, message, _error in read(folder, LOG))


def errors(folder: Path) -> Counter[str]:
    """How often each message was logged with which error."""
    return Counter(f"{message}: {error[:100]}" for _level, message, error in read(folder, LOG) if error)
