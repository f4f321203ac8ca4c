"""The items of a ``for_each`` that wait to be entered, in stretches, so that no commit reads or writes all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from triggerflow_django.engine import rows
from triggerflow_django.engine.transition import Transition
from triggerflow_django.models import Join, JoinPage

#: Items of one stretch.
SIZE: Final = 100


def store(join: Join, items: Sequence[Any], *, start: int, using: str) -> None:
    """Keep the items from ``start`` on."""
    numbers = range(start // SIZE, (len(items) - 1) // SIZE + 1)
    kept = [
        JoinPage(join_id=join.pk, number=number, items=list(items[number * SIZE : (number + 1) * SIZE]))
        for number in numbers
    ]
    rows.insert(kept, using=using)


def item(transition: Transition, join: Join, index: int) -> Any:
    """One item; its stretch is read once in a transition."""
    number, place = divmod(index, SIZE)
    known = transition.pages.get((join.pk, number))
    if known is None:
        found = JoinPage.objects.using(transition.using).filter(join_id=join.pk, number=number)
        known = transition.pages[join.pk, number] = found.values_list("items", flat=True).get()
    return known[place]


def drop(join: Join, *, using: str) -> None:
    """All items have been entered and have ended."""
    JoinPage.objects.using(using).filter(join_id=join.pk).delete()
