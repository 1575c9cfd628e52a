"""From a request body to stored values: names, types, references, or the vendor's refusal."""

from __future__ import annotations

import json
import re
from collections.abc import Set
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from simulators.kit import Call, Record, VendorError
from simulators.netsuite import errors
from simulators.netsuite.schema import Field, RecordType
from simulators.netsuite.state import Books

HOURS = re.compile(r"^-?\d+:[0-5]\d$")
"""Durations: hours and minutes (vendor documentation: Record service behaviour)."""

_DECORATION = ("links", "refName", "totalResults", "count", "hasMore", "offset")
_LEVELS = ("Error", "Warning", "Ignore")
_ENVELOPES = ("application/json", "application/vnd.oracle.resource+json")


@dataclass(frozen=True)
class Strictness:
    """How unknown names and bad values are met."""

    names: str = "Warning"
    values: str = "Error"
    lenient_refs: bool = False
    """Seeding: a reference to a record that is not there yet passes."""
    read_only: bool = False
    """Seeding: computed fields may be given."""


def strictness(call: Call) -> Strictness:
    """Read the validation headers (vendor documentation: default of names is ``Warning``)."""
    found = []
    for header, usual in (
        ("X-NetSuite-PropertyNameValidation", "Warning"),
        ("X-NetSuite-PropertyValueValidation", "Error"),
    ):
        value = call.headers.get(header.lower(), usual)
        matched = next((level for level in _LEVELS if level.lower() == value.lower()), None)
        if matched is None:
            raise errors.invalid_parameter(f"Invalid value of header {header}: '{value}'.", header=header)
        found.append(matched)
    return Strictness(names=found[0], values=found[1])


def load(call: Call, *, collection: bool = False) -> dict[str, Any]:
    """The JSON object in the body.

    Raises:
        VendorError: wrong content type, not JSON, or not an object.
    """
    kind, _, parameters = call.headers.get("content-type", "").partition(";")
    is_list = "type=collection" in parameters.replace(" ", "").replace('"', "").lower()
    if kind.strip().lower() not in _ENVELOPES or (collection and not is_list):
        wanted = f"{_ENVELOPES[1]}; type=collection" if collection else _ENVELOPES[0]
        raise errors.refuse(
            415,
            errors.Detail(
                f"Invalid content type in the request. Use '{wanted}'.",
                "INVALID_CONTENT",
                header="Content-Type",
            ),
        )
    try:
        body = json.loads(call.raw or b"{}", parse_float=Decimal)
    except ValueError as bad:
        raise errors.invalid_content(f"Invalid JSON in the request body: {bad}.") from None
    if not isinstance(body, dict):
        raise errors.invalid_content("The request body must be a JSON object.")
    return body


def accept(books: Books, type_: RecordType, body: dict[str, Any], how: Strictness) -> Record:
    """Check a body against its record type and turn references into ids.

    Returns:
        The fields to store; a value of None means that the field is to be blanked.

    Raises:
        VendorError: the first thing that the vendor would refuse.
    """
    return _accept(books, type_.fields, body, how, "", type_.name)


def _accept(
    books: Books, fields: dict[str, Field], body: dict[str, Any], how: Strictness, at: str, type_: str
) -> Record:
    found: Record = {}
    for name, value in body.items():
        if name in _DECORATION or (name == "id" and name not in fields):
            continue
        if name == "externalId" and not at:
            if value is not None and (not isinstance(value, str) or not value):
                raise errors.invalid_content("Invalid value of field 'externalId'.", "externalId")
            found[name] = value
            continue
        path = f"{at}{name}"
        spec = fields.get(_alias(books, type_, name))
        if spec is None or spec.tax_mode not in (None, books.settings["tax_mode"]):
            if how.names == "Error":
                raise errors.invalid_content(f"Unknown property name '{name}' in record {type_}.", path)
            continue
        if spec.read_only and not how.read_only:
            if books.settings["read_only_fields"] == "refuse":
                raise errors.user_error(
                    f"You do not have permissions to set a value for element {name}.", path
                )
            continue
        if value is None:
            found[spec.name] = None
            continue
        try:
            found[spec.name] = _value(books, spec, value, how, path, type_)
        except VendorError:
            if how.values == "Error":
                raise
    return found


def _alias(books: Books, type_: str, name: str) -> str:
    # The browser names the task's project "project"; older material says "company". The setting decides.
    if type_ == "projectTask" and name in ("project", "company"):
        wanted = books.settings["project_task_project_field"]
        return "project" if wanted in (name, "both") else "-"
    return name


def _value(books: Books, spec: Field, value: Any, how: Strictness, path: str, type_: str) -> Any:
    match spec.kind:
        case "string":
            if not isinstance(value, str):
                raise _wrong(spec, path, "a string")
            return value
        case "boolean":
            if not isinstance(value, bool):
                raise _wrong(spec, path, "a boolean")
            return value
        case "integer":
            if not isinstance(value, int) or isinstance(value, bool):
                raise _wrong(spec, path, "an integer")
            return value
        case "number":
            return _number(spec, value, path)
        case "date":
            return _date(spec, value, path)
        case "datetime":
            return _datetime(spec, value, path)
        case "duration":
            if not isinstance(value, str) or not HOURS.match(value):
                raise _wrong(spec, path, "a duration such as '4:30'")
            if value.startswith("-") and not books.settings["negative_hours"]:
                raise errors.user_error("Duration must not be negative.", path)
            return value
        case "enum":
            return _enum(spec, value, path)
        case "ref":
            return _ref(books, spec, value, how, path)
        case "address":
            if not isinstance(value, dict):
                raise _wrong(spec, path, "an object")
            return _filled(_accept(books, spec.lines, value, how, path + ".", type_))
        case _:
            return _lines(books, spec, value, how, path, type_)


