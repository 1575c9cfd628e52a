"""People who acted: a name sealed under a key of its own. Erasing a person destroys that key (rule 48)."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Utc


class Person(Table, table=True):
    """A person under a pseudonym; all other tables refer to it by that."""

    __tablename__ = "person"

    pseudonym: str = Field(unique=True)
    wrapped_key: bytes | None = None
    """The person's own key, encrypted with the installation's; None once erased."""
    sealed_name: bytes | None = None
    at: datetime = Field(sa_type=Utc)
    erased_at: datetime | None = Field(default=None, sa_type=Utc)
