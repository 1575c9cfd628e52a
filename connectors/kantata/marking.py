"""Marks on what the ERP has taken, many at once: one upsert per line, one reading for all of them.

Kantata has no bulk form of the call and no jobs, but the upsert may be repeated at will: a batch whose
answers were lost is simply handed over again.
"""

from __future__ import annotations

from collections.abc import Sequence

from canonical.delivered import LineKind
from canonical.failures import Conflict, Defect, Refused
from canonical.operations import BatchTicket, LineOutcome
from canonical.writes import VendorWrite
from connectors.kantata.billing_plans import SUBJECTS
from connectors.kantata.client import KantataClient
from connectors.kantata.feeds import Feeds
from connectors.kantata.mapping import to_wire
from connectors.kit.http import fill
from connectors.kit.together import together

LIMIT = 100
"""Lines of one batch: each is a call, and a batch should not take minutes."""
_KINDS = {subject: kind for kind, subject in SUBJECTS.items()}


class Marking:
    """Batches of marks (or of marks to be taken off) of one account."""

    def __init__(self, system: str, client: KantataClient, feeds: Feeds) -> None:
        self._system = system
        self._client = client
        self._feeds = feeds

    async def submit(self, key: str, writes: Sequence[VendorWrite]) -> BatchTicket:
        """Set all marks of a batch.

        Raises:
            OutcomeUnknown: of some no answer came; the whole batch may be handed over again.
        """
        kinds = {(write.record_type, write.method) for write in writes}
        if not 0 < len(writes) <= LIMIT or len(kinds) != 1 or kinds.pop()[0] != "external_references":
            raise Defect(f"A batch takes 1 to {LIMIT} marks of one method.", system=self._system)
        told = await together(self._one(write) for write in writes)
        return BatchTicket(id=key, told=tuple(one for one in told if one is not None))

    async def _one(self, write: VendorWrite) -> LineOutcome | None:
        """Send one; what Kantata refuses concerns this line alone."""
        try:
            if write.method == "DELETE":
                await self._client.delete(
                    write.record_type, str(write.target), what=write.title, key=write.key
                )
            else:
                await self._client.write(
                    write.method,
                    fill(write.path, write.path_values),
                    write.record_type,
                    to_wire(write.body),
                    what=write.title,
                    key=write.key,
                )
        except (Refused, Conflict) as refusal:
            failure = refusal.failure
            return LineOutcome(
                key=write.key,
                failure=failure.message,
                vendor_code=failure.vendor_code,
                cause=failure.cause,
            )
        return None

    async def outcome(self, ticket: BatchTicket, writes: Sequence[VendorWrite]) -> list[LineOutcome]:
        """What the lines show now."""
        by_kind: dict[LineKind, list[str]] = {}
        for write in writes:
            kind, id_ = _subject(write)
            by_kind.setdefault(kind, []).append(id_)
        held = {
            (mark.kind, mark.id): mark
            for marks in await together(self._feeds.marks(kind, ids) for kind, ids in by_kind.items())
            for mark in marks
        }
        refused = {one.key: one for one in ticket.told}
        outcomes = []
        for write in writes:
            mark = held.get(_subject(write))
            if write.method == "DELETE":
                gone = mark is None or mark.reference != write.target
                done = str(write.target) if gone else None
            else:
                wanted = write.expect["service_model_ref"]
                done = mark.reference if mark is not None and mark.document == wanted else None
            if done is not None:
                outcomes.append(LineOutcome(key=write.key, landed=done))
            else:
                # Not refused and not there: the answer was lost before it was done, or the line is gone.
                lost = LineOutcome(key=write.key, failure=f"{write.title}: not there", retry=True)
                outcomes.append(refused.get(write.key, lost))
        return outcomes


def _subject(write: VendorWrite) -> tuple[LineKind, str]:
    named = write.options if write.method == "DELETE" else write.body["external_reference"]
    return _KINDS[str(named["subject_type"])], str(named["subject_id"])
