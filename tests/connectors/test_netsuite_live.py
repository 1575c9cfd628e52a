"""The NetSuite connector over real HTTP: every ERP operation against the simulated account."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal

import pytest

from canonical.authority import Phase
from canonical.causes import Cause
from canonical.engagement import BillingMethod
from canonical.failures import Conflict, Refused
from canonical.terms import PurchaseOrder
from canonical.writes import UndoResult, VendorWrite, resolve_write
from connectors.ports import BulkPort, ErpPort
from tests.acceptance.netsuite import Subject
from tests.connectors import netsuite_samples as samples
from tests.support.moves import reading_of

pytestmark = pytest.mark.anyio
PROJECT, CONTRACT = "project:006A1.DE01.EUR", "contract:006A1.DE01.EUR"


@pytest.fixture
async def subject() -> AsyncIterator[Subject]:
    subject = Subject()
    yield subject
    await subject.close()


def test_the_connector_fills_both_ports() -> None:
    def needs(erp: ErpPort, bulk: BulkPort) -> None:
        """Checked by mypy."""

    subject = Subject()
    needs(subject.connector, subject.connector)
    assert subject.connector.batch_limit == 100
    subject.control.close()
    subject.running.stop()


# --- reads ------------------------------------------------------------------------------------------------


async def test_reference_in_our_codes_and_cached(subject: Subject) -> None:
    reference = await subject.connector.read_reference(items=["31", "99", "not-an-id"])
    assert set(reference.entities) == {"DE01", "UK01"}
    assert reference.items == ("31",)
    assert reference.payment_terms == ("Net 30",)
    assert reference.base_currency_by_entity == {"DE01": "EUR", "UK01": "GBP"}
    assert reference.closed_through["DE01"] == date(2026, 10, 31)
    before = len(subject.calls())
    await subject.connector.read_reference(items=["31"])
    assert len(subject.calls()) - before == 1  # items only


async def test_clients_are_found_by_key_tax_number_id_and_name(subject: Subject) -> None:
    acme, _ = await subject.perform([subject.create("Acme GmbH")])
    plain = {"companyName": "Acmé Nord GmbH", "subsidiary": {"id": "3"}, "isInactive": True}
    subject.seed(
        customer=[
            {"id": "900", **plain},
            {**plain, "id": "901", "companyName": "Other", "defaultTaxReg": "811000001", "isInactive": False},
            {**plain, "id": "902", "companyName": "Elsewhere", "isInactive": False},
            {**plain, "id": "903", "companyName": "Unrelated", "isInactive": False},
        ]
    )
    who = samples.client(name="ACME Ltd", erp_ids={samples.SYSTEM: "902"})
    found = {row.ref.id: row for row in await subject.connector.search_clients(who)}
    assert set(found) == {acme["client:001A1.id"], "901", "902"}
    ours = found[acme["client:001A1.id"]]
    assert ours.external_id is not None
    assert "001A1" in ours.external_id
    assert (ours.entities, ours.currencies) == (("DE01",), ("EUR",))
    assert (ours.city, ours.country) == ("Berlin", "DE")
    inactive = await subject.connector.search_clients(samples.client("x", "Acmé", tax_registrations=()))
    assert [(row.ref.id, row.inactive) for row in inactive] == [("900", True)]


async def test_a_quote_in_a_name_is_only_a_quote(subject: Subject) -> None:
    await subject.perform([subject.create("O'Reilly & Söhne 東京")])
    who = samples.client("other", "O'", tax_registrations=())
    assert await subject.connector.search_clients(who) == []
    assert len(await subject.connector.search_clients(samples.client(name="' OR 1=1 --"))) == 1  # by key


async def test_one_client_by_id(subject: Subject) -> None:
    values, _ = await subject.perform([subject.create("Acme GmbH")])
    row = await subject.connector.read_client(values["client:001A1.id"])
    assert row is not None
    assert row.name == "Acme GmbH"
    assert await subject.connector.read_client("999999") is None
    assert await subject.connector.read_client("1 OR 1=1") is None


async def test_formats_and_hosts_of_the_account_do_not_matter(subject: Subject) -> None:
    subject.configure(
        suiteql_date_format="%d.%m.%Y",
        suiteql_timestamp_format="%m/%d/%Y %I:%M %p",
        location_host="1234567_SB1.SUITETALK.API.NETSUITE.COM",
    )
    reference = await subject.connector.read_reference(items=[])
    assert reference.closed_through["DE01"] == date(2026, 10, 31)
    landed = await subject.connector.send(subject.create("Acme GmbH"))
    assert await subject.connector.read_client(landed.id) is not None


# --- clients ----------------------------------------------------------------------------------------------


async def test_a_hierarchy_over_two_entities(subject: Subject) -> None:
    parent = samples.setup_of(samples.client("001P", "Mutter AG", tax_registrations=()))
    child = samples.setup_of(
        samples.client("001C", "Tochter Ltd", parent_key="001P", tax_registrations=()),
        entities=("UK01",),
        currencies=("GBP", "EUR"),
        parent_symbol="client:001P",
    )
    plan = subject.connector.plan_clients(subject.context(), [parent, child])
    values, _ = await subject.perform(plan)
    row = await subject.connector.read_client(values["client:001P.id"])
    assert row is not None
    assert row.entities == ("DE01", "UK01")
    record = subject.record("customer", values["client:001C.id"])
    assert record["parent"] == {"id": values["client:001P.id"]}
    assert len(record["currencyList"]["items"]) == 2
    again, _ = await subject.perform(plan)
    assert again == values
    assert len(subject.records("customer")) == 2


async def test_an_existing_client_gets_only_what_is_missing(subject: Subject) -> None:
    values, _ = await subject.perform([subject.create("Acme GmbH")])
    row = await subject.connector.read_client(values["client:001A1.id"])
    setup = samples.setup_of(
        samples.client(), entities=("DE01", "UK01"), currencies=("EUR", "GBP"), existing=row
    )
    plan = subject.connector.plan_clients(subject.context(), [setup])
    values, done = await subject.perform(plan, values)
    row = await subject.connector.read_client(values["client:001A1.id"])
    assert row is not None
    assert (row.entities, row.currencies) == (("DE01", "UK01"), ("EUR", "GBP"))
    # A lost answer to the relationship is resolved by its natural key.
    relationship = next(w for w, _ in done if w.operation == "extend_client_entity")
    assert await subject.connector.find(relationship) is not None
    outcomes = [await subject.connector.undo(write, landed, None) for write, landed in reversed(done)]
    assert [o.result for o in outcomes] == [UndoResult.DELETED, UndoResult.RELEASED]


# --- contract and project -----------------------------------------------------------------------------------


async def test_from_nothing_to_an_active_contract(subject: Subject) -> None:
    of = samples.contract(
        samples.line("L1", "1000.10"),
        samples.line(
            "L2",
            "600.00",
            billing_method=BillingMethod.FIXED_SCHEDULE,
            schedule=samples.schedule((date(2027, 1, 31), "300.00"), (date(2027, 2, 28), "300.00")),
        ),
        purchase_orders=(PurchaseOrder(number="PO-7"),),
    )
    values, _ = await subject.contract(of)
    assert values[f"{PROJECT}.code"] == "PRJ-00001"
    order = subject.record("salesOrder", values[f"{CONTRACT}.id"])
    assert order["otherRefNum"] == "PO-7"
    assert order["item"]["items"][1]["billingSchedule"] == {"id": values["schedule:006A1.L2.id"]}
    before = await subject.connector.read_baseline(of, values)
    assert before.amount.amount == Decimal("1600.10")
    assert before.billing_methods == ("time_and_materials", "fixed_schedule")
    assert (before.project_code, before.client_id) == ("PRJ-00001", values["client:001A1.id"])
    assert (before.contract_approved, before.project_open) == (False, False)
    after = subject.context(phase=Phase.AFTER_APPROVAL)
    await subject.perform(subject.connector.plan_activation(after, of), values)
    active = await subject.connector.read_baseline(of, values)
    assert (active.contract_approved, active.project_open) == (True, True)


@pytest.mark.parametrize(("currency", "amount"), [("JPY", "1000000"), ("KWD", "12.345")])
async def test_other_exponents_land_exactly(subject: Subject, currency: str, amount: str) -> None:
    of = samples.contract(samples.line(amount=amount, currency=currency), currency=currency)
    values, _ = await subject.contract(of)
    baseline = await subject.connector.read_baseline(of, values)
    assert (baseline.amount.amount, baseline.currency) == (Decimal(amount), currency)


async def test_an_account_that_rounds_away_a_decimal_is_noticed(subject: Subject) -> None:
    subject.seed(currency=[{"id": "9", "name": "BHD", "symbol": "BHD", "currencyPrecision": 2}])
    await subject.connector.close()
    subject.connector = subject.build(mapping={"currencies": {"BHD": "9"}})
    of = samples.contract(samples.line(amount="12.345", currency="BHD"), currency="BHD")
    with pytest.raises(AssertionError, match=r"12\.350"):
        await subject.contract(of)


async def test_a_vanished_contract_is_named(subject: Subject) -> None:
    values, done = await subject.contract()
    write, landed = done[-1]
    await subject.connector.undo(write, landed, None)
    with pytest.raises(Refused) as caught:
        await subject.connector.read_baseline(samples.contract(), values)
    assert caught.value.failure.cause is Cause.RECORD_VANISHED


async def test_a_too_long_name_is_never_cut(subject: Subject) -> None:
    name = "ü" * 300
    limit = (await subject.connector.read_reference(items=[])).limits["client.name"]
    assert len(name) > limit  # what validation makes a finding of
    await subject.perform([subject.create(name)])
    assert subject.records("customer")[0]["companyName"] == name


# --- amended input ----------------------------------------------------------------------------------------


async def test_an_amended_contract_changes_the_order_in_place(subject: Subject) -> None:
    values, done = await subject.contract()
    landed = done[-1][1]
    amended = samples.contract(samples.line("L1", "700.00"), samples.line("L3", "50.00"))
    plan = subject.connector.plan_contract_and_project(subject.context(), samples.contract_setup(amended))
    write = resolve_write(plan[-1], values)
    assert write.key == done[-1][0].key
    again = await subject.connector.amend(write, landed)
    assert again.id == landed.id
    assert await reading_of(subject.connector, write, again) == write.expect
    assert len(subject.records("salesOrder")) == 1
    patches = [w for w in subject.writes() if w["method"] == "PATCH"]
    assert set(patches[-1]["body"]) == {"item"}
    await subject.connector.amend(write, landed)
    assert len([w for w in subject.writes() if w["method"] == "PATCH"]) == len(patches)


async def test_what_places_a_record_legally_is_not_amended(subject: Subject) -> None:
    values, done = await subject.contract()
    moved = samples.contract(entity="UK01", name="Acme rollout").model_copy(
        update={"key": samples.contract().key}
    )
    plan = subject.connector.plan_contract_and_project(subject.context(), samples.contract_setup(moved))
    with pytest.raises(Refused, match="does not change subsidiary"):
        await subject.connector.amend(resolve_write(plan[0], values), done[1][1])


# --- undo ---------------------------------------------------------------------------------------------------


async def test_undo_leaves_nothing_and_lists_used_up_numbers(subject: Subject) -> None:
    _, done = await subject.contract()
    outcomes = [await subject.connector.undo(write, landed, None) for write, landed in reversed(done)]
    assert {o.result for o in outcomes} == {UndoResult.DELETED}
    assert [o.gap for o in outcomes] == ["SO1", "PRJ-00001", None]
    for type_ in ("customer", "job", "salesOrder"):
        assert subject.records(type_) == []
    again = [await subject.connector.undo(write, landed, None) for write, landed in done]
    assert {o.result for o in again} == {UndoResult.NOTHING_THERE}


async def test_what_is_referred_to_is_inactivated_and_marked(subject: Subject) -> None:
    values, done = await subject.contract()
    by_type = {write.record_type: (write, landed) for write, landed in done}
    for type_ in ("job", "customer"):  # an order stands on both
        for _ in (1, 2):
            outcome = await subject.connector.undo(*by_type[type_], None)
            assert outcome.result is UndoResult.INACTIVATED
        record = subject.record(type_, by_type[type_][1].id)
        assert record["isInactive"] is True
        assert record["custentity_trueup_saga"] == f"undone by {samples.SAGA}"
    assert subject.record("job", values[f"{PROJECT}.id"])["entityStatus"] == {"id": "1"}
    # Inactive ones are found, so nothing is made twice.
    write = by_type["customer"][0]
    found = await subject.connector.find(write)
    assert found is not None
    assert found.id == values["client:001A1.id"]


async def approval(subject: Subject) -> tuple[VendorWrite, dict[str, object]]:
    write = await subject.update()
    return write, await subject.connector.before_image(write)


async def test_an_update_is_restored_unless_somebody_changed_it(subject: Subject) -> None:
    write, before = await approval(subject)
    assert before == {"orderStatus": {"id": "A"}}
    assert await subject.connector.find(write) is None
    landed = await subject.connector.send(write)
    assert await subject.connector.find(write) is not None
    outcome = await subject.connector.undo(write, landed, before)
    assert outcome.result is UndoResult.RESTORED
    assert subject.record("salesOrder", landed.id)["orderStatus"] == {"id": "A"}
    assert (await subject.connector.undo(write, landed, before)).result is UndoResult.RESTORED
    other = write.model_copy(update={"body": {"orderStatus": {"id": "C"}}})
    await subject.connector.send(write)
    with pytest.raises(Conflict) as caught:
        await subject.connector.undo(other, landed, before)
    assert caught.value.failure.cause is Cause.CHANGED_BY_SOMEBODY


# --- doctor -------------------------------------------------------------------------------------------------


async def test_doctor_names_what_is_wrong(subject: Subject) -> None:
    assert {check.state for check in await subject.connector.check()} == {"ok"}
    wrong = subject.build(
        mapping={
            "payment_terms": {"Net 90": "77"},
            "custom": {"order_saga": "custbody_missing", "time_reverses": "custcol_missing"},
        }
    )
    subject.configure(concurrency_limit=3)
    checks = {check.check: check for check in await wrong.check()}
    assert "payment terms 'Net 90' -> 77" in checks["mapped ids"].detail
    assert "salesOrder.custbody_missing" in checks["field map"].detail
    assert "timeBill.custcol_missing" in checks["field map"].detail
    assert "custcol_missing" in checks["billing queries"].detail
    assert "allows 3" in checks["concurrency"].detail
    assert all(check.remedy for check in checks.values() if check.state == "broken")
    await wrong.close()


async def test_links_are_the_configured_pages(subject: Subject) -> None:
    assert subject.connector.link("job", "7") == f"{subject.running.base_url}/services/rest/record/v1/job/7"
    configured = subject.build(links={"job": "https://1.app.netsuite.com/app/job?id={id}"})
    assert configured.link("job", "7") == "https://1.app.netsuite.com/app/job?id=7"
    await configured.close()
