"""The record service's collection filter: ``?q=companyName IS "Acme" AND isInactive IS false``.

Source: vendor documentation: Record service behaviour. Only ``IS`` is shown there; the other operators served
here are an assumption, and there are no parentheses.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from simulators.kit import Record
from simulators.netsuite import errors
from simulators.netsuite.schema import RecordType
from simulators.netsuite.state import ref_id

_TERM = re.compile(
    r"\s*(?P<field>\w+)\s+(?P<op>IS_NOT|IS|CONTAIN|START_WITH|EQUAL)\s+"
    r"(?P<value>\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^\s\"']+)\s*",
)
_GLUE = re.compile(r"\s*(AND|OR)\b")

Test = Callable[[Record], bool]


def parse(query: str, type_: RecordType) -> Test:
    """A filter as a test of stored records.

    Raises:
        VendorError: the filter cannot be read or names an unknown field.
    """
    groups: list[list[Test]] = [[]]
    place = 0
    while True:
        term = _TERM.match(query, place)
        if term is None:
            raise errors.invalid_parameter(f"Invalid search query: {query}", query_param="q")
        groups[-1].append(_test(term, type_))
        place = term.end()
        if place == len(query):
            return lambda record: any(all(test(record) for test in group) for group in groups)
        glue = _GLUE.match(query, place)
        if glue is None:
            raise errors.invalid_parameter(f"Invalid search query: {query}", query_param="q")
        if glue[1] == "OR":
            groups.append([])
        place = glue.end()


def _test(term: re.Match[str], type_: RecordType) -> Test:
    name, operator, raw = term["field"], term["op"], term["value"]
    spec = type_.fields.get(name)
    if name not in ("id", "externalId") and (spec is None or spec.kind in ("sublist", "address")):
        raise errors.invalid_parameter(f"Invalid search query: unknown field {name}.", query_param="q")
    wanted = re.sub(r"\\(.)", r"\1", raw[1:-1]) if raw[0] in "\"'" else raw

    def text(record: Record) -> str | None:
        value: Any = record.get(name)
        if isinstance(value, dict):
            value = ref_id(value)
        if isinstance(value, bool):
            return "true" if value else "false"
        return None if value is None else str(value)

    def test(record: Record) -> bool:
        found = text(record)
        match operator:
            case "IS":
                return found is not None and found.casefold() == wanted.casefold()
            case "IS_NOT":
                return found is None or found.casefold() != wanted.casefold()
            case "CONTAIN":
                return found is not None and wanted.casefold() in found.casefold()
            case "START_WITH":
                return found is not None and found.casefold().startswith(wanted.casefold())
            case _:
                return found is not None and _number(found) == _number(wanted)

    return test


def _number(text: str) -> Decimal | str:
    try:
        return Decimal(text)
    except ArithmeticError:
        return text
