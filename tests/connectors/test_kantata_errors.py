"""Kantata: the error table, polling cursors and deletions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from canonical.causes import Cause
from canonical.failures import (
    Conflict,
    OutcomeUnknown,
    RateLimited,
    Refused,
    SystemFailure,
    Transient,
    Unauthorised,
)
from connectors.kantata.errors import error_table, read_errors
from connectors.kantata.events import Cursor, advance, events_were_lost, to_deletions
from connectors.kantata.schemas import Event

SYSTEM = "kantata-main"
T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


# --- errors ------------------------------------------------------------------------------------------


def failure(status: int, *errors: dict[str, str], write: bool = True) -> SystemFailure:
    response = httpx.Response(status, json={"errors": list(errors)}, headers={"x-request-id": "req-1"})
    return error_table(20).failure(read_errors(response), system=SYSTEM, write=write, what="Test")


@pytest.mark.parametrize(
    ("status", "error", "kind", "cause"),
    [
        (401, {"type": "oauth", "message": "Invalid"}, Unauthorised, Cause.CREDENTIALS_REJECTED),
        (403, {"type": "system", "message": "no"}, Refused, Cause.CREDENTIALS_REJECTED),
        (422, {"type": "validation", "field": "title", "message": "Title is too long"}, Refused,
         Cause.NAME_TOO_LONG),
        (422, {"type": "validation", "field": "name", "message": "has already been taken"}, Conflict,
         Cause.VERSION_CONFLICT),
        (422, {"type": "validation", "field": "project_tracker_template_id", "message": "unknown"}, Refused,
         Cause.TEMPLATE_MISSING),
        (422, {"type": "validation", "field": "role_id", "message": "unknown"}, Refused,
         Cause.ROLE_UNKNOWN_IN_DELIVERY),
        (422, {"type": "validation", "field": "currency", "message": "no"}, Refused, Cause.CURRENCY_NOT_SOLD),
        (422, {"type": "validation", "field": "status_key", "message": "no"}, Refused, Cause.CONFIGURATION),
        (422, {"type": "validation", "message": "has been invoiced"}, Conflict, Cause.CHANGED_BY_SOMEBODY),
        (422, {"type": "validation", "message": "something else"}, Refused, Cause.VENDOR_REFUSED),
        (400, {"type": "system", "message": "malformed"}, Refused, Cause.VENDOR_REFUSED),
        (404, {"type": "system", "message": "gone"}, Refused, Cause.RECORD_VANISHED),
        (429, {"type": "system", "message": "slow down"}, RateLimited, Cause.RATE_LIMITED),
        (418, {"type": "system", "message": "new"}, Refused, Cause.VENDOR_REFUSED),
        (503, {"type": "system", "message": "away"}, OutcomeUnknown, Cause.OUTCOME_UNKNOWN),
    ],
)  # fmt: skip
def test_error_table(status: int, error: dict[str, str], kind: type[SystemFailure], cause: Cause) -> None:
    found = failure(status, error)
    assert type(found) is kind
    assert found.failure.cause is cause
    assert found.failure.vendor_request_id == "req-1"


def test_a_read_that_meets_503_is_tried_again_and_a_429_has_our_pause() -> None:
    assert type(failure(503, {"type": "system", "message": "away"}, write=False)) is Transient
    assert failure(429, {"type": "system", "message": "slow"}).failure.retry_after_seconds == 20


@pytest.mark.parametrize("content", [b"<html>bad gateway</html>", b"", b"[]", b'{"errors": "text"}'])
def test_a_foreign_error_body_is_no_reason_to_stumble(content: bytes) -> None:
    assert read_errors(httpx.Response(502, content=content)) in ([], ())


# --- cursors and events ------------------------------------------------------------------------------


def test_overlap_rereads_but_tells_each_version_once() -> None:
    overlap = 10 * MINUTE
    fresh, cursor = advance(Cursor(), [("2", T0 + MINUTE), ("1", T0)], overlap)
    assert fresh == ["1", "2"]
    again = Cursor.decode(cursor.encode())
    assert again == cursor
    assert again.start(overlap) == T0 - 9 * MINUTE
    # A late commit inside the overlap, a repetition, and a newer version of a known record.
    late = [("3", T0 + timedelta(seconds=30)), ("1", T0), ("2", T0 + 2 * MINUTE)]
    fresh, cursor = advance(again, late, overlap)
    assert fresh == ["3", "2"]
    fresh, cursor = advance(cursor, late, overlap)
    assert fresh == []
    _, cursor = advance(cursor, [("4", T0 + 60 * MINUTE)], overlap)
    assert len(cursor.seen) == 1


def test_a_backlog_goes_on_where_its_last_portion_ended() -> None:
    _, cursor = advance(Cursor(), [("1", T0)], 10 * MINUTE, resume=T0)
    again = Cursor.decode(cursor.encode())
    assert again.start(10 * MINUTE) == T0 - timedelta(seconds=1)
    _, done = advance(again, [("1", T0)], 10 * MINUTE)
    assert done.start(10 * MINUTE) == T0 - 10 * MINUTE


def test_an_empty_first_poll_moves_nothing_and_old_cursors_have_lost_events() -> None:
    assert advance(Cursor(), [], MINUTE) == ([], Cursor())
    assert Cursor.decode(None).start(MINUTE) is None
    assert events_were_lost(Cursor(T0), T0 + timedelta(days=9, seconds=1))
    assert not events_were_lost(Cursor(T0), T0 + timedelta(days=8))
    assert not events_were_lost(Cursor(), T0)


def test_deletions_come_once_whatever_the_feed_repeats_or_reorders() -> None:
    def event(id_: str, kind: str, subject: str, minutes: int) -> Event:
        return Event(id=id_, event_type=kind, subject_id=subject, created_at=T0 + minutes * MINUTE)

    events = [
        event("3", "expense:deleted", "7", 3),
        event("1", "time_entry:deleted", "5", 1),
        event("2", "time_entry:deleted", "5", 2),
        event("4", "time_entry:updated", "6", 4),
    ]
    changes = to_deletions(events, SYSTEM)
    assert [(one.ref.type, one.ref.id, one.deleted) for one in changes] == [
        ("time_entries", "5", True),
        ("expenses", "7", True),
    ]
