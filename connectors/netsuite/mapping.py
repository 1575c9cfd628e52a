"""Canonical to NetSuite: bodies of the records that a won deal sets up. Pure; named by target.

Every builder returns ``Fields``: the body and, for each field, which canonical field it sets, so that
the authority table is checked against exactly what is sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from canonical.causes import Cause, Queue
from canonical.delivery import ProjectState
from canonical.engagement import BillingSchedule, Contract, ContractLine
from canonical.failures import Refused
from canonical.operations import ClientSetup, ContractSetup, schedule_symbol
from canonical.writes import Json, symbol
from connectors.netsuite import wire
from connectors.netsuite.settings import NetSuiteMapping, RevenueRule

MONTHS = {1: "monthly", 3: "quarterly", 6: "semi_annually", 12: "annually"}


@dataclass
class Fields:
    """A body under construction with the canonical field behind each of its fields."""

    body: dict[str, Json] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)

    def put(self, name: str | None, value: Json, canonical: str) -> None:
        """Add a field unless it has no name in this account or no value."""
        if name is not None and value is not None:
            self.body[name] = value
            self.sets[name] = canonical

    def constants(self, mapping: NetSuiteMapping, record_type: str, canonical: str) -> None:
        """Add what this account demands on every record of the type; our own values win."""
        for name, value in mapping.constants.get(record_type, {}).items():
            if name not in self.body:
                self.put(name, value, canonical)


def known(table: Mapping[str, str], code: str, what: str, cause: Cause) -> str:
    """The account's id of one of our codes.

    Raises:
        Refused: the mapping has none.
    """
    if code not in table:
        raise Refused(
            f"{what} {code!r} has no NetSuite id in this instance's mapping.",
            cause=cause,
            queue=Queue.MASTER_DATA,
            remedy=f"Add {code!r} to this NetSuite instance's mapping, then retry with the current mapping.",
        )
    return table[code]


def subsidiary_id(mapping: NetSuiteMapping, entity: str) -> str:
    """The subsidiary of one of our legal entities."""
    return known(mapping.subsidiaries, entity, "Legal entity", Cause.LEGAL_ENTITY_UNKNOWN)


def currency_id(mapping: NetSuiteMapping, code: str) -> str:
    """The account's id of an ISO currency."""
    return known(mapping.currencies, code, "Currency", Cause.CURRENCY_UNKNOWN_IN_ERP)


def terms_id(mapping: NetSuiteMapping, terms: str) -> str:
    """The account's id of payment terms."""
    return known(mapping.payment_terms, terms, "Payment terms", Cause.PAYMENT_TERMS_UNKNOWN)


def our_code(table: Mapping[str, str], id_: str | None, kind: str) -> str:
    """Our code of a NetSuite id; an unmapped id stays visible as ``kind id`` and so never compares equal."""
    return next((code for code, value in table.items() if value == id_), f"{kind} {id_}")


# --- customer ------------------------------------------------------------------------------------------


def to_customer(mapping: NetSuiteMapping, setup: ClientSetup, saga: str) -> Fields:
    """The body of a new customer under its primary entity, with all its currencies."""
    client, out = setup.client, Fields()
    first, *more = setup.currencies
    out.put("companyName", client.name, "client.name")
    out.put("isPerson", False, "client.external_key")
    if not mapping.client_auto_numbering:
        out.put("entityId", client.key, "client.external_key")
    out.put("subsidiary", wire.ref(subsidiary_id(mapping, setup.entities[0])), "client.legal_entity")
    out.put("currency", wire.ref(currency_id(mapping, first)), "client.currency")
    if more:
        every = [{"currency": wire.ref(currency_id(mapping, code))} for code in setup.currencies]
        out.put("currencyList", {"items": every}, "client.currency")
    if setup.parent_symbol is not None:
        out.put("parent", wire.ref(symbol(setup.parent_symbol)), "client.parent")
    if setup.payment_terms is not None:
        out.put("terms", wire.ref(terms_id(mapping, setup.payment_terms)), "client.payment_terms")
    out.put("email", client.billing_email, "client.billing_email")
    if client.tax_registrations:
        out.put(mapping.tax_field, client.tax_registrations[0].number, "client.tax_registration")
    out.put("addressBook", _address_book(setup) if mapping.send_address else None, "client.address")
    out.put(mapping.custom.client_saga, saga, "client.external_key")
    out.constants(mapping, "customer", "client.external_key")
    return out


