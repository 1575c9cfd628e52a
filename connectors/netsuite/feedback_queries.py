"""SuiteQL texts of what flows back: applications, refunds, revenue, balances. Pure, ordered, escaped.

The tables of revenue plans and their columns are an assumption (they are not in the REST reference).
"""

from __future__ import annotations

from collections.abc import Sequence

from connectors.netsuite.queries import ids, literal

_DAY = "TO_CHAR(t.trandate, 'YYYY-MM-DD') AS day"
_CHANGED = "TO_CHAR({}.lastmodifieddate, 'YYYY-MM-DD HH24:MI:SS') AS modified"
REDUCING = ("CustPymt", "CustCred", "DepAppl", "Journal")
"""Transactions that can reduce an invoice."""


def _types(types: Sequence[str]) -> str:
    return "(" + ", ".join(literal(one) for one in types) + ")"


def applications(invoice_id: str) -> str:
    """What reduces an invoice, with how much of it."""
    return (
        f"SELECT k.nextdoc AS document, t.type, t.tranid, {_DAY}, k.foreignamount AS amount "
        "FROM nexttransactionlink k JOIN transaction t ON t.id = k.nextdoc "
        f"WHERE k.previousdoc = {int(invoice_id)} AND t.type IN {_types(REDUCING)} ORDER BY k.nextdoc"
    )


def refunds(invoice_id: str) -> str:
    """What was paid back of the credits that were made from an invoice."""
    return (
        "SELECT k.previousdoc AS credit, k.nextdoc AS refund, k.foreignamount AS amount "
        "FROM nexttransactionlink k JOIN transaction r ON r.id = k.nextdoc "
        "JOIN transaction c ON c.id = k.previousdoc "
        f"WHERE r.type = 'CustRfnd' AND c.type = 'CustCred' AND c.createdfrom = {int(invoice_id)} "
        "ORDER BY k.nextdoc"
    )


def reduced_by(documents: Sequence[str]) -> str:
    """Which invoices, or credit memos, these payments, credits and refunds are applied to."""
    return (
        "SELECT k.nextdoc AS document, k.previousdoc AS reduced, t.type "
        "FROM nexttransactionlink k JOIN transaction t ON t.id = k.previousdoc "
        f"WHERE k.nextdoc IN {ids(documents)} AND t.type IN ('CustInvc', 'CustCred') "
        "ORDER BY k.nextdoc, k.previousdoc"
    )


def made_from(credits_: Sequence[str]) -> str:
    """From which invoices credit memos were made."""
    return (
        "SELECT t.id AS credit, t.createdfrom AS invoice FROM transaction t "
        f"WHERE t.id IN {ids(credits_)} AND t.type = 'CustCred' AND t.createdfrom IS NOT NULL ORDER BY t.id"
    )


def balances(invoices: Sequence[str]) -> str:
    """What invoices owe; deleted ones are missing."""
    return (
        f"SELECT t.id, t.foreignamountunpaid AS balance, {_CHANGED.format('t')} FROM transaction t "
        f"WHERE t.id IN {ids(invoices)} AND t.type = 'CustInvc' ORDER BY t.id"
    )


def revenue(order_id: str) -> str:
    """The revenue plans of an order."""
    return (
        f"SELECT p.id, p.amount, p.recognizedamount, p.currency, {_CHANGED.format('p')} FROM revenueplan p "
        f"WHERE p.createdfrom = {int(order_id)} ORDER BY p.id"
    )


def revenue_since(at: str, after_id: int | None) -> str:
    """Changed revenue plans after a keyset position; see ``queries.transactions_since``."""
    moment = f"TO_TIMESTAMP({literal(at)}, 'YYYY-MM-DD HH24:MI:SS')"
    since = (
        f"p.lastmodifieddate >= {moment}"
        if after_id is None
        else f"(p.lastmodifieddate > {moment} OR (p.lastmodifieddate = {moment} AND p.id > {after_id}))"
    )
    return (
        f"SELECT p.id, p.createdfrom AS contract, {_CHANGED.format('p')} FROM revenueplan p "
        f"WHERE {since} ORDER BY p.lastmodifieddate, p.id"
    )
