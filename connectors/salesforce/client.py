"""Salesforce's REST API as typed calls: queries, describe, rows, external ids, composite, collections.

Paths, limits and answer shapes: the vendor's REST API guide, as kept in our fact sheet (sections 3, 5, 7, 8).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from email.utils import format_datetime
from time import monotonic
from typing import Any

import httpx
from pydantic import ValidationError

from canonical.failures import Defect, OutcomeUnknown, Refused
from canonical.refs import RecordRef
from connectors.kit.errors import ErrorTable
from connectors.kit.http import HttpSession, decode, escape
from connectors.salesforce.auth import TokenSource
from connectors.salesforce.calls import RowOutcome, SubAnswer, SubRequest, Upserted, Usage, sub_answer
from connectors.salesforce.errors import error_table, errors_of, read_errors
from connectors.salesforce.schemas import ObjectDescribe
from connectors.salesforce.settings import SalesforceSettings
from connectors.salesforce.soql import Where, name, select

COMPOSITE_LIMIT = 25
"""Sub-requests of one composite call (general knowledge in the fact sheet; the vendor refuses more)."""
COLLECTION_LIMIT = 200
"""Records of one collections call (vendor: sObject Collections)."""
READ_CHUNK = 200
"""Ids of one IN list: 200 ids keep the query's address near 5,000 characters."""


