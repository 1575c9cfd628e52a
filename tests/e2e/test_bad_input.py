"""Bad input gets a clear answer that names record, field and remedy; nothing is written, nothing hangs."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from canonical.causes import Cause
from canonical.failures import Finding
from canonical.saga import RepairAction, SagaStatus, SagaView
from cli.local.deals import Deal, Line, salesforce_id
from tests.e2e.firm import Firm, Handle, local_firm, long_id

pytestmark = [pytest.mark.e2e, pytest.mark.anyio]

COMPLETE, FAILED, GATED, PARKED = (
    SagaStatus.COMPLETE,
    SagaStatus.FAILED,
    SagaStatus.GATED,
    SagaStatus.PARKED,
)
XTRA = {"product": salesforce_id("01t", 90), "entry": salesforce_id("01u", 900)}
"""A product that is sold and that nobody has put into the service catalogue."""
UNICODE_NAME = "株式会社ノースウィンド・トレーディング—Ñandú & Søn Čžš Ärger "
DEFECTS = (
    # service ADV: its item is not active in NetSuite
    ('items = { netsuite-emea = "32" }', 'items = { netsuite-emea = "99" }'),
    # service RUN: its template is not in Kantata
    ('template = "Managed service"', 'template = "Nobody made this one"'),
    # service LIC: delivers, in a role that HR does not know
    (
        'name = "Software licence"\ndelivers = false',
        'name = "Software licence"\ntemplate = "Advisory"\nbilling_method = "time_and_materials"\n'
        'revenue_method = "as_invoiced"\nitems = { netsuite-emea = "33" }\n'
        'roles = [{ role = "archaeologist" }]',
    ),
    ('consultant = "Consultant"', 'consultant = "Consultant"\narchaeologist = "Archaeologist"'),
    # the entity NL01 sells in a currency that NetSuite lacks
    ('country = "NL"\nbase_currency = "EUR"', 'country = "NL"\nbase_currency = "EUR"\ncurrencies = ["KWD"]'),
    (', KWD = "4" }', " }"),
)
"""What is wrong with this firm's configuration; service IMPL under NL01 and JP01 is in order."""


def spoilt(text: str) -> str:
    """The configuration with the defects of ``DEFECTS``."""
    for old, new in DEFECTS:
        assert text.count(old) == 1, (old, text.count(old))
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
async def firm(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Firm]:
    async with local_firm(tmp_path_factory.mktemp("bad"), config=spoilt) as firm:
        product = {"Id": XTRA["product"], "Name": "Palm reading", "ProductCode": "XTRA", "IsActive": True}
        entry = {
            "Id": XTRA["entry"],
            "Pricebook2Id": "01s000000000001AAA",
            "Product2Id": XTRA["product"],
            "UnitPrice": 1000,
            "IsActive": True,
            "CurrencyIsoCode": "EUR",
        }
        firm.control("sf-main", "POST", "seed", {"Product2": [product], "PricebookEntry": [entry]})
        firm.control("kantata-main", "POST", "seed", {"roles": [{"id": 8, "name": "Archaeologist"}]})
        yield firm


@contextmanager
def nothing_written(firm: Firm) -> Iterator[None]:
    """Every vendor has accepted nothing and holds what it held."""
    before, marks = firm.everything(), firm.marks()
    yield
    assert firm.marks() == marks
    assert firm.everything() == before


@dataclasses.dataclass(frozen=True)
class Bad:
    """A deal with one thing wrong, and the one finding that names it."""

    name: str
    cause: Cause
    field: str
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)
    without: tuple[str, ...] = ()
    put: dict[str, Any] = dataclasses.field(default_factory=dict)
    says: str = ""
    of: Callable[[Deal], str] = lambda deal: deal.id
    """The record that is at fault."""


def account(deal: Deal) -> str:
    return deal.account_id


