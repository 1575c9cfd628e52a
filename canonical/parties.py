"""Clients with their hierarchy, contacts, tax registrations, and the firm's own legal entities."""

from __future__ import annotations

from enum import StrEnum

from canonical.base import Canonical, Personal
from canonical.money import CurrencyCode
from canonical.refs import RecordRef


class Address(Canonical):
    """A postal address; ``country`` is ISO 3166 alpha-2."""

    street: str | None = None
    city: str | None = None
    postal_code: str | None = None
    state: str | None = None
    country: str | None = None


class TaxRegistration(Canonical):
    """A tax registration number as the ERP needs it; ``country`` is ISO 3166 alpha-2."""

    country: str
    number: str


class Contact(Canonical):
    """A person at a client."""

    name: Personal
    email: Personal | None = None
    role: str | None = None
    """For example ``billing``."""


class Client(Canonical):
    """A customer organisation as the CRM knows it. ``key`` is its business identity.

    ``parent_key`` names the client above it; the top of a hierarchy has none.
    """

    key: str
    name: str
    ref: RecordRef
    parent_key: str | None = None
    address: Address = Address()
    tax_registrations: tuple[TaxRegistration, ...] = ()
    contacts: tuple[Contact, ...] = ()
    billing_email: Personal | None = None
    currency: CurrencyCode | None = None
    erp_ids: dict[str, str] = {}
    """Ids that the CRM already holds for this client, by ERP instance."""


class PartyRole(StrEnum):
    """Roles of clients on a contract and an invoice (rule 6)."""

    SOLD_TO = "sold_to"
    BILL_TO = "bill_to"
    PAYER = "payer"
    SERVICE_RECIPIENT = "service_recipient"


class LegalEntity(Canonical):
    """One of the firm's own selling companies.

    ``timezone`` is an IANA name: cutoffs are instants in this zone (rule 30).
    """

    code: str
    name: str
    country: str
    base_currency: CurrencyCode
    currencies: tuple[CurrencyCode, ...] = ()
    """Currencies this entity sells in; its base currency always counts."""
    timezone: str = "UTC"
    tax_registration_required: bool = True
    """Whether a business customer of this entity must show a tax registration before invoicing."""

    def sells_in(self, currency: str) -> bool:
        """Whether contracts of this entity may be in ``currency``."""
        return currency == self.base_currency or currency in self.currencies


class ClientMatch(StrEnum):
    """How a client was found in the ERP, strongest evidence first (rule 22)."""

    LINK = "link"
    EXTERNAL_ID = "external_id"
    TAX_ID = "tax_id"
    NAME = "name"
    """Similar name or address: for a person to confirm, never decided by us."""


class ClientCandidate(Canonical):
    """An existing ERP customer that may be the client, with the evidence for it."""

    ref: RecordRef
    name: str
    match: ClientMatch
    score: int
    """0 to 100; 100 for exact evidence."""
    evidence: tuple[str, ...] = ()
    """Sentences a person can weigh: same tax number, 93 % similar name, same city."""
    subsidiaries: tuple[str, ...] = ()
    inactive: bool = False
