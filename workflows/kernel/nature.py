"""What kind of business a saga carries: what a cancel means for it, whose it is, the words for its ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from canonical.causes import Queue
from canonical.saga import SagaStatus


class OnCancel(StrEnum):
    """What a cancel asks for before the pivot. After it, every saga goes forward."""

    UNDO = "undo"
    """Nothing shall remain: everything registered is undone."""
    STOP = "stop"
    """What is done is right and stays; the next run does the rest (rule 23)."""


@dataclass(frozen=True)
class Nature:
    """One kind of saga. The default sets something up that is only worth having whole."""

    on_cancel: OnCancel = OnCancel.UNDO
    owner: Queue = Queue.SALES
    """Whose case a cancelled or rejected saga is."""
    cancel_too_late: str = "Cancel came after activation: the saga goes forward"
    point_of_no_return: str = (
        "The project is already active: correct it forward, or with a business document."
    )
    """Why nothing can be undone after the pivot."""
    ends: Mapping[SagaStatus, str] = field(default_factory=dict)
    """Headlines of its ends where they differ from the usual ones; ``{codes}`` are the project codes."""

    def headline(self, status: SagaStatus, codes: str) -> str:
        """The last headline of a saga that ended so."""
        return {**_USUAL_ENDS, **self.ends}[status].format(codes=codes)

    @property
    def cancelled_as(self) -> SagaStatus:
        """How a cancelled saga ends."""
        return SagaStatus.STOPPED if self.on_cancel is OnCancel.STOP else SagaStatus.UNDONE


_USUAL_ENDS: Mapping[SagaStatus, str] = {
    SagaStatus.COMPLETE: "Complete: project code {codes}.",
    SagaStatus.STOPPED: "Stopped: what is done stays, the next run goes on.",
    SagaStatus.UNDONE: "Undone: nothing of it remains.",
    SagaStatus.FAILED: "Not started: nothing was written.",
    SagaStatus.PLANNED: "Planned: nothing was written.",
}