ONE_DEFECT = (
    Bad("not approved", Cause.APPROVAL_MISSING, "approval_status", {"approval": "Pending"}, says="'Pending'"),
    Bad("never submitted", Cause.APPROVAL_MISSING, "approval_status", {"approval": None}),
    Bad("entity unknown", Cause.LEGAL_ENTITY_UNKNOWN, "legal_entity", {"entity": "XX99"}, says="'XX99'"),
    Bad("no entity", Cause.LEGAL_ENTITY_MISSING, "legal_entity", {"entity": None}),
    Bad(
        "currency not sold",
        Cause.CURRENCY_NOT_SOLD,
        "currency",
        {"currency": "JPY"},
        says="NL01 does not sell in JPY",
    ),
    Bad(
        "currency not in the ERP",
        Cause.CURRENCY_UNKNOWN_IN_ERP,
        "currency",
        {"currency": "KWD"},
        says="does not have KWD",
    ),
    Bad(
        "no service item",
        Cause.SERVICE_ITEM_MISSING,
        "service_code",
        {"lines": (Line("ADV", "10", "150"),)},
        says="item 99 is not active",
    ),
    Bad(
        "no template",
        Cause.TEMPLATE_MISSING,
        "service_code",
        {"lines": (Line("RUN", "1", "9000"),)},
        says="'Nobody made this one'",
    ),
    Bad(
        "role unknown",
        Cause.ROLE_UNKNOWN_IN_HR,
        "roles",
        {"lines": (Line("LIC", "1", "9000"),)},
        says="'archaeologist'",
    ),
    Bad(
        "service unknown",
        Cause.SERVICE_UNKNOWN,
        "service_code",
        put={"PricebookEntryId": XTRA["entry"]},
        says="'XTRA'",
    ),
    Bad(
        "does not add up",
        Cause.AMOUNT_MISMATCH,
        "amount",
        put={"UnitPrice": -500},
        says="has a negative amount",
    ),
    Bad("terms unknown", Cause.PAYMENT_TERMS_UNKNOWN, "payment_terms", {"terms": "Net 99"}, says="'Net 99'"),
    Bad("type unknown", Cause.DEAL_CLASS_UNCLEAR, "deal_type", {"type": "Barter"}, says="'Barter'"),
    Bad("an amendment", Cause.DEAL_IS_AMENDMENT, "deal_type", {"type": "Amendment"}),
    Bad(
        "no tax number", Cause.TAX_REGISTRATION_MISSING, "tax_registrations", {"tax_number": None}, of=account
    ),
    Bad(
        "no country", Cause.CLIENT_COUNTRY_MISSING, "address.country", without=("BillingCountry",), of=account
    ),
    Bad("no dates", Cause.DATES_MISSING, "start", without=("Start_Date__c", "End_Date__c"), says="missing"),
    Bad("ends first", Cause.DATES_MISSING, "start", put={"End_Date__c": "2026-01-01"}, says="2026-01-01"),
    Bad("no account", Cause.CLIENT_MISSING, "client", without=("AccountId",)),
    Bad("no lines", Cause.LINES_MISSING, "lines", {"lines": (), "amount": "88000"}),
    Bad(
        "name of 255 characters",
        Cause.NAME_TOO_LONG,
        "name",
        {"account": (UNICODE_NAME * 9)[:255]},
        says="255 characters; the ERP holds 83",
        of=account,
    ),
    Bad(
        "deal name of 120 characters",
        Cause.NAME_TOO_LONG,
        "name",
        {"name": (UNICODE_NAME * 9)[:120]},
        says="120 characters",
    ),
)


async def parked_on_findings(firm: Firm, deal: Deal) -> tuple[Handle, SagaView, tuple[Finding, ...]]:
    """Start a deal that must park, and check what every such saga shows."""
    handle = await firm.start(deal)
    view = await firm.until(handle, PARKED)
    (step,) = view.parked_steps
    assert step.id == "validate"
    assert step.failure is not None
    findings = step.failure.findings
    assert findings
    for one in findings:
        assert one.message.endswith(".")
        assert len(one.remedy) > 10
        assert one.record is not None, one
        assert one.field, one
    # The saga as a whole says the first of them, with whose turn it is.
    assert view.cause is findings[0].cause
    assert view.queue is findings[0].queue
    assert view.project_code is None
    return handle, view, findings


