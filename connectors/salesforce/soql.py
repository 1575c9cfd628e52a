"""SOQL as data: names are checked, values are escaped, nothing from outside is ever pasted in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)*")
_OPERATORS = frozenset({"=", "!=", "<", "<=", ">", ">=", "IN"})
_ESCAPES = {
    "\\": "\\\\",
    "'": "\\'",
    '"': '\\"',
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\b": "\\b",
    "\f": "\\f",
}

Scalar = str | bool | int | Decimal | date | datetime | None


@dataclass(frozen=True)
class Where:
    """One condition. ``value`` is a sequence for ``IN``."""

    field: str
    operator: str
    value: Scalar | Sequence[Scalar]

    def __str__(self) -> str:
        if self.operator not in _OPERATORS:
            raise ValueError(f"{self.operator!r} is not an operator of ours")
        if self.operator == "IN":
            if isinstance(self.value, str) or not isinstance(self.value, Sequence) or not self.value:
                raise ValueError("IN needs a list with at least one value")
            return f"{name(self.field)} IN ({', '.join(literal(item) for item in self.value)})"
        if isinstance(self.value, Sequence) and not isinstance(self.value, str):
            raise ValueError(f"{self.operator} takes one value")
        return f"{name(self.field)} {self.operator} {literal(self.value)}"


def name(text: str) -> str:
    """A field, relationship path or object name, checked.

    Raises:
        ValueError: not a name; it would change the query's meaning.
    """
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not the name of a Salesforce field or object")
    return text


def literal(value: Scalar) -> str:
    """A value as SOQL writes it: text quoted and escaped, dates and times bare, times in UTC.

    Raises:
        ValueError: a time without a zone.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a time in a query needs a zone")
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, int):
        return str(value)
    return "'" + "".join(_ESCAPES.get(char, char) for char in value) + "'"


def select(
    source: str,
    fields: Iterable[str],
    *,
    where: Sequence[Where] = (),
    order: Sequence[str] = (),
    limit: int | None = None,
    children: Sequence[str] = (),
) -> str:
    """A query.

    Args:
        source: object, or child relationship in a sub-query.
        fields: selected fields; repetitions are dropped, the vendor refuses them.
        where: conditions, all of which must hold.
        order: fields to sort by, ascending.
        limit: most rows.
        children: finished sub-queries made by this function.
    """
    columns = [name(field) for field in dict.fromkeys(fields)]
    columns += [f"({child})" for child in children]
    parts = [f"SELECT {', '.join(columns)} FROM {name(source)}"]
    if where:
        parts.append("WHERE " + " AND ".join(str(condition) for condition in where))
    if order:
        parts.append("ORDER BY " + ", ".join(f"{name(field)} ASC" for field in order))
    if limit is not None:
        parts.append(f"LIMIT {int(limit)}")
    return " ".join(parts)
