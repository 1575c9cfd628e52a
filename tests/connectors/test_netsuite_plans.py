"""NetSuite plans: order, keys, symbols, bodies, authority. No network."""

from __future__ import annotations

from datetime import date

import pytest

from canonical.authority import Phase
from canonical.causes import Cause
from canonical.engagement import BillingMethod, RevenueMethod
from canonical.failures import Refused
from canonical.operations import ErpClient
from canonical.refs import RecordRef
from canonical.terms import PurchaseOrder
from canonical.writes import KeyStyle, VendorWrite, WriteKind, resolve_write, symbol
from connectors.netsuite.mapping import shape_of
from connectors.netsuite.plans import Planner
from tests.connectors import netsuite_samples as samples


def planner(**mapping: object) -> Planner:
    return Planner(samples.SYSTEM, samples.settings(mapping=mapping))


def existing(entities: tuple[str, ...], currencies: tuple[str, ...]) -> ErpClient:
    ref = RecordRef(system=samples.SYSTEM, type="customer", id="55")
    return ErpClient(ref=ref, name="Acme GmbH", entities=entities, currencies=currencies)


# --- clients -----------------------------------------------------------------------------------------


def test_new_client_is_upserted_by_its_shared_stamp() -> None:
    (write,) = planner().clients(samples.context("client"), [samples.setup_of(samples.client())])
    assert write.method == "PUT"
    assert write.path.endswith("/customer/eid:{external_id}")
    assert write.path_values == {"external_id": write.stamp}
    assert write.key == "netsuite-emea|ensure_client|001A1|g1|1"
    assert write.shared == "netsuite-emea|ensure_client|001A1"
    assert write.symbol == "client:001A1"
    assert write.key_style is KeyStyle.NATIVE
    assert write.headers["X-NetSuite-PropertyNameValidation"] == "Error"
    assert write.body["companyName"] == "Acme GmbH"
    assert write.body["subsidiary"] == {"id": "3"}
    assert write.body["currency"] == {"id": "4"}
    assert write.body["terms"] == {"id": "2"}
    assert write.body["defaultTaxReg"] == "DE811000001"
    assert write.expect == {"name": "Acme GmbH", "legal_entity": "DE01", "currency": "EUR"}
    samples.assert_authorised(write)


def test_parents_come_first_and_get_the_entity_before_their_child_does() -> None:
    parent = samples.client("001P", "Acme Holding")
    child = samples.client("001C", "Acme UK", parent_key="001P")
    writes = planner().clients(
        samples.context("client"),
        [
            samples.setup_of(child, entities=("UK01",), parent_symbol="client:001P", currencies=("GBP",)),
            samples.setup_of(parent, entities=("DE01",)),
        ],
    )
    assert [(w.operation, w.symbol) for w in writes] == [
        ("ensure_client", "client:001P"),
        ("extend_client_entity", "client-entity:001P.UK01"),
        ("ensure_client", "client:001C"),
    ]
    assert writes[1].body == {"entity": {"id": symbol("client:001P")}, "subsidiary": {"id": "7"}}
    assert writes[2].body["parent"] == {"id": symbol("client:001P")}
    for write in writes:
        samples.assert_authorised(write)


def test_entities_travel_up_through_every_level() -> None:
    top, middle = samples.client("001T", "Top"), samples.client("001M", "Middle", parent_key="001T")
    leaf = samples.client("001L", "Leaf", parent_key="001M")
    writes = planner().clients(
        samples.context("client"),
        [
            samples.setup_of(leaf, entities=("UK01",), parent_symbol="client:001M"),
            samples.setup_of(middle, parent_symbol="client:001T"),
            samples.setup_of(top),
        ],
    )
    assert [w.symbol for w in writes] == [
        "client:001T",
        "client-entity:001T.UK01",
        "client:001M",
        "client-entity:001M.UK01",
        "client:001L",
    ]


def test_existing_client_is_only_extended() -> None:
    setup = samples.setup_of(
        samples.client(),
        entities=("DE01", "UK01"),
        currencies=("EUR", "GBP"),
        existing=existing(("DE01",), ("EUR",)),
    )
    currency, relationship = planner().clients(samples.context("client"), [setup])
    assert (currency.kind, currency.method) == (WriteKind.UPDATE, "PATCH")
    assert currency.target == symbol("client:001A1")
    assert currency.body == {"currencyList": {"items": [{"currency": {"id": "2"}}]}}
    assert currency.expect == {"currency:GBP": True}
    assert relationship.operation == "extend_client_entity"
    assert currency.shared == relationship.shared == "netsuite-emea|ensure_client|001A1"
    for write in (currency, relationship):
        samples.assert_authorised(write)
    again = samples.context("client").model_copy(update={"shared_generations": {relationship.shared: 2}})
    assert [one.key.split("|")[3] for one in planner().clients(again, [setup])] == ["g2", "g2"]
    complete = setup.model_copy(update={"existing": existing(("UK01", "DE01"), ("GBP", "EUR"))})
    assert planner().clients(samples.context("client"), [complete]) == []