def _address_book(setup: ClientSetup) -> Json:
    address = setup.client.address
    lines = {
        "addr1": address.street,
        "city": address.city,
        "zip": address.postal_code,
        "state": address.state,
        "country": wire.ref(address.country) if address.country else None,
    }
    filled = {name: value for name, value in lines.items() if value is not None}
    if not filled:
        return None
    entry = {"defaultBilling": True, "defaultShipping": True, "addressBookAddress": filled}
    return {"items": [entry]}


def to_relationship(mapping: NetSuiteMapping, client: str, entity: str) -> Fields:
    """The body that places an existing customer under a further entity; ``client`` is its symbol."""
    out = Fields()
    out.put("entity", wire.ref(symbol(client)), "client.external_key")
    out.put("subsidiary", wire.ref(subsidiary_id(mapping, entity)), "client.legal_entity")
    out.constants(mapping, "customerSubsidiaryRelationship", "client.external_key")
    return out


# --- project -------------------------------------------------------------------------------------------


def billing_type(mapping: NetSuiteMapping, contract: Contract) -> str:
    """``job.jobBillingType``: the lines' method, or the configured type for mixed contracts."""
    methods = {line.billing_method for line in contract.lines}
    word = next(iter(methods)).value if len(methods) == 1 else "mixed"
    return known(mapping.job_billing_types, word, "Billing method", Cause.BILLING_METHOD_MISSING)


def to_job(mapping: NetSuiteMapping, setup: ContractSetup, saga: str, generation: int) -> Fields:
    """The body of the contract's project, prepared but not open."""
    contract, out = setup.contract, Fields()
    out.put("companyName", setup.project_name, "project.title")
    if not mapping.project_auto_numbering:
        out.put("entityId", own_code(mapping, contract, generation), "project.code")
    out.put("parent", wire.ref(symbol(setup.client_symbol)), "project.client")
    out.put("subsidiary", wire.ref(subsidiary_id(mapping, contract.legal_entity)), "project.legal_entity")
    out.put("currency", wire.ref(currency_id(mapping, contract.currency)), "project.currency")
    out.put("jobBillingType", wire.ref(billing_type(mapping, contract)), "contract.billing_method")
    out.put("projectExpenseType", wire.ref(_expense_type(mapping, contract)), "project.external_key")
    out.put("startDate", contract.start.isoformat() if contract.start else None, "project.start")
    out.put("projectedEndDate", contract.end.isoformat() if contract.end else None, "project.end")
    manager = mapping.employees.get(contract.project_manager_email or "")
    out.put("projectManager", wire.ref(manager) if manager else None, "project.manager")
    out.put("entityStatus", wire.ref(mapping.job_status.prepared), "project.status")
    rule = common_revenue_rule(mapping, contract)
    for name, id_ in (
        ("estimateRevRecTemplate", rule.estimate_template),
        ("revRecForecastRule", rule.forecast_rule),
    ):
        out.put(name, wire.ref(id_) if id_ else None, "contract.revenue_method")
    out.put(mapping.custom.project_saga, saga, "project.external_key")
    out.constants(mapping, "job", "project.external_key")
    return out