class SalesforceClient:
    """One organisation. All methods raise ``SystemFailure`` subclasses by the error table."""

    def __init__(self, system: str, settings: SalesforceSettings) -> None:
        self.system = system
        self.settings = settings
        self.tokens = TokenSource(system, settings)
        self.errors: ErrorTable = error_table(settings.limit_wait_seconds)
        self.usage: Usage | None = None
        self._session = HttpSession(
            system=system,
            base_url=settings.base_url,
            auth=self.tokens.auth,
            errors=self.errors,
            read_errors=read_errors,
            connections=settings.connections,
            ca_file=settings.ca_file,
        )
        self._describes: dict[str, tuple[ObjectDescribe, str | None, float]] = {}
        self._describing = asyncio.Lock()

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()
        await self.tokens.close()

    # --- reading ------------------------------------------------------------------------------------

    async def query(self, soql: str, *, what: str) -> list[dict[str, Any]]:
        """All rows of a query, page after page."""
        page = self._json(await self._call("GET", "/query", what=what, query={"q": soql}), what)
        return [*page.get("records", ()), *await self.rest_of(page, what=what)]

    async def rest_of(self, page: Mapping[str, Any], *, what: str) -> list[dict[str, Any]]:
        """The rows behind a first page; also for a child set that did not fit into its parent's answer."""
        rows: list[dict[str, Any]] = []
        while not page.get("done", True):
            following = str(page.get("nextRecordsUrl") or "")
            if not following.startswith("/services/data/"):
                raise Defect(f"{what}: the next page has no usable address.", system=self.system)
            page = self._json(await self._call("GET", following, what=what), what)
            rows += page.get("records", ())
        return rows

    async def read_one(
        self, object_: str, id_: str, fields: Iterable[str], *, what: str
    ) -> dict[str, Any] | None:
        """Fields of one record; None when it is deleted, hidden or never was."""
        response = await self._call(
            "GET",
            f"/sobjects/{name(object_)}/{escape(id_)}",
            what=what,
            query={"fields": ",".join(name(field) for field in dict.fromkeys(fields))},
            accept=(404,),
        )
        return None if response.status_code == 404 else self._json(response, what)

    async def read_many(
        self, object_: str, ids: Sequence[str], fields: Iterable[str], *, what: str
    ) -> dict[str, dict[str, Any]]:
        """Fields of many records by id; a record that is gone is missing from the answer."""
        columns = ["Id", *fields]
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(ids), READ_CHUNK):
            chunk = ids[start : start + READ_CHUNK]
            for row in await self.query(
                select(object_, columns, where=[Where("Id", "IN", chunk)]), what=what
            ):
                found[str(row["Id"])] = row
        return found

    async def describe(self, object_: str) -> ObjectDescribe:
        """Fields of an object that this user may see; kept per process, revalidated when old."""
        async with self._describing:
            known = self._describes.get(object_)
            if known is not None and monotonic() - known[2] < self.settings.describe_minutes * 60:
                return known[0]
            what = f"Reading the fields of {object_}"
            headers = {"If-Modified-Since": known[1]} if known is not None and known[1] else {}
            response = await self._call(
                "GET", f"/sobjects/{name(object_)}/describe", what=what, headers=headers, accept=(304,)
            )
            if response.status_code == 304 and known is not None:
                self._describes[object_] = (known[0], known[1], monotonic())
                return known[0]
            try:
                described = ObjectDescribe.model_validate(self._json(response, what))
            except ValidationError as error:
                raise Defect(f"{what}: not the answer we know ({error.error_count()} differences).",
                             system=self.system) from None  # fmt: skip
            self._describes[object_] = (described, response.headers.get("Last-Modified"), monotonic())
            return described

    def forget_describes(self) -> None:
        """Ask for the field lists again: a field was refused that they name."""
        self._describes.clear()

    # --- writing ------------------------------------------------------------------------------------

    async def write(
        self,
        method: str,
        path: str,
        *,
        what: str,
        body: Any,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        record: RecordRef | None = None,
    ) -> Any:
        """One changing call; its decoded answer (None for 204).

        Raises:
            OutcomeUnknown: accepted, but the answer cannot be read.
        """
        response = await self._call(
            method, path, what=what, write=True, body=body, key=key, headers=headers, record=record
        )
        try:
            return decode(response)
        except ValueError:
            raise OutcomeUnknown(
                f"{what}: {self.system} answered {response.status_code} with an unreadable body.",
                system=self.system,
                key=key,
            ) from None

    async def update(
        self,
        object_: str,
        id_: str,
        body: Mapping[str, Any],
        *,
        what: str,
        key: str | None = None,
        unmodified_since: datetime | None = None,
    ) -> None:
        """Set fields of one record; None clears a field.

        Args:
            object_: API name of the object.
            id_: record id.
            body: fields and values.
            what: for people.
            key: effect key.
            unmodified_since: sent as If-Unmodified-Since; a later change is then refused with 412.
        """
        headers = {}
        if unmodified_since is not None:
            headers["If-Unmodified-Since"] = format_datetime(unmodified_since, usegmt=True)
        ref = RecordRef(system=self.system, type=object_, id=id_)
        path = f"/sobjects/{name(object_)}/{escape(id_)}"
        await self.write("PATCH", path, what=what, body=dict(body), key=key, headers=headers, record=ref)

    async def upsert_by_external_id(
        self,
        object_: str,
        field: str,
        value: str,
        body: Mapping[str, Any],
        *,
        what: str,
        key: str | None = None,
        update_only: bool = False,
    ) -> Upserted:
        """Create or update the one record whose external id ``field`` is ``value``.

        Repeating it is harmless for as long as the record carries the value. The body must not repeat the
        external id field: the vendor refuses that.

        Raises:
            Conflict: several records carry the value; nothing was written.
        """
        path = f"/sobjects/{name(object_)}/{name(field)}/{escape(value)}"
        if update_only:
            path += "?updateOnly=true"
        answer = await self.write(
            "PATCH", path, what=what, body=dict(body), key=key, headers=self.save_headers
        )
        return self.upserted(answer, what=what, key=key)

    async def delete(self, object_: str, id_: str, *, what: str, key: str | None = None) -> bool:
        """Delete one record (it stays 15 days in the recycle bin). False when it was gone already."""
        response = await self._call(
            "DELETE",
            f"/sobjects/{name(object_)}/{escape(id_)}",
            what=what,
            write=True,
            key=key,
            accept=(404,),
            record=RecordRef(system=self.system, type=object_, id=id_),
        )
        return response.status_code != 404

    async def composite(
        self, requests: Sequence[SubRequest], *, what: str, all_or_none: bool = True, key: str | None = None
    ) -> list[SubAnswer]:
        """Several dependent calls in one; the vendor answers 200 whatever became of the parts.

        Raises:
            ValueError: more than 25 parts.
        """
        if not 0 < len(requests) <= COMPOSITE_LIMIT:
            raise ValueError(f"a composite call has 1 to {COMPOSITE_LIMIT} parts, not {len(requests)}")
        body = {
            "allOrNone": all_or_none,
            "compositeRequest": [
                {
                    "method": part.method,
                    "url": f"{self.settings.data_path}{part.path}",
                    "referenceId": part.reference,
                    **({} if part.body is None else {"body": part.body}),
                }
                for part in requests
            ],
        }
        if any(part.method != "GET" for part in requests):
            answer = await self.write("POST", "/composite", what=what, body=body, key=key)
        else:
            answer = self._json(await self._call("POST", "/composite", what=what, body=body), what)
        parts = answer.get("compositeResponse") if isinstance(answer, dict) else None
        if not isinstance(parts, list) or len(parts) != len(requests):
            raise OutcomeUnknown(f"{what}: not one answer per part.", system=self.system, key=key)
        return [sub_answer(part) for part in parts]

    async def update_many(
        self, object_: str, records: Sequence[Mapping[str, Any]], *, what: str, all_or_none: bool = False
    ) -> list[RowOutcome]:
        """Update records (each with ``Id``), 200 a call, with an outcome per record in the same order.

        A chunk that fails as a whole raises; the chunks before it have landed, which a repetition with the
        same absolute values does not change.
        """
        outcomes: list[RowOutcome] = []
        for start in range(0, len(records), COLLECTION_LIMIT):
            chunk = records[start : start + COLLECTION_LIMIT]
            rows = [
                {"attributes": {"type": name(object_)}, "id": record["Id"],
                 **{field: value for field, value in record.items() if field != "Id"}}
                for record in chunk
            ]  # fmt: skip
            body = {"allOrNone": all_or_none, "records": rows}
            answer = await self.write("PATCH", "/composite/sobjects", what=what, body=body)
            if not isinstance(answer, list) or len(answer) != len(chunk):
                raise OutcomeUnknown(f"{what}: not one outcome per record.", system=self.system)
            outcomes += [
                RowOutcome(
                    str(record["Id"]), row.get("success") is True, tuple(errors_of(400, row.get("errors")))
                )
                for record, row in zip(chunk, answer, strict=True)
            ]
        return outcomes

    @property
    def save_headers(self) -> dict[str, str]:
        """Headers of a call that creates: what duplicate rules may say."""
        if not self.settings.allow_duplicate_rules:
            return {}
        rule = "allowSave=true; includeRecordDetails=false; runAsCurrentUser=false"
        return {"Sforce-Duplicate-Rule-Header": rule}

    # --- machinery ----------------------------------------------------------------------------------

    async def _call(
        self,
        method: str,
        path: str,
        *,
        what: str,
        write: bool = False,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        accept: Sequence[int] = (),
        record: RecordRef | None = None,
        key: str | None = None,
    ) -> httpx.Response:
        address = path if path.startswith("/services/") else self.settings.data_path + path
        response = await self._session.call(
            method,
            address,
            what=what,
            write=write,
            body=body,
            query=query,
            headers=headers,
            accept=accept,
            record=record,
            key=key,
        )
        self._note_usage(response)
        return response

    def _note_usage(self, response: httpx.Response) -> None:
        usage = response.headers.get("Sforce-Limit-Info", "")
        used, slash, limit = usage.partition("api-usage=")[2].partition(";")[0].partition("/")
        if slash and used.isdigit() and limit.isdigit():
            self.usage = Usage(int(used), int(limit), monotonic())

    def _json(self, response: httpx.Response, what: str) -> dict[str, Any]:
        try:
            body = decode(response)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise Defect(f"{what}: {self.system} answered no JSON object.", system=self.system)
        return body

    def upserted(self, answer: Any, *, what: str, key: str | None) -> Upserted:
        """What an upsert's answer says.

        Raises:
            OutcomeUnknown: it names no record.
        """
        if not isinstance(answer, dict) or not answer.get("id"):
            # Before API version 46 an update answered 204 without the id.
            raise OutcomeUnknown(f"{what}: the answer names no record.", system=self.system, key=key)
        if answer.get("success") is False:
            raise Refused(f"{what}: {self.system} reports no success.", system=self.system, key=key)
        return Upserted(str(answer["id"]), bool(answer.get("created", False)))
