"""From a document in the ledger to the lines that the ERP is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, TypeVar

from pydantic import BaseModel

from activities.billing.documents import Document, _asked
from canonical.engagement import BillingSchedule, Contract, ContractLine, ScheduleDate
from canonical.erp_billing import ContractLineReading
from canonical.invoicing import BillingGroup
from canonical.items import FeeItem, ItemKind, Placement
from canonical.money import AmountRole, Money
from canonical.names import fee_source, item_key
from ledger.billing_rows import AllocationRow, DocumentLine, DocumentRow, ItemRow
from rules.placing import ContractFacts

CONTRACT, LINE = "D1.NL01.EUR", "L1"
M = TypeVar("M", bound=BaseModel)
THIRDS = ("2000.35", "2000.46", "2000.54")


def made(model: type[M], **known: Any) -> M:
    """A model with only the fields that matter here."""
    build: Any = model.model_construct
    one: M = build(**known)
    return one


def euros(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="EUR", role=AmountRole.CONTRACT)


def contract() -> Contract:
    dates = tuple(
        ScheduleDate(key=f"L1.{n}", title=f"M{n}", due=date(2026, 10, n), amount=euros(amount))
        for n, amount in enumerate(THIRDS, 1)
    )
    schedule = BillingSchedule(key=LINE, name=LINE, dates=dates)
    line = made(ContractLine, key=LINE, item="32", schedule=schedule)
    return made(Contract, key=CONTRACT, lines=(line,))


def item(kind: ItemKind, source: str, **more: Any) -> ItemRow:
    known: dict[str, Any] = {
        "id": 1,
        "key": source,
        "kind": kind,
        "source": source,
        "contract_key": CONTRACT,
        "line_key": LINE,
        "project_code": "PRJ-1",
        "work_date": date(2026, 10, 2),
        "unbilled_in_erp": True,
        "posting_id": "77",
        "rate": None,
        "fee": None,
        "line": None,
        "placement": Placement(erp_project="700", erp_item="4"),
    }
    return made(ItemRow, **{**known, **more})


def milestone(number: int) -> ItemRow:
    source = fee_source("milestone", CONTRACT, f"L1.{number}")
    key = item_key(source, "1")
    fee = made(FeeItem, title=f"M{number}", source=source)
    more = {"unbilled_in_erp": False, "posting_id": None, "placement": None, "fee": fee}
    return item(ItemKind.MILESTONE, key, **more)


def line_of(one: ItemRow, amount: str, part: int = 1) -> DocumentLine:
    allocation = made(
        AllocationRow,
        key=f"{one.key}#{part}",
        part=part,
        minutes=60,
        amount=euros(amount),
        document="group/2026-10/1",
    )
    return DocumentLine(allocation=allocation, item=one, billed=euros(amount))


def document(lines: Sequence[DocumentLine]) -> Document:
    row = made(
        DocumentRow,
        key="group/2026-10/1",
        group=made(BillingGroup, currency="EUR"),
        group_key="group",
        cycle="2026-10",
        sequence=1,
        on=date(2026, 10, 31),
    )
    return Document(row, lines, {CONTRACT: ContractFacts(contract(), 1)})


ORDER = {
    LINE: ContractLineReading(
        order_line=1,
        key=LINE,
        item="32",
        amount=euros("6001.35"),
        billed=euros("0"),
        quantity=Decimal(1),
        quantity_billed=Decimal(0),
    )
}


def test_work_that_is_cost_only_in_the_erp_is_a_line_of_its_own() -> None:
    """The overage of a retainer: NetSuite refuses to take time up that is not billable there."""
    overage = line_of(item(ItemKind.TIME, "time", unbilled_in_erp=False), "100")
    (line,) = document([overage]).plan().lines
    assert (line.posting, line.erp_item) == (None, "4")


def test_milestones_use_up_exactly_what_was_ordered() -> None:
    """Shares of a third each, rounded half up, were more than the line's quantity: the last was refused."""
    shares = []
    for number, amount in enumerate(THIRDS, 1):
        one = document([line_of(milestone(number), amount)])
        (line,) = one.plan().lines
        shares.append(_asked(line, "700", ORDER, one).order_quantity or Decimal(0))
    assert sum(shares) == 1
    assert all(share > 0 for share in shares)
