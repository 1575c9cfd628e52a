"""How record types are described: fields, their types, references, sublists.

The descriptions themselves are in ``catalogue_*``. Names and types come from the vendor's REST API Browser,
release 2026.1; only the part that a services firm touches is listed, and a field outside it is unknown here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

KINDS = (
    "string",
    "boolean",
    "integer",
    "number",
    "date",
    "datetime",
    "duration",
    "enum",
    "ref",
    "sublist",
    "address",
)

PREFIXES = {
    "entity": ("custentity_",),
    "transaction": ("custbody_",),
    "item": ("custitem_",),
    "timeBill": ("custcol_",),
    "projectTask": ("custevent_",),
}
"""Which custom field names a family may carry on its body; other families take ``custrecord_``."""


@dataclass(frozen=True)
class Field:
    """One property of a record or of a sublist line."""

    name: str
    kind: str
    targets: tuple[str, ...] = ()
    """Reference: record types it may point to; ``list:x`` is an account list without records."""
    values: tuple[str, ...] = ()
    """Enumeration: accepted ids; empty takes any."""
    lines: dict[str, Field] = field(default_factory=dict)
    """Sublist: the fields of a line."""
    key: str | None = None
    """Sublist: the field that identifies a line when a PATCH merges."""
    read_only: bool = False
    required: bool = False
    tax_mode: str | None = None
    """Present only in accounts of this tax mode: ``suitetax`` or ``legacy``."""
    custom: bool = False


@dataclass(frozen=True)
class RecordType:
    """One record type of the record service."""

    name: str
    family: str
    """External ids are unique within it, and internal ids are handed out from one series for it."""
    fields: dict[str, Field]
    label: str = ""
    """The field shown as ``refName``."""
    rest: bool = True
    """False: no record service; visible by SuiteQL and as a target of references."""
    prefix: str = ""
    """Code of the type in SuiteQL's ``transaction.type``."""

    def visible(self, name: str, tax_mode: str) -> Field | None:
        """The field in an account of the given tax mode, or None."""
        found = self.fields.get(name)
        return None if found is None or found.tax_mode not in (None, tax_mode) else found


_LINE = re.compile(r"^(?P<flags>~?)(?P<kind>[a-z]+)(?: (?P<arg>\S+))?: (?P<names>.+)$")


def fields(
    text: str, *extra: Field, suitetax: Iterable[str] = (), legacy: Iterable[str] = ()
) -> dict[str, Field]:
    """Read a compact description: one line per type, ``kind [argument]: name name ...``.

    A leading ``~`` marks the names read-only. The argument is the target types of a ``ref`` (separated by
    ``|``) or the ids of an ``enum``.

    Raises:
        ValueError: a line that cannot be read.
    """
    found: dict[str, Field] = {}
    for raw in text.strip().splitlines():
        line = raw.strip()
        if not line:
            continue
        match = _LINE.match(line)
        if match is None or match["kind"] not in KINDS:
            raise ValueError(f"cannot read field description {line!r}")
        argument = tuple(match["arg"].split("|")) if match["arg"] else ()
        for name in match["names"].split():
            found[name] = Field(
                name,
                match["kind"],
                targets=argument if match["kind"] == "ref" else (),
                values=argument if match["kind"] == "enum" else (),
                read_only="~" in match["flags"],
            )
    for one in extra:
        found[one.name] = one
    for mode, names in (("suitetax", suitetax), ("legacy", legacy)):
        for name in names:
            found[name] = replace(found[name], tax_mode=mode)
    return found


def sublist(name: str, key: str | None, text: str, *extra: Field, **modes: Iterable[str]) -> Field:
    """A sublist whose lines have the described fields and are told apart by ``key``."""
    return Field(name, "sublist", lines=fields(text, *extra, **modes), key=key)


CUSTOM_KINDS = {
    "string": "string",
    "text": "string",
    "boolean": "boolean",
    "integer": "integer",
    "number": "number",
    "date": "date",
    "datetime": "datetime",
    "enum": "enum",
    "ref": "ref",
}


def custom_field(spec: dict[str, Any]) -> Field:
    """A custom field from its ``/_sim/schema`` description.

    Raises:
        ValueError: naming what is wrong.
    """
    unknown = set(spec) - {"name", "type", "required", "values", "target", "sublist"}
    if unknown:
        raise ValueError(f"unknown keys in custom field {spec.get('name')!r}: {sorted(unknown)}")
    kind = CUSTOM_KINDS.get(str(spec.get("type", "string")))
    if kind is None:
        raise ValueError(f"custom field {spec.get('name')!r}: type must be one of {sorted(CUSTOM_KINDS)}")
    name = str(spec["name"])
    if not re.fullmatch(r"cust[a-z]+_[a-z0-9_]+", name):
        raise ValueError(f"custom field name {name!r} must look like custentity_x, custbody_x or custcol_x")
    target = spec.get("target", f"list:{name}")
    return Field(
        name,
        kind,
        targets=(str(target),) if kind == "ref" else (),
        values=tuple(str(v) for v in spec.get("values", ())),
        required=bool(spec.get("required", False)),
        custom=True,
    )


def with_custom(record: RecordType, specs: list[dict[str, Any]]) -> RecordType:
    """The record type with custom fields added.

    ``custcol_`` fields of a transaction go to the lines of its ``item`` (or ``expense``) sublist.

    Raises:
        ValueError: a name that this family cannot carry.
    """
    added = dict(record.fields)
    for spec in specs:
        one = custom_field(spec)
        if record.family == "transaction" and one.name.startswith("custcol_"):
            host = str(spec.get("sublist") or ("item" if "item" in added else "expense"))
            if host not in added or added[host].kind != "sublist":
                raise ValueError(f"{record.name} has no sublist {host!r} for {one.name}")
            lines = {**added[host].lines, one.name: one}
            added[host] = replace(added[host], lines=lines)
            continue
        allowed = PREFIXES.get(record.name) or PREFIXES.get(record.family) or ("custrecord_",)
        if not one.name.startswith(allowed):
            raise ValueError(
                f"custom field {one.name!r} of {record.name} must start with {' or '.join(allowed)}"
            )
        added[one.name] = one
    return replace(record, fields=added)
