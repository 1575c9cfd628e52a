"""How records and collections look in answers, and the live schema of a type."""

from __future__ import annotations

from typing import Any

from simulators.kit import Call, Record
from simulators.netsuite import errors
from simulators.netsuite.schema import Field, RecordType
from simulators.netsuite.state import Books, ref_id

BASE = "/services/rest/record/v1"
LIMIT = 1000
"""Default and largest page."""


def origin(call: Call) -> str:
    """Scheme and host as the caller knows them."""
    return f"{call.scheme}://{call.headers.get('host', 'localhost')}"


def location(call: Call, type_: str, id_: str) -> str:
    """The absolute URL of a record."""
    return f"{origin(call)}{BASE}/{type_}/{id_}"


def self_link(url: str) -> list[dict[str, str]]:
    """A ``links`` array with the resource itself."""
    return [{"rel": "self", "href": url}]


def label(books: Books, type_: str, record: Record) -> str | None:
    """The name that a reference to a record shows."""
    name = books.type(type_).label
    found = record.get(name) if name else None
    return None if found is None else str(found)


def record(
    books: Books,
    call: Call,
    type_: str,
    stored: Record,
    *,
    expand: bool = False,
    only: set[str] | None = None,
    simple_enums: bool = False,
) -> dict[str, Any]:
    """A record as ``GET`` answers it."""
    url = location(call, type_, stored["id"])
    spec = books.type(type_)
    body: dict[str, Any] = {"links": self_link(url)}
    for name, value in stored.items():
        if only is not None and name not in only and name != "id":
            continue
        known = spec.visible(name, books.settings["tax_mode"])
        if name in ("id", "externalId"):
            body[name] = value
        elif known is not None:
            body[name] = _value(books, call, known, value, f"{url}/{name}", expand, simple_enums)
    shown = label(books, type_, stored)
    if shown is not None and only is None:
        body["refName"] = shown
    return body


def _value(books: Books, call: Call, spec: Field, value: Any, url: str, expand: bool, simple: bool) -> Any:
    if spec.kind == "ref":
        target = books.resolve(spec, ref_id(value))
        shown: dict[str, Any] = {"links": [], "id": value["id"]}
        if target is not None:
            shown["links"] = self_link(location(call, *target))
            name = label(books, target[0], books.need(*target))
            if name is not None:
                shown["refName"] = name
        return shown
    if spec.kind == "enum":
        return value["id"] if simple else {"id": value["id"], "refName": value["id"]}
    if spec.kind in ("sublist", "address") and not expand:
        return {"links": self_link(url)}
    if spec.kind == "address":
        return {"links": [], **_line(books, call, spec, value, url, simple)}
    if spec.kind == "sublist":
        rows = value["items"]
        return {
            "links": self_link(url),
            "count": len(rows),
            "hasMore": False,
            "offset": 0,
            "totalResults": len(rows),
            "items": [{"links": [], **_line(books, call, spec, row, url, simple)} for row in rows],
        }
    return value


def _line(books: Books, call: Call, spec: Field, row: Record, url: str, simple: bool) -> dict[str, Any]:
    return {
        name: _value(books, call, spec.lines[name], value, f"{url}/{name}", True, simple)
        for name, value in row.items()
        if name in spec.lines
    }


def page(call: Call, total: int, items: list[Any], limit: int, offset: int) -> dict[str, Any]:
    """A collection answer."""
    url = origin(call) + call.path
    more = offset + len(items) < total
    links = self_link(f"{url}?limit={limit}&offset={offset}")
    if more:
        links.append({"rel": "next", "href": f"{url}?limit={limit}&offset={offset + limit}"})
    return {
        "links": links,
        "count": len(items),
        "hasMore": more,
        "items": items,
        "offset": offset,
        "totalResults": total,
    }


def paging(call: Call) -> tuple[int, int]:
    """``limit`` and ``offset`` of a request.

    Raises:
        VendorError: not a number, or out of bounds.
    """
    found = []
    for name, usual, low, high in (("limit", LIMIT, 1, LIMIT), ("offset", 0, 0, 10**9)):
        raw = call.param(name, str(usual)) or ""
        if not raw.isdigit() or not low <= int(raw) <= high:
            raise errors.invalid_parameter(
                f"Invalid value '{raw}' of query parameter {name}.", query_param=name
            )
        found.append(int(raw))
    return found[0], found[1]


_JSON_TYPES = {
    "string": {"type": "string"},
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer", "format": "int64"},
    "number": {"type": "number", "format": "double"},
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
    "duration": {"type": "string"},
}


def _schema(spec: Field) -> dict[str, Any]:
    if spec.kind in _JSON_TYPES:
        shown: dict[str, Any] = dict(_JSON_TYPES[spec.kind])
    elif spec.kind == "ref":
        target = spec.targets[0]
        known = "nsResource" if target.startswith("list:") else target
        shown = {"$ref": f"{BASE}/metadata-catalog/{known}"}
    elif spec.kind == "enum":
        ids: dict[str, Any] = {"type": "string"}
        if spec.values:
            ids["enum"] = list(spec.values)
        shown = {"type": "object", "properties": {"id": ids, "refName": {"type": "string"}}}
    elif spec.kind == "address":
        shown = {"type": "object", "properties": {n: _schema(f) for n, f in spec.lines.items()}}
    else:
        line = {"type": "object", "properties": {n: _schema(f) for n, f in spec.lines.items()}}
        shown = {"type": "object", "properties": {"items": {"type": "array", "items": line}}}
    if spec.read_only:
        shown["readOnly"] = True
    if spec.custom:
        shown["x-ns-custom-field"] = True
    shown.setdefault("title", spec.name)
    return shown


def catalog(spec: RecordType, tax_mode: str, swagger: bool, base: str) -> dict[str, Any]:
    """The live schema of a type, as JSON schema or inside an OpenAPI document."""
    properties: dict[str, Any] = {"id": {"type": "string"}, "externalId": {"type": "string"}}
    for name, one in spec.fields.items():
        if spec.visible(name, tax_mode) is not None:
            properties[name] = _schema(one)
    schema = {"type": "object", "properties": properties, "x-ns-filterable": sorted(properties)}
    if not swagger:
        return {"$schema": "http://json-schema.org/draft-06/hyper-schema#", **schema}
    return {
        "openapi": "3.0.1",
        "info": {"title": "NetSuite REST Record API", "version": "v1"},
        "servers": [{"url": base + BASE}],
        "paths": {f"/{spec.name}": {}, f"/{spec.name}/{{id}}": {}},
        "components": {"schemas": {spec.name: schema}},
    }
