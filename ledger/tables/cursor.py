"""Polling positions (rules 9, 28)."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Utc


class Cursor(Table, table=True):
    """How far a feed of a connected system was read."""

    __tablename__ = "cursor"

    name: str = Field(unique=True)
    value: str
    at: datetime = Field(sa_type=Utc)
