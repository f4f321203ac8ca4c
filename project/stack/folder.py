"""A private folder that goes away with the process that made it.

Where that process is killed, the folder stays; the next one that asks for a folder deletes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PREFIX: Final = f"triggerflow-demo-{os.getuid()}-"
#: The path of a Unix socket takes about a hundred characters, its own name and ours among them.
_LONGEST: Final = 60
#: Seconds after which a folder that nobody holds is a leftover; a younger one may be about to be locked.
_LEFT: Final = 60


@contextlib.contextmanager
def private() -> Iterator[Path]:
    """A new folder that only this user can read (``TMPDIR`` chooses where), deleted at the end."""
    temporary = Path(tempfile.gettempdir())
    if len(str(temporary)) > _LONGEST:
        temporary = Path("/tmp")  # noqa: S108 - the folder made in it is private
    _clear_leftovers(temporary)
    home = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=temporary))
    try:
        with _locked(home):
            yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder until the end of the block or of this process, however it ends.

    Raises: BlockingIOError while another process holds it.
    """
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(number)


def _clear_leftovers(temporary: Path) -> None:
    for folder in temporary.glob(f"{_PREFIX}*/"):
        with contextlib.suppress(OSError):
            if folder.stat().st_uid == os.getuid() and time.time() - folder.stat().st_mtime > _LEFT:
                with _locked(folder):
                    shutil.rmtree(folder)
