"""The Salesforce connector over real HTTP against the simulated organisation: every port operation."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from canonical.causes import Cause
from canonical.engagement import BillingMethod
from canonical.failures import Conflict, Defect, RateLimited, Refused
from canonical.money import Money
from canonical.refs import RecordRef
from canonical.writes import Landed, UndoResult, VendorWrite
from connectors.ports import CrmPort
from connectors.salesforce.settings import Mapping
from tests.acceptance.salesforce import DATA, SYSTEM, Subject
from tests.support.moves import reading_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def subject() -> AsyncIterator[Subject]:
    one = Subject()
    yield one
    await one.close()


def sell(subject: Subject, deal: dict[str, Any], lines: list[dict[str, Any]]) -> str:
    """A won deal with priced lines; its id."""
    products = subject.seed(
        "Product2", [{"Name": f"Service {n}", "ProductCode": f"SVC-{n}", "IsActive": True} for n in range(2)]
    )
    currency = deal.get("CurrencyIsoCode", "EUR")
    books = [book for book in subject.records("Pricebook2") if book.get("IsStandard")]
    standard = {"Name": "Standard", "IsStandard": True}
    book = books[0]["Id"] if books else subject.seed("Pricebook2", [standard])[0]
    entries = subject.seed(
        "PricebookEntry",
        [{"Pricebook2Id": book, "Product2Id": product, "UnitPrice": 1, "IsActive": True,
          "CurrencyIsoCode": currency} for product in products],
    )  # fmt: skip
    (id_,) = subject.seed(
        "Opportunity",
        [{"Name": "Rollout", "AccountId": subject.account, "StageName": "Closed Won",
          "CloseDate": "2026-10-30", "Pricebook2Id": book, "CurrencyIsoCode": currency, **deal}],
    )  # fmt: skip
    subject.seed(
        "OpportunityLineItem",
        [{"OpportunityId": id_, "PricebookEntryId": entries[n % 2], "Quantity": 1, **line}
         for n, line in enumerate(lines)],
    )  # fmt: skip
    return id_


def queries(subject: Subject) -> int:
    return sum(call["path"].startswith(f"{DATA}/query") for call in subject.calls())


# --- reading -------------------------------------------------------------------------------------------


async def test_it_is_a_crm(subject: Subject) -> None:
    port: CrmPort = subject.connector
    assert port.system == SYSTEM
    assert len(port.mapping_digest) == 64
    assert port.link("Opportunity", subject.deal) == f"{subject.running.base_url}/{subject.deal}"


async def test_a_deal_is_read_with_one_query(subject: Subject) -> None:
    levels = [subject.account]
    for name in ("Parent", "Grandparent", "Top"):
        (parent,) = subject.seed("Account", [{"Name": name, "BillingCountry": "France"}])
        await subject.connector.client.update("Account", levels[-1], {"ParentId": parent}, what="test")
        levels.append(parent)
    (payer,) = subject.seed(
        "Account",
        [{"Name": "Payer", "BillingCountry": "Japan", "Tax_Id__c": "T1",
          "Billing_Email__c": "ap@payer.example", "ERP_Customer_Id__c": "C-9"}],
    )  # fmt: skip
    id_ = sell(
        subject,
        {"Bill_To__c": payer, "SOW_Number__c": "SOW-1", "SOW_Signed_On__c": "2026-10-01"},
        [{"UnitPrice": 100.25, "Billing_Method__c": "T&M", "End_Date__c": "2027-01-31"},
         {"UnitPrice": 50, "ServiceDate": "2026-12-01", "Contract_Currency__c": "USD",
          "Contract_Rate__c": 1.1}],
    )  # fmt: skip
    before = queries(subject)
    deal = await subject.connector.read_deal(id_[:15])
    assert queries(subject) - before == 1
    assert deal is not None
    assert deal.ref.id == id_
    assert deal.is_won
    assert deal.amount == Money(amount=Decimal("150.25"), currency="EUR")
    assert [client.name for client in deal.hierarchy] == ["Top", "Grandparent", "Parent"]
    assert deal.client is not None
    assert deal.client.key == subject.account
    assert deal.client.name == "Zażółć gęślą 東京 GmbH"
    assert deal.client.parent_key == levels[1]
    assert deal.bill_to is not None
    assert deal.bill_to.address.country == "JP"
    assert deal.bill_to.erp_ids == {"netsuite-emea": "C-9"}
    assert deal.bill_to.billing_email == "ap@payer.example"
    assert deal.sow is not None
    assert deal.sow.signed_on == date(2026, 10, 1)
    first, second = sorted(deal.lines, key=lambda line: -line.amount.amount)
    assert (first.billing_method, first.service_code) == (BillingMethod.TIME_AND_MATERIALS, "SVC-0")
    assert second.conversion is not None
    assert (second.conversion.to_currency, second.conversion.rate) == ("USD", Decimal("1.1"))


async def test_deep_hierarchies_need_further_queries(subject: Subject) -> None:
    below = subject.account
    for n in range(6):
        (parent,) = subject.seed("Account", [{"Name": f"Level {n}"}])
        await subject.connector.client.update("Account", below, {"ParentId": parent}, what="test")
        below = parent
    deal = await subject.connector.read_deal(subject.deal)
    assert deal is not None
    assert [client.name for client in deal.hierarchy] == [f"Level {n}" for n in (5, 4, 3, 2, 1, 0)]


@pytest.mark.parametrize("id_", ["", "nonsense", "006", "0061x'--000000000", "001gK0000000001QAA"])
async def test_what_cannot_be_a_deal_is_not_asked_for(subject: Subject, id_: str) -> None:
    assert await subject.connector.read_deal(id_) is None
    assert subject.calls() == []


async def test_a_deal_that_does_not_exist(subject: Subject) -> None:
    assert await subject.connector.read_deal("006gK00000000zz") is None


@pytest.mark.parametrize(
    ("currency", "price", "expected"), [("JPY", 120000, "120000"), ("KWD", 12.35, "12.350")]
)
async def test_other_decimals(subject: Subject, currency: str, price: float, expected: str) -> None:
    id_ = sell(subject, {"CurrencyIsoCode": currency}, [{"UnitPrice": price}])
    deal = await subject.connector.read_deal(id_)
    assert deal is not None
    assert deal.lines[0].amount == Money(amount=Decimal(expected), currency=currency)


async def test_an_organisation_with_one_currency(subject: Subject) -> None:
    subject.configure(multi_currency=False, corporate_currency="EUR")
    connector = subject.build(mapping=Mapping(default_currency="EUR"))
    try:
        deal = await connector.read_deal(subject.deal)
        assert deal is not None
        assert deal.currency == "EUR"
    finally:
        await connector.close()


async def test_country_codes_of_picklist_organisations(subject: Subject) -> None:
    subject.configure(state_country_picklists=True)
    await subject.connector.client.update(
        "Account", subject.account, {"BillingCountryCode": "GB"}, what="test"
    )
    deal = await subject.connector.read_deal(subject.deal)
    assert deal is not None
    assert deal.client is not None
    assert deal.client.address.country == "GB"


async def test_a_hidden_field_is_named_and_its_return_is_noticed(subject: Subject) -> None:
    assert await subject.connector.read_deal(subject.deal) is not None
    subject.configure(hidden_fields={"Opportunity": ["PO_Number__c"]})
    with pytest.raises(Refused) as caught:
        await subject.connector.read_deal(subject.deal)
    failure = caught.value.failure
    assert failure.cause is Cause.CONFIGURATION
    assert "PO_Number__c" in failure.message
    assert "opportunity.purchase_order" in failure.message
    subject.configure(hidden_fields={})
    assert await subject.connector.read_deal(subject.deal) is not None


async def test_field_lists_are_asked_for_once(subject: Subject) -> None:
    for _ in range(3):
        await subject.connector.read_deal(subject.deal)
    assert sum("describe" in call["path"] for call in subject.calls()) == 3


async def test_a_second_snapshot_of_the_same_revision_is_equal(subject: Subject) -> None:
    first = await subject.connector.read_deal(subject.deal)
    assert await subject.connector.read_deal(subject.deal) == first
    await subject.connector.client.update("Account", subject.account, {"BillingCity": "Köln"}, what="test")
    changed = await subject.connector.read_deal(subject.deal)
    assert first is not None
    assert changed is not None
    assert changed.revision != first.revision


# --- polling -------------------------------------------------------------------------------------------


async def everything(subject: Subject, cursor: str | None, limit: int) -> tuple[list[str], str]:
    seen: list[str] = []
    while True:
        page = await subject.connector.won_deals_since(cursor, limit=limit)
        seen += [change.ref.id for change in page.changes]
        cursor = page.cursor
        if not page.more:
            return seen, cursor


def won(n: int) -> dict[str, Any]:
    return {"Name": f"Deal {n}", "StageName": "Closed Won", "CloseDate": "2026-10-30"}


async def test_polling_tells_every_won_deal_once_a_sweep(subject: Subject) -> None:
    ids = subject.seed("Opportunity", [won(n) for n in range(25)])
    subject.seed("Opportunity", [{**won(99), "StageName": "Prospecting"}])
    seen, cursor = await everything(subject, None, 7)
    assert sorted(seen) == sorted([subject.deal, *ids])
    again, _ = await everything(subject, cursor, 7)
    assert sorted(again) == sorted(seen), "all changes are within the overlap"


async def test_polling_without_overlap_goes_on_behind_the_watermark(subject: Subject) -> None:
    await subject.connector.close()
    subject.connector = subject.build(overlap_minutes=0)
    _, cursor = await everything(subject, None, 500)
    await subject.connector.client.update("Opportunity", subject.deal, {"NextStep": "x"}, what="test")
    (new,) = subject.seed("Opportunity", [won(1)])
    seen, _ = await everything(subject, cursor, 500)
    assert set(seen) == {subject.deal, new}


async def test_paging_under_change_loses_nothing(subject: Subject) -> None:
    ids = subject.seed("Opportunity", [won(n) for n in range(9)])
    page = await subject.connector.won_deals_since(None, limit=4)
    assert page.more
    moved = page.changes[0].ref.id
    await subject.connector.client.update("Opportunity", moved, {"NextStep": "x"}, what="test")
    await subject.connector.client.update("Opportunity", ids[-1], {"NextStep": "x"}, what="test")
    (late,) = subject.seed("Opportunity", [won(77)])
    rest, _ = await everything(subject, page.cursor, 4)
    told = [change.ref.id for change in page.changes] + rest
    assert set(told) == {subject.deal, late, *ids}
    assert rest.count(moved) == 1, "told again with its change"


async def test_the_first_poll_can_begin_at_going_live(subject: Subject) -> None:
    await subject.connector.close()
    subject.connector = subject.build(first_poll_from=datetime.now(UTC) + timedelta(days=1))
    page = await subject.connector.won_deals_since(None)
    assert (page.changes, page.more) == ((), False)


async def test_a_query_of_several_pages(subject: Subject) -> None:
    subject.configure(page_size=200)
    subject.seed("Account", [{"Name": f"A{n}"} for n in range(450)])
    rows = await subject.connector.client.query("SELECT Id FROM Account", what="test")
    assert len({row["Id"] for row in rows}) == 451
    assert sum("-200" in call["path"] or "-400" in call["path"] for call in subject.calls()) == 2


async def test_lines_beyond_the_first_page(subject: Subject) -> None:
    subject.configure(page_size=200)
    id_ = sell(subject, {}, [{"UnitPrice": 1} for _ in range(230)])
    deal = await subject.connector.read_deal(id_)
    assert deal is not None
    assert len(deal.lines) == 230
    assert sum(line.amount.amount for line in deal.lines) == 230


async def test_polling_leaves_the_last_calls_to_the_sagas(subject: Subject) -> None:
    subject.configure(api_limit=100, api_used=95)
    await subject.connector.won_deals_since(None)
    with pytest.raises(RateLimited) as caught:
        await subject.connector.won_deals_since(None)
    assert caught.value.failure.retry_after_seconds is not None
    assert await subject.connector.read_deal(subject.deal) is not None


async def test_somebody_elses_cursor_is_our_defect(subject: Subject) -> None:
    with pytest.raises(Defect):
        await subject.connector.won_deals_since("42")


# --- writing back and undoing --------------------------------------------------------------------------


async def test_write_back_is_proven_and_found(subject: Subject) -> None:
    write = subject.update("P-1, P-2")
    assert await subject.connector.find(write) is None
    before = await subject.connector.before_image(write)
    assert before == dict.fromkeys(write.restore)
    landed = await subject.connector.send(write)
    assert landed.id == subject.deal
    assert await reading_of(subject.connector, write, landed) == write.expect
    found = await subject.connector.find(write)
    assert found is not None
    assert found.version is not None
    deal = await subject.connector.read_deal(subject.deal)
    assert deal is not None
    assert deal.project_code == "P-1, P-2"


async def test_undoing_an_update_restores_it_and_may_be_repeated(subject: Subject) -> None:
    first, second = subject.update("P-1"), subject.update("P-2")
    await subject.connector.send(first)
    before = json.loads(json.dumps(await subject.connector.before_image(second)))
    landed = await subject.connector.send(second)
    for _ in range(2):
        outcome = await subject.connector.undo(second, landed, before)
        assert outcome.result is UndoResult.RESTORED
    assert subject.record("Opportunity", subject.deal)["Project_Code__c"] == "P-1"
    assert len([w for w in subject.writes() if w["operation"] == "update"]) == 3, (
        "the second undo wrote nothing"
    )


async def test_undo_refuses_what_somebody_changed(subject: Subject) -> None:
    write = subject.update()
    before = await subject.connector.before_image(write)
    landed = await subject.connector.send(write)
    await subject.connector.client.update(
        "Opportunity", subject.deal, {"Project_Status__c": "On hold"}, what="test"
    )
    with pytest.raises(Conflict) as caught:
        await subject.connector.undo(write, landed, before)
    assert caught.value.failure.cause is Cause.CHANGED_BY_SOMEBODY
    assert caught.value.failure.field == "Project_Status__c"
    assert subject.record("Opportunity", subject.deal)["Project_Code__c"] == "P-2026-0042"


async def test_undo_of_nothing(subject: Subject) -> None:
    gone = Landed(id="001gK00000000zzAAA")
    assert (await subject.connector.undo(subject.create(), gone, None)).result is UndoResult.NOTHING_THERE
    write = subject.update()
    landed = Landed(id=subject.deal)
    assert (await subject.connector.undo(write, landed, None)).result is UndoResult.RELEASED
    await subject.connector.client.delete("Opportunity", subject.deal, what="test")
    assert (await subject.connector.undo(write, landed, {})).result is UndoResult.NOTHING_THERE
    with pytest.raises(Refused) as caught:
        await subject.connector.before_image(write)
    assert caught.value.failure.cause is Cause.RECORD_VANISHED


async def test_a_conditional_undo_asks_the_vendor_to_refuse_a_race(subject: Subject) -> None:
    await subject.connector.close()
    subject.connector = subject.build(conditional_undo=True)
    subject.configure(honour_if_unmodified_since=True)
    write = subject.update()
    before = await subject.connector.before_image(write)
    landed = await subject.connector.send(write)
    assert (await subject.connector.undo(write, landed, before)).result is UndoResult.RESTORED
    with pytest.raises(Conflict):
        await subject.connector.client.update(
            "Opportunity", subject.deal, {"NextStep": "x"}, what="test",
            unmodified_since=datetime.now(UTC) - timedelta(days=1),
        )  # fmt: skip


async def test_an_amended_input_changes_the_record_that_landed(subject: Subject) -> None:
    landed = await subject.connector.send(subject.create("First name"))
    amended = subject.create("Second name")
    assert (await subject.connector.amend(amended, landed)).id == landed.id
    assert await reading_of(subject.connector, amended, landed) == amended.expect
    await subject.connector.client.delete("Account", landed.id, what="test")
    with pytest.raises(Refused) as caught:
        await subject.connector.amend(amended, landed)
    assert caught.value.failure.cause is Cause.RECORD_VANISHED


async def test_a_created_record_is_deleted_while_untouched(subject: Subject) -> None:
    write = subject.create()
    landed = await subject.connector.send(write)
    assert await reading_of(subject.connector, write, landed) == write.expect
    assert (await subject.connector.undo(write, landed, None)).result is UndoResult.DELETED
    assert (await subject.connector.undo(write, landed, None)).result is UndoResult.NOTHING_THERE
    assert await subject.connector.find(write) is None


async def test_a_changed_record_is_retired_and_marked_where_there_is_a_way(subject: Subject) -> None:
    write = subject.create(retire=True)
    landed = await subject.connector.send(write)
    await subject.connector.client.update("Account", landed.id, {"Site": "somebody"}, what="test")
    for _ in range(2):
        assert (await subject.connector.undo(write, landed, None)).result is UndoResult.INACTIVATED
    record = subject.record("Account", landed.id)
    assert record["Lifecycle__c"] == "Retired"
    assert write.options["saga"] in record["Saga_Mark__c"]
    assert await subject.connector.find(write) is not None, "retired ones are still found"


async def test_a_changed_record_without_a_way_to_retire_waits_for_a_person(subject: Subject) -> None:
    write = subject.create()
    landed = await subject.connector.send(write)
    await subject.connector.client.update("Account", landed.id, {"Site": "somebody"}, what="test")
    with pytest.raises(Conflict) as caught:
        await subject.connector.undo(write, landed, None)
    assert caught.value.failure.cause is Cause.CHANGED_BY_SOMEBODY


async def test_figures_land_to_the_last_decimal(subject: Subject) -> None:
    id_ = sell(subject, {"CurrencyIsoCode": "KWD"}, [{"UnitPrice": 12.345}])
    ref = RecordRef(system=SYSTEM, type="Opportunity", id=id_)
    figures = {
        "invoiced": Money(amount=Decimal("12.345"), currency="KWD"),
        "balance": Money(amount=Decimal("0.000"), currency="KWD"),
    }
    (planned,) = subject.connector.plan_invoice_feedback(subject.context(), ref, figures, revision="1")
    write = VendorWrite.model_validate_json(planned.model_dump_json())
    before = await subject.connector.before_image(write)
    landed = await subject.connector.send(write)
    assert await reading_of(subject.connector, write, landed) == write.expect
    assert await subject.connector.find(write) is not None
    assert Decimal(str(subject.record("Opportunity", id_)["Invoiced__c"])) == Decimal("12.345")
    assert (await subject.connector.undo(write, landed, before)).result is UndoResult.RESTORED
    assert subject.record("Opportunity", id_)["Invoiced__c"] is None


async def test_figures_in_the_wrong_currency_do_not_read_back(subject: Subject) -> None:
    ref = RecordRef(system=SYSTEM, type="Opportunity", id=subject.deal)
    usd = {"paid": Money(amount=Decimal("1.00"), currency="USD")}
    (write,) = subject.connector.plan_invoice_feedback(subject.context(), ref, usd)
    landed = await subject.connector.send(write)
    assert (await reading_of(subject.connector, write, landed))["CurrencyIsoCode"] == "EUR"
