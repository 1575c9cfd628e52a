"""Writing records: one path for the record service, batches, transforms and seeding."""

from __future__ import annotations

import copy
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any

from simulators.kit import Record
from simulators.netsuite import (
    errors,
    rules_entities,
    rules_expenses,
    rules_receipts,
    rules_sales,
    rules_time,
    values,
)
from simulators.netsuite.state import Books, fine, stamp
from simulators.netsuite.values import Strictness

Prepare = Callable[[Books, Record | None, Record], None]
Check = Callable[[Books, Record], None]


@dataclass(frozen=True)
class Rules:
    """What a record type insists on beyond names and types."""

    prepare: Prepare | None = None
    """Completes and checks the new version; may refuse."""
    settle: Prepare | None = None
    """Carries an accepted version over to other records; must not refuse."""
    removable: Check | None = None
    """May refuse a deletion."""
    removed: Check | None = None
    """Carries a deletion over to other records."""
    leaves: tuple[str, ...] = ()
    """Referring types that do not stand in the way of a deletion."""


def _named(name: str, inactive: str = "isInactive") -> Prepare:
    def prepare(books: Books, old: Record | None, new: Record) -> None:
        rules_entities.require(new, name)
        new.setdefault(inactive, False)

    return prepare


def _period(books: Books, old: Record | None, new: Record) -> None:
    rules_entities.require(new, "periodName", "startDate", "endDate")
    for name in ("closed", "arLocked", "apLocked", "allLocked"):
        new.setdefault(name, False)


def _rate(books: Books, old: Record | None, new: Record) -> None:
    rules_entities.require(new, "baseCurrency", "transactionCurrency", "exchangeRate", "effectiveDate")


RULES: dict[str, Rules] = {
    "subsidiary": Rules(_named("name")),
    "currency": Rules(_named("name")),
    "currencyRate": Rules(_rate),
    "term": Rules(_named("name")),
    "department": Rules(_named("name")),
    "classification": Rules(_named("name")),
    "location": Rules(_named("name")),
    "serviceSaleItem": Rules(_named("itemId")),
    "nonInventorySaleItem": Rules(_named("itemId")),
    "customerCategory": Rules(_named("name")),
    "customerStatus": Rules(_named("name")),
    "billingRateCard": Rules(_named("name")),
    "expenseCategory": Rules(_named("name", "isinactive")),
    "accountingPeriod": Rules(_period),
    "billingSchedule": Rules(rules_entities.prepare_schedule),
    "customer": Rules(
        rules_entities.prepare_customer,
        rules_entities.settle_customer,
        removed=rules_entities.customer_removed,
        leaves=("customerSubsidiaryRelationship", "contact"),
    ),
    "customerSubsidiaryRelationship": Rules(
        rules_entities.prepare_relationship, removable=rules_entities.relationship_removable
    ),
    "contact": Rules(rules_entities.prepare_contact),
    "employee": Rules(rules_entities.prepare_employee),
    "vendor": Rules(rules_entities.prepare_vendor),
    "job": Rules(rules_entities.prepare_job),
    "projectTask": Rules(rules_entities.prepare_task),
    "timeBill": Rules(rules_time.prepare_time, removable=rules_time.time_removable),
    "charge": Rules(rules_time.prepare_charge, removable=rules_time.charge_removable),
    "salesOrder": Rules(
        rules_sales.prepare_order,
        rules_sales.settle_order,
        rules_receipts.order_removable,
        rules_sales.order_removed,
        leaves=("revenueArrangement", "revenuePlan"),
    ),
    "invoice": Rules(
        rules_sales.prepare_invoice,
        rules_sales.settle_invoice,
        rules_receipts.receivable_removable,
        rules_sales.invoice_removed,
        leaves=("charge",),
    ),
    "creditMemo": Rules(
        rules_receipts.prepare_credit,
        rules_receipts.settle_credit,
        rules_receipts.receivable_removable,
        rules_receipts.credit_removed,
    ),
    "customerPayment": Rules(
        rules_receipts.prepare_payment,
        rules_receipts.settle_payment,
        rules_receipts.receivable_removable,
        rules_receipts.payment_removed,
    ),
    "customerRefund": Rules(
        rules_receipts.prepare_refund,
        rules_receipts.settle_refund,
        rules_receipts.receivable_removable,
        rules_receipts.refund_removed,
    ),
    "expenseReport": Rules(rules_expenses.prepare_expense, removable=rules_receipts.payable_removable),
    "revenueArrangement": Rules(),
    "revenuePlan": Rules(),
}
"""Business rules per record type."""


@dataclass(frozen=True)
class Origin:
    """Where a write came from, for the write log. ``body`` is the request body as sent."""

    method: str
    path: str
    body: Any


