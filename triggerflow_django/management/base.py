"""What all operator's commands share: options, one JSON document or lines of text, errors as exit codes."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connections

from triggerflow_django import conf, exceptions, jsongate, wakeups
from triggerflow_django.management import text

#: Exit codes (docs/commands.md). 0: done, or it was so already.
FAILED: Final = 1
USAGE: Final = 2
UNKNOWN: Final = 3
NOT_PERMITTED: Final = 4
CONFLICT: Final = 5
BAD_PAYLOAD: Final = 6
INTERRUPTED: Final = 130

_EXIT_CODES: Final[tuple[tuple[tuple[type[Exception], ...], int], ...]] = (
    (
        (
            exceptions.UnknownExecutionError,
            exceptions.UnknownInterruptError,
            exceptions.UnknownStepError,
            exceptions.UnknownFlowError,
        ),
        UNKNOWN,
    ),
    ((exceptions.DecisionRefusedError, exceptions.NotPermittedError), NOT_PERMITTED),
    (
        (
            exceptions.ExecutionNotOpenError,
            exceptions.InterruptNotWaitingError,
            exceptions.PendingInterruptsError,
            exceptions.KeyConflictError,
            exceptions.RequestIdConflictError,
            exceptions.MissingChunkError,
        ),
        CONFLICT,
    ),
    ((exceptions.JsonValueError, exceptions.AnswerSchemaError), BAD_PAYLOAD),
    ((exceptions.InvalidPolicyError,), USAGE),
)


@dataclass(frozen=True, slots=True)
class Output:
    """What a command has to say: the same twice, as a document and as lines."""

    document: dict[str, Any]
    lines: list[str]
    #: Why the command ends with ``FAILED`` although it has something to say.
    failure: str = ""


class RefusedError(CommandError):
    """The command did nothing, or not all; ``code`` is the stable word for why."""

    def __init__(self, message: str, *, returncode: int, code: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(text.safe(message), returncode=returncode)
        self.code = code
        self.details = details or {}


def refuse_usage(message: str) -> NoReturn:
    """End the command: the command line makes no sense."""
    raise RefusedError(message, returncode=USAGE, code="usage")


class OperatorCommand(BaseCommand):
    """A command that reads executions or acts on them. Subclasses write ``act``."""

    # A check that complains, about whatever, must not keep an operator from acting.
    requires_system_checks: list[str] = []  # noqa: RUF012 - as Django annotates it

    using: str
    form: str

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The options that every command has."""
        parser.add_argument("--database", help="Alias of the database (default: TRIGGERFLOW['DATABASE']).")
        parser.add_argument(
            "--format", choices=["text", "json"], default="text", help="Lines to read, or one JSON document."
        )

    def prepare(self, options: dict[str, Any]) -> None:
        """What comes before ``act``, such as finding out who acts."""

    def act(self, options: dict[str, Any]) -> Output:
        """Do it. What it raises becomes the exit code."""
        raise NotImplementedError

    def handle(self, *_args: Any, **options: Any) -> None:
        """Act and tell.

        Raises: CommandError; in JSON the document then has the key ``error``.
        """
        self.form = options["format"]
        try:
            self._require_text(options)
            self.using = options["database"] or conf.get_settings().DATABASE
            if self.using not in connections:
                refuse_usage(f"there is no database {self.using!r}; known: {', '.join(connections)}")
            self.prepare(options)
            unheard = wakeups.counts.failed
            output = self.act(options)
        except RefusedError as error:
            self._tell_error(error)
            raise
        except (exceptions.TriggerFlowError, ImproperlyConfigured, Error) as error:
            refused = self._refused(error)
            self._tell_error(refused)
            raise refused from error
        except KeyboardInterrupt:
            refused = RefusedError("interrupted", returncode=INTERRUPTED, code="interrupted")
            self._tell_error(refused)
            raise refused from None
        if self.form == "json":
            self.stdout.write(document_text(output.document))
        else:
            self.stdout.write("\n".join(output.lines))
        if wakeups.counts.failed > unheard:
            self.say("Redis did not take the wake-up. It is no loss: workers see the work at their next sweep.")
        if output.failure:
            raise CommandError(text.safe(output.failure), returncode=FAILED)

    def say(self, message: str) -> None:
        """Tell the person at the terminal something that is not the result."""
        self.stderr.write(text.safe(message))

    def _refused(self, error: Exception) -> RefusedError:
        if isinstance(error, Error):
            return RefusedError(f"database {self.using!r}: {error}", returncode=FAILED, code="database")
        code = next((code for kinds, code in _EXIT_CODES if isinstance(error, kinds)), FAILED)
        details = {"errors": error.errors} if isinstance(error, exceptions.AnswerSchemaError) else None
        return RefusedError(str(error), returncode=code, code=getattr(error, "code", "settings"), details=details)

    def _tell_error(self, error: RefusedError) -> None:
        if self.form == "json":
            found = {"code": error.code, "message": str(error), "exit_code": error.returncode, **error.details}
            self.stdout.write(document_text({"error": found}))

    def _require_text(self, options: dict[str, Any]) -> None:
        """Bytes of the command line that are no UTF-8 would go on to fail in the database."""
        for name, value in options.items():
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, str) and item and not jsongate.is_name(item, most=100_000):
                    refuse_usage(f"{name}: {item!r} is not UTF-8 text")


def document_text(document: dict[str, Any]) -> str:
    """One line of JSON in ASCII: nothing in it can steer a terminal."""
    return json.dumps(document, default=_plain)


def _plain(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
