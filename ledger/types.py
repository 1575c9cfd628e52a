"""Column types that mean the same on SQLite and PostgreSQL.

* ``Utc``: aware datetimes in, aware UTC datetimes out. SQLite has no time zones, so what it stores is UTC.
* ``Json``: exact JSON text. Decimals stay decimals; a binary float never comes out of the database.
* ``Serial``: a 64-bit row number made by the database.
* ``Minor``: an amount in integer minor units of a currency kept in a column beside it.
* ``Micro``: a rate in integer millionths; more decimals than six are refused, not rounded.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import simplejson
from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer
from sqlalchemy.types import TypeDecorator, TypeEngine


def _encode(value: object) -> object:
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{value} cannot be stored: JSON has no such number")
        return simplejson.RawJSON(str(value))
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"a {type(value).__name__} cannot be stored as JSON")


def _encoder(*, sort_keys: bool) -> simplejson.JSONEncoder:
    return simplejson.JSONEncoder(
        use_decimal=False,
        default=_encode,
        encoding=None,  # type: ignore[arg-type]  # bytes are refused, not guessed at
        separators=(",", ":"),
        sort_keys=sort_keys,
        allow_nan=False,
    )


_AS_GIVEN, _SORTED = _encoder(sort_keys=False), _encoder(sort_keys=True)
"""Made once: making one takes longer than encoding a row."""


class JsonText(str):
    """JSON that is written already, for example by a model: it is stored as it stands."""

    __slots__ = ()


def dumps(value: Any) -> str:
    """Compact JSON text. Decimals are written digit by digit, dates as ISO 8601.

    Raises:
        TypeError: a value has no JSON form.
        ValueError: a number is not finite.
    """
    if type(value) is JsonText:
        return value
    return str(_AS_GIVEN.encode(value))


def canonical_json(value: Any) -> str:
    """JSON text that is the same for equal content: sorted keys, no spaces. What hashes are made of."""
    return str(_SORTED.encode(value))


def loads(text: str | bytes) -> Any:
    """JSON text to values; every number with a fraction becomes a ``Decimal``."""
    return simplejson.loads(text, parse_float=Decimal)


class Utc(TypeDecorator[datetime]):
    """An instant. Refuses naive values: guessing a zone would be wrong somewhere."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware to UTC; SQLite's text has no room for the zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Back to an aware UTC datetime."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Json(TypeDecorator[Any]):
    """JSON kept as the exact text written (``json``, not ``jsonb``, on PostgreSQL); None is NULL."""

    impl = JSON(none_as_null=True)
    cache_ok = True


class Serial(TypeDecorator[int]):
    """A row number; SQLite makes numbers only for its own INTEGER type, which has 64 bits too."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """INTEGER on SQLite, BIGINT elsewhere."""
        return dialect.type_descriptor(Integer() if dialect.name == "sqlite" else BigInteger())


class Minor(TypeDecorator[int]):
    """Integer minor units (cents, yen, fils). Anything but an int is a mistake, above all a float."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> int | None:
        """Refuse what is not an integer or does not fit into 64 bits."""
        if value is None:
            return None
        if type(value) is not int:
            raise ValueError(f"{value!r} is not an amount in integer minor units")
        if not -(2**63) <= value < 2**63:
            raise ValueError(f"{value} minor units do not fit into 64 bits")
        return value


_MICRO = Decimal(1_000_000)


class Micro(TypeDecorator[Decimal]):
    """A decimal kept as integer millionths: rates per hour, which have more decimals than their currency."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:
        """Refuse what is not a decimal or has more than six decimals."""
        if value is None:
            return None
        if not isinstance(value, Decimal):
            raise ValueError(f"{value!r} is not a decimal")
        scaled = value * _MICRO
        if scaled != scaled.to_integral_value():
            raise ValueError(f"{value} has more than six decimals")
        return int(scaled)

    def process_result_value(self, value: int | None, dialect: Dialect) -> Decimal | None:
        """Back to a decimal without superfluous zeros."""
        return None if value is None else Decimal(value) / _MICRO
