"""Values in queries: comparison, conversion, SQL's three truth values."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any


class QueryRefused(Exception):
    """The query names something that does not exist, or compares what cannot be."""


_FORMATS = (
    ("YYYY", "%Y"),
    ("MM", "%m"),
    ("DD", "%d"),
    ("HH24", "%H"),
    ("MI", "%M"),
    ("SS", "%S"),
)


def python_format(oracle: str) -> str:
    """An Oracle date format in Python's terms.

    Raises:
        QueryRefused: an element that is not served.
    """
    text = oracle.upper().replace('"T"', "T")
    for theirs, ours in _FORMATS:
        text = text.replace(theirs, ours)
    if re.search(r"[A-SU-Za-z]", re.sub(r"%[YmdHMS]", "", text)):
        raise QueryRefused(f"date format {oracle!r} is not supported")
    return text


def negate(value: Any) -> bool | None:
    """NOT, unknown staying unknown."""
    return None if value is None else not value


def conjoin(left: Any, right: Callable[[], Any]) -> bool | None:
    """SQL's AND: false wins over unknown."""
    if left is False:
        return False
    other = right()
    if other is False:
        return False
    return None if left is None or other is None else bool(left and other)


def change_case(value: Any, how: Callable[[str], str]) -> Any:
    """UPPER and LOWER."""
    return None if value is None else how(str(value))


def to_moment(text: Any, oracle: Any = "YYYY-MM-DD") -> datetime | None:
    """TO_DATE and TO_TIMESTAMP: an instant in the account's time zone."""
    if text is None:
        return None
    try:
        return datetime.strptime(str(text), python_format(str(oracle)))  # noqa: DTZ007 - account time zone
    except ValueError:
        raise QueryRefused(f"'{text}' does not match the date format '{oracle}'") from None


def to_chars(value: Any, oracle: Any = None) -> str | None:
    """TO_CHAR."""
    if value is None:
        return None
    if isinstance(value, date) and oracle is not None:
        return value.strftime(python_format(str(oracle)))
    return text_of(value)


def to_number(value: Any) -> Decimal | None:
    """TO_NUMBER. Raises ``QueryRefused`` for what is none."""
    if value is None:
        return None
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise QueryRefused(f"'{value}' is not a number") from None


def text_of(value: Any) -> str:
    """A value as text, booleans as T and F."""
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, Decimal):
        plain = f"{value:f}"
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    return str(value)


def aligned(left: Any, right: Any) -> tuple[Any, Any]:
    """Both sides in one type, or None for what cannot be compared."""
    if isinstance(left, date) or isinstance(right, date):
        return _as_moment(left), _as_moment(right)
    numeric = isinstance(left, int | Decimal) and not isinstance(left, bool)
    numeric = numeric or (isinstance(right, int | Decimal) and not isinstance(right, bool))
    if numeric:
        try:
            return Decimal(str(left)), Decimal(str(right))
        except InvalidOperation:
            return text_of(left), text_of(right)
    return text_of(left), text_of(right)


def _as_moment(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - account time zone
    for shape in ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S"):
        try:
            return datetime.strptime(str(value), shape)  # noqa: DTZ007 - account time zone
        except ValueError:
            continue
    raise QueryRefused(f"'{value}' is not a date; use TO_DATE or TO_TIMESTAMP")


def compare(operator: str, left: Any, right: Any) -> bool | None:
    """A comparison; None when it is unknown."""
    if left is None or right is None:
        return None
    if operator == "LIKE":
        pattern = re.escape(str(right)).replace("%", ".*").replace("_", ".")
        return re.fullmatch(pattern, text_of(left), re.DOTALL) is not None
    a, b = aligned(left, right)
    match operator:
        case "=":
            return bool(a == b)
        case "!=":
            return bool(a != b)
        case "<":
            return bool(a < b)
        case ">":
            return bool(a > b)
        case "<=":
            return bool(a <= b)
    return bool(a >= b)


def order_key(value: Any) -> tuple[int, int, Any]:
    """What to sort a value by: NULL last when ascending and first when descending, as in Oracle."""
    if value is None:
        return (1, 0, 0)
    if isinstance(value, bool):
        return (0, 2, text_of(value))
    if isinstance(value, int | Decimal):
        return (0, 0, value)
    if isinstance(value, date):
        return (0, 1, _as_moment(value))
    return (0, 2, str(value))
