"""One data-API request, whether it came over the wire or as a subrequest of a composite."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

from simulators.kit import Call
from simulators.salesforce.errors import malformed_json, not_found, refusal
from simulators.salesforce.records import Origin

_DATA = re.compile(r"/services/data/v(\d{2})\.0(?:/(.*))?", re.DOTALL)


@dataclass
class Request:
    """What a resource needs to know of a request."""

    method: str
    path: str
    """As sent, without the query."""
    version: int
    """Major API version: 64 for v64.0."""
    segments: list[str]
    """Decoded path segments after the version: a ``/`` inside a key stays inside its segment only if
    encoded."""
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: Any = None
    stale: bool = False
    sub: bool = False
    """A subrequest."""

    @property
    def base(self) -> str:
        """``/services/data/vNN.0``."""
        return f"/services/data/v{self.version}.0"

    def param(self, name: str) -> str | None:
        """The last value of a query parameter."""
        return next((v for k, v in reversed(self.query) if k == name), None)

    def need(self, *methods: str) -> None:
        """Refuse any other method (405)."""
        if self.method not in methods:
            message = f"HTTP Method '{self.method}' not allowed. Allowed are {','.join(methods)}"
            raise refusal(405, "METHOD_NOT_ALLOWED", message)

    def origin(self) -> Origin:
        """Where a write comes from, with the duplicate-rule header (understood since v52)."""
        header = self.headers.get("sforce-duplicate-rule-header", "")
        allow = re.search(r"allowSave\s*=\s*true", header, re.IGNORECASE) is not None
        return Origin(self.method, self.path, allow and self.version >= 52)


def split(path: str) -> tuple[int, list[str]]:
    """Version and decoded segments of a raw path.

    Raises:
        VendorError: 404, not a versioned data path.
    """
    match = _DATA.fullmatch(path)
    if match is None:
        raise not_found()
    rest = (match[2] or "").split("/")
    if rest[-1] == "":
        rest.pop()
    return int(match[1]), [unquote(part) for part in rest]


def from_call(call: Call) -> Request:
    """The request that arrived over the wire.

    Raises:
        VendorError: 404 for the path, 415 for the content type, 400 for a body that is not JSON.
    """
    version, segments = split(call.raw_path)
    body = None
    if call.method in ("POST", "PATCH", "PUT"):
        kind = call.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind != "application/json":
            message = f"The content type '{kind}' is not supported; use application/json"
            raise refusal(415, "UNSUPPORTED_MEDIA_TYPE", message)
        body = parse_json(call.raw)
    return Request(
        call.method, call.raw_path, version, segments, list(call.query), call.headers, body, stale=call.stale
    )


def parse_json(raw: bytes) -> Any:
    """A JSON body.

    Raises:
        VendorError: 400 JSON_PARSER_ERROR.
    """

    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is not JSON")

    try:
        return json.loads(raw, parse_constant=refuse)
    except ValueError as bad:
        raise malformed_json(f"Unexpected character or end of input: {bad}") from None


def subrequest(
    parent: Request, method: str, url: str, body: Any, headers: dict[str, str] | None = None
) -> Request:
    """A request nested in another; it inherits the parent's identity and nothing of its query."""
    path, _, query = url.partition("?")
    version, segments = split(path)
    given = {k.lower(): v for k, v in (headers or {}).items()}
    pairs = parse_qsl(query, keep_blank_values=True)
    return Request(method, path, version, segments, pairs, given, body, stale=parent.stale, sub=True)
