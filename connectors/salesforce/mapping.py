"""Salesforce records to the canonical deal. Pure: no calls, no clock.

A value that is there but cannot be understood is never dropped: it would be replaced by a default further
on. All such values of a deal are reported together, each as a finding that names record, field and remedy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from canonical.causes import Cause, Queue
from canonical.engagement import BillingMethod, DocumentRef, RevenueMethod
from canonical.failures import Finding, Refused
from canonical.money import Conversion, Money, exponent, round_to
from canonical.opportunity import Opportunity, OpportunityLine
from canonical.parties import Address, Client, TaxRegistration
from canonical.refs import RecordRef
from connectors.salesforce.countries import country_code
from connectors.salesforce.ids import record_id
from connectors.salesforce.schemas import AccountRecord, LineRecord, OpportunityRecord
from connectors.salesforce.settings import Mapping

Link = Callable[[str, str], str | None]
"""(record type, id) -> address for people."""


class DealMapper:
    """Maps the records of one deal and collects what is wrong with them."""

    def __init__(self, system: str, mapping: Mapping, link: Link) -> None:
        self._system = system
        self._mapping = mapping
        self._link = link
        self._findings: list[Finding] = []

    def to_opportunity(
        self, record: OpportunityRecord, ancestors: Sequence[AccountRecord], bill_to: AccountRecord | None
    ) -> Opportunity:
        """The canonical deal.

        Args:
            record: the deal with its account and all its lines.
            ancestors: the account's parents, nearest first.
            bill_to: the account that is invoiced when it is not the deal's own.

        Raises:
            Refused: values that are there cannot be understood; the failure lists all of them.
        """
        fields = self._mapping.opportunity
        ref = self._ref("Opportunity", record.Id)
        currency = self._deal_currency(record, ref)
        lines = sorted(
            record.OpportunityLineItems.records if record.OpportunityLineItems else (), key=lambda r: r.Id
        )
        accounts = [a for a in (record.Account, *ancestors, bill_to) if a is not None]
        deal = Opportunity(
            ref=ref,
            name=record.Name,
            revision=revision(record, lines, accounts),
            stage=record.StageName,
            is_won=record.IsWon,
            is_closed=record.IsClosed,
            currency=currency,
            amount=self._money(record.Amount, currency, ref, "Amount"),
            close_date=record.CloseDate,
            owner_email=text(record.Owner.Email) if record.Owner else None,
            deal_type=text(record.field(fields.deal_type)),
            amends_engagement=text(record.field(fields.amends_engagement)),
            business_unit=text(record.field(fields.business_unit)),
            legal_entity=text(record.field(fields.legal_entity)),
            approval_status=text(record.field(fields.approval_status)),
            sow=self._sow(record, ref),
            payment_terms=text(record.field(fields.payment_terms)),
            purchase_order=text(record.field(fields.purchase_order)),
            project_manager_email=text(record.field(fields.project_manager_email)),
            project_code=text(record.field(fields.project_code)),
            client=self.to_client(record.Account) if record.Account else None,
            hierarchy=tuple(self.to_client(account) for account in reversed(ancestors)),
            bill_to=self.to_client(bill_to) if bill_to else None,
            lines=tuple(self._line(line, record, currency) for line in lines),
        )
        if self._findings:
            raise Refused(
                f"Deal {record.Name!r}: " + "; ".join(finding.message for finding in self._findings),
                cause=self._findings[0].cause,
                queue=self._findings[0].queue,
                system=self._system,
                record=ref,
                field=self._findings[0].field,
                remedy=self._findings[0].remedy,
                findings=tuple(self._findings),
            )
        return deal

    def to_client(self, account: AccountRecord) -> Client:
        """A client; its key is the account's 18-character id."""
        fields = self._mapping.account
        ref = self._ref("Account", account.Id)
        country = country_code(account.BillingCountryCode or account.BillingCountry, self._mapping.countries)
        number = text(account.field(fields.tax_number))
        tax_country = country or (number[:2].upper() if number and number[:2].isalpha() else None)
        currency = text(account.field(fields.currency)) or account.CurrencyIsoCode
        return Client(
            key=ref.id,
            name=account.Name,
            ref=ref,
            parent_key=record_id(account.ParentId) if account.ParentId else None,
            address=Address(
                street=text(account.BillingStreet),
                city=text(account.BillingCity),
                postal_code=text(account.BillingPostalCode),
                state=text(account.BillingState),
                country=country,
            ),
            tax_registrations=(
                (TaxRegistration(country=tax_country, number=number),) if number and tax_country else ()
            ),
            billing_email=text(account.field(fields.billing_email)),
            currency=self._currency(currency, ref, fields.currency or "CurrencyIsoCode"),
            erp_ids={
                system: value
                for system, field in fields.by_system().items()
                if (value := text(account.field(field)))
            },
        )

    # --- lines --------------------------------------------------------------------------------------

    def _line(self, line: LineRecord, deal: OpportunityRecord, currency: str) -> OpportunityLine:
        fields = self._mapping.line
        ref = self._ref("OpportunityLineItem", line.Id)
        return OpportunityLine(
            id=ref.id,
            service_code=text(line.Product2.ProductCode) if line.Product2 else None,
            service_name=text(line.Product2.Name) if line.Product2 else None,
            description=text(line.Description),
            quantity=line.Quantity,
            unit_price=line.UnitPrice,
            discount_percent=line.Discount or Decimal(0),
            amount=self._money(line.TotalPrice, currency, ref, "TotalPrice") or Money.of_minor(0, currency),
            legal_entity=text(line.field(fields.legal_entity)),
            delivery_region=text(line.field(fields.delivery_region)),
            billing_method=self._billing_method(line, ref),
            revenue_method=self._revenue_method(line, ref),
            start=self._date(line.field(fields.start), ref, fields.start) or line.ServiceDate,
            end=self._date(line.field(fields.end), ref, fields.end),
            conversion=self._conversion(line, ref, currency, deal.CloseDate),
        )

    def _billing_method(self, line: LineRecord, ref: RecordRef) -> BillingMethod | None:
        field = self._mapping.line.billing_method
        word = text(line.field(field))
        method = self._mapping.billing_method(word) if word else None
        if word and method is None:
            self._unknown_word(Cause.BILLING_METHOD_MISSING, word, "billing", ref, field)
        return method

    def _revenue_method(self, line: LineRecord, ref: RecordRef) -> RevenueMethod | None:
        field = self._mapping.line.revenue_method
        word = text(line.field(field))
        method = self._mapping.revenue_method(word) if word else None
        if word and method is None:
            self._unknown_word(Cause.BILLING_METHOD_MISSING, word, "revenue", ref, field)
        return method

    def _conversion(
        self, line: LineRecord, ref: RecordRef, deal_currency: str, close_date: date | None
    ) -> Conversion | None:
        fields = self._mapping.line
        currency = self._currency(text(line.field(fields.contract_currency)), ref, fields.contract_currency)
        if currency is None or currency == deal_currency:
            return None
        rate = _decimal(line.field(fields.contract_rate))
        if rate is None or rate <= 0:
            self._find(
                Cause.RATE_MISSING,
                Queue.SALES,
                f"line {ref.id} is contracted in {currency}, the deal is in {deal_currency}, without a rate",
                "Enter the rate that the contract fixes.",
                ref,
                fields.contract_rate or "contract_rate",
            )
            return None
        if close_date is None:
            self._find(Cause.DATES_MISSING, Queue.SALES, "the deal has no close date to date its rate",
                       "Enter the close date.", ref, "CloseDate")  # fmt: skip
            return None
        return Conversion(
            from_currency=deal_currency,
            to_currency=currency,
            rate=rate,
            rate_type="fixed_by_contract",
            rate_date=close_date.isoformat(),
            source=f"OpportunityLineItem.{fields.contract_rate}",
        )

    # --- values -------------------------------------------------------------------------------------

    def _sow(self, record: OpportunityRecord, ref: RecordRef) -> DocumentRef | None:
        fields = self._mapping.opportunity
        number, version = text(record.field(fields.sow_number)), text(record.field(fields.sow_version))
        url = text(record.field(fields.sow_url))
        signed_on = self._date(record.field(fields.sow_signed_on), ref, fields.sow_signed_on)
        if not (number or version or url or signed_on):
            return None
        return DocumentRef(kind="sow", number=number, version=version, signed_on=signed_on, url=url)

    def _deal_currency(self, record: OpportunityRecord, ref: RecordRef) -> str:
        code = record.CurrencyIsoCode or self._mapping.default_currency
        if code is None:
            raise Refused(
                f"Deal {record.Name!r}: its organisation has one currency; the settings do not say which.",
                cause=Cause.CONFIGURATION,
                system=self._system,
                record=ref,
                remedy="Set mapping.default_currency of this instance.",
            )
        if self._currency(code, ref, "CurrencyIsoCode") is None:
            raise Refused(
                f"Deal {record.Name!r}: {code!r} is not a currency we can hold amounts in.",
                cause=Cause.CURRENCY_NOT_SOLD,
                queue=Queue.MASTER_DATA,
                system=self._system,
                record=ref,
                field="CurrencyIsoCode",
                remedy="Correct the deal's currency.",
            )
        return code

    def _currency(self, code: str | None, ref: RecordRef, field: str) -> str | None:
        if not code:
            return None
        try:
            exponent(code)
        except ValueError as unknown:
            self._find(Cause.CURRENCY_NOT_SOLD, Queue.MASTER_DATA, f"{ref.type} {ref.id}: {unknown}",
                       "Enter an ISO 4217 currency.", ref, field)  # fmt: skip
            return None
        return code

    def _money(self, amount: Decimal | None, currency: str, ref: RecordRef, field: str) -> Money | None:
        if amount is None:
            return None
        exact = round_to(amount, currency)
        if exact != amount:
            self._find(
                Cause.AMOUNT_MISMATCH,
                Queue.SALES,
                f"{ref.type} {ref.id}: {field} {amount} has more decimals than {currency}",
                f"Correct the price so that the amount has at most {exponent(currency)} decimals.",
                ref,
                field,
            )
        return Money(amount=exact, currency=currency)

    def _date(self, value: Any, ref: RecordRef, field: str) -> date | None:
        words = text(value)
        if words is None:
            return None
        try:
            return date.fromisoformat(words[:10])
        except ValueError:
            message = f"{ref.type} {ref.id}: {field} {words!r} is not a date"
            self._find(Cause.DATES_MISSING, Queue.SALES, message, "Use a field of type Date.", ref, field)
            return None

    def _unknown_word(self, cause: Cause, word: str, kind: str, ref: RecordRef, field: str) -> None:
        self._find(
            cause,
            Queue.BILLING,
            f"line {ref.id}: {word!r} is not a {kind} method we know",
            f"Choose another value, or add the word to mapping.{kind}_words of {self._system}.",
            ref,
            field,
        )

    def _find(
        self, cause: Cause, queue: Queue, message: str, remedy: str, ref: RecordRef, field: str
    ) -> None:
        self._findings.append(
            Finding(cause=cause, message=message, remedy=remedy, queue=queue, record=ref, field=field)
        )

    def _ref(self, type_: str, id_: str) -> RecordRef:
        full = record_id(id_) or id_
        return RecordRef(system=self._system, type=type_, id=full, url=self._link(type_, full))