def own_code(mapping: NetSuiteMapping, contract: Contract, generation: int) -> str:
    """The project code where the account does not number: the contract's key is its business identity.

    A later generation says so: an undone project may still hold the first code.
    """
    readable = re.sub(r"[^A-Za-z0-9]+", "-", contract.key).strip("-")
    return f"{mapping.project_code_prefix}{readable}" + (f"-g{generation}" if generation > 1 else "")


def _expense_type(mapping: NetSuiteMapping, contract: Contract) -> str:
    words = {line.billing_method.value for line in contract.lines}
    word = words.pop() if len(words) == 1 else "mixed"
    return mapping.project_expense_types.get(word, mapping.default_project_expense_type)


def common_revenue_rule(mapping: NetSuiteMapping, contract: Contract) -> RevenueRule:
    """The project's revenue rule when all lines agree. Where they differ, the lines alone carry it."""
    methods = {line.revenue_method for line in contract.lines}
    return mapping.revenue_rules.get(methods.pop(), RevenueRule()) if len(methods) == 1 else RevenueRule()


# --- billing schedule ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScheduleShape:
    """How NetSuite describes a schedule: a first amount, then ``remaining`` equal ones at a frequency."""

    frequency: str
    """A key of ``NetSuiteMapping.schedule_frequencies``."""
    initial: str
    remaining: int


def shape_of(schedule: BillingSchedule) -> ScheduleShape:
    """The regular shape that reproduces a schedule exactly, else ``irregular``.

    NetSuite's standard schedule can only hold one differing first amount and constant intervals. What does
    not fit is named irregular; its amounts by date are then charged one by one by the billing saga.
    """
    dates = sorted(schedule.dates, key=lambda d: (d.due, d.key))
    amounts = [d.amount.amount for d in dates]
    zero = "0"
    if len(dates) <= 1:
        return ScheduleShape("once", zero, len(dates))
    frequency = _frequency([(a.due, b.due) for a, b in pairwise(dates)])
    if frequency is None or len(set(amounts[1:])) != 1:
        return ScheduleShape("irregular", zero, len(dates))
    if amounts[0] == amounts[1]:
        return ScheduleShape(frequency, zero, len(dates))
    return ScheduleShape(frequency, wire.number(amounts[0], dates[0].amount.currency), len(dates) - 1)


def _frequency(steps: list[tuple[date, date]]) -> str | None:
    if all((b - a).days == 7 for a, b in steps):
        return "weekly"
    months = {(b.year - a.year) * 12 + b.month - a.month for a, b in steps}
    # The last days of months of different length count as the same day.
    same_day = len({a.day for a, _ in steps} | {steps[-1][1].day}) == 1
    month_end = all(_month_end(a) and _month_end(b) for a, b in steps)
    if len(months) == 1 and (same_day or month_end):
        return MONTHS.get(months.pop())
    return None


def _month_end(day: date) -> bool:
    return (day + timedelta(days=1)).month != day.month


def to_billing_schedule(mapping: NetSuiteMapping, schedule: BillingSchedule, stamp: str) -> Fields:
    """The body of a billing schedule. Its name carries the stamp: the record has no external id."""
    shape, out = shape_of(schedule), Fields()
    frequency = known(
        mapping.schedule_frequencies, shape.frequency, "Billing frequency", Cause.SCHEDULE_MISMATCH
    )
    for name, value in (
        ("name", stamp),
        ("frequency", wire.ref(frequency)),
        ("scheduleType", wire.ref(mapping.schedule_type)),
        ("numberRemaining", shape.remaining),
        ("repeatEvery", wire.ref(mapping.schedule_repeat_every)),
        ("initialAmount", shape.initial),
        ("inArrears", mapping.schedule_in_arrears),
    ):
        out.put(name, value, "contract.schedule")
    out.constants(mapping, "billingSchedule", "contract.schedule")
    return out


# --- sales order ---------------------------------------------------------------------------------------


