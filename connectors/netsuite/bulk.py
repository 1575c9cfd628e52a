"""Bulk writes: one asynchronous list call of at most 100 records, an outcome per line (rule 29).

A list call runs in parallel, without order and without all-or-nothing. Its idempotency key is honoured
(only asynchronous calls honour one); a repetition is answered 400 ``IDEMPOTENCY_ERROR`` with the earlier
job's Location, which is the answer we wanted. Lines are created by POST, not by upsert: what has been
posted before is then refused, and found, and never overwritten (rule 11).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from canonical.causes import Cause
from canonical.erp_billing import Posting
from canonical.failures import Defect, OutcomeUnknown, Transient
from canonical.operations import BatchTicket, LineOutcome
from canonical.writes import VendorWrite, WriteKind
from connectors.kit.http import decode
from connectors.kit.together import together
from connectors.netsuite import errors, wire
from connectors.netsuite.billing_plans import KINDS
from connectors.netsuite.bulk_results import Result, conclusive, read_results, reasons
from connectors.netsuite.client import COLLECTION, RECORD, STRICT, NetSuiteClient
from connectors.netsuite.postings import Postings, shown
from connectors.netsuite.schemas import JobState

LIMIT = 100
"""Records of one list call; the vendor's maximum."""
NAMESPACE = uuid.UUID("6f1c5f0e-8f63-5b0e-9c55-6d2f0b1f7a11")
"""Makes UUIDs, the only form NetSuite takes, from our keys. Never change it: keys in flight depend on it."""
_METHODS = {"PUT": "POST"}
"""A create is planned as an upsert, which a direct call needs; in a list it is a plain create."""


