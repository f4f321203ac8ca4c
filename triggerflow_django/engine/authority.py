"""Who may answer, and with what: the two checks every door passes, on the locked row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model

from triggerflow_django import exceptions, json_schema
from triggerflow_django.approvals import policy
from triggerflow_django.engine import actor as actors
from triggerflow_django.engine.actor import Actor
from triggerflow_django.models import Door, Execution, Interrupt


@dataclass(frozen=True, slots=True)
class Override:
    """The one way past an interrupt's policy: somebody with a shell decides in nobody's name, and says why.

    Accepted at the door ``command`` only. The decision is stored as of ``override:<by>``, with the reason as its
    comment.

    Raises: DecisionRefusedError for a blank reason; JsonValueError for text that cannot be stored.
    """

    #: Who sits there, as the system knows them: ``ops@host``.
    by: str
    reason: str

    def __post_init__(self) -> None:
        actors.words(self.by, root="actor")
        if not actors.words(self.reason, root="reason").strip():
            raise exceptions.DecisionRefusedError("an override needs a reason")


def recorded(who: Any, comment: str) -> tuple[Actor, str]:
    """What a decision stores of the one who made it: actor and comment."""
    if isinstance(who, Override):
        return Actor(label=f"override:{who.by}"[:255]), who.reason
    return actors.of(who), comment


def require_allowed(execution: Execution, interrupt: Interrupt, who: Any, door: Door) -> None:
    """Refuse an actor who may not decide this interrupt.

    ``who``: a user instance; a bare label (code that says for whom it acts); ``None`` (code that acts for itself). Code
    without a user is trusted, but only through the doors ``code`` and ``event``, and a bare label never stands in for a
    named approver. An ``Override`` goes past the policy, through the door ``command`` only.

    Raises: DecisionRefusedError with the reason in words.
    """
    reason: str | None
    if isinstance(who, Override):
        reason = None if door == Door.COMMAND else "an override is for the command line"
    elif who is None or isinstance(who, Actor):
        trusted = door in (Door.CODE, Door.EVENT, Door.DEADLINE)
        reason = None if trusted else "nobody is named as the one who decides"
    elif isinstance(who, str):
        named = bool(interrupt.approvers) or interrupt.exclude_starter
        if door not in (Door.CODE, Door.EVENT):
            reason = "a name alone does not show who decides"
        else:
            reason = (
                f"the interrupt says who may decide, and {who!r} is only a name: pass the user object"
                if named
                else None
            )
    else:
        reason = policy.refusal(
            who,
            approvers=interrupt.approvers,
            exclude_starter=interrupt.exclude_starter,
            started_by_id=execution.started_by_id,
            interrupt=interrupt,
        )
    if reason is not None:
        raise exceptions.DecisionRefusedError(
            f"interrupt {interrupt.interrupt_id!r} of execution {execution.id.hex}: not allowed to decide: {reason}"
        )


def require_permission(who: Any, permission: str, *, using: str) -> None:
    """Refuse a person who may not use a verb. ``who``: a user instance; ``permission``: ``triggerflow.<codename>``.

    Raises: NotPermittedError with the reason in words.
    """
    reason = policy.lacking(who, permission, using=using)
    if reason is not None:
        raise exceptions.NotPermittedError(f"{actors.of(who).label or 'an anonymous user'} may not do this: {reason}")


def require_valid(interrupt: Interrupt, payload: Any) -> None:
    """Refuse an answer that does not match the interrupt's ``response_schema``.

    Raises: AnswerSchemaError; its ``errors`` list every failing path (``{"path": "$.amount", "message": ...}``).
    """
    if interrupt.response_schema is None:
        return
    errors = json_schema.errors(interrupt.response_schema, payload)
    if not errors:
        return
    told = "; ".join(f"{error['path']}: {error['message']}" for error in errors)
    raise exceptions.AnswerSchemaError(
        f"the answer to interrupt {interrupt.interrupt_id!r} does not match its schema: {told}", errors
    )


def user_of(actor: Actor, using: str) -> Any:
    """Who stands behind a stored actor, for checking later what could not be checked then.

    The user (a deleted one: an instance without a row, whom every policy refuses); the label; ``None`` for code.
    """
    if not actor.id:
        return actor.label or None
    model = get_user_model()
    return model._base_manager.using(using).filter(pk=actor.id).first() or model(pk=actor.id)
