"""One value of one field: what the platform accepts from JSON, and the form in which it keeps it.

Amounts are computed in ``Decimal``. They travel and are stored as JSON numbers because that is the vendor's
wire form (an IEEE double, ``120000.0``); ``decimal_of`` goes back through the shortest decimal text, which is
exact for the up to 15 significant digits that the platform keeps.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from simulators.salesforce.errors import RowError
from simulators.salesforce.fields import NUMBERS, TEXT, Field

EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_DATETIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)")


def decimal_of(value: Any) -> Decimal:
    """A stored number as ``Decimal`` (0 for null)."""
    return Decimal(0) if value is None else Decimal(str(value))


def number_of(value: Decimal, scale: int = 2) -> float:
    """A number in wire form, rounded half up to ``scale`` decimals."""
    return float(value.quantize(Decimal(1).scaleb(-scale), rounding=ROUND_HALF_UP))


def stamp(at: datetime, precision: str = "millisecond") -> str:
    """An instant as the platform prints it: ``2026-11-01T08:00:00.000+0000`` (UTC)."""
    at = at.astimezone(UTC)
    millis = at.microsecond // 1000 if precision == "millisecond" else 0
    return at.strftime("%Y-%m-%dT%H:%M:%S") + f".{millis:03d}+0000"


def instant(text: str) -> datetime:
    """The instant in a stored stamp or an unquoted SOQL literal."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _unreadable(kind: str, value: Any) -> RowError:
    token = (
        "VALUE_NULL" if value is None
        else "VALUE_TRUE" if value is True
        else "VALUE_FALSE" if value is False
        else "VALUE_NUMBER_INT" if isinstance(value, int)
        else "VALUE_NUMBER_FLOAT" if isinstance(value, float)
        else "START_OBJECT" if isinstance(value, dict)
        else "START_ARRAY" if isinstance(value, list)
        else "VALUE_STRING"
    )  # fmt: skip
    shown = "" if isinstance(value, dict | list) else f" value {value}"
    problem = f"Cannot deserialize instance of {kind} from {token}{shown}"
    return RowError("JSON_PARSER_ERROR", f"{problem} or request may be missing a required field")


def convert(made: Field, value: Any, *, places: int | None = None) -> Any:
    """The value as stored.

    Args:
        made: the field.
        value: as parsed from JSON.
        places: decimals of the record's currency, which widen a currency field's scale.

    Raises:
        RowError: the value is of the wrong type, too long, out of range or not in a restricted picklist.
    """
    if made.type == "boolean":
        if not isinstance(value, bool):
            raise _unreadable("boolean", value)
        return value
    if value is None or value == "":
        return None
    if made.type in TEXT:
        return _text(made, value)
    if made.type in NUMBERS:
        return _number(made, value, places)
    if made.type == "date":
        return _date(value)
    if made.type == "datetime":
        return _instant(value)
    raise _unreadable(made.type, value)


def _text(made: Field, value: Any) -> str:
    if not isinstance(value, str):
        raise _unreadable("string", value)
    label = made.label
    if made.length and len(value) > made.length:
        message = f"{label}: data value too large: {value} (max length={made.length})"
        raise RowError("STRING_TOO_LONG", message, [made.name])
    if made.type == "email" and not EMAIL.fullmatch(value):
        raise RowError("INVALID_EMAIL_ADDRESS", f"{label}: invalid email address: {value}", [made.name])
    if made.restricted:
        bad = [
            v for v in (value.split(";") if made.type == "multipicklist" else [value]) if v not in made.values
        ]
        if bad:
            message = f"{label}: bad value for restricted picklist field: {bad[0]}"
            raise RowError("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, [made.name])
    return value


def _number(made: Field, value: Any, places: int | None) -> float | int:
    kind = "int" if made.type == "int" else "double"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _unreadable(kind, value)
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise _unreadable(kind, value) from None
    if not number.is_finite() or (made.type == "int" and number != number.to_integral_value()):
        raise _unreadable(kind, value)
    scale = max(made.scale, places or 0) if made.type == "currency" else made.scale
    if number.copy_abs() >= Decimal(10) ** (made.precision - made.scale):
        message = f"{made.label}: value outside of valid range on numeric field: {value}"
        raise RowError("NUMBER_OUTSIDE_VALID_RANGE", message, [made.name])
    return int(number) if made.type == "int" else number_of(number, scale)


def _date(value: Any) -> str:
    try:
        if not isinstance(value, str) or len(value) != 10:
            raise _unreadable("date", value)
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise _unreadable("date", value) from None


def _instant(value: Any) -> str:
    if not isinstance(value, str) or not _DATETIME.fullmatch(value):
        raise _unreadable("datetime", value)
    try:
        return stamp(instant(value))
    except ValueError:
        raise _unreadable("datetime", value) from None
