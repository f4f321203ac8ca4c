"""Who may decide an interrupt: one policy for every door.

``approvers=`` of a pause goes through ``normalise`` (in the chunk, without a database) and
``resolve`` (in the commit, against the database) into the stored form; ``refusal`` holds a person
against that form when the interrupt is decided. Guarantee: whatever is missing, broken or unknown
at that moment (a deleted user, an emptied group, a rule that raises) is a no.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist, FieldError, ValidationError
from django.db import DEFAULT_DB_ALIAS, connections, models, transaction

from triggerflow_django import exceptions, jsongate

_logger = logging.getLogger(__name__)

_Rule = TypeVar("_Rule", bound=Callable[[Any, Any], bool])

#: Decides where nobody is named.
RESUME_PERMISSION: Final = "triggerflow.resume_interrupt"

_FORMS: Final = (
    "write 'user:<username>', 'group:<name>', 'perm:<app_label.codename>' or "
    "'call:<module.function>', or give a user, a group or a function marked with @approver"
)

#: The only callables that are ever called, by "module.qualname". Nothing stored is ever imported.
_rules: dict[str, Callable[[Any, Any], bool]] = {}


def approver(func: _Rule) -> _Rule:
    """Register ``func(user, interrupt) -> bool`` as a rule that ``approvers=`` may name.

    It must be registered in every process that decides (import its module from a ``flows.py``), is
    called with the user's fresh row while the interrupt is locked, and should only look. Anything
    it returns but ``True`` itself, and anything it raises, is a no.

    Raises:
        ApproversError: not a plain function at module or class level, which its name would find.
    """
    name = getattr(func, "__qualname__", "")
    if not inspect.isfunction(func) or "<" in name:
        raise exceptions.ApproversError(
            f"@approver on {name or func!r}: only a function with a name of its own at module "
            "level can be found again by another process"
        )
    if inspect.iscoroutinefunction(func):
        raise exceptions.ApproversError(f"@approver on {name}: write it as a sync function")
    _rules[f"{func.__module__}.{name}"] = func
    return func


# -- from approvers= to the stored form ------------------------------------------------------------


def normalise(approvers: object) -> list[str]:
    """Canonical strings (``"user:ann"``) of what was given, in order, each once. No database.

    Takes None (nobody named: an empty list), one item, or a list or tuple of items: a user, a
    group, a function marked with ``@approver`` or its dotted name, or ``"user:<username>"``,
    ``"group:<name>"``, ``"perm:<app_label.codename>"``, ``"call:<module.function>"``.

    Raises:
        ApproversError: an empty list, or an item of another form.
    """
    if approvers is None:
        return []
    if not isinstance(approvers, (list, tuple)):
        return [_canonical(approvers)]
    if not approvers:
        raise exceptions.ApproversError(
            "approvers= is empty, so nobody could decide: name somebody, or leave it out to let "
            f"the permission {RESUME_PERMISSION} decide"
        )
    return list(dict.fromkeys(_canonical(item) for item in approvers))


def resolve(spec: Sequence[str], *, using: str) -> list[dict[str, str]]:
    """The stored form of what ``normalise`` returned, once everybody named turns out to exist.

    Users and groups are kept by id (``{"kind": "user", "id": "7", "label": "ann"}``), so that
    renaming them changes nothing; permissions and rules (``callable``) have a label only.

    Raises:
        ApproversError: no such active user, group with an active member, permission or rule.
    """
    found = []
    for item in spec:
        prefix, _, name = item.partition(":")
        if prefix not in _RESOLVERS:
            raise exceptions.ApproversError(f"{item!r} names no approver: {_FORMS}")
        found.append(_RESOLVERS[prefix](name, using))
    return found


def rebound(stored: Sequence[Mapping[str, str]], *, using: str) -> list[dict[str, str]]:
    """The stored form that came from another database, as it reads in this one.

    Ids are of the database that gave them: whoever has the same id here under another name is somebody else, and the
    name is looked up anew.

    Raises:
        ApproversError: nobody of that name here.
    """
    found: list[dict[str, str]] = []
    for entry in stored:
        if entry["kind"] in _NAMED_BY_ID and not _is_namesake(entry, using):
            found += resolve([f"{entry['kind']}:{entry['label']}"], using=using)
        else:
            found.append(dict(entry))
    return found


def user_id(name: str, *, using: str) -> str | None:
    """The primary key, as text, of the user of that name; None where there is no such user."""
    try:
        return _resolve_user(name, using)["id"]
    except exceptions.ApproversError:
        return None


#: Kinds of approvers that are stored by id, with the model and the field that holds their name.
_NAMED_BY_ID: Final[Mapping[str, Callable[[], tuple[Any, str]]]] = {
    "user": lambda: (get_user_model(), str(get_user_model().USERNAME_FIELD)),
    "group": lambda: (apps.get_model("auth", "Group"), "name"),
}


def _is_namesake(entry: Mapping[str, str], using: str) -> bool:
    model, field = _NAMED_BY_ID[entry["kind"]]()
    try:
        return _rows(model, using).filter(**{"pk": entry["id"], field: entry["label"]}).exists()
    except (ValueError, TypeError, ValidationError):  # not even a possible id in this model
        return False


def _canonical(item: object) -> str:
    if isinstance(item, str):
        return _canonical_text(item)
    if getattr(item, "is_anonymous", False) is True:
        raise exceptions.ApproversError("an anonymous user can decide nothing: name a user")
    if isinstance(item, get_user_model()):
        return _canonical_text(f"user:{item.get_username()}")
    if isinstance(item, apps.get_model("auth", "Group")):
        return _canonical_text(f"group:{item.name}")
    if inspect.isfunction(item):
        name = f"{item.__module__}.{item.__qualname__}"
        # Not by name alone: a stricter wrapper around a rule carries the name of the rule.
        if _rules.get(name) is not item:
            raise exceptions.ApproversError(
                f"{name} is not a registered rule: put @approver on it, above other decorators"
            )
        return f"call:{name}"
    raise exceptions.ApproversError(f"a {type(item).__name__} names no approver: {_FORMS}")


def _canonical_text(text: str) -> str:
    try:
        jsongate.check(text, limits=jsongate.ANSWER, root="approvers")
    except exceptions.JsonValueError as error:
        raise exceptions.ApproversError(str(error)) from None
    if text in _rules:
        return f"call:{text}"
    prefix, _, name = text.partition(":")
    is_whole = bool(name.strip())
    if prefix == "perm":
        app_label, _, codename = name.partition(".")
        is_whole = bool(app_label and codename)
    if prefix not in _RESOLVERS or not is_whole:
        raise exceptions.ApproversError(f"{text!r} names no approver: {_FORMS}")
    return str.__str__(text)


def _resolve_user(name: str, using: str) -> dict[str, str]:
    model = get_user_model()
    try:
        users = list(_rows(model, using).filter(**{str(model.USERNAME_FIELD): name})[:2])
    except (ValueError, TypeError, ValidationError):  # not even a possible name in this model
        users = []
    if not users:
        raise exceptions.ApproversError(f"there is no user {name!r} to decide")
    if len(users) > 1:
        raise exceptions.ApproversError(f"{name!r} is the name of more than one user")
    if not _is_active(users[0]):
        raise exceptions.ApproversError(f"the user {name!r} is not active, so could not decide")
    return {"kind": "user", "id": str(users[0].pk), "label": name}


def _resolve_group(name: str, using: str) -> dict[str, str]:
    group = _rows(apps.get_model("auth", "Group"), using).filter(name=name).first()
    if group is None:
        raise exceptions.ApproversError(f"there is no group {name!r} to decide")
    if not _has_active(_members(str(group.pk), using)):
        raise exceptions.ApproversError(f"the group {name!r} has no active member, so nobody could decide")
    return {"kind": "group", "id": str(group.pk), "label": name}


def _resolve_permission(name: str, using: str) -> dict[str, str]:
    app_label, _, codename = name.partition(".")
    rows = _rows(apps.get_model("auth", "Permission"), using)
    if not rows.filter(content_type__app_label=app_label, codename=codename).exists():
        raise exceptions.ApproversError(f"there is no permission {name!r}")
    return {"kind": "permission", "label": name}


def _resolve_rule(name: str, using: str) -> dict[str, str]:
    if name not in _rules:
        raise exceptions.ApproversError(f"{name!r} is not a registered rule: put @approver on it")
    return {"kind": "callable", "label": name}


_RESOLVERS: Final[Mapping[str, Callable[[str, str], dict[str, str]]]] = {
    "user": _resolve_user,
    "group": _resolve_group,
    "perm": _resolve_permission,
    "call": _resolve_rule,
}


# -- holding a person against the stored form ------------------------------------------------------


def refusal(
    actor: Any,
    *,
    approvers: Sequence[Mapping[str, str]],
    exclude_starter: bool,
    started_by_id: str,
    interrupt: object,
) -> str | None:
    """Why ``actor`` may not decide, in words for that person; None if they may.

    The user, their groups and permissions are read now, never from what the request carries. Whom
    ``approvers`` names decide alone, superusers not excepted; nobody named: the permission
    ``triggerflow.resume_interrupt`` decides. ``exclude_starter`` holds for everybody. An execution
    nobody is known to have started (``started_by_id=""``) has no starter to exclude.
    """
    using = _alias(interrupt) or _alias(actor) or DEFAULT_DB_ALIAS
    user, fault = _account(actor, using)
    if fault:
        return fault
    if exclude_starter and str(user.pk) == started_by_id:
        return "you started this execution, so somebody else has to decide it"
    if not approvers:
        if _has_permission(user, RESUME_PERMISSION):
            return None
        return f"you need the permission {RESUME_PERMISSION} to decide this"
    broken: list[str] = []
    if any(_matches(entry, user, using, interrupt, broken) for entry in approvers):
        return None
    reason = f"only {', '.join(_described(entry) for entry in approvers)} may decide this"
    if broken:
        reason += f"; {', '.join(broken)} failed when asked, which counts as no"
    return reason


def lacking(actor: Any, permission: str, *, using: str) -> str | None:
    """Why ``actor`` may not use what ``permission`` guards, in words for that person; None if they may."""
    user, fault = _account(actor, using)
    if fault:
        return fault
    return None if _has_permission(user, permission) else f"you need the permission {permission}"


def who_may(approvers: Sequence[Mapping[str, str]], *, exclude_starter: bool) -> str:
    """Who may decide by that stored form, in words: ``the group finance, ann; not who started it``."""
    named = ", ".join(_described(entry) for entry in approvers)
    told = named or f"whoever has the permission {RESUME_PERMISSION}"
    return f"{told}; not who started it" if exclude_starter else told


def _account(actor: Any, using: str) -> tuple[Any, str]:
    """The actor's row as it is now, or what keeps this account from deciding anything."""
    if not getattr(actor, "is_authenticated", False):
        return None, "sign in to decide this"
    # An integration's own account class may carry the primary key of some user.
    if not isinstance(actor, get_user_model()) or actor.pk is None:
        return None, "only a user of this site can decide this"
    user = _rows(get_user_model(), using).filter(pk=actor.pk).first()
    if user is None:
        return None, "your account no longer exists"
    return user, "" if _is_active(user) else "your account is not active"


