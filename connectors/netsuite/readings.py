"""NetSuite to canonical: reference data, customers, the baseline. Pure; named by target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from canonical.engagement import Contract
from canonical.money import Money
from canonical.operations import ErpBaseline, ErpClient, ErpReference
from canonical.refs import RecordRef
from connectors.netsuite import mapping as to
from connectors.netsuite import wire
from connectors.netsuite.schemas import CustomerRow, JobRecord, OrderRecord
from connectors.netsuite.settings import NetSuiteMapping

Row = Mapping[str, Any]


def to_reference(
    system: str,
    mapping: NetSuiteMapping,
    *,
    subsidiaries: Sequence[Row],
    currencies: Sequence[Row],
    terms: Sequence[Row],
    periods: Sequence[Row],
    wanted: Sequence[str],
    found: Sequence[Row],
) -> ErpReference:
    """What exists and is active in the account, by our own codes."""
    symbols = {str(row["id"]): str(row.get("symbol", "")) for row in currencies}
    by_id = {str(row["id"]): row for row in _active(subsidiaries)}
    entities = tuple(code for code, id_ in mapping.subsidiaries.items() if id_ in by_id)
    live_currencies, live_terms, live_items = (
        {str(row["id"]) for row in _active(rows)} for rows in (currencies, terms, found)
    )
    base = {
        code: _iso(mapping, symbols, wire.ref_id(by_id[mapping.subsidiaries[code]].get("currency")))
        for code in entities
    }
    closed = closed_through(periods)
    return ErpReference(
        system=system,
        entities=entities,
        currencies=tuple(code for code, id_ in mapping.currencies.items() if id_ in live_currencies),
        payment_terms=tuple(word for word, id_ in mapping.payment_terms.items() if id_ in live_terms),
        items=tuple(item for item in wanted if item in live_items),
        base_currency_by_entity={code: iso for code, iso in base.items() if iso is not None},
        # Locks are read account-wide: REST shows no lock per subsidiary.
        closed_through=dict.fromkeys(entities, closed) if closed is not None else {},
        limits=dict(mapping.text_limits),
    )


def _active(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if not wire.flag(row.get("isinactive"))]


def _iso(mapping: NetSuiteMapping, symbols: Mapping[str, str], id_: str | None) -> str | None:
    ours = next((code for code, value in mapping.currencies.items() if value == id_), None)
    return ours or symbols.get(id_ or "") or None


def closed_through(periods: Iterable[Row]) -> date | None:
    """Last day of the latest month that is closed or locked for receivables; years and quarters are sums."""
    ends = [
        wire.day(row.get("enddate"))
        for row in periods
        if not wire.flag(row.get("isyear"))
        and not wire.flag(row.get("isquarter"))
        and any(wire.flag(row.get(lock)) for lock in ("closed", "arlocked", "alllocked"))
    ]
    return max((end for end in ends if end is not None), default=None)


def to_erp_client(
    mapping: NetSuiteMapping,
    row: CustomerRow,
    *,
    subsidiaries: Sequence[str],
    record: Row | None,
    ref: RecordRef,
) -> ErpClient:
    """A customer with the entities and currencies it can be invoiced in.

    Args:
        mapping: the account's.
        row: the customer as the query shows it.
        subsidiaries: ids from its subsidiary relationships.
        record: the customer's record with sublists, when it was read.
        ref: its reference.
    """
    record = record or {}
    entity_ids = [row.subsidiary or wire.ref_id(record.get("subsidiary")), *subsidiaries]
    currency_ids = [
        row.currency or wire.ref_id(record.get("currency")),
        *(wire.ref_id(line.get("currency")) for line in wire.items(record.get("currencyList"))),
    ]
    address = next(
        (
            line.get("addressBookAddress") or {}
            for line in wire.items(record.get("addressBook"))
            if wire.flag(line.get("defaultBilling", True))
        ),
        {},
    )
    return ErpClient(
        ref=ref,
        name=row.name,
        external_id=row.externalid,
        tax_numbers=_tax_numbers(mapping, row, record),
        city=address.get("city"),
        country=wire.ref_id(address.get("country")),
        entities=_codes(mapping.subsidiaries, entity_ids),
        currencies=_codes(mapping.currencies, currency_ids),
        inactive=row.isinactive,
    )


def _codes(table: Mapping[str, str], ids: Iterable[str | None]) -> tuple[str, ...]:
    """Our codes of the ids, once each, in order; ids we do not map are of no use to a contract of ours."""
    codes = {value: code for code, value in table.items()}
    return tuple(dict.fromkeys(codes[id_] for id_ in ids if id_ in codes))


def _tax_numbers(mapping: NetSuiteMapping, row: CustomerRow, record: Row) -> tuple[str, ...]:
    numbers = [row.tax_number, record.get(mapping.tax_field)]
    numbers += [line.get("taxRegistrationNumber") for line in wire.items(record.get("taxRegistration"))]
    return tuple(dict.fromkeys(str(number) for number in numbers if number))


def to_baseline(
    mapping: NetSuiteMapping,
    contract: Contract,
    job_record: Row,
    order_record: Row,
    refs: tuple[RecordRef, ...],
) -> ErpBaseline:
    """What NetSuite holds of a contract and its project.

    Where order and project contradict each other the value says so, and thus equals nothing expected.

    Raises:
        ValueError: an amount does not fit its currency, or the currency is not an ISO code we map.
    """
    job, order = JobRecord.model_validate(job_record), OrderRecord.model_validate(order_record)
    entity = to.our_code(mapping.subsidiaries, order.subsidiary, "subsidiary")
    if job.subsidiary != order.subsidiary:
        entity += f" (project: {to.our_code(mapping.subsidiaries, job.subsidiary, 'subsidiary')})"
    code = job.entity_id if order.job == job.id else f"{job.entity_id} (order: project {order.job})"
    currency = to.our_code(mapping.currencies, order.currency, "currency")
    # What a change order dropped stays on the order as a closed line.
    lines = [line for line in wire.items(order.item) if not wire.flag(line.get("isClosed"))]
    return ErpBaseline(
        contract_key=contract.key,
        project_code=code,
        client_id=order.entity or "",
        legal_entity=entity,
        currency=currency,
        amount=Money(amount=order.net, currency=currency),
        billing_methods=to.line_methods(mapping, contract, job.billing_type, lines),
        contract_approved=order.status not in mapping.order_status.not_approved,
        project_open=job.status == mapping.job_status.open and not job.inactive,
        refs=refs,
    )
