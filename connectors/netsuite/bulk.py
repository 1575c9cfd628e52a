"""Bulk writes: one asynchronous list call of at most 100 records, an outcome per line (rule 29).

A list call runs in parallel, without order and without all-or-nothing. Its idempotency key is honoured
(only asynchronous calls honour one); a repetition is answered 400 ``IDEMPOTENCY_ERROR`` with the earlier
job's Location, which is the answer we wanted.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from canonical.causes import Cause
from canonical.failures import Defect, OutcomeUnknown, Transient
from canonical.operations import BatchTicket, LineOutcome
from canonical.writes import VendorWrite, WriteKind
from connectors.kit.errors import VendorError
from connectors.kit.http import decode
from connectors.netsuite import errors, queries, wire
from connectors.netsuite.client import COLLECTION, RECORD, STRICT, NetSuiteClient
from connectors.netsuite.schemas import JobState

LIMIT = 100
"""Records of one list call; the vendor's maximum."""
NAMESPACE = uuid.UUID("6f1c5f0e-8f63-5b0e-9c55-6d2f0b1f7a11")
"""Makes UUIDs, the only form NetSuite takes, from our keys. Never change it: keys in flight depend on it."""


class Bulk:
    """Bulk writes of one account."""

    def __init__(self, client: NetSuiteClient) -> None:
        self.client = client

    async def submit(self, key: str, writes: Sequence[VendorWrite]) -> BatchTicket:
        """Hand over one batch of creates of one record type."""
        record_type = self._record_type(writes)
        lines = [{"externalId": write.stamp, **wire.numbers(write.body)} for write in writes]
        what = f"Submit {len(writes)} {record_type} records"
        response = await self.client.call(
            "PUT",
            f"{RECORD}/{record_type}",
            what=what,
            write=True,
            body={"items": lines},
            headers={
                **STRICT,
                "Prefer": "respond-async",
                "Content-Type": COLLECTION,
                "X-NetSuite-Idempotency-Key": str(uuid.uuid5(NAMESPACE, key)),
            },
            accept=(400, 409),
            key=key,
        )
        earlier = not response.is_success
        if earlier and not _is_replay(response):
            raise self.client.failure(response, what=what, write=True, key=key)
        job_id = wire.location_id(response.headers.get("Location"))
        if job_id is None:
            # Accepted, but where? The same key will be answered with the earlier job's Location.
            raise OutcomeUnknown(f"{what}: accepted without a job.", system=self.client.system, key=key)
        return BatchTicket(id=job_id, earlier=earlier)

    def _record_type(self, writes: Sequence[VendorWrite]) -> str:
        types = {write.record_type for write in writes}
        fit = 0 < len(writes) <= LIMIT and len(types) == 1
        if not fit or any(write.kind is not WriteKind.CREATE for write in writes):
            raise Defect(
                f"A batch takes 1 to {LIMIT} creates of one type, not {len(writes)} of {sorted(types)}.",
                system=self.client.system,
            )
        if len({write.stamp for write in writes}) != len(writes):
            raise Defect("A batch names one line twice.", system=self.client.system)
        return types.pop()

    async def outcome(self, ticket: BatchTicket, writes: Sequence[VendorWrite]) -> list[LineOutcome] | None:
        """What became of each line; None while the job runs.

        Lines that the results do not name are looked up by external id: the record itself is the proof.
        """
        what = f"Read job {ticket.id}"
        state = JobState.model_validate(self._json(await self.client.job(ticket.id, what=what), what))
        if not state.completed:
            return None
        tasks = await self._tasks(ticket.id)
        responses = await asyncio.gather(
            *(self.client.job(ticket.id, "task", t, "result", what=f"{what}, task {t}") for t in tasks)
        )
        results = [result for response in responses for result in read_results(response)]
        known = told(results, writes)
        missing = [write for write in writes if write.key not in known]
        landed = await self._look_up(missing)
        lost = [write for write in missing if write.stamp not in landed]
        known |= {w.key: LineOutcome(key=w.key, landed=landed[w.stamp]) for w in missing if w.stamp in landed}
        known |= refused(results, lost)
        return [known[write.key] for write in writes]

    async def _tasks(self, job_id: str) -> list[str]:
        what = f"Read tasks of job {job_id}"
        body = self._json(await self.client.job(job_id, "task", what=what), what)
        return [task for item in body.get("items", []) if (task := _task_id(item)) is not None]

    async def _look_up(self, writes: Sequence[VendorWrite]) -> dict[str, str]:
        """Ids by stamp of the lines that are there. What SuiteQL does not show yet is asked of the record."""
        if not writes:
            return {}
        sql = queries.by_external_id(writes[0].record_type, [w.stamp for w in writes])
        rows = await self.client.rows(sql, what=f"Look up {len(writes)} lines of a batch")
        ids = {str(row.get("externalid")): str(row["id"]) for row in rows}
        unseen = [write for write in writes if write.stamp not in ids]
        records = await asyncio.gather(
            *(self.client.get(write.record_type, external_id=write.stamp) for write in unseen)
        )
        found = zip(unseen, records, strict=True)
        return ids | {write.stamp: str(record["id"]) for write, record in found if record is not None}

    def _json(self, response: httpx.Response, what: str) -> dict[str, Any]:
        try:
            body = decode(response)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise Transient(
                f"{what}: no readable answer.", cause=Cause.VENDOR_UNAVAILABLE, system=self.client.system
            )
        return body


