"""Our own events, as receivers get them: CloudEvents with these types and data. No names of people, no pay.

A type's data only ever gains fields; anything else is a new version of the type.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from canonical.base import Canonical
from canonical.causes import Cause, Queue
from canonical.saga import SagaStatus


class OutgoingType(StrEnum):
    """What happened."""

    SAGA_ENDED = "trueup.saga.ended.v1"
    """A saga came to its end: complete, stopped, undone or failed."""
    SAGA_PARKED = "trueup.saga.parked.v1"
    """A saga waits for a person to repair something."""
    PROJECT_CLOSED = "trueup.project.closed.v1"
    """A contract's projects are closed for time in delivery and closed in the ERP."""
    PROJECT_REOPENED = "trueup.project.reopened.v1"
    """A contract's projects are open again."""


class SagaEnded(Canonical):
    """Data of ``trueup.saga.ended.v1``."""

    saga_id: str
    saga: str
    """The kind of saga."""
    generation: int
    status: SagaStatus
    business_key: str
    """The record it was about, for example `sf-main/006...`."""
    region: str
    codes: dict[str, str] = {}
    """Project code by contract."""


class SagaParked(Canonical):
    """Data of ``trueup.saga.parked.v1``."""

    saga_id: str
    step: str
    business_key: str
    region: str
    cause: Cause
    queue: Queue
    """Who works on it."""
    times: int
    """How often it has parked there."""


class ProjectChanged(Canonical):
    """Data of ``trueup.project.closed.v1`` and ``trueup.project.reopened.v1``."""

    saga_id: str
    contract: str
    project_code: str
    number: int
    """Which closing of the contract it is, or which one was taken back."""
    region: str


DATA: dict[OutgoingType, type[Canonical]] = {
    OutgoingType.SAGA_ENDED: SagaEnded,
    OutgoingType.SAGA_PARKED: SagaParked,
    OutgoingType.PROJECT_CLOSED: ProjectChanged,
    OutgoingType.PROJECT_REOPENED: ProjectChanged,
}
"""The data of each type."""


class DeliveryOutcome(Canonical):
    """What one attempt to tell a subscriber came to."""

    taken: bool
    """The receiver has it."""
    over: bool = False
    """Nobody wants it any more: the receiver says so, or the subscription is not configured."""
    detail: str = ""
    retry_after_seconds: float | None = None
    """What the receiver asked for."""


class CloudEvent(Canonical):
    """The envelope (CloudEvents 1.0, JSON format)."""

    specversion: str = "1.0"
    id: str
    """Unique; the same in every repetition, and the `webhook-id`."""
    source: str
    """`urn:trueup:` and the region."""
    type: OutgoingType
    subject: str
    """The saga's id."""
    time: datetime
    datacontenttype: str = "application/json"
    traceparent: str
    """W3C Trace Context of what led to it."""
    data: SagaEnded | SagaParked | ProjectChanged
