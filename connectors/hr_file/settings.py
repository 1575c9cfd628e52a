"""What an installation says about its HR export. ``mapping_digest`` covers everything but the path."""

from __future__ import annotations

import codecs
import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from canonical.money import CurrencyCode

REQUIRED = ("worker_id", "name", "role")
"""Columns without which a row says nothing."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Columns(_Settings):
    """Header of each column in the export. The empty string says that the export does not have it."""

    worker_id: str = "worker_id"
    name: str = "name"
    email: str = "email"
    role: str = "role"
    practice: str = "practice"
    region: str = "region"
    legal_entity: str = "legal_entity"
    cost_rate: str = "cost_rate"
    """Cost per hour."""
    cost_currency: str = "cost_currency"
    effective_from: str = "effective_from"
    """First day on which the row holds; empty: always did."""
    effective_to: str = "effective_to"
    """Last day on which the row holds; empty: open-ended."""

    @model_validator(mode="after")
    def _usable(self) -> Columns:
        absent = [key for key in REQUIRED if not getattr(self, key)]
        if absent:
            raise ValueError(f"these columns cannot be left out: {', '.join(absent)}")
        headers = [header for header in self.model_dump().values() if header]
        if len(set(headers)) != len(headers):
            raise ValueError("one header is named for two columns")
        return self


class HrFileSettings(_Settings):
    """One HR export."""

    path: Path
    delimiter: str = ","
    """One character; a tab for TSV."""
    encoding: str = "utf-8-sig"
    """Takes UTF-8 with and without the mark that spreadsheets put in front."""
    date_format: str = "%Y-%m-%d"
    """As in ``strptime``."""
    decimal_comma: bool = False
    """Whether cost rates are written 85,50."""
    default_currency: CurrencyCode | None = None
    """Of cost rates whose row names none."""
    stale_after_days: int = Field(default=7, ge=1)
    """Age of the file from which ``trueup doctor`` warns."""
    columns: Columns = Columns()

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, value: str) -> str:
        if len(value) != 1 or value in '"\r\n':
            raise ValueError('expected one character, for example "," or ";" or a tab')
        return value

    @field_validator("encoding")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            codecs.lookup(value)
        except LookupError:
            raise ValueError(f"{value!r} is not a known encoding") from None
        return value

    @property
    def mapping_digest(self) -> str:
        """SHA-256 of what decides how a row is read."""
        return hashlib.sha256(self.model_dump_json(exclude={"path", "stale_after_days"}).encode()).hexdigest()