def test_lookups_of_a_relationship_are_resolved_with_the_customers_id() -> None:
    setup = samples.setup_of(samples.client(), entities=("DE01", "UK01"))
    write = planner().clients(samples.context("client"), [setup])[1]
    resolved = resolve_write(write, {"client:001A1.id": "55"})
    assert resolved.options["find_sql"].endswith("WHERE entity = 55 AND subsidiary = 7 ORDER BY id")


def test_an_unmapped_word_is_a_clear_refusal() -> None:
    setup = samples.setup_of(samples.client(), payment_terms="Whenever")
    with pytest.raises(Refused) as caught:
        planner().clients(samples.context("client"), [setup])
    assert caught.value.failure.cause is Cause.PAYMENT_TERMS_UNKNOWN
    assert "'Whenever'" in str(caught.value)


def test_accounts_differ_by_configuration_only() -> None:
    configured = planner(
        tax="legacy",
        send_address=False,
        client_auto_numbering=False,
        custom={"client_saga": "custentity_saga"},
        constants={"customer": {"category": {"id": "9"}}},
    )
    (write,) = configured.clients(samples.context("client"), [samples.setup_of(samples.client())])
    assert write.body["vatRegNumber"] == "DE811000001"
    assert "addressBook" not in write.body
    assert write.body["entityId"] == "001A1"
    assert write.body["custentity_saga"] == samples.SAGA
    assert write.body["category"] == {"id": "9"}
    samples.assert_authorised(write)


# --- contract and project --------------------------------------------------------------------------------


def milestone_contract() -> list[VendorWrite]:
    billed = samples.schedule((date(2027, 1, 31), "300.00"), (date(2027, 2, 28), "300.00"))
    of = samples.contract(
        samples.line("L1", "1000.00"),
        samples.line("L2", "600.00", billing_method=BillingMethod.FIXED_SCHEDULE, schedule=billed),
        purchase_orders=(PurchaseOrder(number="PO-7"),),
    )
    return planner().contract_and_project(samples.context(), samples.contract_setup(of))


def test_netsuites_own_order_is_project_schedule_order() -> None:
    project, billing, order = milestone_contract()
    assert [w.record_type for w in (project, billing, order)] == ["job", "billingSchedule", "salesOrder"]
    assert project.symbol == "project:006A1.DE01.EUR"
    assert project.produces == ("id", "code")
    assert billing.symbol == "schedule:006A1.L2"
    assert order.symbol == "contract:006A1.DE01.EUR"
    for write in (project, billing, order):
        samples.assert_authorised(write)


def test_the_project_is_prepared_under_the_client_and_its_entity() -> None:
    project = milestone_contract()[0]
    assert project.body["parent"] == {"id": symbol("client:001A1")}
    assert project.body["subsidiary"] == {"id": "3"}
    assert project.body["projectExpenseType"] == {"id": "-2"}
    assert project.body["jobBillingType"] == {"id": "1"}  # the lines differ
    assert project.body["startDate"] == "2026-12-01"
    assert "entityId" not in project.body  # the account numbers
    assert project.expect["status"] == "prepared"


def test_without_auto_numbering_the_code_is_ours_and_changes_with_the_generation() -> None:
    own = planner(project_auto_numbering=False)
    first = own.contract_and_project(samples.context(), samples.contract_setup())[0]
    second = own.contract_and_project(samples.context(generation=2), samples.contract_setup())[0]
    assert first.body["entityId"] == "P-006A1-DE01-EUR"
    assert second.body["entityId"] == "P-006A1-DE01-EUR-g2"


def test_the_order_waits_for_approval_and_carries_exact_amounts() -> None:
    _, billing, order = milestone_contract()
    assert order.body["orderStatus"] == {"id": "A"}
    assert order.body["job"] == {"id": symbol("project:006A1.DE01.EUR")}
    assert order.body["otherRefNum"] == "PO-7"
    first, second = order.body["item"]["items"]
    assert (first["amount"], second["amount"]) == ("1000.00", "600.00")
    assert "rate" not in first
    assert "billingSchedule" not in first
    assert second["billingSchedule"] == {"id": symbol(billing.symbol)}
    assert order.expect["amount"] == "1600.00"
    assert order.expect["approved"] is False


