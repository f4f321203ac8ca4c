"""Every error this package raises on purpose: one root, a stable ``code``, and the built-in that TriggerFlow raises.

A class is named after the rule that was violated. ``code`` never changes once released: integrations match on it, the
HTTP layer maps it to a status. Classes that also derive from ``KeyError``, ``ValueError``, ``RuntimeError`` or
``PermissionError`` do so because TriggerFlow raises that built-in in the same place, so code written for it keeps its
``except`` clauses.
"""

from __future__ import annotations


class TriggerFlowError(Exception):
    """The root of all errors of this package."""

    code = "triggerflow_error"

    def __str__(self) -> str:
        # KeyError's own __str__ shows the repr of the message; people read these sentences.
        return str(self.args[0]) if self.args else (self.__doc__ or "").strip()


# -- definition -------------------------------------------------------------------------------------------------------


class DefinitionError(TriggerFlowError, ValueError):
    """The flow cannot be built as written; raised where it is written."""

    code = "definition_error"


class MisplacedBlockError(TriggerFlowError, NotImplementedError):
    """A ``case``, ``end_match``, ``end_for_each`` or its kin stands outside its block."""

    code = "misplaced_block"


class MappingTypeError(TriggerFlowError, TypeError):
    """``to_sub_flow`` was given something of another type than it takes."""

    code = "mapping_type"


class UnknownChunkError(TriggerFlowError, NotImplementedError):
    """A chunk was named that the flow does not have."""

    code = "unknown_chunk"


class BlueprintError(TriggerFlowError, ValueError):
    """A flow as data is malformed; the message starts with the path."""

    code = "invalid_blueprint"


class BlueprintTypeError(TriggerFlowError, TypeError):
    """Something was to be loaded as a flow that is no mapping."""

    code = "blueprint_type"


class UnboundHandlerError(TriggerFlowError, ValueError):
    """Functions of a flow that become data have no name, or names in data have no function; lists all of them."""

    code = "unbound_handlers"

    def __init__(self, message: str, missing: list[str]) -> None:
        super().__init__(message)
        #: One line for each, with its place.
        self.missing = missing


# -- finding things ---------------------------------------------------------------------------------------------------


class UnknownFlowError(TriggerFlowError, LookupError):
    """No flow of that name is registered in this process."""

    code = "unknown_flow"


class UnregisteredFlowError(TriggerFlowError, RuntimeError):
    """The flow is not registered, so no other process could run it."""

    code = "unregistered_flow"


class UnknownExecutionError(TriggerFlowError, KeyError):
    """There is no execution with that id."""

    code = "unknown_execution"


class UnknownInterruptError(TriggerFlowError, KeyError):
    """The execution has no interrupt with that id."""

    code = "unknown_interrupt"


class UnknownInterventionError(TriggerFlowError, KeyError):
    """No intervention with that id has been inserted in this execution."""

    code = "unknown_intervention"


class UnknownStepError(TriggerFlowError, KeyError):
    """The execution has no step with that id that this verb could act on."""

    code = "unknown_step"


class UnknownSubFlowError(TriggerFlowError, KeyError):
    """The execution has no sub flow with that frame id."""

    code = "unknown_sub_flow"


class MappingPathError(TriggerFlowError, KeyError):
    """A path of ``capture`` or ``write_back`` leads to nothing."""

    code = "mapping_path"


# -- values -----------------------------------------------------------------------------------------------------------


class JsonValueError(TriggerFlowError, ValueError):
    """A value did not pass the JSON gate; the message names the path."""

    code = "invalid_json_value"


class ApproversError(TriggerFlowError, ValueError):
    """``approvers=`` names nobody who could decide."""

    code = "invalid_approvers"


class PauseError(TriggerFlowError, ValueError):
    """``pause_for`` was called with arguments under which the gate could never open properly."""

    code = "invalid_pause"


class InterruptAlreadyWaitingError(TriggerFlowError, ValueError):
    """An interrupt with the same id is already waiting in this execution."""

    code = "interrupt_already_waiting"


class AnswerSchemaError(TriggerFlowError, ValueError):
    """The answer does not match the interrupt's ``response_schema``; ``errors`` lists every failing path."""

    code = "answer_schema"

    def __init__(self, message: str, errors: list[dict[str, str]] | None = None) -> None:
        super().__init__(message)
        self.errors = errors or []


class ContractError(TriggerFlowError, ValueError):
    """An input, stream item or result does not match the flow's contract; ``errors`` lists every failing path."""

    code = "contract"

    def __init__(self, message: str, errors: list[dict[str, str]] | None = None) -> None:
        super().__init__(message)
        self.errors = errors or []


