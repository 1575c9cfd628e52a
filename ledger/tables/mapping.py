"""Field mappings by digest, so that any worker can load the one a run is pinned to."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Json, Utc


class Mapping(Table, table=True):
    """One content of one system instance's field mapping; never changed."""

    __tablename__ = "mapping"

    digest: str = Field(unique=True)
    system: str = Field(index=True)
    content: dict[str, Any] = Field(sa_type=Json)
    at: datetime = Field(sa_type=Utc)
