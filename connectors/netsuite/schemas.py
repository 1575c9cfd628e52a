"""Wire models of what we read from NetSuite: strict on what we use, silent about the rest."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from connectors.netsuite import wire


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


RefId = Annotated[str | None, BeforeValidator(wire.ref_id)]
"""The id of a reference field."""
Flag = Annotated[bool, BeforeValidator(wire.flag)]
"""A boolean of a record or of SuiteQL."""
Text = Annotated[str | None, BeforeValidator(lambda value: None if value is None else str(value))]
"""Text; ids and numbers may come without quotes."""
Number = Annotated[Decimal, BeforeValidator(wire.decimal)]
"""An exact number."""


class QueryPage(_Wire):
    """A page of SuiteQL: keys lower-cased, values mostly text, empty columns left out."""

    items: list[dict[str, Any]] = []
    has_more: bool = Field(default=False, alias="hasMore")
    total: int = Field(default=0, alias="totalResults")


class CustomerRow(_Wire):
    """A customer as a query shows it."""

    id: Annotated[str, BeforeValidator(str)]
    entityid: Text = None
    companyname: Text = None
    externalid: Text = None
    tax_number: Text = None
    subsidiary: RefId = None
    currency: RefId = None
    isinactive: Flag = False

    @property
    def name(self) -> str:
        """Company name, else what the account calls it."""
        return self.companyname or self.entityid or self.id


class OrderLine(_Wire):
    """A line of a sales order or invoice."""

    line: Text = None
    amount: Number = Decimal(0)
    is_closed: Flag = Field(default=False, alias="isClosed")

    @property
    def number(self) -> int | None:
        """The line's key."""
        return None if self.line is None else int(Decimal(self.line))


class JobRecord(_Wire):
    """A project as the record service shows it."""

    id: Annotated[str, BeforeValidator(str)]
    entity_id: str = Field(alias="entityId")
    company_name: Text = Field(default=None, alias="companyName")
    parent: RefId = None
    subsidiary: RefId = None
    currency: RefId = None
    billing_type: RefId = Field(default=None, alias="jobBillingType")
    status: RefId = Field(default=None, alias="entityStatus")
    inactive: Flag = Field(default=False, alias="isInactive")


class OrderRecord(_Wire):
    """A sales order with its lines."""

    id: Annotated[str, BeforeValidator(str)]
    tran_id: Text = Field(default=None, alias="tranId")
    entity: RefId = None
    job: RefId = None
    subsidiary: RefId = None
    currency: RefId = None
    status: RefId = Field(default=None, alias="orderStatus")
    item: Any = None

    @property
    def lines(self) -> list[OrderLine]:
        """The item lines."""
        return [OrderLine.model_validate(line) for line in wire.items(self.item)]

    @property
    def net(self) -> Decimal:
        """Sum of the lines: the order's own total may contain tax."""
        return sum((line.amount for line in self.lines), Decimal(0))


class InvoiceRecord(_Wire):
    """An invoice with its lines."""

    id: Annotated[str, BeforeValidator(str)]
    tran_id: str = Field(alias="tranId")
    external_id: Text = Field(default=None, alias="externalId")
    entity: RefId = None
    job: RefId = None
    created_from: RefId = Field(default=None, alias="createdFrom")
    subsidiary: RefId = None
    currency: RefId = None
    tran_date: str = Field(alias="tranDate")
    due_date: Text = Field(default=None, alias="dueDate")
    purchase_order: Text = Field(default=None, alias="otherRefNum")
    total: Number | None = None
    amount_paid: Number = Field(default=Decimal(0), alias="amountPaid")
    amount_remaining: Number = Field(default=Decimal(0), alias="amountRemaining")
    last_modified: str = Field(alias="lastModifiedDate")
    item: Any = None
    tax_details: Any = Field(default=None, alias="taxDetails")
    time: Any = None
    exp_cost: Any = Field(default=None, alias="expCost")

    @property
    def taken(self) -> list[dict[str, Any]]:
        """Item lines, and the time and expense lines that were applied."""
        applied = (*wire.items(self.time), *wire.items(self.exp_cost))
        return [*wire.items(self.item), *(line for line in applied if wire.flag(line.get("apply")))]

    @property
    def net(self) -> Decimal:
        """Sum of the lines: the invoice's own total contains tax."""
        return sum((wire.decimal(line.get("amount", 0)) for line in self.taken), Decimal(0))


class JobState(_Wire):
    """An asynchronous job."""

    id: Annotated[str, BeforeValidator(str)]
    completed: bool = False
    progress: str = "pending"
