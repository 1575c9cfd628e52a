"""From what Temporal hands a workflow to a ``Failure``, and the kernel's own ways to stop."""

from __future__ import annotations

from pydantic import ValidationError
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError

from canonical.causes import Cause, Queue
from canonical.failures import Failure, FailureKind
from canonical.saga import SagaStatus


class SagaStop(Exception):
    """The saga is to end other than complete: by cancellation, a person's decision, or bad input."""

    def __init__(self, status: SagaStatus, failure: Failure) -> None:
        super().__init__(failure.message)
        self.status = status
        self.failure = failure


class PivotPassed(Exception):
    """The ledger knows of a pivot that this run does not: it was reset to before it. Nothing is undone."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def failure_of(error: ActivityError, *, system: str | None, writes: bool) -> Failure:
    """What went wrong in an activity.

    An activity that timed out left no word: if it writes, something may have landed.
    """
    cause = error.cause
    if isinstance(cause, ApplicationError) and cause.details:
        try:
            return Failure.model_validate(cause.details[0])
        except ValidationError:
            pass
    if isinstance(cause, TimeoutError):
        return Failure(
            kind=FailureKind.RETRY,
            cause=Cause.VENDOR_UNAVAILABLE,
            message="No worker finished this in time.",
            system=system,
            remedy="Check that workers of this system's queue are running.",
            maybe_landed=writes,
        )
    message = cause.message if isinstance(cause, ApplicationError) else str(cause or error)
    return Failure(
        kind=FailureKind.DEFECT,
        cause=Cause.DEFECT,
        message=message,
        queue=Queue.INFRASTRUCTURE,
        system=system,
        remedy="This is a fault of Trueup itself; the worker's log has the details. Retry after the fix.",
        maybe_landed=writes,
    )