def _matches(entry: Mapping[str, str], user: Any, using: str, interrupt: object, broken: list[str]) -> bool:
    match entry:
        case {"kind": "user", "id": user_id}:
            return bool(str(user.pk) == user_id)
        case {"kind": "group", "id": group_id}:
            return _members(group_id, using).filter(pk=user.pk).exists()
        case {"kind": "permission", "label": permission}:
            return _has_permission(user, permission)
        case {"kind": "callable", "label": name} if name in _rules:
            answer = _asked(name, user, using, interrupt)
            if answer is None:
                broken.append(f"the rule {name}")
            return answer is True
    return False


def _asked(name: str, user: Any, using: str, interrupt: object) -> bool | None:
    """The rule's answer; None if it gave none."""
    extra = {"event": "triggerflow.approver.failed", "approver": name}
    # In a savepoint: an error in the rule's own queries must not break the caller's transaction.
    in_block = connections[using].in_atomic_block
    savepoint = transaction.atomic(using=using) if in_block else contextlib.nullcontext()
    try:
        with savepoint:
            answer: object = _rules[name](user, interrupt)
    except Exception:
        _logger.exception("The approver %s raised", name, extra=extra)
        return None
    if isinstance(answer, bool):
        return answer
    if not answer:
        return False
    # Such as a coroutine: true to Python, and no answer.
    kind = type(answer).__name__
    _logger.error("The approver %s returned a %s, not True or False", name, kind, extra=extra)
    return None


