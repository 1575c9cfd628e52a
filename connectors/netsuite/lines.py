"""Lines of a record before and after an update of them: what an undo puts back. Pure.

A PATCH merges a sublist by its line key, so nothing takes a line away: one that an update added is put out of
use by its undo, closed and worth nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from canonical.writes import VendorWrite
from connectors.netsuite import wire

CLOSED = {"amount": "0", "isClosed": True}
"""A line out of use."""


def image_of(record: Mapping[str, Any], write: VendorWrite) -> dict[str, Any]:
    """The values of the fields that an undo puts back; of sublists every line, with the fields set."""
    found = wire.image(record, write.restore)
    for name in write.restore:
        wanted: Any = (write.body or {}).get(name)
        if wire.is_sublist(wanted):
            fields = {field for line in wanted["items"] for field in line}
            lines = wire.items(record.get(name))
            found[name] = {"items": [_line(line, fields) for line in lines]}
    return found


def _line(line: Mapping[str, Any], fields: set[str]) -> dict[str, Any]:
    kept = {name: _plain(line.get(name)) for name in sorted(fields - {"line", "isClosed"})}
    return {"line": int(wire.decimal(line["line"])), **kept, "isClosed": wire.flag(line.get("isClosed"))}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return wire.ref(wire.ref_id(value))
    return wire.plain(value) if isinstance(value, Decimal) else value


def restored(record: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Whether a record shows what was there before, and no line of ours is in use."""
    return wire.shows_all(record, before) and not any(_added(record, before).values())


def restoring(record: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """The body that puts back what was there before; lines that came since are put out of use."""
    body = dict(before)
    for name, added in _added(record, before).items():
        body[name] = {"items": [*before[name]["items"], *({"line": line, **CLOSED} for line in added)]}
    numbers: dict[str, Any] = wire.numbers(body)
    return numbers


def _added(record: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, list[int]]:
    """By sublist, the lines in use that were not there before."""
    found: dict[str, list[int]] = {}
    for name, value in before.items():
        if wire.is_sublist(value):
            known = {int(wire.decimal(line["line"])) for line in value["items"]}
            found[name] = [
                number
                for line in wire.items(record.get(name))
                if (number := int(wire.decimal(line["line"]))) not in known
                and not wire.flag(line.get("isClosed"))
            ]
    return found