@pytest.mark.parametrize("bad", ONE_DEFECT, ids=lambda bad: bad.name)
async def test_one_defect_is_one_finding(firm: Firm, bad: Bad) -> None:
    deal = firm.seed(firm.deal(**bad.changes), without=bad.without, **bad.put)
    with nothing_written(firm):
        handle, _, findings = await parked_on_findings(firm, deal)
    assert {one.cause for one in findings} == {bad.cause}, [one.message for one in findings]
    for one in findings:
        assert one.field == bad.field
        assert one.record is not None
        assert one.record.id == long_id(bad.of(deal))
        assert one.record.url
        assert bad.says in one.message
    # What a list shows, and what waits for its owner.
    attributes = (await handle.describe()).search_attributes
    assert attributes["SagaStatus"] == ["parked"]
    assert attributes["CauseCode"] == [bad.cause.value]
    case = await firm.case(handle)
    assert case.failure.cause is bad.cause
    assert case.owner


async def test_all_defects_of_a_deal_come_at_once(firm: Firm) -> None:
    deal = firm.deal(
        approval="Rejected",
        tax_number=None,
        terms="Net 99",
        lines=(
            Line("IMPL", "1", "64000"),
            Line("IMPL", "1", "12000", entity="XX99"),
            Line("ADV", "10", "150"),
            Line("LIC", "1", "9000"),
        ),
    )
    firm.seed(deal, without=("BillingCountry", "Start_Date__c"), UnitPrice=-500)
    with nothing_written(firm):
        _, view, findings = await parked_on_findings(firm, deal)
    assert {one.cause for one in findings} == {
        Cause.APPROVAL_MISSING,
        Cause.TAX_REGISTRATION_MISSING,
        Cause.CLIENT_COUNTRY_MISSING,
        Cause.PAYMENT_TERMS_UNKNOWN,
        Cause.AMOUNT_MISMATCH,
        Cause.LEGAL_ENTITY_UNKNOWN,
        Cause.SERVICE_ITEM_MISSING,
        Cause.ROLE_UNKNOWN_IN_HR,
        Cause.DATES_MISSING,
    }
    # Every line of the three that can be placed has its own finding about dates.
    assert len([one for one in findings if one.cause is Cause.DATES_MISSING]) == 3
    assert f"{len(findings)} findings, nothing was written" in view.headline


@pytest.mark.parametrize(
    ("changes", "cause", "words"),
    [
        (None, Cause.DEAL_NOT_FOUND, "There is no opportunity"),
        (
            {"stage": "Negotiation/Review"},
            Cause.DEAL_NOT_WON,
            "is not won: its stage is 'Negotiation/Review'",
        ),
        ({"stage": "Closed Lost"}, Cause.DEAL_NOT_WON, "is not won: its stage is 'Closed Lost'"),
    ],
    ids=["does not exist", "not won yet", "lost"],
)
async def test_a_deal_that_cannot_be_meant_ends_the_saga(
    firm: Firm, changes: dict[str, Any] | None, cause: Cause, words: str
) -> None:
    deal = firm.deal(**(changes or {}))
    if changes is not None:
        firm.seed(deal)
    with nothing_written(firm):
        handle = await firm.start(deal)
        view = await firm.until(handle, FAILED)
        ended = await firm.end(handle)
    assert isinstance(ended, ApplicationError)
    assert ended.type == cause.value
    assert words in ended.message
    failure = ended.details[0]["failure"]
    assert failure["remedy"]
    assert long_id(deal.id) in ended.message
    assert view.headline.startswith("Not started: nothing was written.")