class Records:
    """Create, change and delete records, all rules applied, every accepted write logged."""

    def __init__(self, books: Books) -> None:
        self.books = books

    def create(
        self,
        type_: str,
        body: dict[str, Any],
        how: Strictness,
        origin: Origin | None,
        *,
        base: Record | None = None,
        id_: str | None = None,
        operation: str = "create",
    ) -> str:
        """Create a record.

        Args:
            type_: record type.
            body: fields as sent.
            how: strictness of checking.
            origin: for the log; None logs nothing (seeding).
            base: stored fields that the body is laid over (transforms).
            id_: internal id to take (seeding).
            operation: word for the log.

        Returns:
            The internal id.

        Raises:
            VendorError: refused; nothing has changed.
        """
        books = self.books
        spec = books.type(type_)
        accepted = values.accept(books, spec, body, how)
        replaced = {n for n, v in accepted.items() if isinstance(v, dict) and "items" in v}
        new = values.merge(books, spec, copy.deepcopy(base or {}), accepted, replaced)
        self._free_external(type_, None, new.get("externalId"))
        self._custom_required(type_, new)
        taken = id_ or books.new_id(type_)
        new = {"id": taken, **new}
        for name in ("createdDate", "dateCreated"):
            if name in spec.fields:
                new.setdefault(name, stamp(books.at))
        self._write(type_, None, new)
        self._log(type_, taken, new.get("externalId"), origin, operation)
        return taken

    def update(
        self,
        type_: str,
        id_: str,
        body: dict[str, Any],
        how: Strictness,
        origin: Origin | None,
        *,
        replaced: Set[str] = frozenset(),
    ) -> None:
        """Change a record; sublists merge by line key unless named in ``replaced``.

        Raises:
            VendorError: refused; nothing has changed.
        """
        books = self.books
        spec = books.type(type_)
        old = books.need(type_, id_)
        accepted = values.accept(books, spec, body, how)
        new = values.merge(books, spec, copy.deepcopy(old), accepted, replaced)
        self._free_external(type_, id_, new.get("externalId"))
        self._custom_required(type_, new)
        self._write(type_, old, new)
        self._log(type_, id_, new.get("externalId"), origin, "update")

    def upsert(
        self,
        type_: str,
        external: str,
        body: dict[str, Any],
        how: Strictness,
        origin: Origin,
        replaced: Set[str],
    ) -> str:
        """Create or change the record with an external id; its internal id."""
        sent = body.get("externalId")
        if sent is not None and sent != external:
            raise errors.invalid_content(
                "The external ID in the body differs from the one in the URL.", "externalId"
            )
        held = self.books.by_external(type_, external)
        if held is None:
            return self.create(type_, {**body, "externalId": external}, how, origin)
        self.update(type_, held, body, how, origin, replaced=replaced)
        return held

    def delete(self, type_: str, id_: str, origin: Origin | None) -> None:
        """Delete a record.

        Raises:
            VendorError: something refers to it, or its type's rules forbid it.
        """
        books = self.books
        rules = RULES[type_]
        record = books.need(type_, id_)
        if rules.removable is not None:
            rules.removable(books, record)
        if any(key[0] not in rules.leaves for key in books.referring(type_, id_)):
            raise errors.user_error("This record cannot be deleted because it has dependent records.")
        if rules.removed is not None:
            rules.removed(books, record)
        books.remove(type_, id_)
        self._log(type_, id_, record.get("externalId"), origin, "delete")

    def act(self, type_: str, id_: str, action: str, origin: Origin) -> None:
        """A record action of a time entry: submit, approve, reject, retract."""
        new = rules_time.act(self.books, self.books.need(type_, id_), action)
        self.books.save(type_, id_, new)
        self._log(type_, id_, new.get("externalId"), origin, action)

    def _write(self, type_: str, old: Record | None, new: Record) -> None:
        rules = RULES[type_]
        if rules.prepare is not None:
            rules.prepare(self.books, old, new)
        self.books.save(type_, new["id"], new)
        if rules.settle is not None:
            rules.settle(self.books, old, new)

    def _free_external(self, type_: str, id_: str | None, external: str | None) -> None:
        if external is None:
            return
        holder = self.books.external.get((self.books.external_family(type_), external))
        if holder is not None and holder != (type_, id_):
            raise errors.refuse(
                400,
                errors.Detail(
                    "Error while accessing a resource. This record already exists: the external ID "
                    f"'{external}' is used by {holder[0]} {holder[1]}.",
                    self.books.settings["duplicate_error_code"],
                    "externalId",
                ),
            )

    def _custom_required(self, type_: str, new: Record) -> None:
        for name, spec in self.books.type(type_).fields.items():
            if spec.required and new.get(name) in (None, ""):
                raise errors.user_error(f"Please enter value(s) for: {name}.", name)

    def _log(self, type_: str, id_: str, key: str | None, origin: Origin | None, operation: str) -> None:
        if origin is None:
            return
        self.books.store.log(
            at=stamp(self.books.at),
            method=origin.method,
            path=origin.path,
            type=type_,
            id=id_,
            body=origin.body,
            operation=operation,
            key=key,
            accepted_at=fine(self.books.accepted or self.books.at),
        )
