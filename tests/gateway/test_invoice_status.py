"""``GET /v1/invoice-status``: what was issued, how it stands since, and who may see it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from canonical.erp_billing import InvoiceState
from canonical.invoicing import DocumentKind, DocumentState
from tests.gateway.house import House
from tests.gateway.readings import (
    ACCOUNT,
    DEAL,
    PROJECT,
    TARGETS,
    make,
    read,
    show,
    standing,
)
from tests.gateway.test_api import get
from tests.gateway.test_hooks import problem

pytestmark = pytest.mark.anyio
PATH = "/v1/invoice-status"
PARTS = ("paid", "credited", "withheld", "written_off", "balance")
AMOUNTS = ("gross", *PARTS)


async def listed(home: House, client: str = "portal", **query: Any) -> list[dict[str, Any]]:
    answer = await get(home, PATH, client, **query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    for one in items:
        balances(one["standing"])
    return items


async def only(home: House, client: str = "portal", **query: Any) -> dict[str, Any]:
    (one,) = await listed(home, client, **query)
    return one


def balances(told: dict[str, Any] | None) -> None:
    """The equation that every answer keeps, and that all its amounts are of one currency."""
    if told is None or told["gross"] is None:
        assert told is None or all(told[name] is None for name in AMOUNTS)
        return
    parts = sum((Decimal(told[name]["amount"]) for name in PARTS), Decimal(0))
    assert parts == Decimal(told["gross"]["amount"])
    assert {told[name]["currency"] for name in AMOUNTS} == {"EUR"}


def eur(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "EUR"}


async def test_an_invoice_that_feedback_has_not_read_says_what_was_issued_and_no_more(home: House) -> None:
    key = await make(home.ledger, "880")
    for name in (key, "INV880", "880"):
        one = await only(home, invoice=name)
        assert (one["key"], one["state"], one["number"]) == (key, "issued", "INV880")
        assert (one["net"], one["tax"], one["gross"]) == (eur("1000.00"), eur("190.00"), eur("1190.00"))
        assert one["standing"] is None, "unknown, not zero"
    assert await listed(home, invoice="INV88") == []


async def test_part_paid_and_overdue(home: House) -> None:
    await make(home.ledger, "880")
    row = await read(home.ledger, standing("880", paid=50_000))
    one = await only(home, invoice="INV880")
    told = one["standing"]
    assert (told["status"], told["settled"], told["disputed"]) == ("part paid", False, False)
    assert [told[name] for name in AMOUNTS] == [
        eur("1190.00"), eur("500.00"), eur("0.00"), eur("0.00"), eur("0.00"), eur("690.00")
    ]  # fmt: skip
    assert told["refunded"] is None, "none is known"
    assert (told["due_on"], told["overdue"], told["ageing"], told["collection"]) == (
        "2026-11-19", True, "days_1_30", "overdue"
    )  # fmt: skip
    assert told["read_at"] == told["changed_at"] == row.read_at.isoformat().replace("+00:00", "Z")
    assert told["saga_id"] == row.saga_id
    # What was read back at issue stays as it was.
    assert one["gross"] == eur("1190.00")


async def test_credited_withheld_written_off_refunded_and_disputed(home: House) -> None:
    await read(home.ledger, standing("880", credited=119_000, refunded=119_000))
    await read(home.ledger, standing("881", paid=100_000, withheld=19_000))
    await read(home.ledger, standing("882", written_off=119_000))
    await read(home.ledger, standing("883", credited=19_000, disputed=True))
    credited, withheld, written, disputed = [one["standing"] for one in await listed(home)]
    assert (credited["status"], credited["credited"], credited["refunded"]) == (
        "credited", eur("1190.00"), eur("1190.00")
    )  # fmt: skip
    assert (withheld["status"], withheld["withheld"]) == ("paid", eur("190.00"))
    assert (written["status"], written["written_off"]) == ("written off", eur("1190.00"))
    for told in (credited, withheld, written):
        assert (told["settled"], told["overdue"], told["ageing"], told["collection"]) == (
            True, False, None, "nothing due"
        )  # fmt: skip
    assert (disputed["status"], disputed["collection"], disputed["disputed"]) == (
        "part paid", "disputed", True
    )  # fmt: skip
    assert (disputed["overdue"], disputed["ageing"]) == (True, "days_1_30")


async def test_late_is_what_is_late_where_the_seller_is(home: House) -> None:
    await read(home.ledger, standing("880", due=date(2026, 11, 29)))
    await read(home.ledger, standing("881", due=date(2026, 11, 29), seller="US01"))
    await read(home.ledger, standing("882", due=None))
    # 23:30 of the due day in Berlin, then half past midnight; in New York the day is still the due day.
    home.clock.turn(hours=13)
    assert [one["standing"]["overdue"] for one in await listed(home)] == [False, False, False]
    home.clock.turn(hours=1)
    assert [one["standing"]["overdue"] for one in await listed(home)] == [True, False, False]
    home.clock.turn(days=91)
    ages = [one["standing"]["ageing"] for one in await listed(home)]
    assert ages == ["days_over_90", "days_over_90", "current"], "without a due day nothing is ever late"


async def test_what_the_erps_own_people_made_is_listed_too(home: House) -> None:
    await read(home.ledger, standing("990", paid=119_000), shown=False)
    for name in ("INV990", "990"):
        one = await only(home, "germany", invoice=name)
        assert (one["key"], one["state"], one["kind"], one["record_id"]) == (None, None, "invoice", "990")
        assert (one["net"], one["tax"], one["gross"]) == (eur("1000.00"), eur("190.00"), eur("1190.00"))
        assert (one["issued_on"], one["legal_entity"]) == ("2026-10-20", "DE01")
        assert one["standing"]["status"] == "paid"
        assert (one["standing"]["stale"], one["standing"]["shown_in"]) == (None, []), "no deal of ours"


async def test_what_was_voided_or_deleted_owes_nothing_that_is_known(home: House) -> None:
    await make(home.ledger, "880")
    first = await read(home.ledger, standing("880"))
    second = await read(home.ledger, standing("880", at=1, state=InvoiceState.REFUSED), against=first.digest)
    told = (await only(home, invoice="880"))["standing"]
    assert (told["status"], told["settled"], told["gross"]) == ("voided", True, eur("1190.00"))
    assert (told["overdue"], told["ageing"], told["collection"]) == (None, None, None)
    await read(home.ledger, standing("880", at=2, state=InvoiceState.ABSENT), against=second.digest)
    told = (await only(home, invoice="880"))["standing"]
    assert (told["status"], told["gross"], told["balance"]) == ("voided", None, None)


async def test_credits_and_drafts_have_no_reading_of_their_own(home: House) -> None:
    invoice = await make(home.ledger, "880")
    await make(home.ledger, "880", kind=DocumentKind.CREDIT, corrects=invoice, key="credit-1")
    await make(home.ledger, None, key="draft-1", state=DocumentState.DRAFTING.value, issued_on=None)
    await read(home.ledger, standing("880", credited=119_000))
    by_key = {one["key"]: one["standing"] for one in await listed(home)}
    assert by_key[invoice]["status"] == "credited"
    assert (by_key["credit-1"], by_key["draft-1"]) == (None, None)


async def test_whether_crm_and_delivery_show_it(home: House) -> None:
    await make(home.ledger, "880")
    home.clock.turn(minutes=1)
    since = home.clock().isoformat().replace("+00:00", "Z")
    await read(home.ledger, standing("880", paid=50_000))
    home.clock.turn(minutes=5)
    deal, account, project = TARGETS
    await show(home.ledger, deal)
    told = (await only(home, invoice="880"))["standing"]
    assert (told["stale"], told["stale_since"]) == (True, since)
    by_kind = {one["kind"]: one for one in told["shown_in"]}
    assert {kind: one["record"]["id"] for kind, one in by_kind.items()} == {
        "opportunity": DEAL.id, "account": ACCOUNT.id, "project": PROJECT.id
    }  # fmt: skip
    assert (by_kind["opportunity"]["stale"], by_kind["opportunity"]["since"]) == (False, None)
    assert by_kind["opportunity"]["shown_at"]
    for kind in ("account", "project"):
        assert by_kind[kind] | {"record": None} == {
            "kind": kind, "record": None, "stale": True, "since": since, "shown_at": None
        }  # fmt: skip
    await show(home.ledger, account)
    await show(home.ledger, project)
    told = (await only(home, invoice="880"))["standing"]
    assert (told["stale"], told["stale_since"]) == (False, None)


async def test_another_entitys_or_regions_caller_sees_nothing(home: House) -> None:
    await make(home.ledger, "880", entity="US01")
    await read(home.ledger, standing("880", seller="US01"))
    await read(home.ledger, standing("990", seller="US01"), shown=False)
    await make(home.ledger, "700", region="amer")
    await read(home.ledger, standing("701"), region="amer", shown=False)
    for query in ({}, {"invoice": "INV880"}, {"invoice": "INV990"}, {"invoice": "700"}, {"invoice": "701"}):
        assert await listed(home, "germany", **query) == []
    assert [one["record_id"] for one in await listed(home)] == ["880", "990"]
    problem(await get(home, PATH, "germany", legal_entity="US01"), 403)
    problem(await get(home, PATH, "america"), 403)
    assert len(await listed(home, legal_entity="US01")) == 2
    assert await listed(home, legal_entity="DE01") == []


async def test_a_reading_of_another_entity_is_not_told_with_the_document(home: House) -> None:
    """Finance moved the invoice to another subsidiary: its figures are that one's."""
    await make(home.ledger, "880")
    await read(home.ledger, standing("880", seller="US01", paid=50_000))
    assert (await only(home, "germany"))["standing"] is None
    assert (await only(home))["standing"]["status"] == "part paid"


async def test_pages_hold_everything_once(home: House) -> None:
    for number in range(880, 885):
        await make(home.ledger, str(number))
        await make(home.ledger, f"x{number}", entity="US01")
    for number in (*range(882, 885), *range(990, 994)):
        await read(home.ledger, standing(str(number)), shown=False)
    whole = [one["record_id"] for one in await listed(home, "germany")]
    assert whole == [*map(str, range(880, 885)), *map(str, range(990, 994))]
    for limit in (1, 2, 3, 5, 9, 200):
        told: list[str] = []
        after: int | None = 0
        while after is not None:
            body = (await get(home, PATH, "germany", after=after, limit=limit)).json()
            assert 0 < len(body["items"]) <= limit
            told += [one["record_id"] for one in body["items"]]
            after = body["next"]
        assert told == whole
    for wrong in ({"limit": 0}, {"limit": 201}, {"after": -1}, {"after": "x"}, {"invoice": "\x00"}):
        problem(await get(home, PATH, **wrong), 422)