def to_sales_order(mapping: NetSuiteMapping, setup: ContractSetup, project: str, saga: str) -> Fields:
    """The body of the contract as a sales order, pending approval; ``project`` is the project's symbol."""
    contract, out = setup.contract, Fields()
    # The order names who is invoiced; the project stands under who is served.
    out.put("entity", wire.ref(symbol(setup.bill_to_symbol)), "contract.external_key")
    out.put("job", wire.ref(symbol(project)), "contract.project")
    out.put("subsidiary", wire.ref(subsidiary_id(mapping, contract.legal_entity)), "contract.legal_entity")
    out.put("currency", wire.ref(currency_id(mapping, contract.currency)), "contract.currency")
    out.put("orderStatus", wire.ref(mapping.order_status.pending_approval), "contract.status")
    if contract.payment_terms is not None:
        out.put("terms", wire.ref(terms_id(mapping, contract.payment_terms)), "client.payment_terms")
    out.put(mapping.memo_field, contract.name, "contract.name")
    if contract.purchase_orders:
        out.put(mapping.purchase_order_field, contract.purchase_orders[0].number, "contract.purchase_order")
    lines = [to_order_line(mapping, contract, line) for line in contract.lines]
    out.put("item", {"items": lines}, "contract.lines")
    out.put(mapping.custom.order_saga, saga, "contract.external_key")
    out.constants(mapping, "salesOrder", "contract.external_key")
    return out


def to_order_line(mapping: NetSuiteMapping, contract: Contract, line: ContractLine) -> dict[str, Json]:
    """One order line. The amount is sent, never a rate: NetSuite then has nothing to multiply (rule 5)."""
    rule = mapping.revenue_rules.get(line.revenue_method, RevenueRule())
    body: dict[str, Json] = {
        **mapping.constants.get("salesOrder.item", {}),
        **rule.line_fields,
        "item": wire.ref(line.item),
        "description": line.description,
        "quantity": wire.plain(line.quantity),
        "amount": wire.number(line.amount.amount, line.amount.currency),
    }
    if line.schedule is not None:
        body["billingSchedule"] = wire.ref(symbol(schedule_symbol(line.schedule.key)))
    for name, value in (
        (mapping.custom.line_billing_method, line.billing_method.value),
        (mapping.custom.line_revenue_method, line.revenue_method.value),
        (mapping.custom.line_key, line.key),
    ):
        if name is not None:
            body[name] = value
    for dimension, target in mapping.dimensions.items():
        # The line's own delivery region is nearer to the work than the contract's region.
        value = line.delivery_region if dimension == "region" else getattr(contract.dimensions, dimension)
        if value is not None and value in target.ids:
            body[target.field] = wire.ref(target.ids[value])
    return body


def line_methods(
    mapping: NetSuiteMapping, contract: Contract, job_type: str | None, lines: list[dict[str, Any]]
) -> tuple[str, ...]:
    """Billing method of each order line in our words.

    From the mapped custom column when the account has one. Else from the project's billing type, which
    is one for all lines: where it is what the contract's methods map to, the contract's own words stand.
    """
    column = mapping.custom.line_billing_method
    if column is not None:
        return tuple(str(line.get(column) or "") for line in lines)
    agrees = job_type == billing_type(mapping, contract)
    if agrees and len(lines) == len(contract.lines):
        return tuple(line.billing_method.value for line in contract.lines)
    word = next((m for m, id_ in mapping.job_billing_types.items() if id_ == job_type), f"type {job_type}")
    return tuple(word for _ in lines)


def project_state(mapping: NetSuiteMapping, status: str | None, *, inactive: bool) -> str:
    """A project's lifecycle state in our words; an unmapped status stays visible."""
    if inactive:
        return ProjectState.CLOSED.value
    states = mapping.job_status
    words = {
        states.prepared: ProjectState.PREPARED,
        states.open: ProjectState.ACTIVE,
        states.closed: ProjectState.CLOSED,
    }
    word = words.get(status or "")
    return word.value if word is not None else f"status {status}"
