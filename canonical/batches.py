"""Batches: bulk writes that workflows name and the ledger holds (rule 29). Their lines never travel."""

from __future__ import annotations

from enum import StrEnum

from canonical.base import Canonical
from canonical.causes import Cause
from canonical.items import Hold


class BatchPurpose(StrEnum):
    """What a batch does to its items."""

    POST_COST = "post_cost"
    REVERSE_COST = "reverse_cost"
    NOT_BILLABLE = "not_billable"
    """Take posted lines out of the ERP's own unbilled balance."""
    MARK = "mark"
    """Tell delivery that the ERP has them."""
    UNMARK = "unmark"


class BatchState(StrEnum):
    """How far a batch has come.

    ::

        intended -> submitted -> accepted -> done
            |           '-> superseded: nobody answered, its lines are looked for and claimed anew
            '-> abandoned: nothing was sent
    """

    INTENDED = "intended"
    """Its lines are claimed; nothing can have reached the vendor."""
    SUBMITTED = "submitted"
    """It was, or may have been, handed over."""
    ACCEPTED = "accepted"
    """The vendor works on it: its job is known."""
    DONE = "done"
    """Every line has an outcome."""
    ABANDONED = "abandoned"
    SUPERSEDED = "superseded"

    @property
    def is_open(self) -> bool:
        """Whether its lines are claimed by it."""
        return self in (BatchState.INTENDED, BatchState.SUBMITTED, BatchState.ACCEPTED)


class LineState(StrEnum):
    """What became of one line of a batch."""

    OPEN = "open"
    LANDED = "landed"
    REFUSED = "refused"
    """For a person: the item is held with the cause."""
    RETRY = "retry"
    """Refused for a passing reason: free to be claimed by another batch."""
    DROPPED = "dropped"
    """Not sent: its batch was abandoned, or its approval was gone."""


class BatchRef(Canonical):
    """What a workflow carries of a batch: a reference and counts, never lines."""

    key: str
    purpose: BatchPurpose
    system: str
    piece: str
    number: int
    """Rises by one within system and purpose."""
    state: BatchState
    lines: int
    ticket: str | None = None
    """The vendor's job."""
    earlier: bool = False
    landed: int = 0
    refused: int = 0
    retry: int = 0


class LineResult(Canonical):
    """The outcome of one line, as recorded: from the connector's ``LineOutcome``."""

    item_key: str
    state: LineState
    record_id: str | None = None
    cause: Cause | None = None
    message: str | None = None
    vendor_code: str | None = None
    hold: Hold | None = None
    """Of refused postings, why the item waits; of reversals on purpose, that it is held afterwards."""
