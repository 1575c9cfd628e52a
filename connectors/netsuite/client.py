"""NetSuite's REST calls, thin and typed: record service, SuiteQL, asynchronous jobs, metadata."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

import httpx

from canonical.failures import Defect, RateLimited, Transient, Unauthorised
from canonical.refs import RecordRef
from connectors.kit.errors import VendorError
from connectors.kit.http import HttpSession, decode, escape, retry_after
from connectors.netsuite import errors
from connectors.netsuite.auth import make_auth
from connectors.netsuite.schemas import QueryPage
from connectors.netsuite.settings import NetSuiteSettings

RECORD = "/services/rest/record/v1"
QUERY = "/services/rest/query/v1/suiteql"
ASYNC = "/services/rest/async/v1/job"
GOVERNANCE = "/services/rest/system/v1/governanceLimits"
STRICT = {"X-NetSuite-PropertyNameValidation": "Error", "X-NetSuite-PropertyValueValidation": "Error"}
"""NetSuite's own default for names is Warning: it would drop a misspelt field without a word."""
COLLECTION = "application/vnd.oracle.resource+json; type=collection"
PAGE = 1000
"""Rows of a SuiteQL page; the vendor's maximum."""
OVERLOAD_WAIT = 15
"""Seconds to stay away after a 401 that means overload: the vendor held the call for about a minute."""