class KeyConflictError(TriggerFlowError, ValueError):
    """The business key was used before, with another input."""

    code = "key_conflict"


class SnapshotError(TriggerFlowError, ValueError):
    """A saved execution cannot be read."""

    code = "invalid_snapshot"


class SnapshotTypeError(TriggerFlowError, TypeError):
    """A saved execution, or a section of it, has the wrong type."""

    code = "invalid_snapshot_type"


# -- deciding ---------------------------------------------------------------------------------------------------------


class InterruptNotWaitingError(TriggerFlowError, ValueError):
    """The interrupt was already decided, cancelled or expired; the message says by whom and when."""

    code = "interrupt_not_waiting"


class InterventionStatusError(TriggerFlowError, ValueError):
    """An intervention was marked consumed that is not inserted."""

    code = "intervention_status"


class RequestIdConflictError(TriggerFlowError, ValueError):
    """The request id was used before, with another answer."""

    code = "request_id_conflict"


class DecisionRefusedError(TriggerFlowError, PermissionError):
    """This actor may not decide this interrupt; the message is the reason in words."""

    code = "decision_refused"


class NotPermittedError(TriggerFlowError, PermissionError):
    """This user may not use this verb; the message names the permission it needs."""

    code = "not_permitted"


# -- lifecycle --------------------------------------------------------------------------------------------------------


class ExecutionNotOpenError(TriggerFlowError, RuntimeError):
    """The execution is sealed or closed and accepts nothing from outside."""

    code = "execution_not_open"


class PendingInterruptsError(TriggerFlowError, RuntimeError):
    """The execution cannot close while interrupts are waiting."""

    code = "pending_interrupts"


class InvalidPolicyError(TriggerFlowError, ValueError):
    """An option has a value it does not know."""

    code = "invalid_policy"


class InterventionsOffError(TriggerFlowError, RuntimeError):
    """The execution takes no interventions: no point in its flow, and not created with ``intervention_mode='auto'``."""

    code = "interventions_off"


class SubFlowsActiveError(TriggerFlowError, RuntimeError):
    """A saved execution waits for sub flows, which are executions of their own and not in it."""

    code = "sub_flows_active"


class NoHandleError(TriggerFlowError, RuntimeError):
    """A chunk paused in an execution nobody holds a handle of (``flow.start``)."""

    code = "no_handle"


class MissingResourceError(TriggerFlowError, RuntimeError):
    """A resource that the flow or the handle has declared to need is not there."""

    code = "missing_resource"


class NotIdleError(TriggerFlowError, RuntimeError):
    """Something of the execution is still active."""

    code = "not_idle"


class MaxResumesError(TriggerFlowError, RuntimeError):
    """The chunk asked to resume itself more often than ``max_resumes`` allows."""

    code = "max_resumes"


class InsideChunkError(TriggerFlowError, RuntimeError):
    """A call that waits for the execution was made by one of its own chunks."""

    code = "inside_chunk"


class SyncInLoopError(TriggerFlowError, RuntimeError):
    """A sync call that runs chunks was made in a running loop under an open transaction; the message names the async
    form.
    """

    code = "sync_in_loop"


# -- running ----------------------------------------------------------------------------------------------------------


class StepFailedError(TriggerFlowError, RuntimeError):
    """A step failed for good in another process; the message carries the stored error."""

    code = "step_failed"


class SubFlowFailedError(TriggerFlowError, RuntimeError):
    """A sub flow failed; the message carries the stored error."""

    code = "sub_flow_failed"

    def __init__(self, message: str, stored: dict[str, str] | None = None) -> None:
        super().__init__(message)
        #: The child's error as it was stored: ``type``, ``message``, ``traceback``.
        self.stored = stored


class ChunkTimeoutError(TriggerFlowError, TimeoutError):
    """The chunk ran longer than its timeout."""

    code = "chunk_timeout"


class MissingChunkError(TriggerFlowError, LookupError):
    """The code no longer has the chunk (or the flow) a step stands on."""

    code = "missing_chunk"


class LostStepError(TriggerFlowError, RuntimeError):
    """The step's worker died or vanished too often."""

    code = "lost_step"


class JoinClosedError(TriggerFlowError, RuntimeError):
    """A value arrived at a join that is not open for its scope."""

    code = "join_closed"


class DeadlinePassedError(TriggerFlowError, TimeoutError):
    """Nobody answered an interrupt before its deadline, and it was asked to fail then."""

    code = "deadline_passed"


class WaitTimeoutError(TriggerFlowError, TimeoutError):
    """The execution did not get there within the time given to ``wait``."""

    code = "wait_timeout"
