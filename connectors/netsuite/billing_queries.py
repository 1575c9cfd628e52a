"""SuiteQL texts of the billing sagas. Pure. Every value is a literal escaped here; every query is ordered.

Columns beyond those in Oracle's examples are assumed to be the record's field names in lower case.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from connectors.netsuite.queries import ids, listing, literal
from connectors.netsuite.settings import NetSuiteMapping

_DAY = "TO_CHAR({}, 'YYYY-MM-DD') AS day"


def _until(column: str, through: date) -> str:
    return f"{column} <= TO_DATE({literal(through.isoformat())}, 'YYYY-MM-DD')"


# --- posted lines -------------------------------------------------------------------------------------


def time_by_external_id(mapping: NetSuiteMapping, external: Sequence[str]) -> str:
    """Time entries of ours."""
    custom = f", {mapping.custom.time_reverses.lower()}" if mapping.custom.time_reverses else ""
    return (
        f"SELECT id, externalid, employee, customer, {_DAY.format('trandate')}, hours, isbillable, "
        f"approvalstatus, memo{custom} FROM timebill WHERE externalid IN {listing(external)} ORDER BY id"
    )


def expenses_by_external_id(mapping: NetSuiteMapping, external: Sequence[str]) -> str:
    """Expense reports of ours, which have one line."""
    return (
        f"SELECT t.id, t.externalid, t.entity AS worker, l.entity AS project, {_DAY.format('t.trandate')}, "
        "l.foreignamount AS amount, t.currency, l.isbillable, t.approvalstatus FROM transaction t "
        "JOIN transactionline l ON l.transaction = t.id "
        f"WHERE t.externalid IN {listing(external)} AND t.type = 'ExpRept' AND l.mainline = 'F' ORDER BY t.id"
    )


def invoices_of_time(entries: Sequence[str]) -> str:
    """Which invoices hold time entries."""
    return (
        "SELECT timebill AS line, transaction AS invoice FROM transactionline "
        f"WHERE timebill IN {ids(entries)} ORDER BY timebill"
    )


def invoices_of_expenses(reports: Sequence[str]) -> str:
    """Which invoices hold expense reports."""
    return (
        "SELECT previousdoc AS line, nextdoc AS invoice FROM nexttransactionlink "
        f"WHERE previousdoc IN {ids(reports)} AND linktype = 'ExpBill' ORDER BY previousdoc"
    )


# --- invoices -----------------------------------------------------------------------------------------


def applied_to(invoice_id: str) -> str:
    """Credits and payments that reduce an invoice."""
    return (
        "SELECT k.nextdoc AS document, t.type, k.foreignamount AS amount FROM nexttransactionlink k "
        f"JOIN transaction t ON t.id = k.nextdoc WHERE k.previousdoc = {int(invoice_id)} "
        "AND t.type IN ('CustCred', 'CustPymt') ORDER BY k.nextdoc"
    )


def invoices_of_charges(charges: Sequence[str]) -> str:
    """Which invoices took charges."""
    return f"SELECT id AS line, invoice FROM charge WHERE id IN {ids(charges)} ORDER BY id"


PERIODS = (
    "SELECT id, periodname, TO_CHAR(startdate, 'YYYY-MM-DD') AS startdate, "
    "TO_CHAR(enddate, 'YYYY-MM-DD') AS enddate, closed, arlocked, aplocked, alllocked, isyear, isquarter "
    "FROM accountingperiod ORDER BY id"
)

# --- what is not billed yet ---------------------------------------------------------------------------


def unbilled_time(mapping: NetSuiteMapping, through: date, after: int, narrow: str) -> str:
    """Approved billable time on no invoice, drafts included, behind an internal id."""
    return (
        f"SELECT b.id, b.externalid, b.customer AS project, {_DAY.format('b.trandate')}, b.hours, b.rate, "
        "j.subsidiary, j.currency FROM timebill b JOIN job j ON j.id = b.customer "
        "LEFT JOIN transactionline l ON l.timebill = b.id "
        f"WHERE b.isbillable = 'T' AND b.approvalstatus = {literal(mapping.billing.time_approved)} "
        f"AND l.timebill IS NULL AND {_until('b.trandate', through)} AND b.id > {int(after)}{narrow} "
        "ORDER BY b.id"
    )


def unbilled_expenses(mapping: NetSuiteMapping, through: date, after: int, narrow: str) -> str:
    """Approved billable expenses on no invoice, behind an internal id of the report."""
    return (
        f"SELECT t.id, t.externalid, l.id AS line, l.entity AS project, {_DAY.format('t.trandate')}, "
        "l.foreignamount AS amount, j.subsidiary, t.currency FROM transactionline l "
        "JOIN transaction t ON t.id = l.transaction JOIN job j ON j.id = l.entity "
        "LEFT JOIN nexttransactionlink k ON k.previousdoc = t.id AND k.linktype = 'ExpBill' "
        "WHERE t.type = 'ExpRept' AND l.mainline = 'F' AND l.isbillable = 'T' "
        f"AND t.approvalstatus = {literal(mapping.billing.expense_approved)} AND k.nextdoc IS NULL "
        f"AND {_until('t.trandate', through)} AND t.id > {int(after)}{narrow} ORDER BY t.id, l.id"
    )


def unbilled_charges(mapping: NetSuiteMapping, through: date, after: int, narrow: str) -> str:
    """Charges that are ready and on no invoice, behind an internal id."""
    return (
        f"SELECT c.id, c.runid AS externalid, c.billto AS project, {_DAY.format('c.chargedate')}, c.amount, "
        "j.subsidiary, j.currency FROM charge c JOIN job j ON j.id = c.billto "
        "WHERE c.stage = 'READY_FOR_BILLING' AND c.use = 'Actual' AND c.invoice IS NULL "
        f"AND {_until('c.chargedate', through)} AND c.id > {int(after)}{narrow} ORDER BY c.id"
    )


# --- master data --------------------------------------------------------------------------------------


def workers(table: str, keys: Sequence[str]) -> str:
    """Employees or vendors by address, external id or number."""
    lowered = listing(key.lower() for key in keys)
    return (
        f"SELECT id, email, externalid, entityid, subsidiary, isinactive FROM {table} "
        f"WHERE LOWER(email) IN {lowered} OR LOWER(externalid) IN {lowered} OR LOWER(entityid) IN {lowered} "
        "ORDER BY id"
    )


def projects(wanted: Sequence[str]) -> str:
    """Projects by internal id."""
    return (
        "SELECT id, entityid, parent, subsidiary, currency, entitystatus, isinactive, allowtime "
        f"FROM job WHERE id IN {ids(wanted)} ORDER BY id"
    )
