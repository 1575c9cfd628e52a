"""What we read from Salesforce, as it comes over the wire. Custom fields stay in ``model_extra``."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict


class Wire(BaseModel):
    """Base of wire models: unknown fields are kept, names are the vendor's."""

    model_config = ConfigDict(extra="allow", frozen=True)

    def field(self, name: str) -> Any:
        """The value of any selected field by its API name; None when it is not there."""
        if not name:
            return None
        if name in type(self).model_fields:
            return getattr(self, name)
        return (self.model_extra or {}).get(name)


class UserRecord(Wire):
    """The owner of a deal."""

    Email: str | None = None


class ProductRecord(Wire):
    """A product; its code is our service code."""

    ProductCode: str | None = None
    Name: str | None = None


class AccountRecord(Wire):
    """An account with as many parents as were selected."""

    Id: str
    Name: str
    SystemModstamp: str
    ParentId: str | None = None
    Parent: AccountRecord | None = None
    BillingStreet: str | None = None
    BillingCity: str | None = None
    BillingPostalCode: str | None = None
    BillingState: str | None = None
    BillingCountry: str | None = None
    BillingCountryCode: str | None = None
    CurrencyIsoCode: str | None = None


class LineRecord(Wire):
    """A sold line. ``TotalPrice`` is the vendor's own, after discount."""

    Id: str
    SystemModstamp: str
    Quantity: Decimal
    UnitPrice: Decimal
    Discount: Decimal | None = None
    """Percent."""
    TotalPrice: Decimal
    ServiceDate: date | None = None
    Description: str | None = None
    Product2: ProductRecord | None = None


class LineSet(Wire):
    """A child sub-query's answer; without rows the vendor sends null instead."""

    done: bool = True
    nextRecordsUrl: str | None = None  # noqa: N815
    records: tuple[LineRecord, ...] = ()


class OpportunityRecord(Wire):
    """A deal with its account, bill-to and lines."""

    Id: str
    Name: str
    StageName: str
    IsClosed: bool
    IsWon: bool
    Amount: Decimal | None = None
    CloseDate: date | None = None
    SystemModstamp: str
    AccountId: str | None = None
    CurrencyIsoCode: str | None = None
    Owner: UserRecord | None = None
    Account: AccountRecord | None = None
    OpportunityLineItems: LineSet | None = None


class FieldDescribe(BaseModel):
    """What describe says of one field, as far as we use it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    type: str = "string"
    length: int = 0
    """Characters; 0 where the type has no length."""
    updateable: bool = True
    externalId: bool = False  # noqa: N815
    unique: bool = False
    relationshipName: str | None = None  # noqa: N815


class ObjectDescribe(BaseModel):
    """What describe says of an object, as far as we use it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    fields: tuple[FieldDescribe, ...]

    def get(self, name: str) -> FieldDescribe | None:
        """The field of that API name, or None when it is absent or hidden from us."""
        return next((field for field in self.fields if field.name == name), None)
