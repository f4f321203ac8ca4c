"""Money is whole cents; it becomes text only where a person reads it."""

from __future__ import annotations


def shown(cents: int, currency: str) -> str:
    """``123456, "EUR"`` as ``"1,234.56 EUR"``."""
    return f"{cents // 100:,}.{cents % 100:02d} {currency}"