def _is_replay(response: httpx.Response) -> bool:
    return any(error.code == errors.IDEMPOTENCY_ERROR for error in errors.read_errors(response))


def _task_id(item: Any) -> str | None:
    if not isinstance(item, dict):
        return None
    if item.get("id") is not None:
        return str(item["id"])
    links = [link for link in item.get("links", []) if isinstance(link, dict)]
    return next((wire.location_id(link.get("href")) for link in links if link.get("rel") == "self"), None)


@dataclass(frozen=True)
class Result:
    """What a job says of one line. NetSuite names the line rarely: a refusal carries no external id."""

    external_id: str | None = None
    id: str | None = None
    errors: tuple[VendorError, ...] = ()

    @property
    def words(self) -> str:
        """The refusal in the vendor's words."""
        return "; ".join(error.message for error in self.errors)


def read_results(response: httpx.Response) -> list[Result]:
    """A task's result: the direct call's answer, or for a list one entry per record."""
    try:
        body = decode(response)
    except ValueError:
        body = None
    entries = body.get("items") if isinstance(body, Mapping) else None
    if isinstance(entries, list):
        return [_result(entry, _status(entry)) for entry in entries if _is_object(entry)]
    alone = {"location": response.headers.get("Location"), **(body if isinstance(body, Mapping) else {})}
    return [_result(alone, response.status_code)]


def _status(entry: Mapping[str, Any]) -> int:
    text = str(entry.get("status") or "")
    return int(text) if text.isdigit() else 0


def _is_object(entry: Any) -> bool:
    return isinstance(entry, Mapping)


def _result(entry: Mapping[str, Any], status: int) -> Result:
    addresses = [entry.get(name) for name in ("location", "Location", "href")]
    addresses += [link.get("href") for link in entry.get("links", []) if isinstance(link, Mapping)]
    segments = [wire.location_id(a) for a in addresses if isinstance(a, str)]
    external = [s.removeprefix("eid:") for s in segments if s is not None and s.startswith("eid:")]
    internal = [s for s in segments if s is not None and not s.startswith("eid:")]
    refused_ = status >= 400 or "o:errorDetails" in entry
    problems = errors.errors_of(dict(entry), status) or [VendorError(status, None, f"status {status}")]
    return Result(
        external_id=str(entry.get("externalId") or next(iter(external), "")) or None,
        id=str(entry.get("id") or next(iter(internal), "")) or None,
        errors=tuple(problems) if refused_ else (),
    )


def told(results: Sequence[Result], writes: Sequence[VendorWrite]) -> dict[str, LineOutcome]:
    """Outcomes of lines that results name; position counts for nothing, only a batch of one needs no name."""
    by_stamp = {write.stamp: write for write in writes}
    known: dict[str, LineOutcome] = {}
    for result in results:
        alone = len(writes) == len(results) == 1 and result.external_id is None
        write = writes[0] if alone else by_stamp.get(result.external_id or "")
        if write is None:
            continue
        if result.errors:
            known[write.key] = _refusal(write, result)
        elif result.id is not None:
            known[write.key] = LineOutcome(key=write.key, landed=result.id)
    return known


def refused(results: Sequence[Result], lost: Sequence[VendorWrite]) -> dict[str, LineOutcome]:
    """Reasons for lines that did not land. A refusal is laid at a line's door only where the field it
    names holds, in that line, the value it quotes, or where all refusals say the same; else all are told.
    """
    nameless = {result.words: result for result in results if result.errors and result.external_id is None}
    known: dict[str, LineOutcome] = {}
    for write in lost:
        fitting = [result for result in nameless.values() if _quotes(result, write)]
        candidates = fitting or list(nameless.values())
        if len(candidates) == 1:
            known[write.key] = _refusal(write, candidates[0])
        else:
            reasons = " | ".join(result.words for result in candidates)
            words = f"refused, one of: {reasons}" if reasons else "not there, and the job tells no reason"
            known[write.key] = LineOutcome(key=write.key, failure=words)
    return known


def _quotes(result: Result, write: VendorWrite) -> bool:
    for error in result.errors:
        value = (write.body or {}).get(error.field or "")
        text = wire.ref_id(value) or ""
        if text and re.search(rf"(?<!\w){re.escape(text)}(?!\w)", error.message):
            return True
    return False


def _refusal(write: VendorWrite, result: Result) -> LineOutcome:
    return LineOutcome(key=write.key, failure=result.words, vendor_code=result.errors[0].code)