def _described(entry: Mapping[str, str]) -> str:
    label = entry.get("label", "")
    match entry.get("kind"):
        case "group":
            return f"the group {label}"
        case "permission":
            return f"whoever has the permission {label}"
        case "callable":
            return f"whom the rule {label} accepts"
    return label


# -- the user model, whichever it is ---------------------------------------------------------------


def _rows(model: Any, using: str) -> models.QuerySet[Any]:
    # The default manager, as signing in uses it: whom it hides cannot sign in either.
    rows: models.QuerySet[Any] = model._default_manager.using(using)
    return rows


def _members(group_id: str, using: str) -> models.QuerySet[Any]:
    """The users of a group; none where the user model has no such groups."""
    model = get_user_model()
    rows = _rows(model, using)
    try:
        field = model._meta.get_field("groups")
    except FieldDoesNotExist:
        return rows.none()
    is_ours = getattr(field, "related_model", None) is apps.get_model("auth", "Group")
    return rows.filter(groups=group_id) if is_ours else rows.none()


def _is_active(user: Any) -> bool:
    return bool(getattr(user, "is_active", True))


def _has_active(users: models.QuerySet[Any]) -> bool:
    try:
        return users.filter(is_active=True).exists()
    except FieldError:  # a property of this user model, or unknown to it
        return any(_is_active(user) for user in users)


def _has_permission(user: Any, permission: str) -> bool:
    return hasattr(user, "has_perm") and bool(user.has_perm(permission))


def _alias(row: object) -> str | None:
    alias: str | None = getattr(getattr(row, "_state", None), "db", None)
    return alias
