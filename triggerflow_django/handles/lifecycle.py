"""Seal, close, cancel, retry: what the handle does to the execution as a whole."""

from __future__ import annotations

from typing import Any, Literal

from triggerflow_django.engine import lifecycle
from triggerflow_django.handles import verbs
from triggerflow_django.handles.part import HandlePart
from triggerflow_django.handles.trampoline import Verb


class LifecycleMethods(HandlePart):
    """The part of the handle that seals, closes, cancels and retries."""

    def seal(self, *, reason: str = "", actor: Any = None) -> None:
        """Accept no more events and answers; accepted work goes on."""
        self._sync(
            self._once(lambda: lifecycle.seal(self.pk, using=self.using, reason=reason, actor=actor)),
            "seal",
            runs_chunks=False,
        )

    async def async_seal(self, *, reason: str = "", actor: Any = None) -> None:
        """See ``seal``."""
        await self._async(self._once(lambda: lifecycle.seal(self.pk, using=self.using, reason=reason, actor=actor)))

    def unseal(self, *, reason: str = "", actor: Any = None) -> None:
        """Open a sealed execution again."""
        self._sync(
            self._once(lambda: lifecycle.unseal(self.pk, using=self.using, reason=reason, actor=actor)),
            "unseal",
            runs_chunks=False,
        )

    async def async_unseal(self, *, reason: str = "", actor: Any = None) -> None:
        """See ``unseal``."""
        await self._async(self._once(lambda: lifecycle.unseal(self.pk, using=self.using, reason=reason, actor=actor)))

    def close(
        self,
        *,
        reason: str = "manual",
        timeout: float | None = None,
        seal: bool = True,
        pending_interrupts: Literal["error", "cancel"] = "error",
        actor: Any = None,
    ) -> Any:
        """Close it: accept nothing more, let active work end, freeze and return the snapshot. Closing again returns the
        same snapshot.

        ``timeout``: seconds after which the work that is left is cancelled and fenced. Inside a transaction, with steps
        active elsewhere, it returns ``None`` at once; the execution is sealed and closes when they are done.

        Raises: PendingInterruptsError (it stays open) unless ``pending_interrupts="cancel"``; errors of chunks that
        failed while it closed, after it has closed.
        """
        return self._sync(self._close(reason, timeout, seal, pending_interrupts, actor), "close")

    async def async_close(
        self,
        *,
        reason: str = "manual",
        timeout: float | None = None,
        seal: bool = True,
        pending_interrupts: Literal["error", "cancel"] = "error",
        actor: Any = None,
    ) -> Any:
        """See ``close``."""
        return await self._async(self._close(reason, timeout, seal, pending_interrupts, actor))

    def _close(self, reason: str, timeout: float | None, seal: bool, pending_interrupts: str, actor: Any) -> Verb[Any]:
        return verbs.close(
            self._whole, reason=reason, timeout=timeout, seal=seal, pending_interrupts=pending_interrupts, actor=actor
        )

    def cancel(self, *, reason: str = "", actor: Any = None) -> Any:
        """End it now: running steps are fenced, waiting interrupts cancelled. Returns the snapshot."""
        return self._sync(verbs.cancel(self._whole, reason, actor), "cancel", runs_chunks=False)

    async def async_cancel(self, *, reason: str = "", actor: Any = None) -> Any:
        """See ``cancel``."""
        return await self._async(verbs.cancel(self._whole, reason, actor))

    def retry(self, step_id: int | None = None, *, reason: str = "", actor: Any = None) -> int:
        """Run failed steps again: one by id, or all. Returns how many.

        Raises: UnknownStepError; ExecutionNotOpenError; the first error of a step that failed again.
        """
        count: int = self._sync(verbs.retry_failed(self._whole, step_id, reason, actor), "retry")
        return count

    async def async_retry(self, step_id: int | None = None, *, reason: str = "", actor: Any = None) -> int:
        """See ``retry``."""
        count: int = await self._async(verbs.retry_failed(self._whole, step_id, reason, actor))
        return count
