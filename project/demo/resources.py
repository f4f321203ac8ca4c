"""The outside systems the flows call, as stand-ins that need no network and always answer alike.

Each has a provider, a function without arguments that ``settings.TRIGGERFLOW["RESOURCES"]`` names. A chunk asks for
``data.require_resource("reviewer")`` and does not know which one it gets: point the setting at the real client, or give
another one to ``flow.create_execution(runtime_resources=...)`` in a test.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, Literal, Protocol, TypedDict

# -- the model that reviews documents ----------------------------------------------------------------------------------

Severity = Literal["minor", "major", "blocking"]


class Finding(TypedDict):
    """What a reviewer does not like, and how much."""

    rule: str
    severity: Severity
    quote: str


class Reviewer(Protocol):
    """Reads a text and says what is wrong with it. The real one would be a language model behind an HTTP client."""

    async def review(self, text: str, *, kind: str) -> list[Finding]:
        """The findings, none for a text that may go out as it is."""
        ...


class RuleBasedReviewer:
    """A ``Reviewer`` of regular expressions."""

    _RULES: Final[tuple[tuple[str, Severity, re.Pattern[str]], ...]] = (
        ("account_number", "blocking", re.compile(r"\b[A-Z]{2}\d{2}(?: ?\d{4}){3,}")),
        ("placeholder", "major", re.compile(r"\b(?:TBD|TODO|lorem ipsum)\b", re.IGNORECASE)),
        ("promise", "major", re.compile(r"\b(?:guaranteed?s?|risk-free|never fails?)\b", re.IGNORECASE)),
        ("shouting", "minor", re.compile(r"\b[A-Z]{6,}\b|!!")),
    )

    async def review(self, text: str, *, kind: str) -> list[Finding]:
        """One finding per rule that the text breaks, with the first place where it does."""
        findings: list[Finding] = []
        if not text.strip():
            findings.append({"rule": "empty", "severity": "major", "quote": ""})
        elif kind == "press_release" and "Contact:" not in text:
            findings.append({"rule": "no_contact", "severity": "major", "quote": ""})
        for rule, severity, pattern in self._RULES:
            if match := pattern.search(text):
                findings.append({"rule": rule, "severity": severity, "quote": match.group()})
        return findings


def make_reviewer() -> Reviewer:
    """The provider of ``reviewer``."""
    return RuleBasedReviewer()


# -- the payment provider ----------------------------------------------------------------------------------------------


class PaymentsBusyError(Exception):
    """The payment provider could not be reached. Nobody knows whether it heard us: try again under the same key."""


class Payments(Protocol):
    """Pays money out, once per key."""

    async def pay_out(self, *, order: str, amount_cents: int, currency: str, key: str, attempt: int) -> str:
        """The payout's reference; the same one for the same key.

        Raises: PaymentsBusyError.
        """
        ...


class SandboxPayments:
    """A ``Payments`` that moves nothing. The ends of some order numbers make it misbehave, as providers' test cards
    do: ``-BUSY`` is not heard before the second attempt, ``-DOWN`` never.
    """

    async def pay_out(self, *, order: str, amount_cents: int, currency: str, key: str, attempt: int) -> str:
        """See ``Payments``."""
        if order.endswith("-DOWN") or (order.endswith("-BUSY") and attempt == 1):
            raise PaymentsBusyError(f"no answer to the payout for order {order}")
        return "payout-" + hashlib.sha256(key.encode()).hexdigest()[:12]


def make_payments() -> Payments:
    """The provider of ``payments``."""
    return SandboxPayments()
