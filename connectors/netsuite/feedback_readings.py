"""What settles an invoice, in canonical words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from canonical.erp_billing import InvoiceReading, InvoiceState
from canonical.feedback import Application, ApplicationKind, InvoiceStanding, LinePart
from canonical.money import AmountRole, Money
from canonical.refs import RecordRef
from connectors.netsuite import wire
from connectors.netsuite.client import NetSuiteClient
from connectors.netsuite.schemas import InvoiceRecord
from connectors.netsuite.settings import NetSuiteMapping

TYPES = {
    "CustPymt": "customerPayment",
    "CustCred": "creditMemo",
    "DepAppl": "depositApplication",
    "Journal": "journalEntry",
}
"""SuiteQL's type of what reduces an invoice -> record type."""


def to_kind(mapping: NetSuiteMapping, type_: str, credit: Mapping[str, Any] | None) -> ApplicationKind:
    """What an application is. NetSuite has no records for withheld tax and bad debt: accounts book them as
    credit memos of items kept for that, or as journals.
    """
    rules = mapping.feedback
    if type_ == "Journal":
        return ApplicationKind(rules.journals)
    if type_ != "CustCred":
        return ApplicationKind.PAYMENT
    found = {wire.ref_id(line.get("item")) for line in wire.items((credit or {}).get("item"))}
    for kind, items in (
        (ApplicationKind.WITHHOLDING, rules.withholding_items),
        (ApplicationKind.WRITE_OFF, rules.write_off_items),
    ):
        if found and found <= set(items):
            return kind
    return ApplicationKind.CREDIT


def to_parts(
    mapping: NetSuiteMapping, record: Mapping[str, Any], currency: str, *, default: str | None
) -> Iterable[LinePart]:
    """The lines of an invoice or credit memo by project: their own, else the document's."""
    column = mapping.custom.line_key
    for name in ("item", "time", "expCost"):
        for line in wire.items(record.get(name)):
            if name != "item" and not wire.flag(line.get("apply")):
                continue
            job = line.get("job")
            key = None if column is None else line.get(column)
            yield LinePart(
                # Of time and expenses the column is the project's name: these are of one project only.
                project=(wire.ref_id(job) if isinstance(job, Mapping) else None) or default,
                key=None if key is None else str(key),
                net=_money(line.get("amount", 0), currency),
                tax=_money(line.get("taxAmount", 0), currency),
            )


def to_applications(
    client: NetSuiteClient,
    mapping: NetSuiteMapping,
    rows: Sequence[Mapping[str, Any]],
    credits_: Mapping[str, Mapping[str, Any] | None],
    currency: str,
) -> tuple[Application, ...]:
    """The documents that reduce an invoice, one entry each."""
    amounts: dict[str, Decimal] = {}
    first: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        id_ = str(row["document"])
        # Amounts of credits may be told with either sign.
        amounts[id_] = amounts.get(id_, Decimal(0)) + abs(wire.decimal(row.get("amount", 0)))
        first.setdefault(id_, row)
    found = []
    for id_, row in first.items():
        type_ = str(row["type"])
        credit = credits_.get(id_)
        kind = to_kind(mapping, type_, credit)
        job = wire.ref_id((credit or {}).get("job"))
        named = kind is ApplicationKind.CREDIT and credit is not None
        parts = tuple(to_parts(mapping, credit or {}, currency, default=job)) if named else ()
        number = row.get("tranid")
        found.append(
            Application(
                document=client.ref(TYPES[type_], id_),
                kind=kind,
                amount=_money(amounts[id_], currency),
                number=None if number is None else str(number),
                on=wire.day(row.get("day")),
                # A credit whose lines name no project corrects the invoice as a whole.
                parts=parts if any(part.project or part.key for part in parts) else (),
            )
        )
    return tuple(found)


def to_standing(
    mapping: NetSuiteMapping,
    ref: RecordRef,
    record: Mapping[str, Any],
    told: InvoiceReading,
    applications: tuple[Application, ...],
    refunded: Iterable[Mapping[str, Any]],
) -> InvoiceStanding:
    """An invoice with everything that settles it.

    NetSuite counts as paid whatever reduces an invoice. Where the documents that were found do not add up to
    that, the record and the search are not of the same moment.
    """
    invoice = told.invoice
    assert invoice is not None
    currency = invoice.gross.currency
    wire_record = InvoiceRecord.model_validate(record)

    def of_kind(kind: ApplicationKind) -> Money:
        amounts = (one.amount.amount for one in applications if one.kind is kind)
        return _money(sum(amounts, Decimal(0)), currency)

    settled = _money(wire_record.amount_paid, currency)
    credited, withheld, written = (
        of_kind(kind)
        for kind in (ApplicationKind.CREDIT, ApplicationKind.WITHHOLDING, ApplicationKind.WRITE_OFF)
    )
    found = sum((one.amount.amount for one in applications), Decimal(0))
    paid = settled - credited - withheld - written
    if paid.amount < 0:
        # The search shows more than the record has: nothing is known for certain yet.
        credited, withheld, written = (_money(0, currency) for _ in range(3))
        applications, paid = (), settled
    back = [abs(wire.decimal(row.get("amount", 0))) for row in refunded]
    field = mapping.feedback.disputed_field
    # Rejected before it was posted: nobody outside has seen it.
    rejected = told.state is InvoiceState.REFUSED and told.reason != VOIDED
    amounts = {"paid": paid, "credited": credited, "withheld": withheld, "written_off": written}
    return InvoiceStanding(
        ref=ref,
        state=InvoiceState.DRAFTED if rejected else told.state,
        invoice=invoice.model_copy(update=amounts),
        lines=tuple(to_parts(mapping, record, currency, default=wire_record.job)),
        applications=applications,
        refunded=_money(sum(back, Decimal(0)), currency) if back else None,
        disputed=field is not None and wire.flag(record.get(field)),
        base_rate=told.exchange_rate,
        complete=found == settled.amount,
        modified_at=invoice.modified_at,
    )


VOIDED = "voided"
"""``InvoiceReading.reason`` of a voided invoice."""


def _money(amount: Any, currency: str) -> Money:
    return Money(amount=wire.decimal(amount), currency=currency, role=AmountRole.BILLING)
