"""Show a saga's state three ways: search attributes to find it, memo to survive, details to explain.

Attributes and memo cost history events, so they are written only when an operator's lists change: on
wait, park, gate, resume and at the end. Details are a query's answer and cost nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from temporalio import workflow
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    SearchAttributeUpdate,
    TypedSearchAttributes,
)

from activities.contracts import StartSaga
from canonical.names import SearchAttribute
from canonical.saga import SagaStatus
from workflows.details import details
from workflows.state import SagaState, StepRecord

STATUS = SearchAttributeKey.for_keyword(SearchAttribute.SAGA_STATUS.value)
STEP = SearchAttributeKey.for_keyword(SearchAttribute.SAGA_STEP.value)
CAUSE = SearchAttributeKey.for_keyword(SearchAttribute.CAUSE_CODE.value)
QUEUE = SearchAttributeKey.for_keyword(SearchAttribute.EXCEPTION_QUEUE.value)
SYSTEM = SearchAttributeKey.for_keyword(SearchAttribute.SYSTEM.value)
CODE = SearchAttributeKey.for_keyword(SearchAttribute.PROJECT_CODE.value)
PARKED_SINCE = SearchAttributeKey.for_datetime(SearchAttribute.PARKED_SINCE.value)

REGION = SearchAttributeKey.for_keyword(SearchAttribute.REGION.value)
BUSINESS_KEY = SearchAttributeKey.for_keyword(SearchAttribute.BUSINESS_KEY.value)

_Facts = tuple[Any, ...]


def at_start(start: StartSaga) -> TypedSearchAttributes:
    """What a saga is found by from its first moment; set by whoever starts it. Plans are not listed."""
    if start.plan:
        return TypedSearchAttributes([])
    return TypedSearchAttributes(
        [
            SearchAttributePair(STATUS, SagaStatus.RUNNING.value),
            SearchAttributePair(BUSINESS_KEY, f"{start.system}/{start.record_id}"),
            SearchAttributePair(REGION, start.region),
        ]
    )


def summary_of(start: StartSaga) -> str:
    """What a run is, on one line of the Web UI."""
    return f"{type(start).__name__.removeprefix('Start')} {start.record_id}"[:180]


def origin_of(start: StartSaga) -> str:
    """Who started a run, and where to look closer."""
    return f"Started by {start.actor}, region {start.region}. Inspect: `trueup show {start.saga_id}`"


def publish(state: SagaState, stuck: StepRecord | None, before: _Facts, *, plan: bool) -> _Facts:
    """Publish what changed; returns what is published now, for the next call."""
    workflow.set_current_details(details(state.view()))
    facts: _Facts = (
        state.status.value,
        stuck.id if stuck else None,
        stuck.failure.cause.value if stuck and stuck.failure else None,
        stuck.failure.queue.value if stuck and stuck.failure else None,
        stuck.system if stuck else None,
        next(iter(state.codes.values()), None) if state.status.is_final or stuck else None,
        state.parked_since,
    )
    started = not before
    if plan or facts == before or (started and state.status is SagaStatus.RUNNING):
        # At the start the client has set them already: no event.
        return facts
    status, step, cause, queue, system, code, parked = facts
    updates: list[SearchAttributeUpdate[Any]] = [
        STATUS.value_set(status),
        _keyword(STEP, step),
        _keyword(CAUSE, cause),
        _keyword(QUEUE, queue),
        _keyword(SYSTEM, system),
        _moment(parked),
    ]
    if code:
        updates.append(CODE.value_set(code))
    workflow.upsert_search_attributes(updates)
    if stuck is not None:
        workflow.upsert_memo({"headline": state.headline[:500], "step": stuck.id})
    return facts


def _keyword(key: SearchAttributeKey[str], value: str | None) -> SearchAttributeUpdate[Any]:
    return key.value_unset() if value is None else key.value_set(value)


def _moment(value: datetime | None) -> SearchAttributeUpdate[Any]:
    return PARKED_SINCE.value_unset() if value is None else PARKED_SINCE.value_set(value)
