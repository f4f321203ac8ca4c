"""A JSON value from a file or from standard input: never from the command line, which every process may read and the
shell writes down.
"""

from __future__ import annotations

import contextlib
import sys
from argparse import ArgumentParser
from typing import Any, BinaryIO

from triggerflow_django import conf, jsongate
from triggerflow_django.management.base import OperatorCommand, refuse_usage


def add(parser: ArgumentParser, option: str, what: str, *, required: bool = False) -> None:
    """An option that names a file."""
    told = f"File with {what} as JSON; - reads standard input." + ("" if required else " Default: null.")
    parser.add_argument(option, metavar="FILE", required=required, help=told)


def read(command: OperatorCommand, path: str | None, root: str) -> Any:
    """The value in a file or, for ``-``, on standard input; ``None`` without a path. Reads no more than is allowed.

    Raises: RefusedError for a file that cannot be read; JsonValueError starting with ``root``.
    """
    if path is None:
        return None
    limits = conf.get_settings().answer_limits
    try:
        with _opened(command, path) as stream:
            found = stream.read(limits.total_bytes + 1)
    except OSError as error:
        refuse_usage(f"{path}: {error.strerror or error}")
    return jsongate.parse(found, limits=limits, root=root)


def _opened(command: OperatorCommand, path: str) -> contextlib.AbstractContextManager[BinaryIO]:
    if path != "-":
        return open(path, "rb")  # noqa: PTH123 - it is the caller's context
    if sys.stdin.isatty():
        command.say("Write JSON, and end it with Ctrl-D on a line of its own:")
    return contextlib.nullcontext(sys.stdin.buffer)
