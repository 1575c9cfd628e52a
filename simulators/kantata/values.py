"""Turning what a client sends into what is stored: ids, numbers, dates, instants.

Kantata reads JSON and Rails-style forms alike, so numbers, ids and booleans are also accepted as text;
anything else of the wrong type is refused.
"""

from __future__ import annotations

import re
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from iso4217 import Currency

_INT = re.compile(r"-?\d+\Z")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}\Z")
_TRUE = {"true", "1"}
_FALSE = {"false", "0"}
_SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹"}


class BadValue(ValueError):
    """The value cannot be read as the attribute's type; the text says why."""


def integer(value: Any) -> int:
    """A whole number, given as number or numeric text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _INT.match(value):
        return int(value)
    raise BadValue("is not a whole number")


def identifier(value: Any) -> str:
    """An id: integers in, strings out (vendor documentation, "Base URL and conventions")."""
    number = integer(value)
    if number < 1:
        raise BadValue("is not an id")
    # Few different ids are named very often.
    return sys.intern(str(number))


def decimal(value: Any) -> str:
    """A decimal, kept as plain text (how Rails prints decimals in JSON)."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise BadValue("is not a number")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise BadValue("is not a number") from None
    if not number.is_finite():
        raise BadValue("is not a number")
    return format(number, "f")


def boolean(value: Any) -> bool:
    """A boolean, given as such or as ``true``/``false``/``1``/``0``."""
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if isinstance(value, int | str) and word in _TRUE | _FALSE:
        return word in _TRUE
    raise BadValue("is not a boolean")


def text(value: Any) -> str:
    """Text; numbers are not text."""
    if not isinstance(value, str):
        raise BadValue("is not a string")
    return value


def day(value: Any) -> str:
    """A calendar date ``YYYY-MM-DD``."""
    if isinstance(value, str) and _DATE.match(value):
        try:
            return sys.intern(date.fromisoformat(value).isoformat())
        except ValueError:
            pass
    raise BadValue("is not a date (YYYY-MM-DD)")


def instant(value: Any) -> str:
    """An instant in UTC with microseconds, fixed width, so that text order is time order."""
    if not isinstance(value, str):
        raise BadValue("is not a datetime")
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise BadValue("is not a datetime (ISO 8601)") from None
    return stamp(at if at.tzinfo else at.replace(tzinfo=UTC))


def stamp(at: datetime) -> str:
    """How instants are stored."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def shown(instant_: str, offset: str) -> str:
    """How instants are answered: whole seconds with the account's UTC offset (``+02:00``)."""
    sign = -1 if offset.startswith("-") else 1
    hours, minutes = offset.lstrip("+-").split(":")
    zone = timezone(sign * timedelta(hours=int(hours), minutes=int(minutes)))
    return datetime.fromisoformat(instant_).astimezone(zone).strftime("%Y-%m-%dT%H:%M:%S") + offset


def currency(value: Any) -> str:
    """An ISO 4217 code."""
    try:
        return str(Currency(text(value)).code)
    except ValueError:
        raise BadValue("is not a supported currency") from None


def base_unit(code: str) -> int:
    """How many of the smallest unit make one unit: 100 for USD, 1 for JPY, 1000 for KWD."""
    return int(10 ** (Currency(code).exponent or 0))


def symbol(code: str) -> str:
    """The currency's symbol, or its code where it has none of its own."""
    return _SYMBOLS.get(code, code)


def weekdays(start: str, end: str) -> int:
    """Monday-to-Friday days from ``start`` to ``end`` inclusive."""
    first, last = date.fromisoformat(start), date.fromisoformat(end)
    return sum(1 for n in range((last - first).days + 1) if (first + timedelta(days=n)).isoweekday() <= 5)


def line_amount(rate: int, minutes: int) -> int:
    """What ``minutes`` cost at an hourly ``rate``, both in smallest units, rounded half up."""
    return int((Decimal(rate) * minutes / 60).to_integral_value(ROUND_HALF_UP))
