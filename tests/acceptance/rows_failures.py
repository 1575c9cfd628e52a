"""Rows about refusals, limits and broken connections: what the saga is told, and that nothing is guessed."""

from __future__ import annotations

from typing import Any

import pytest

from canonical.failures import Conflict, OutcomeUnknown, RateLimited, Refused, Transient
from canonical.writes import VendorWrite
from tests.acceptance.bench import Bench
from tests.acceptance.rows import row


async def _ready(bench: Bench) -> tuple[VendorWrite, dict[str, Any]]:
    """A create that is not there, and where faults meet it; the token is fetched, so they meet nothing "
    "else."""
    write = bench.subject.create()
    assert await bench.subject.connector.find(write) is None
    return write, {"method": bench.subject.creating.method, "path": bench.subject.creating.path}


@row(
    "Conflict",
    "The vendor says in its own words that the record is there already, and in another answer 409: both are "
    "conflicts with a remedy, and nothing is retried blindly.",
)
async def conflict(bench: Bench) -> str:
    subject = bench.subject
    write, where = await _ready(bench)
    subject.fault("business", message=subject.taken, **where)
    with pytest.raises(Conflict) as own:
        await bench.perform(write)
    assert own.value.failure.maybe_landed is False
    subject.fault("error_before", status=409, **where)
    with pytest.raises(Conflict) as plain:
        await bench.perform(write)
    assert plain.value.failure.status == 409
    assert (subject.fired(), subject.made(write)) == (2, [])
    assert await bench.perform(write), "nothing stands in the way of the retry"
    code = own.value.failure.vendor_code
    return f"conflict ({own.value.failure.status}{f' {code}' if code else ''}, and 409)"


@row(
    "Refusal",
    "A business rule of the vendor refuses a create, and in another answer 422: a person gets the "
    "vendor's words "
    "and a remedy; after the repair the same step goes through.",
)
async def refusal(bench: Bench) -> str:
    subject = bench.subject
    write, where = await _ready(bench)
    subject.fault("business", message="Credit hold by finance", **where)
    with pytest.raises(Refused) as own:
        await bench.perform(write)
    failure = own.value.failure
    assert "Credit hold by finance" in failure.message
    assert failure.remedy
    assert failure.maybe_landed is False
    subject.fault("error_before", status=422, **where)
    with pytest.raises(Refused):
        await bench.perform(write)
    assert (subject.fired(), subject.made(write)) == (2, [])
    assert await bench.perform(write)
    return f"for a person with the {failure.queue.value.replace('_', ' ')} queue ({failure.status})"


@row(
    "429 without Retry-After",
    "The vendor asks for patience and names no delay: the saga waits, nothing counts as sent.",
)
async def rate_limit(bench: Bench) -> str:
    subject = bench.subject
    write, where = await _ready(bench)
    subject.fault("error_before", status=429, **where)
    with pytest.raises(RateLimited) as caught:
        await bench.perform(write)
    delay = caught.value.failure.retry_after_seconds
    subject.fault("rate_limit", **where)
    with pytest.raises(RateLimited) as own:
        await bench.perform(write)
    assert (subject.fired(), subject.made(write)) == (2, [])
    assert await bench.perform(write)
    pause = "the saga's own pause" if delay is None else f"{delay} s"
    words = f"waits {pause}"
    if own.value.failure.status != 429:
        words += f"; its own limit ({own.value.failure.status}) {own.value.failure.retry_after_seconds} s"
    return words


@row(
    "429 with Retry-After", "The same with a delay named by the vendor, which is obeyed for reads and writes."
)
async def retry_after(bench: Bench) -> str:
    subject = bench.subject
    write, where = await _ready(bench)
    look = {"method": subject.looking.method, "path": subject.looking.path}
    subject.fault("rate_limit", retry_after=7, **look)
    with pytest.raises(RateLimited) as reading:
        await subject.connector.find(write)
    subject.fault("rate_limit", retry_after=11, **where)
    with pytest.raises(RateLimited) as writing:
        await subject.connector.send(write)
    delays = [one.value.failure.retry_after_seconds for one in (reading, writing)]
    assert (delays, subject.fired(), subject.made(write)) == ([7, 11], 2, [])
    return "waits as told"


@row("5xx on a read", "500, 502 and 503 to a read, which changes nothing: it is tried again soon.")
async def server_error_on_read(bench: Bench) -> str:
    subject = bench.subject
    write, _ = await _ready(bench)
    for status in (500, 502, 503):
        look = {"method": subject.looking.method, "path": subject.looking.path}
        subject.fault("error_before", status=status, **look)
        with pytest.raises(Transient):
            await bench.perform(write)
    assert (subject.fired(), subject.made(write)) == (3, [])
    assert await bench.perform(write)
    return "tried again"


@row(
    "5xx on a write",
    "500, 502 and 503 to a create, once without and once after it was stored: both look the same from "
    "outside, "
    "so the outcome is unknown, and the next attempt looks before it sends.",
)
async def server_error_on_write(bench: Bench) -> str:
    subject = bench.subject
    write, where = await _ready(bench)
    for status in (500, 502, 503):
        subject.fault("error_before", status=status, **where)
        with pytest.raises(OutcomeUnknown):
            await bench.perform(write)
    assert subject.made(write) == []
    subject.fault("error_after", status=502, **where)
    with pytest.raises(OutcomeUnknown):
        await bench.perform(write)
    assert subject.fired() == 4
    assert await bench.perform(write)
    assert len(subject.made(write)) == 1
    return "unknown; looked for, one record"


@row(
    "Reset in mid-body",
    "The connection is reset in the middle of an answer. A read is tried again; a write may have landed, "
    "and did.",
)
async def reset_mid_body(bench: Bench) -> str:
    subject = bench.subject
    write, where = await _ready(bench)
    subject.fault("reset_mid_body", **where)
    with pytest.raises(OutcomeUnknown):
        await bench.perform(write)
    subject.fault("reset_mid_body", method=subject.looking.method, path=subject.looking.path)
    with pytest.raises(Transient):
        await bench.perform(write)
    assert subject.fired() == 2
    assert await bench.perform(write)
    assert len(subject.made(write)) == 1
    assert subject.creating.seen(subject.calls()) == 1
    return "read: tried again; write: unknown, then found"


@row(
    "Not reachable",
    "No connection comes about: nothing was sent, and the saga may simply try again.",
)
async def not_reachable(bench: Bench) -> str:
    subject = bench.subject
    write, _ = await _ready(bench)
    subject.running.stop()
    with pytest.raises(Transient) as caught:
        await bench.perform(write)
    assert caught.value.failure.maybe_landed is False
    with pytest.raises(Transient):
        await subject.connector.send(write)
    assert all(check.check for check in await subject.connector.check())
    return "not sent; tried again"
