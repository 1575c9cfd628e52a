"""Rows about what is carried: paging, bulk, names, currencies, the authority over every field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, cast

import pytest

from canonical.failures import OutcomeUnknown, Refused
from canonical.money import exponent
from canonical.operations import BatchTicket, LineOutcome
from canonical.writes import VendorWrite
from connectors.ports import BulkPort
from rules.authority import unauthorised
from tests.acceptance.bench import Bench, NotApplicable
from tests.acceptance.operations import Operation
from tests.acceptance.rows import row
from tests.acceptance.subject import Route
from tests.support.moves import reading_of

NAMES = (
    "Zażółć gęślą jaźń 東京 株式会社 🚀",
    "Ünï ' \" \\ & <b>%2F/?#{{x}} ًعربي",
    "é versus e\u0301",
)
"""Scripts, quotes, markup, address characters, right-to-left text, composed and decomposed letters."""


@row(
    "Paging under change",
    "The change feed is read page by page while somebody changes records that were told already and "
    "records that "
    "are still to come. Nothing is lost, and no version of a record is told twice in one sweep.",
)
async def paging_under_change(bench: Bench) -> str:
    subject = bench.subject
    ids = await subject.moving()
    told: list[tuple[str, Any]] = []
    page = await subject.poll(None)
    pages = 1
    told += [(change.ref.id, change.modified_at) for change in page.changes]
    told_twice, still_to_come = told[0][0], ids[-1]
    assert page.cursor
    assert told_twice in ids
    assert still_to_come not in {id_ for id_, _ in told}
    await subject.move(told_twice)
    await subject.move(still_to_come)
    while page.more and pages < 50:
        page = await subject.poll(page.cursor)
        pages += 1
        told += [(change.ref.id, change.modified_at) for change in page.changes]
    assert 2 < pages < 50, "several pages, and the sweep ends although records move"
    assert [one for one, times in Counter(told).items() if times > 1] == [], "a version told twice"
    after = await subject.poll(page.cursor)
    later = {change.ref.id for change in after.changes}
    sweep = Counter(id_ for id_, _ in told if id_ in ids)
    assert set(ids) <= set(sweep) | later
    assert sweep[told_twice] == 2 or told_twice in later, "its second version was lost"
    assert {id_ for id_, times in sweep.items() if times > 1} <= {told_twice}
    assert set(ids) == set(sweep), "told in the sweep itself"
    if not later:
        return "nothing lost, nothing repeated"
    return "nothing lost, nothing repeated in a sweep; the next poll repeats its overlap"


@row(
    "Bulk with a bad line",
    "Several lines go in one bulk call and one of them is wrong: each line has an outcome of its own, "
    "and only "
    "the bad one is not there.",
)
async def bulk_partial_failure(bench: Bench) -> str:
    subject = bench.subject
    if subject.no_bulk is not None:
        assert not hasattr(subject.connector, "submit_batch"), "there is bulk, so it must be accepted"
        raise NotApplicable(subject.no_bulk)
    lines = await subject.bulk()
    assert [line.landed is None for line in lines] == [n == 1 for n in range(len(lines))]
    assert [line.there for line in lines] == [n != 1 for n in range(len(lines))]
    assert len(lines) > 2
    assert lines[1].told
    return "an outcome per line; the others landed"


def _batches(bench: Bench) -> tuple[BulkPort, Route]:
    subject, connector = bench.subject, bench.subject.connector
    if subject.batching is None:
        assert not hasattr(connector, "submit_batch"), "there are batches, so they must be accepted"
        raise NotApplicable("the connector takes no batches: no saga hands it any")
    return cast(BulkPort, connector), subject.batching


async def _outcomes(port: BulkPort, ticket: BatchTicket, writes: Sequence[VendorWrite]) -> list[LineOutcome]:
    outcomes = await port.batch_outcome(ticket, writes)
    assert outcomes is not None
    assert [outcome.key for outcome in outcomes] == [write.key for write in writes]
    return outcomes


@row(
    "Bulk, answer lost",
    "A batch is handed over and its answer is lost after the vendor has taken it. The outcome is unknown; "
    "handed over again under its key, every line is there once and has its outcome.",
)
async def bulk_answer_lost(bench: Bench) -> str:
    port, route = _batches(bench)
    writes = await bench.subject.batch()
    bench.subject.fault("drop_after", method=route.method, path=route.path)
    with pytest.raises(OutcomeUnknown):
        await port.submit_batch("window-1", writes)
    assert bench.subject.fired() == 1
    outcomes = await _outcomes(port, await port.submit_batch("window-1", writes), writes)
    assert all(outcome.landed and not outcome.differs for outcome in outcomes)
    assert bench.subject.landed_lines(writes) == [1] * len(writes)
    return "every line once"


@row(
    "Bulk, handed over twice",
    "The same batch is handed over twice, and once more under another key as after a lost ledger. Every line "
    "is there once, under the id that was told first.",
)
async def bulk_twice(bench: Bench) -> str:
    port, _ = _batches(bench)
    writes = await bench.subject.batch()
    told = []
    for key in ("window-1", "window-1", "window-2"):
        outcomes = await _outcomes(port, await port.submit_batch(key, writes), writes)
        told.append([outcome.landed for outcome in outcomes])
    assert told[0] == told[1] == told[2]
    assert all(told[0])
    assert bench.subject.landed_lines(writes) == [1] * len(writes)
    return "every line once"


@row(
    "Unicode", "Names in several scripts, with quotes, markup and address characters, come back as they went."
)
async def unicode_names(bench: Bench) -> str:
    subject = bench.subject
    for name in NAMES:
        write = subject.create(name)
        landed = await subject.connector.send(write)
        found = await subject.connector.find(write)
        assert found is not None
        assert found.id == landed.id
        assert await reading_of(subject.connector, write, landed) == write.expect
        (record,) = subject.made(write)
        assert subject.name_of(record) == name
        await subject.connector.undo(write, landed, None)
    return "unchanged"


@row(
    "Name of 300 characters",
    "It is held whole, or refused with a remedy before anything exists. It is never cut.",
)
async def long_name(bench: Bench) -> str:
    subject, name = bench.subject, "株" * 299 + "z"
    write = subject.create(name)
    try:
        await bench.perform(write)
    except Refused as refused:
        failure = refused.failure
    else:
        (record,) = subject.made(write)
        assert subject.name_of(record) == name
        return "held whole"
    assert failure.remedy
    assert subject.made(write) == []
    return f"refused ({failure.vendor_code or failure.status}), nothing there"


@row(
    "Currencies of zero, two and three decimals",
    "Amounts in JPY, EUR and KWD arrive digit for digit and are proven by reading them back.",
)
async def currencies(bench: Bench) -> str:
    subject = bench.subject
    for currency, amount in (("JPY", "1235"), ("EUR", "1234.05"), ("KWD", "1234.505")):
        assert -int(Decimal(amount).as_tuple().exponent) == exponent(currency)
        write = await subject.priced(currency, Decimal(amount))
        landed = await subject.connector.send(write)
        assert write.expect
        assert await reading_of(subject.connector, write, landed) == write.expect
        assert subject.amount_in(landed) == Decimal(amount)
    return "exact"


@row(
    "Authority over every field",
    "Every field of every body the connector can plan stands for a canonical field that the authority "
    "table lets "
    "us write to this system in that phase.",
)
async def authority(bench: Bench) -> str:
    subject = bench.subject
    writes = subject.plans()
    for operation in Operation:
        asked = await (await bench.move_to(bench.site)).asked(operation)
        writes += [] if isinstance(asked, str) else await asked.plan()
    assert {write.phase for write in writes}
    for write in writes:
        refusal = unauthorised(write, subject.roles)
        assert refusal is None, refusal
        body = write.body[write.body_root] if write.body_root else write.body
        # A removal has no body.
        assert set(write.sets) == set(body or ()), f"{write.title}: names fields that it does not set"
    stray = writes[0].model_copy(update={"sets": {}})
    with pytest.raises(Refused):
        await bench.perform(stray)
    return "all named and allowed; an unnamed one is refused"
