"""Request bodies: JSON or Rails-style forms, wrapped in the singular key, or the plural one for bulk."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

from simulators.kantata.problems import system
from simulators.kantata.schema import Resource
from simulators.kit import Call, Record


def read_body(call: Call) -> dict[str, Any]:
    """The whole body.

    Raises:
        Refused: 400 for another content type, broken JSON or anything but an object.
    """
    kind = call.headers.get("content-type", "").split(";")[0].strip().lower()
    if not call.raw.strip():
        return {}
    if kind == "application/json":
        try:
            body = json.loads(call.raw, parse_float=Decimal)
        except (ValueError, UnicodeDecodeError):
            raise system(400, "The request body is not valid JSON") from None
    elif kind == "application/x-www-form-urlencoded":
        body = nested_form(call.raw.decode())
    else:
        raise system(400, f"Unsupported content type {kind or '(none)'}: send JSON or a form")
    if not isinstance(body, dict):
        raise system(400, "The request body must be an object")
    return body


def nested_form(raw: str) -> dict[str, Any]:
    """``workspace[title]=a&workspace[ids][]=1&workspace[x][][y]=2`` as nested values, Rails' way."""
    result: dict[str, Any] = {}
    for name, value in parse_qsl(raw, keep_blank_values=True):
        first, *rest = name.replace("]", "").split("[")
        _place(result, [first, *rest], value)
    return result


def _place(into: dict[str, Any], path: list[str], value: str) -> None:
    key, *rest = path
    if not rest:
        into[key] = value
    elif rest[0] != "":
        child = into.setdefault(key, {})
        if isinstance(child, dict):
            _place(child, rest, value)
    else:
        rows = into.setdefault(key, [])
        if not isinstance(rows, list):
            return
        if rest[1:]:
            # Rails starts a new element when the attribute is already taken in the last one.
            if not rows or not isinstance(rows[-1], dict) or rest[1] in rows[-1]:
                rows.append({})
            _place(rows[-1], rest[1:], value)
        else:
            rows.append(value)


def wrapped(call: Call, key: str, *, optional: bool = False) -> Record:
    """The attributes under ``key``.

    Raises:
        Refused: 400 when the wrapper is missing or other keys stand beside it.
    """
    body = read_body(call)
    if optional and not body:
        return {}
    _only(body, key)
    row = body.get(key)
    if not isinstance(row, dict):
        raise system(400, f"param is missing or the value is empty: {key}")
    return row


def rows_of(call: Call, resource: Resource) -> tuple[list[Record], bool]:
    """The rows of a create, and whether it was a bulk one.

    Raises:
        Refused: 400 for a wrong wrapper, 422 for too many rows.
    """
    body = read_body(call)
    plural = resource.name
    if resource.bulk and plural in body:
        _only(body, plural)
        rows = body[plural]
        if not isinstance(rows, list) or not rows or not all(isinstance(r, dict) for r in rows):
            raise system(400, f"param is missing or the value is empty: {plural}")
        if len(rows) > resource.bulk:
            raise system(422, f"Cannot create more than {resource.bulk} {plural} at once")
        return rows, True
    _only(body, resource.singular)
    row = body.get(resource.singular)
    if not isinstance(row, dict) or not row:
        raise system(400, f"param is missing or the value is empty: {resource.singular}")
    return [row], False


def _only(body: dict[str, Any], key: str) -> None:
    strangers = sorted(set(body) - {key})
    if strangers:
        raise system(400, f"found unpermitted parameters beside {key}: {', '.join(strangers)}")