class Bulk:
    """Bulk writes of one account."""

    def __init__(self, client: NetSuiteClient, postings: Postings, search_lag: float) -> None:
        self.client = client
        self.postings = postings
        self._lag = search_lag

    # --- handing over -------------------------------------------------------------------------------

    async def submit(self, key: str, writes: Sequence[VendorWrite]) -> BatchTicket:
        """Hand over one batch of one record type: creates, changes or removals."""
        record_type, method = self._kind(writes)
        what = f"Submit {len(writes)} {record_type} records"
        removal = method == "DELETE"
        response = await self.client.call(
            method,
            f"{RECORD}/{record_type}",
            what=what,
            write=True,
            body=None if removal else {"items": [_item(write) for write in writes]},
            query={"ids": ",".join(str(write.target) for write in writes)} if removal else None,
            headers={
                **STRICT,
                "Prefer": "respond-async",
                **({} if removal else {"Content-Type": COLLECTION}),
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

    def _kind(self, writes: Sequence[VendorWrite]) -> tuple[str, str]:
        kinds = {(write.record_type, write.method) for write in writes}
        if not 0 < len(writes) <= LIMIT or len(kinds) != 1:
            raise Defect(
                f"A batch takes 1 to {LIMIT} lines of one type and method, not {len(writes)} of "
                f"{sorted(f'{method} {record_type}' for record_type, method in kinds)}.",
                system=self.client.system,
            )
        if len({write.stamp for write in writes}) != len(writes):
            raise Defect("A batch names one line twice.", system=self.client.system)
        ((record_type, method),) = kinds
        if record_type not in KINDS:
            raise Defect(f"A batch of {record_type} cannot be read back.", system=self.client.system)
        return record_type, _METHODS.get(method, method)

    # --- outcomes -----------------------------------------------------------------------------------

    async def outcome(self, ticket: BatchTicket, writes: Sequence[VendorWrite]) -> list[LineOutcome] | None:
        """What became of each line; None while the job runs.

        The records are the proof, read by one query; only for lines that they do not show is the job asked
        for its reasons. A job that NetSuite no longer knows has ended: then the records alone tell.
        """
        record_type, method = self._kind(writes)
        state = await self._state(ticket)
        if state is not None and not state.completed:
            return None
        creates = method == "POST"
        known = await (self._shown(record_type, writes) if creates else self._changed(record_type, writes))
        lost = [write for write in writes if write.key not in known]
        results = await self._results(ticket.id, writes, lost) if lost and state is not None else []
        if lost and creates and not conclusive(results, lost):
            known |= await self._late(record_type, lost)
            lost = [write for write in lost if write.key not in known]
        landed = {one.landed for one in known.values()} if creates else None
        known |= reasons(results, writes, lost, landed)
        return [known[write.key] for write in writes]

    async def _state(self, ticket: BatchTicket) -> JobState | None:
        what = f"Read job {ticket.id}"
        response = await self.client.job(ticket.id, what=what, gone=True)
        return None if response.status_code == 404 else JobState.model_validate(self._json(response, what))

    async def _shown(self, record_type: str, writes: Sequence[VendorWrite]) -> dict[str, LineOutcome]:
        """Creates that a query shows, each compared with what was sent."""
        found = await self.postings.by_query(KINDS[record_type], [write.stamp for write in writes])
        return {w.key: _landed(w, found[w.stamp]) for w in writes if w.stamp in found}

    async def _late(self, record_type: str, writes: Sequence[VendorWrite]) -> dict[str, LineOutcome]:
        """Creates that the query did not show: it lags by seconds, the record service does not."""
        known: dict[str, LineOutcome] = {}
        if len(writes) > FEW and self._lag:
            # Asking for a whole batch one by one takes longer than waiting for the query.
            await asyncio.sleep(self._lag)
            known = await self._shown(record_type, writes)
        rest = [write for write in writes if write.key not in known]
        found = await self.postings.by_record(KINDS[record_type], [write.stamp for write in rest])
        return known | {w.key: _landed(w, found[w.stamp]) for w in rest if w.stamp in found}

    async def _changed(self, record_type: str, writes: Sequence[VendorWrite]) -> dict[str, LineOutcome]:
        """Removals of what is gone, changes that the record shows; by record, since queries lag."""
        records = await together(
            self.client.get(record_type, str(write.target), expand=True) for write in writes
        )
        known = {}
        for write, record in zip(writes, records, strict=True):
            removed = write.method == "DELETE"
            done = record is None if removed else record is not None and _shows(write, record)
            if done:
                known[write.key] = LineOutcome(key=write.key, landed=str(write.target))
        return known

    async def _results(
        self, job_id: str, writes: Sequence[VendorWrite], lost: Sequence[VendorWrite]
    ) -> list[Result]:
        """The job's results. A batch may have a task for each line: those at the places of the lost lines are
        read first, and when they are all refusals there is nothing else to be learnt.
        """
        tasks = await self._tasks(job_id)
        places = {write.key: place for place, write in enumerate(writes)}
        likely = [tasks[places[write.key]] for write in lost] if len(tasks) == len(writes) else []
        first = await self._read(job_id, likely)
        if likely and all(result.errors for result in first):
            return first
        return first + await self._read(job_id, [task for task in tasks if task not in likely])

    async def _read(self, job_id: str, tasks: Sequence[str]) -> list[Result]:
        responses = await together(
            self.client.job(job_id, "task", t, "result", what=f"Read job {job_id}, task {t}") for t in tasks
        )
        return [result for response in responses for result in read_results(response)]

    async def _tasks(self, job_id: str) -> list[str]:
        what = f"Read tasks of job {job_id}"
        body = self._json(await self.client.job(job_id, "task", what=what), what)
        return [task for item in body.get("items", []) if (task := _task_id(item)) is not None]

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


FEW = 10
"""Lines that are looked for one by one without first waiting for the query to catch up."""


def _item(write: VendorWrite) -> dict[str, Any]:
    body = wire.numbers(write.body)
    if write.kind is WriteKind.UPDATE:
        return {"id": str(write.target), **body}
    return {"externalId": write.stamp, **body}


def _landed(write: VendorWrite, posting: Posting) -> LineOutcome:
    values = shown(posting)
    differs = {
        name: str(values[name])
        for name, wanted in write.expect.items()
        if name in values and not wire.shows(values[name], wanted)
    }
    return LineOutcome(key=write.key, landed=posting.ref.id, differs=differs)


def _shows(write: VendorWrite, record: Mapping[str, Any]) -> bool:
    return wire.shows_all(record, wire.numbers(write.body))


def _is_replay(response: httpx.Response) -> bool:
    return any(error.code == errors.IDEMPOTENCY_ERROR for error in errors.read_errors(response))


def _task_id(item: Any) -> str | None:
    if not isinstance(item, dict):
        return None
    if item.get("id") is not None:
        return str(item["id"])
    links = [link for link in item.get("links", []) if isinstance(link, dict)]
    return next((wire.location_id(link.get("href")) for link in links if link.get("rel") == "self"), None)