class NetSuiteClient:
    """One account's HTTP session and the calls the connector makes on it."""

    def __init__(self, system: str, settings: NetSuiteSettings) -> None:
        self.system = system
        self.settings = settings
        self.session = HttpSession(
            system=system,
            base_url=settings.base_url,
            auth=make_auth(system, settings, lambda: self.session.client),
            errors=errors.TABLE,
            read_errors=errors.read_errors,
            connections=settings.concurrency,
            ca_file=settings.ca_file,
            headers=STRICT,
        )
        # The account counts concurrent calls over all of REST; httpx's pool alone would let calls queue
        # until its timeout and report them as unreachable.
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._last_success: float | None = None

    async def close(self) -> None:
        """Close the connections."""
        await self.session.close()

    async def call(
        self,
        method: str,
        path: str,
        *,
        what: str,
        write: bool,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        accept: Sequence[int] = (),
        record: RecordRef | None = None,
        key: str | None = None,
    ) -> httpx.Response:
        """One call within our share of the account's concurrency; see ``HttpSession.call``.

        Raises:
            RateLimited: also for a 401 on a fresh token while other calls succeed (the overload trap).
        """
        async with self._slots:
            try:
                response = await self.session.call(
                    method,
                    path,
                    what=what,
                    write=write,
                    body=body,
                    query=query,
                    headers=headers,
                    accept=accept,
                    record=record,
                    key=key,
                )
            except Unauthorised as refusal:
                if refusal.failure.status == 401 and self._others_succeed():
                    raise RateLimited(
                        f"{what}: {self.system} answered 401 to a fresh token while other calls succeed; "
                        "taken for its concurrency limit.",
                        **{
                            **refusal.failure.model_dump(exclude={"kind", "message", "cause", "remedy"}),
                            "retry_after_seconds": OVERLOAD_WAIT,
                            "remedy": "If it stays: lower the concurrency, or check the Login Audit Trail.",
                        },
                    ) from refusal
                raise
            self._last_success = monotonic()
            return response

    def _others_succeed(self) -> bool:
        window, last = self.settings.overload_401_seconds, self._last_success
        return window > 0 and last is not None and monotonic() - last <= window

    def failure(
        self, response: httpx.Response, *, what: str, write: bool, key: str | None = None
    ) -> Exception:
        """The failure for an answer that was accepted for a closer look and turned out to be a refusal."""
        return self.session.errors.failure(
            errors.read_errors(response) or [VendorError(response.status_code)],
            system=self.system,
            write=write,
            what=what,
            key=key,
            retry_after=retry_after(response),
        )

    def ref(self, record_type: str, record_id: str) -> RecordRef:
        """A reference with its page."""
        return RecordRef(
            system=self.system, type=record_type, id=record_id, url=self.link(record_type, record_id)
        )

    def link(self, record_type: str, record_id: str) -> str:
        """The configured UI page, else the API address."""
        template = self.settings.links.get(record_type)
        if template is not None:
            return template.replace("{id}", escape(record_id))
        return f"{self.settings.base_url}{RECORD}/{record_type}/{escape(record_id)}"

    # --- record service -------------------------------------------------------------------------------

    async def get(
        self,
        record_type: str,
        record_id: str | None = None,
        *,
        external_id: str | None = None,
        fields: Sequence[str] = (),
        expand: bool = False,
        what: str | None = None,
    ) -> dict[str, Any] | None:
        """A record by internal or external id, None when there is none. Inactive ones are found."""
        segment = f"eid:{escape(external_id)}" if external_id is not None else escape(record_id or "")
        query = {"expandSubResources": "true"} if expand else {}
        if fields:
            query["fields"] = ",".join(fields)
        response = await self.call(
            "GET",
            f"{RECORD}/{record_type}/{segment}",
            what=what or f"Read {record_type} {external_id or record_id}",
            write=False,
            query=query or None,
            accept=(404,),
            record=None if record_id is None else self.ref(record_type, record_id),
        )
        if response.status_code == 404:
            return None
        return self._object(response, f"{record_type} {external_id or record_id}")

    async def filtered_ids(self, record_type: str, condition: str, *, what: str) -> list[str]:
        """Ids of the records that match a collection filter (``q``), first page."""
        response = await self.call(
            "GET",
            f"{RECORD}/{record_type}",
            what=what,
            write=False,
            query={"q": condition, "limit": str(PAGE), "offset": "0"},
        )
        page = self._object(response, record_type)
        return [str(item["id"]) for item in page.get("items", []) if "id" in item]

    async def delete(self, record_type: str, record_id: str, *, what: str, key: str | None = None) -> bool:
        """Delete a record; False when it was not there.

        Raises:
            Refused: the vendor keeps it, for example because transactions refer to it.
        """
        response = await self.call(
            "DELETE",
            f"{RECORD}/{record_type}/{escape(record_id)}",
            what=what,
            write=True,
            accept=(404,),
            record=self.ref(record_type, record_id),
            key=key,
        )
        return response.status_code != 404

    async def patch(
        self,
        record_type: str,
        record_id: str,
        body: Mapping[str, Any],
        *,
        what: str,
        key: str | None = None,
        replace: Sequence[str] = (),
    ) -> None:
        """Change fields of a record; sublists merge by line unless named in ``replace``."""
        await self.call(
            "PATCH",
            f"{RECORD}/{record_type}/{escape(record_id)}",
            what=what,
            write=True,
            body=body,
            query={"replace": ",".join(replace)} if replace else None,
            record=self.ref(record_type, record_id),
            key=key,
        )

    async def metadata(self, record_type: str) -> set[str]:
        """Names of a record type's fields in this account, custom ones included."""
        response = await self.call(
            "GET",
            f"{RECORD}/metadata-catalog/{record_type}",
            what=f"Read the field list of {record_type}",
            write=False,
            headers={"Accept": "application/schema+json"},
        )
        return set(self._object(response, f"schema of {record_type}").get("properties", {}))

    async def concurrency_limit(self) -> int | None:
        """Concurrent calls that the account allows to all its integrations together; None when the role may
        not read it (administrators only).
        """
        response = await self.call(
            "GET",
            GOVERNANCE,
            what="Read the concurrency limit",
            write=False,
            accept=(400, 403, 404),
        )
        limit = self._object(response, "limits").get("accountConcurrencyLimit")
        return int(str(limit)) if response.is_success and limit is not None else None

    # --- SuiteQL ----------------------------------------------------------------------------------------

    async def page(self, sql: str, *, what: str, limit: int = PAGE, offset: int = 0) -> QueryPage:
        """One page of a query. Queries must carry ORDER BY: without it paging repeats and loses rows."""
        response = await self.call(
            "POST",
            QUERY,
            what=what,
            write=False,
            body={"q": sql},
            query={"limit": str(limit), "offset": str(offset)},
            headers={"Prefer": "transient"},
        )
        return QueryPage.model_validate(self._object(response, what))

    async def rows(self, sql: str, *, what: str) -> list[dict[str, Any]]:
        """All rows of an ordered query."""
        found: list[dict[str, Any]] = []
        while True:
            page = await self.page(sql, what=what, offset=len(found))
            found.extend(page.items)
            if not page.has_more or not page.items:
                return found

    # --- asynchronous jobs ------------------------------------------------------------------------------

    async def job(self, job_id: str, *parts: str, what: str, gone: bool = False) -> httpx.Response:
        """A job, its task list, a task or a task's result (whatever its status: it is the line's answer).

        ``gone`` lets a 404 be an answer: a job that ended long ago may be forgotten.
        """
        path = "/".join((ASYNC, *(escape(part) for part in (job_id, *parts))))
        result = bool(parts) and parts[-1] == "result"
        # A line's own 500 is its result, not a failure to read it: it would be read again for ever.
        accept = tuple(s for s in range(400, 501) if s not in (401, 408, 429)) if result else ()
        accept += (404,) if gone else ()
        return await self.call("GET", path, what=what, write=False, accept=accept)

    def _object(self, response: httpx.Response, what: str) -> dict[str, Any]:
        try:
            body = decode(response)
        except ValueError:
            # A proxy's page, or an answer cut short: nothing was changed by asking.
            raise Transient(
                f"Read {what}: {self.system} sent no readable JSON.", system=self.system
            ) from None
        if not isinstance(body, dict):
            raise Defect(f"Read {what}: {self.system} sent no object.", system=self.system)
        return body
