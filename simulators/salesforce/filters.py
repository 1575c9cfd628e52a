"""Names and literals of a query against the schema, and the WHERE clause as a predicate.

Text compares without case; ``!=`` and ``NOT IN`` hold for null fields; ``<`` and ``>`` never do. Ids
compare in their 18-character form whichever form the query uses.
Source: vendor documentation, SOQL reference: "Comparison Operators", "fieldExpression Syntax".
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from simulators.salesforce import ids
from simulators.salesforce.fields import NUMBERS, TEXT, Field, SObject, sobject
from simulators.salesforce.records import Records, Row
from simulators.salesforce.soql import Comparison, Condition, Group, Path, Query, SoqlError, Value
from simulators.salesforce.values import instant

Predicate = Callable[[Row], bool]

ANY = sobject("Name", "", [Field("Name", "string", 255), Field("Type", "picklist", 255)], owned=False)
"""What a polymorphic reference shows of its target: ``Id``, ``Name``, ``Type``."""

_ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_CUSTOM_HINT = (
    " If you are attempting to use a custom {what}, be sure to append the '__{end}' after the custom {what} "
    "name. "
    "Please reference your WSDL or the describe call for the appropriate names."
)


@dataclass(frozen=True)
class Resolved:
    """A field reached over zero or more parents."""

    hops: tuple[Field, ...]
    field: Field


def resolve(world: Records, one: SObject, path: Path) -> Resolved:
    """Find the field that a path means.

    Raises:
        SoqlError: INVALID_FIELD for a column or relationship that is not there (or not visible).
    """
    parts = list(path.parts)
    if len(parts) > 1 and parts[0].lower() == one.name.lower() and one.parent(parts[0]) is None:
        parts.pop(0)
    hops: list[Field] = []
    current = one
    for name in parts[:-1]:
        hop = current.parent(name)
        if hop is None or len(hops) == 5:
            message = f"Didn't understand relationship '{name}' in field path."
            raise SoqlError(
                "INVALID_FIELD", message + _CUSTOM_HINT.format(what="relationship", end="r"), path.at
            )
        hops.append(hop)
        target = world.view.object(hop.reference_to[0]) if len(hop.reference_to) == 1 else ANY
        if target is None:
            raise SoqlError("INVALID_FIELD", f"No access to the object behind '{name}'.", path.at)
        current = target
    made = current.field(parts[-1])
    if made is None:
        message = f"No such column '{parts[-1]}' on entity '{current.name}'."
        raise SoqlError("INVALID_FIELD", message + _CUSTOM_HINT.format(what="field", end="c"), path.at)
    return Resolved(tuple(hops), made)


def target_of(world: Records, id_: str, *, stale: bool) -> tuple[SObject, Row] | None:
    """The record behind an id of any object, as the query sees it."""
    one = world.view.by_prefix.get(id_[:3])
    if one is None:
        return None
    row = world.store.previous(one.name, id_) if stale else world.get(one.name, id_)
    return None if row is None else (one, row)


def fetch(world: Records, row: Row, found: Resolved, *, stale: bool) -> Any:
    """The stored value of a field that may belong to a parent; null when a parent is missing."""
    type_ = ""
    for hop in found.hops:
        id_ = row.get(hop.name)
        target = target_of(world, id_, stale=stale) if id_ else None
        if target is None:
            return None
        type_, row = target[0].name, target[1]
    if found.field is ANY.fields["Type"]:
        return type_
    return row.get(found.field.name)


def comparable(made: Field, value: Any) -> Any:
    """A stored value in the form in which values of its type compare."""
    if value is None or made.type in ("id", "reference", "boolean"):
        return value
    if made.type in TEXT:
        return value.casefold()
    if made.type in NUMBERS:
        return Decimal(str(value))
    return date.fromisoformat(value) if made.type == "date" else instant(value)


def _literal(made: Field, given: Value) -> Any:
    """A literal in comparable form.

    Raises:
        SoqlError: it is of another type than the field.
    """
    if given.kind == "null":
        return None
    kind = made.type
    wanted = (
        "string" if kind in TEXT or kind in ("id", "reference")
        else "number" if kind in NUMBERS
        else kind
    )  # fmt: skip
    if given.kind != wanted:
        shown = {"number": "int" if kind == "int" else "double", "datetime": "dateTime"}.get(wanted, wanted)
        quotes = "should be enclosed in quotes" if wanted == "string" else "should not be enclosed in quotes"
        message = f"value of filter criterion for field '{made.name}' must be of type {shown} and {quotes}"
        raise SoqlError("INVALID_FIELD", message, given.at)
    if kind in ("id", "reference"):
        id_ = ids.normal(given.value)
        if id_ is None:
            raise SoqlError("INVALID_QUERY_FILTER_OPERATOR", f"invalid ID field: {given.value}", given.at)
        return id_
    if kind == "boolean":
        return given.value
    try:
        return comparable(made, given.value)
    except ValueError:
        raise SoqlError("MALFORMED_QUERY", f"invalid {kind}: {given.value}", given.at) from None


def _like(pattern: str) -> Callable[[str], bool]:
    expression = "".join(
        re.escape(part[1:]) if part.startswith("\\") else {"%": ".*", "_": "."}.get(part, re.escape(part))
        for part in re.findall(r"\\.|.", pattern, flags=re.DOTALL)
    )
    compiled = re.compile(expression, re.IGNORECASE | re.DOTALL)
    return lambda text: compiled.fullmatch(text) is not None


class Filter:
    """Compiles WHERE clauses for one look at the records."""

    def __init__(self, world: Records, semi_join: Callable[[Query], set[Any]], *, stale: bool) -> None:
        self.world = world
        self.semi_join = semi_join
        self.stale = stale

    def compile(self, one: SObject, condition: Condition | None) -> Predicate:
        """The condition as a function of a record.

        Raises:
            SoqlError: unknown column, wrong literal, operator that the field does not take.
        """
        if condition is None:
            return lambda row: True
        if isinstance(condition, Comparison):
            return self._comparison(one, condition)
        parts = [self.compile(one, item) for item in condition.items]
        if condition.word == "NOT":
            return lambda row: not parts[0](row)
        if condition.word == "AND":
            return lambda row: all(part(row) for part in parts)
        return lambda row: any(part(row) for part in parts)

    def _comparison(self, one: SObject, made: Comparison) -> Predicate:
        found = resolve(self.world, one, made.path)
        field, word = found.field, made.operator
        if field.long_text:
            message = f"field '{field.name}' can not be filtered in a query call"
            raise SoqlError("INVALID_FIELD", message, made.path.at)
        bad = (
            (word == "LIKE" and field.type not in TEXT)
            or (word in _ORDERED and field.type == "boolean")
            or (field.type == "multipicklist" and word not in ("=", "!="))
        )
        if bad:
            message = f"invalid operator on {field.type} field"
            raise SoqlError("INVALID_QUERY_FILTER_OPERATOR", message, made.at)

        def value(row: Row) -> Any:
            return comparable(field, fetch(self.world, row, found, stale=self.stale))

        if isinstance(made.value, Query):
            among = self.semi_join(made.value)
            return (
                (lambda row: value(row) in among) if word == "IN" else (lambda row: value(row) not in among)
            )
        if isinstance(made.value, tuple):
            listed = {_literal(field, v) for v in made.value}
            return (
                (lambda row: value(row) in listed) if word == "IN" else (lambda row: value(row) not in listed)
            )
        if word == "LIKE" and made.value.kind == "string":
            matches = _like(made.value.value)
            return lambda row: (text := value(row)) is not None and matches(text)
        wanted = _literal(field, made.value)
        if word == "=":
            return lambda row: bool(value(row) == wanted)
        if word == "!=":
            return lambda row: bool(value(row) != wanted)
        if wanted is None:
            raise SoqlError("MALFORMED_QUERY", f"invalid operator {word} with null", made.at)
        compare = _ORDERED[word]
        return lambda row: (held := value(row)) is not None and compare(held, wanted)


def keyed(world: Records, one: SObject, condition: Condition | None) -> list[str] | None:
    """Ids that alone can satisfy a condition, from the index; None when it names no indexed field."""
    parts = condition.items if isinstance(condition, Group) and condition.word == "AND" else (condition,)
    for part in parts:
        if (
            not isinstance(part, Comparison)
            or part.operator not in ("=", "IN")
            or isinstance(part.value, Query)
        ):
            continue
        values = part.value if isinstance(part.value, tuple) else (part.value,)
        made = one.field(part.path.parts[0]) if len(part.path.parts) == 1 else None
        if made is None or any(v.kind != "string" for v in values):
            continue
        if made.type == "id":
            return [i for v in values if (i := ids.normal(v.value))]
        if made.type == "reference":
            return [
                r for v in values if (i := ids.normal(v.value)) for r in world.find(one.name, made.name, i)
            ]
        if made.indexed and made.type in TEXT and not made.case_sensitive:
            return [r for v in values for r in world.find(one.name, made.name, v.value)]
    return None
