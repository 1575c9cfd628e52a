"""Bulk writes: one asynchronous list call of at most 100 records, an outcome per line (rule 29).

A list call runs in parallel, without order and without all-or-nothing. Its idempotency key is honoured
(only asynchronous calls honour one); a repetition is answered 400 ``IDEMPOTENCY_ERROR`` with the earlier
job's Location, which is the answer we wanted.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
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
        known: dict[str, LineOutcome] = {}
        for task_id in await self._tasks(ticket.id):
            response = await self.client.job(
                ticket.id, "task", task_id, "result", what=f"{what}, task {task_id}"
            )
            for outcome in read_result(response, writes):
                known[outcome.key] = outcome
        missing = [write for write in writes if write.key not in known]
        known.update(await self._look_up(missing))
        return [known[write.key] for write in writes]

    async def _tasks(self, job_id: str) -> list[str]:
        what = f"Read tasks of job {job_id}"
        body = self._json(await self.client.job(job_id, "task", what=what), what)
        return [task for item in body.get("items", []) if (task := _task_id(item)) is not None]

    async def _look_up(self, writes: Sequence[VendorWrite]) -> dict[str, LineOutcome]:
        found: dict[str, LineOutcome] = {}
        if not writes:
            return found
        sql = queries.by_external_id(writes[0].record_type, [w.stamp for w in writes])
        rows = await self.client.rows(sql, what=f"Look up {len(writes)} lines of a batch")
        ids = {str(row.get("externalid")): str(row["id"]) for row in rows}
        for write in writes:
            # SuiteQL may lag: what it does not show is asked of the record itself.
            landed = ids.get(write.stamp)
            if landed is None:
                record = await self.client.get(write.record_type, external_id=write.stamp)
                landed = None if record is None else str(record["id"])
            failure = (
                None if landed else "the job ended without this line and no record carries its external id"
            )
            found[write.key] = LineOutcome(key=write.key, landed=landed, failure=failure)
        return found

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


def read_result(response: httpx.Response, writes: Sequence[VendorWrite]) -> Iterator[LineOutcome]:
    """Outcomes told by a task's result: the direct call's answer, for a list one entry per record.

    Lines are recognised by external id (in the entry, its Location or its links). A result that names no
    line counts only when the batch has a single one; anything else is left to the look-up.
    """
    by_stamp = {write.stamp: write for write in writes}
    try:
        body = decode(response)
    except ValueError:
        body = None
    entries = body.get("items") if isinstance(body, Mapping) else None
    if not isinstance(entries, list):
        entries = [{**(body if isinstance(body, Mapping) else {}), "status": response.status_code}]
        entries[0].setdefault("location", response.headers.get("Location"))
    for entry in entries:
        if not isinstance(entry, Mapping):
            continue
        write = by_stamp.get(_external_id(entry) or "")
        if write is None and len(writes) == 1 and len(entries) == 1:
            write = writes[0]
        if write is not None and (outcome := _outcome(write, entry)) is not None:
            yield outcome


def _addresses(entry: Mapping[str, Any]) -> list[str]:
    found = [entry.get(name) for name in ("location", "Location", "href")]
    found += [link.get("href") for link in entry.get("links", []) if isinstance(link, Mapping)]
    return [address for address in found if isinstance(address, str)]


def _external_id(entry: Mapping[str, Any]) -> str | None:
    direct = entry.get("externalId") or entry.get("externalid")
    if direct:
        return str(direct).removeprefix("eid:")
    return next((x for address in _addresses(entry) if (x := wire.external_id_of(address))), None)


def _outcome(write: VendorWrite, entry: Mapping[str, Any]) -> LineOutcome | None:
    status = int(str(entry.get("status") or 0)) if str(entry.get("status") or 0).isdigit() else 0
    told: list[VendorError] = (
        errors.errors_of(entry.get("error") or entry.get("body") or entry, status)
        if "o:errorDetails" in str(entry) or status >= 400
        else []
    )
    if told:
        words = "; ".join(error.message for error in told if error.message) or f"status {status}"
        return LineOutcome(key=write.key, failure=words, vendor_code=told[0].code)
    if status >= 400:
        return LineOutcome(key=write.key, failure=f"status {status}")
    id_ = entry.get("id")
    if id_ is None:
        ids = [wire.location_id(address) for address in _addresses(entry)]
        id_ = next((i for i in ids if i and not i.startswith("eid:")), None)
    return None if id_ is None else LineOutcome(key=write.key, landed=str(id_))
