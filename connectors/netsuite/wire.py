"""NetSuite's JSON, taken apart and put together: references, numbers, locations, comparison. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import unquote, urlsplit

from canonical.money import exponent

NUMBERS = frozenset({"amount", "quantity", "rate", "payment", "exchangeRate"})
"""Fields that NetSuite wants as JSON numbers. Plans carry them as text: a decimal that passes through a
workflow payload comes back as text anyway, and digits must not depend on which way it took."""


def ref(id_: Any) -> dict[str, Any]:
    """A reference to a record or an enumeration's value."""
    return {"id": id_}


def ref_id(value: Any) -> str | None:
    """The id of a reference; plain values (``simpleEnumFormat``, SuiteQL) count as their own id."""
    if isinstance(value, Mapping):
        value = value.get("id")
    return None if value is None or value == "" else str(value)


def items(sublist: Any) -> list[dict[str, Any]]:
    """The lines of an expanded sublist."""
    if isinstance(sublist, Mapping):
        sublist = sublist.get("items")
    return [line for line in sublist if isinstance(line, dict)] if isinstance(sublist, list) else []


def is_sublist(value: Any) -> bool:
    """Whether a body's field is a sublist."""
    return isinstance(value, Mapping) and set(value) == {"items"}


def location_id(location: str | None) -> str | None:
    """The new record's id: the last segment of a Location, whose host may be in capitals."""
    if not location:
        return None
    last = unquote(urlsplit(location).path.rstrip("/").rsplit("/", 1)[-1])
    return last or None


def external_id_of(address: str | None) -> str | None:
    """The external id in an address of the form ``.../eid:x``."""
    last = location_id(address)
    return last.removeprefix("eid:") if last is not None and last.startswith("eid:") else None


def number(amount: Decimal, currency: str) -> str:
    """An amount as text with exactly its currency's decimals."""
    return f"{amount:.{exponent(currency)}f}"


def plain(value: Decimal) -> str:
    """A quantity or rate as plain digits."""
    return format(value.normalize() if value else Decimal(0), "f")


def decimal(value: Any) -> Decimal:
    """A number as NetSuite sends it: JSON number or text.

    Raises:
        ValueError: not a number.
    """
    if isinstance(value, (bool, float)):
        raise ValueError(f"{value!r} is not an exact number")
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"{value!r} is not a number") from None


def numbers(body: Any, more: frozenset[str] = frozenset()) -> Any:
    """``body`` with the number fields as decimals, ready to be encoded as JSON numbers; ``more``: the
    account's own number fields.
    """
    if isinstance(body, Mapping):
        return {
            key: decimal(value)
            if (key in NUMBERS or key in more) and isinstance(value, str)
            else numbers(value, more)
            for key, value in body.items()
        }
    if isinstance(body, (list, tuple)):
        return [numbers(item, more) for item in body]
    return body


def flag(value: Any) -> bool:
    """A boolean as records (true) and SuiteQL ("T") show it."""
    return value is True or str(value).upper() in ("T", "TRUE")


def day(value: Any) -> date | None:
    """A calendar date in ISO form; None when empty.

    Raises:
        ValueError: another form. Queries ask for ISO by TO_CHAR; records answer in it.
    """
    return date.fromisoformat(str(value)[:10]) if value else None


def instant(value: Any) -> datetime:
    """A record's date-time (UTC).

    Raises:
        ValueError: not an ISO date-time with its offset.
    """
    moment = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    if moment.tzinfo is None:
        raise ValueError(f"{value!r} has no offset")
    return moment


def shows(current: Any, wanted: Any) -> bool:
    """Whether a record's value already is what a body asks for.

    References compare by id, numbers by value, sublists by containment: a PATCH merges lines, so every
    wanted line must be found among the current ones.
    """
    if isinstance(wanted, Mapping):
        if is_sublist(wanted):
            return _holds(items(current), wanted["items"])
        if set(wanted) == {"id"}:
            return ref_id(current) == ref_id(wanted)
        return isinstance(current, Mapping) and all(shows(current.get(k), v) for k, v in wanted.items())
    if isinstance(wanted, bool):
        return flag(current) is wanted
    if wanted is None or wanted == "":
        return current is None or current == ""
    if current is None:
        return False
    if isinstance(wanted, (int, Decimal)) or isinstance(current, (int, Decimal)):
        try:
            return decimal(current) == decimal(wanted)
        except ValueError:
            return False
    return str(current) == str(wanted)


def _holds(lines: list[dict[str, Any]], wanted: Any) -> bool:
    """Whether each wanted line is among the lines. Looked for from where the one before was found: an invoice
    may have thousands, mostly in the same order.
    """
    place, count = 0, len(lines)
    for want in wanted:
        for step in range(count):
            if shows(lines[(place + step) % count], want):
                place = (place + step + 1) % count
                break
        else:
            return False
    return True


def shows_all(record: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """Whether a record shows every field of a body."""
    return all(shows(record.get(field), wanted) for field, wanted in body.items())


def image(record: Mapping[str, Any], fields: Iterable[str]) -> dict[str, Any]:
    """The fields' current values in the form in which a PATCH puts them back."""
    return {name: _back(record.get(name)) for name in fields}


def _back(value: Any) -> Any:
    if isinstance(value, Mapping) and "id" in value:
        return ref(str(value["id"]))
    if isinstance(value, Decimal):
        return plain(value)
    return value
