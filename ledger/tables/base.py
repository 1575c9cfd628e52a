"""Base of all tables: one metadata, constraint names that migrations can rely on."""

from __future__ import annotations

from sqlalchemy import MetaData
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from ledger.types import Serial

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_REGISTRY = registry(metadata=METADATA)


class Table(SQLModel, registry=_REGISTRY):
    """A table of the ledger. ``id`` rises with insertion and is what pages are cut by."""

    id: int | None = Field(default=None, primary_key=True, sa_type=Serial)