async def test_two_customers_with_the_tax_number_are_asked_about(firm: Firm) -> None:
    deal = firm.seed(firm.deal())
    twins = [_customer(id_, f"Twin {id_}", deal.tax_number) for id_ in ("9001", "9002")]
    firm.control("netsuite-emea", "POST", "seed", {"customer": twins})
    with nothing_written(firm):
        view = await firm.until(await firm.start(deal), GATED)
    (gate,) = [step.gate for step in view.gates]
    assert gate is not None
    assert set(gate.choices) == {"9001", "9002", "new"}
    assert "same tax registration" in gate.choices["9001"]
    assert gate.figures["Account"] == long_id(deal.account_id)
    assert gate.roles == ("master-data",)


async def test_similar_names_are_shown_with_their_likeness_and_never_chosen(firm: Firm) -> None:
    deal = firm.seed(firm.deal(account="Zwanenberg Logistics B.V."))
    names = {"9101": "Zwanenberg Logistic", "9102": "ZWANENBERG LOGISTICS N.V.", "9103": "Zwanenberg Bakery"}
    rows = [_customer(id_, name, None) for id_, name in names.items()]
    firm.control("netsuite-emea", "POST", "seed", {"customer": rows})
    with nothing_written(firm):
        view = await firm.until(await firm.start(deal), GATED)
    (gate,) = [step.gate for step in view.gates]
    assert gate is not None
    assert set(gate.choices) == {"9101", "9102", "new"}
    assert "% similar" in gate.choices["9101"]


def _customer(id_: str, name: str, tax_number: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": id_,
        "companyName": name,
        "subsidiary": {"id": "3"},
        "currency": {"id": "1"},
        "currencyList": {"items": [{"currency": {"id": "1"}}]},
    }
    if tax_number:
        registration = {"nexusCountry": {"id": "NL"}, "taxRegistrationNumber": tax_number}
        row["taxRegistration"] = {"items": [registration]}
    return row


async def test_a_300_character_name_in_a_repair_is_a_finding_like_any_other(firm: Firm) -> None:
    """Salesforce itself holds no longer name than 255 characters; a person's amendment may."""
    deal = firm.seed(firm.deal(tax_number=None))
    long_name = (UNICODE_NAME * 9)[:300]
    with nothing_written(firm):
        handle, view, _ = await parked_on_findings(firm, deal)
        amended = {"deal": {"name": long_name}}
        await firm.resolve(handle, "validate", RepairAction.RETRY_AMENDED, amended=amended)
        view = await firm.when(
            handle, lambda now: now.revision > view.revision and len(_findings(now)) > 1, want="more findings"
        )
    findings = _findings(view)
    assert {one.cause for one in findings} == {Cause.NAME_TOO_LONG, Cause.TAX_REGISTRATION_MISSING}
    assert any("300 characters" in one.message for one in findings)


def _findings(view: SagaView) -> tuple[Finding, ...]:
    return tuple(
        one for step in view.parked_steps if step.failure is not None for one in step.failure.findings
    )


async def test_the_longest_names_that_fit_go_through(firm: Firm) -> None:
    """The limit is exact: one character less than a finding is carried to every system, uncut."""
    deal = firm.seed(firm.deal(account=(UNICODE_NAME * 3)[:82] + "x", name="株" * 60))
    handle = await firm.start(deal)
    await firm.until(handle, COMPLETE)
    assert deal.account in {row["companyName"] for row in firm.records("netsuite-emea", "customer")}
    assert any(deal.name in row["title"] for row in firm.records("kantata-main", "workspaces"))


async def test_the_command_line_says_the_same_with_its_exit_code(firm: Firm) -> None:
    deal = firm.seed(firm.deal(tax_number=None))
    with nothing_written(firm):
        absent = await firm.trueup("start", "opportunity-to-project", "006000000009999AAA", "--wait")
        code, out, err = await firm.trueup("start", "opportunity-to-project", long_id(deal.id), "--wait")
    assert absent[0] == 1
    assert "There is no opportunity 006000000009999AAA" in absent[1] + absent[2]
    assert code == 3, out + err
    assert "TAX_REGISTRATION_MISSING" in out
    assert "Enter the tax registration on the CRM account" in out
    assert "Traceback" not in "".join((*absent[1:], out, err))
