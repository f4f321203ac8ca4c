"""What TriggerFlow has left behind and still accepts: each is said once a process, and works."""

from __future__ import annotations

import warnings
from typing import Any, Final

_told: set[str] = set()

#: Where ``set_result`` and ``end()`` leave the result: a key of the state, shown in the snapshot only.
FINAL_RESULT: Final = "$final_result"


def warn(what: str, instead: str) -> None:
    """Say once that something is deprecated, at the caller's caller."""
    if what not in _told:
        _told.add(what)
        warnings.warn(f"{what} is deprecated: {instead}", DeprecationWarning, stacklevel=3)


def end(data: Any) -> Any:
    """The chunk behind ``.end()``: its input becomes the final result, unless ``set_result`` gives one."""
    data._offer_result(data.input)
    return data.input