def revision(
    record: OpportunityRecord, lines: Sequence[LineRecord], accounts: Sequence[AccountRecord]
) -> str:
    """Changes when the deal, one of its lines or one of its accounts does.

    A line's own change does not always touch the deal's stamp, and an account's never does.
    """
    newest_line = max((line.SystemModstamp for line in lines), default="")
    newest_account = max((account.SystemModstamp for account in accounts), default="")
    return f"{record.SystemModstamp}~{newest_line}~{newest_account}"


def text(value: Any) -> str | None:
    """A value as trimmed text; None for nothing. Numbers become plain digits, never 1E+3."""
    if value is None:
        return None
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(value).strip() or None


def _decimal(value: Any) -> Decimal | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (Decimal, int)):
        return Decimal(value)
    words = str(value).strip()
    return Decimal(words) if re.fullmatch(r"-?\d+(\.\d+)?", words) else None


def comparable(expected: Any, actual: Any) -> Any:
    """``actual`` in the form of ``expected``, so that equal values compare equal.

    Salesforce answers numbers as JSON numbers whatever digits were sent, and an emptied text as null.
    """
    if isinstance(actual, bool):
        return actual
    if isinstance(actual, (int, Decimal)) and isinstance(expected, (int, Decimal, str)):
        wanted = _decimal(expected)
        if wanted is not None and wanted == actual:
            return expected
        return format(Decimal(actual), "f") if isinstance(expected, str) else actual
    if actual is None and expected == "":
        return expected
    return actual


def same(expected: Any, actual: Any) -> bool:
    """Whether a field shows the value that we wrote."""
    return bool(comparable(expected, actual) == expected) or (expected is None and actual == "")