def _wrong(spec: Field, path: str, wanted: str) -> VendorError:
    return errors.invalid_content(f"Invalid value for the field '{spec.name}': it must be {wanted}.", path)


def _number(spec: Field, value: Any, path: str) -> Decimal:
    if isinstance(value, bool) or not (
        isinstance(value, int | Decimal) or (isinstance(value, str) and "text" in spec.values)
    ):
        raise _wrong(spec, path, "a number")
    try:
        return Decimal(value)
    except InvalidOperation:
        raise _wrong(spec, path, "a number") from None


def _date(spec: Field, value: Any, path: str) -> str:
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        try:
            return date.fromisoformat(value).isoformat()
        except ValueError:
            pass
    raise _wrong(spec, path, "a date in the form YYYY-MM-DD")


def _datetime(spec: Field, value: Any, path: str) -> str:
    try:
        if isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None:
            return value
    except ValueError:
        pass
    raise _wrong(spec, path, "a date-time in the form YYYY-MM-DDThh:mm:ssZ")


def _enum(spec: Field, value: Any, path: str) -> Record:
    if not isinstance(value, dict) or not isinstance(value.get("id"), str):
        raise _wrong(spec, path, 'an object such as {"id": "X"}')
    if spec.values and value["id"] not in spec.values:
        raise errors.invalid_content(
            f"Invalid value '{value['id']}' for the field '{spec.name}'; possible: {'|'.join(spec.values)}.",
            path,
        )
    return {"id": value["id"]}


def _ref(books: Books, spec: Field, value: Any, how: Strictness, path: str) -> Record:
    if not isinstance(value, dict):
        raise _wrong(spec, path, 'a reference such as {"id": "12"} or {"externalId": "X"}')
    id_, external = value.get("id"), value.get("externalId")
    if isinstance(id_, str) and id_:
        for target in spec.targets:
            if target.startswith("list:"):
                known = books.settings["lists"].get(target.removeprefix("list:"))
                if known is None or id_ in known:
                    return {"id": id_}
            elif books.get(target, id_) is not None:
                return {"id": id_}
        if how.lenient_refs:
            return {"id": id_}
        raise errors.invalid_content(f"Invalid reference value {id_} for field '{spec.name}'.", path)
    if isinstance(external, str) and external:
        for target in spec.targets:
            if target in books.types and (found := books.by_external(target, external)) is not None:
                return {"id": found}
        raise errors.invalid_content(
            f"Invalid reference value for field '{spec.name}': no record has the external id '{external}'.",
            path,
        )
    raise _wrong(spec, path, 'a reference such as {"id": "12"} or {"externalId": "X"}')


def _lines(books: Books, spec: Field, value: Any, how: Strictness, path: str, type_: str) -> Record:
    items = value.get("items") if isinstance(value, dict) else None
    if not isinstance(items, list) or not all(isinstance(i, dict) for i in items):
        raise _wrong(spec, path, 'a sublist such as {"items": [...]}')
    accepted = []
    for number, item in enumerate(items):
        where = f"{path}.items[{number}]."
        line = _accept(books, spec.lines, item, how, where, type_)
        for name, inner in spec.lines.items():
            if inner.required and line.get(name) is None and not how.lenient_refs:
                raise errors.user_error(f"Please enter value(s) for: {name}.", where + name)
        accepted.append(line)
    return {"items": accepted}


def _filled(record: Record) -> Record:
    return {k: v for k, v in record.items() if v is not None}


def merge(books: Books, type_: RecordType, old: Record, change: Record, replaced: Set[str]) -> Record:
    """A stored record with an accepted change laid over it.

    Sublists merge by line key unless named in ``replaced``; lines without a known key are added.
    """
    new = dict(old)
    for name, value in change.items():
        spec = type_.fields.get(name)
        if value is None:
            new.pop(name, None)
        elif spec is not None and spec.kind == "sublist" and name not in replaced:
            before = [dict(line) for line in old.get(name, {}).get("items", ())]
            new[name] = {"items": merge_lines(before, value["items"], spec.key)}
        elif spec is not None and spec.kind == "sublist":
            new[name] = {"items": [_filled(line) for line in value["items"]]}
        else:
            new[name] = value
    return new


def line_key(line: Record, key: str | None) -> Any:
    """What identifies a line; None when it has no key or does not carry it."""
    if key is None:
        return None
    parts = []
    for name in key.split("+"):
        value = line.get(name)
        value = value.get("id") if isinstance(value, dict) else value
        if value is None:
            return None
        parts.append(str(value))
    return tuple(parts)


def merge_lines(before: list[Record], after: list[Record], key: str | None) -> list[Record]:
    """Lines laid over lines."""
    places = {line_key(line, key): place for place, line in enumerate(before)}
    for line in after:
        wanted = line_key(line, key)
        if wanted is not None and wanted in places:
            place = places[wanted]
            kept = before[place]
            if "amount" not in line and ("rate" in line or "quantity" in line):
                # The stored amount came from the old rate and quantity.
                kept = {k: v for k, v in kept.items() if k != "amount"}
            before[place] = _filled({**kept, **line})
        else:
            before.append(_filled(line))
            places[wanted] = len(before) - 1
    return before
