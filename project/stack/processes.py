"""Child processes that do not outlive their parent.

On Linux the kernel tells a child of its parent's death, also of one by SIGKILL, and gives the orphans of a child that
died to ``adopt_orphans``' caller instead of to init. Elsewhere only an orderly end leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

import psutil

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_libc: Final = ctypes.CDLL(None) if sys.platform == "linux" else None


def start(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    output: int | IO[bytes] | None = None,
    on_parents_death: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that Ctrl-C in the terminal reaches only its parent, which stops its
    children in order. ``output``: where its standard output goes, if not where this process's goes.

    Call it from the main thread: the kernel takes the death of the calling thread for the parent's.
    """
    return subprocess.Popen(  # noqa: S603 - our own programs
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        start_new_session=True,
        preexec_fn=_follow(os.getpid(), on_parents_death),  # noqa: PLW1509 - one thread
    )


def _follow(parent: int, number: signal.Signals) -> Callable[[], None] | None:
    """For ``preexec_fn``: die with the parent."""
    if _libc is None:
        return None
    prctl = _libc.prctl

    def follow() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:  # it died before it could be asked for a signal
            os._exit(1)

    return follow


def adopt_orphans() -> None:
    """Become the parent of what the children of this process leave behind when they die, where the system can do
    that.
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end(processes: Iterable[subprocess.Popen[bytes]], *, seconds: float, in_a_hurry: Callable[[], bool]) -> None:
    """Ask processes to end, and kill those that have not after some seconds, or as soon as somebody is in a hurry."""
    living = [process for process in processes if process.poll() is None]
    for process in living:
        process.terminate()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not in_a_hurry() and any(process.poll() is None for process in living):
        time.sleep(0.02)
    for process in living:
        if process.poll() is None:
            process.kill()
        process.wait()


def kill_descendants() -> None:
    """Kill what is left: children of children, orphans that were adopted. Returns when they are gone."""
    while left := _descendants():
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for process in left:
            with contextlib.suppress(ChildProcessError):  # somebody else's child as yet
                os.waitpid(process.pid, os.WNOHANG)
        time.sleep(0.02)


def _descendants() -> list[psutil.Process]:
    found = psutil.Process().children(recursive=True)
    return [process for process in found if process.is_running()]