@pytest.mark.parametrize(
    ("currency", "amount", "text"), [("JPY", "1000000", "1000000"), ("KWD", "12.345", "12.345")]
)
def test_currencies_without_and_with_three_decimals(currency: str, amount: str, text: str) -> None:
    of = samples.contract(samples.line(amount=amount, currency=currency), currency=currency)
    order = planner().contract_and_project(samples.context(), samples.contract_setup(of))[-1]
    assert order.body["item"]["items"][0]["amount"] == text
    assert order.expect["amount"] == text


def test_revenue_rules_and_dimensions_reach_project_and_lines() -> None:
    configured = planner(
        revenue_rules={
            "straight_line": {
                "estimate_template": "5",
                "forecast_rule": "6",
                "line_fields": {"custcol_rule": "SL"},
            }
        },
        custom={
            "line_billing_method": "custcol_bm",
            "line_revenue_method": "custcol_rm",
            "line_key": "custcol_l",
        },
        dimensions={
            "practice": {"field": "class", "ids": {"cloud": "11"}},
            "region": {"field": "location", "ids": {"apac": "12"}},
        },
    )
    of = samples.contract(
        samples.line(revenue_method=RevenueMethod.STRAIGHT_LINE, delivery_region="apac"),
    )
    project, order = configured.contract_and_project(samples.context(), samples.contract_setup(of))
    assert project.body["estimateRevRecTemplate"] == {"id": "5"}
    assert project.body["revRecForecastRule"] == {"id": "6"}
    (line,) = order.body["item"]["items"]
    assert line["custcol_rule"] == "SL"
    assert (line["custcol_bm"], line["custcol_rm"], line["custcol_l"]) == (
        "time_and_materials",
        "straight_line",
        "L1",
    )
    assert (line["class"], line["location"]) == ({"id": "11"}, {"id": "12"})
    samples.assert_authorised(project)


def test_keys_are_business_identity_and_rise_only_with_the_generation() -> None:
    again = planner().contract_and_project(samples.context(), samples.contract_setup())
    changed = planner().contract_and_project(
        samples.context(), samples.contract_setup(samples.contract(samples.line(amount="9.00")))
    )
    assert [w.key for w in again] == [w.key for w in changed]
    later = planner().contract_and_project(samples.context(generation=2), samples.contract_setup())
    assert not {w.stamp for w in again} & {w.stamp for w in later}


def test_activation_approves_the_order_then_opens_the_project() -> None:
    approve, open_ = planner().activation(samples.context("activate"), samples.contract())
    assert approve.body == {"orderStatus": {"id": "B"}}
    assert (approve.restore, approve.forward_only) == (("orderStatus",), True)
    assert open_.body == {"entityStatus": {"id": "2"}}
    assert open_.forward_only is True
    for write in (approve, open_):
        assert write.kind is WriteKind.UPDATE
        samples.assert_authorised(write)
        samples.assert_authorised(write.model_copy(update={"phase": Phase.AFTER_APPROVAL}))


@pytest.mark.parametrize(
    ("dates", "frequency", "initial", "remaining"),
    [
        ([(date(2027, 1, 31), "5.00")], "once", "0", 1),
        ([(date(2027, 1, 31), "5.00"), (date(2027, 2, 28), "5.00")], "monthly", "0", 2),
        (
            [(date(2027, 1, 15), "5.00"), (date(2027, 4, 15), "5.00"), (date(2027, 7, 15), "5.00")],
            "quarterly",
            "0",
            3,
        ),
        ([(date(2027, 1, 1), "5.00"), (date(2027, 1, 8), "5.00")], "weekly", "0", 2),
        (
            [(date(2027, 1, 1), "3.34"), (date(2028, 1, 1), "3.33"), (date(2029, 1, 1), "3.33")],
            "annually",
            "3.34",
            2,
        ),
        ([(date(2027, 1, 1), "5.00"), (date(2027, 1, 20), "5.00")], "irregular", "0", 2),
        (
            [(date(2027, 1, 1), "5.00"), (date(2027, 2, 1), "5.00"), (date(2027, 3, 1), "6.00")],
            "irregular",
            "0",
            3,
        ),
    ],
)
def test_a_schedule_takes_the_shape_that_reproduces_it(
    dates: list[tuple[date, str]], frequency: str, initial: str, remaining: int
) -> None:
    shape = shape_of(samples.schedule(*dates))
    assert (shape.frequency, shape.initial, shape.remaining) == (frequency, initial, remaining)
