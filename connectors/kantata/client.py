"""Thin calls to Kantata's API: one record, whole lists, one write. Decoding goes by ``results``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import httpx

from canonical.failures import OutcomeUnknown, Transient
from canonical.refs import RecordRef
from connectors.kantata.auth import SecretToken
from connectors.kantata.errors import error_table, read_errors
from connectors.kantata.settings import KantataSettings
from connectors.kit.http import HttpSession, decode, escape

API = "/api/v1"
"""The version is in the path and there is only one."""
PAGE_SIZE = 200
"""Kantata's maximum of ``per_page``."""
FILTER_LIMIT = 200
"""Most values in one ``..._model_refs`` or ``only`` filter."""
FIELDS_KEPT = 600
"""Seconds for which the account's custom fields are remembered: they change by hand, and rarely."""
REREADS = 3
"""Times a list is read again when rows shifted between its pages."""

Row = dict[str, Any]


@dataclass
class Envelope:
    """An answer: the records asked for, in order, and what was side-loaded with them."""

    rows: list[Row] = field(default_factory=list)
    sides: dict[str, dict[str, Row]] = field(default_factory=dict)

    def side(self, kind: str, record_id: object) -> Row | None:
        """A side-loaded record."""
        return self.sides.get(kind, {}).get(str(record_id))

    def included(self, row: Row, kind: str, ids: str) -> list[Row]:
        """The side-loaded records that ``row`` names in its attribute ``ids``."""
        found = (self.side(kind, one) for one in row.get(ids) or ())
        return [one for one in found if one is not None]

    @classmethod
    def read(cls, body: Any, kind: str) -> Envelope:
        """Decode an answer. Only ``results`` says which records were asked for.

        Raises:
            ValueError: not an envelope.
        """
        if not isinstance(body, dict) or not isinstance(body.get("results"), list):
            raise ValueError("no results in the answer")
        sides = {name: value for name, value in body.items() if isinstance(value, dict) and name != "meta"}
        rows = []
        for result in body["results"]:
            row = sides.get(result["key"], {}).get(str(result["id"]))
            if row is None:
                raise ValueError(f"{result['key']} {result['id']} is named but not in the answer")
            if result["key"] == kind:
                rows.append(row)
        return cls(rows, sides)

    def absorb(self, other: Envelope) -> None:
        """Add the next part; a row that is in both is kept once."""
        held = {str(row["id"]) for row in self.rows}
        self.rows += [row for row in other.rows if str(row["id"]) not in held]
        for kind, records in other.sides.items():
            self.sides.setdefault(kind, {}).update(records)


class KantataClient:
    """Calls one account."""

    def __init__(self, system: str, settings: KantataSettings) -> None:
        self.system = system
        self.base_url = settings.base_url
        self.http = HttpSession(
            system=system,
            base_url=settings.base_url,
            auth=SecretToken(settings.token),
            errors=error_table(settings.rate_limit_pause),
            read_errors=read_errors,
            connections=settings.concurrency,
            ca_file=settings.ca_file,
        )
        self._fields: tuple[float, dict[str, tuple[str, ...]]] | None = None

    async def close(self) -> None:
        """Close the connections."""
        await self.http.close()

    async def get(
        self, kind: str, record_id: str, *, what: str, include: Sequence[str] = (), **query: str
    ) -> tuple[Row, Envelope] | None:
        """One record with what is included, None when there is none (or a default filter hides it)."""
        if include:
            query["include"] = ",".join(include)
        path = f"{API}/{kind}/{escape(record_id)}"
        response = await self.http.call(
            "GET",
            path,
            what=what,
            write=False,
            query=query or None,
            accept=(404,),
            record=RecordRef(system=self.system, type=kind, id=record_id),
        )
        if response.status_code == 404:
            return None
        envelope = self._decoded(response, kind, what)
        return (envelope.rows[0], envelope) if envelope.rows else None

    async def page(
        self, kind: str, *, what: str, query: Mapping[str, str], number: int = 1, size: int = PAGE_SIZE
    ) -> Envelope:
        """One page of a list."""
        response = await self.http.call(
            "GET",
            f"{API}/{kind}",
            what=what,
            write=False,
            query={**query, "page": str(number), "per_page": str(size)},
        )
        return self._decoded(response, kind, what)

    async def slice(
        self, kind: str, *, what: str, query: Mapping[str, str], offset: int, size: int
    ) -> Envelope:
        """Part of a list by position; Kantata lets limit and offset win over pages."""
        part = {**query, "limit": str(size), "offset": str(offset)}
        response = await self.http.call("GET", f"{API}/{kind}", what=what, write=False, query=part)
        return self._decoded(response, kind, what)

    async def list(
        self, kind: str, *, what: str, query: Mapping[str, str], size: int = PAGE_SIZE
    ) -> Envelope:
        """A whole list, each row once. Every part begins with the last row of the one before: if it does
        not, rows have shifted in between and the list is read again from the start.

        Args:
            kind: record type, plural.
            what: for people, what is being done.
            query: filters and includes.
            size: rows of one part, at least 2.

        Raises:
            Transient: the list kept shifting.
        """
        for _ in range(REREADS):
            whole, offset = Envelope(), 0
            while True:
                part = await self.slice(kind, what=what, query=query, offset=offset, size=size)
                if whole.rows and not (part.rows and part.rows[0]["id"] == whole.rows[-1]["id"]):
                    break
                whole.absorb(part)
                if len(part.rows) < size:
                    return whole
                offset += size - 1
        raise Transient(
            f"{what}: the list of {kind} changed faster than it could be read.", system=self.system
        )

    async def custom_fields(self, *, what: str) -> dict[str, tuple[str, ...]]:
        """Ids of the account's custom fields by name; several where a name is used more than once."""
        if self._fields is None or monotonic() - self._fields[0] > FIELDS_KEPT:
            found: dict[str, tuple[str, ...]] = {}
            for row in (await self.list("custom_fields", what=what, query={})).rows:
                name = str(row.get("name"))
                found[name] = (*found.get(name, ()), str(row["id"]))
            self._fields = (monotonic(), found)
        return self._fields[1]

    def forget_custom_fields(self) -> None:
        """Ask again next time: the account's fields have changed."""
        self._fields = None

    async def write(
        self, method: str, path: str, kind: str, body: Any, *, what: str, key: str | None = None
    ) -> Envelope:
        """One create or update; Kantata answers both with 200 and the record."""
        response = await self.http.call(method, path, what=what, write=True, body=body, key=key)
        try:
            return Envelope.read(decode(response), kind)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise OutcomeUnknown(
                f"{what}: {self.system} accepted it with an answer that cannot be read ({error}).",
                system=self.system,
                status=response.status_code,
                key=key,
            ) from error

    async def delete(self, kind: str, record_id: str, *, what: str, key: str | None = None) -> bool:
        """Delete a record for good; False when it was gone already."""
        response = await self.http.call(
            "DELETE",
            f"{API}/{kind}/{escape(record_id)}",
            what=what,
            write=True,
            accept=(404,),
            record=RecordRef(system=self.system, type=kind, id=record_id),
            key=key,
        )
        return response.status_code != 404

    def _decoded(self, response: httpx.Response, kind: str, what: str) -> Envelope:
        try:
            return Envelope.read(decode(response), kind)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Transient(
                f"{what}: {self.system} answered something that cannot be read ({error}).",
                system=self.system,
                status=response.status_code,
            ) from error
