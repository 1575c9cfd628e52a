"""Comparing an issued invoice with what we meant (rule 38)."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from canonical.billing import Invoice
from canonical.engagement import InvoiceGrouping
from canonical.erp_billing import InvoiceLineKind, InvoiceLineReading, InvoiceReading, InvoiceState
from canonical.invoicing import BillingGroup, InvoiceLine, InvoicePlan
from canonical.money import AmountRole, Money
from canonical.refs import RecordRef
from rules.tax import net_differences

GROUP = BillingGroup(
    seller="NL01", bill_to="K1", currency="EUR", grouping=InvoiceGrouping.CONTRACT, subject="C1"
)
TIME, FEE = InvoiceLineKind.TIME, InvoiceLineKind.FEE


def eur(amount: int) -> Money:
    return Money(amount=Decimal(amount), currency="EUR", role=AmountRole.BILLING)


def ours(key: str, kind: InvoiceLineKind, amount: int, posting: str | None = None) -> InvoiceLine:
    return InvoiceLine(
        allocation_key=key,
        item_key=key,
        kind=kind,
        description=key,
        contract_key="C1",
        project_code="PRJ-1",
        posting=posting,
        work_date=date(2026, 11, 3),
        amount=eur(amount).model_copy(update={"role": AmountRole.CONTRACT}),
        billed=eur(amount),
    )


def theirs(
    kind: InvoiceLineKind, amount: int, key: str | None = None, posting: str | None = None
) -> InvoiceLineReading:
    return InvoiceLineReading(
        line=key or posting or "?", key=key, kind=kind, net=eur(amount), tax=eur(0), posting=posting
    )


PLAN = InvoicePlan(
    key="G/2026-11/1",
    group=GROUP,
    group_key="G",
    cycle="2026-11",
    sequence=1,
    on=date(2026, 11, 30),
    lines=(ours("a", TIME, 100, "T1"), ours("b", TIME, 50, "T2"), ours("f", FEE, 1000)),
)


def reading(*lines: InvoiceLineReading) -> InvoiceReading:
    net = eur(sum(int(line.net.amount) for line in lines))
    invoice = Invoice(
        ref=RecordRef(system="erp", type="invoice", id="1"),
        number="INV1",
        seller="NL01",
        bill_to="9",
        contract_keys=(),
        issued_on=date(2026, 11, 30),
        net=net,
        tax=(),
        gross=net,
        paid=eur(0),
        credited=eur(0),
        withheld=eur(0),
        written_off=eur(0),
        balance=net,
        modified_at=datetime(2026, 11, 30, tzinfo=UTC),
    )
    return InvoiceReading(state=InvoiceState.POSTED, invoice=invoice, lines=lines)


def test_an_invoice_of_time_and_a_fee_is_compared_line_by_line() -> None:
    told = reading(theirs(TIME, 100, posting="T1"), theirs(TIME, 50, posting="T2"), theirs(FEE, 1000, "f"))
    assert list(net_differences(PLAN, told)) == []


@pytest.mark.parametrize(("first", "second", "fee"), [(110, 40, 1000), (100, 60, 990), (50, 100, 1000)])
def test_differences_that_cancel_one_another_are_found(first: int, second: int, fee: int) -> None:
    told = reading(
        theirs(TIME, first, posting="T1"), theirs(TIME, second, posting="T2"), theirs(FEE, fee, "f")
    )
    found = list(net_differences(PLAN, told))
    assert len(found) == 2
    assert {one.field for one in found} == {"lines"}


def test_a_posting_that_is_not_ours_on_the_invoice_is_found() -> None:
    told = reading(theirs(TIME, 100, posting="T1"), theirs(TIME, 50, posting="T9"), theirs(FEE, 1000, "f"))
    messages = " ".join(one.message for one in net_differences(PLAN, told))
    assert "T9" in messages
    assert "T2" in messages


def test_an_erp_that_names_no_lines_is_compared_in_all() -> None:
    told = reading(theirs(TIME, 150), theirs(FEE, 1000))
    assert list(net_differences(PLAN, told)) == []
