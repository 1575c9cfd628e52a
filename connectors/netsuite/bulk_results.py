"""What a job says of its lines, and whose refusal is whose. Pure.

NetSuite names a line rarely: a refusal carries no external id, and whether results come in the order of
the lines is not documented. So lines are recognised by external id, and a refusal is laid at a line's door
only where it fits that line.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from canonical.causes import Cause
from canonical.failures import FailureKind
from canonical.operations import LineOutcome
from canonical.writes import VendorWrite
from connectors.kit.errors import VendorError
from connectors.kit.http import decode
from connectors.netsuite import errors, wire

_PASSING = (FailureKind.RETRY, FailureKind.WAIT, FailureKind.REAUTHORISE, FailureKind.UNKNOWN_OUTCOME)
"""Refusals that say nothing about the line itself."""


@dataclass(frozen=True)
class Result:
    """What a job says of one line."""

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
            known[write.key] = refusal(write, result)
        elif result.id is not None:
            known[write.key] = LineOutcome(key=write.key, landed=result.id)
    return known


def is_duplicate(result: Result) -> bool:
    """Whether a refusal says that the line is there already."""
    failure = (
        errors.TABLE.failure(result.errors, system="", write=True, what="").failure if result.errors else None
    )
    return failure is not None and failure.cause is Cause.VERSION_CONFLICT


def conclusive(results: Sequence[Result], lost: Sequence[VendorWrite]) -> bool:
    """Whether a job accounts for all lines that its records do not show: each was refused, none as being
    there already. Then there is nothing to look for.
    """
    refusals = [result for result in results if result.errors]
    return len(refusals) == len(lost) and not any(is_duplicate(result) for result in refusals)


def reasons(
    results: Sequence[Result],
    writes: Sequence[VendorWrite],
    lost: Sequence[VendorWrite],
    landed: Collection[str | None] | None,
) -> dict[str, LineOutcome]:
    """Why lines are not there.

    Args:
        results: what the job says, of all lines or at least of the lost ones.
        writes: the whole batch.
        lost: the lines that are not there.
        landed: ids of the creates that are there; None for changes and removals.
    """
    named = {key: one for key, one in told(results, writes).items() if one.failure is not None}
    # What is not there is no duplicate of itself.
    kept = [result for result in results if not is_duplicate(result)]
    vanished = landed is not None and any(
        result.id is not None and not result.errors and result.id not in landed for result in results
    )
    said = refused(kept, [write for write in lost if write.key not in named], vanished=vanished)
    return {write.key: named.get(write.key) or said[write.key] for write in lost}


def refused(
    results: Sequence[Result], lost: Sequence[VendorWrite], *, vanished: bool = False
) -> dict[str, LineOutcome]:
    """Reasons for lines that did not land. A refusal is laid at a line's door only where the field it
    names holds, in that line, the value it quotes, or where all refusals say the same; else all are told.

    ``vanished``: some record that the job made is not there any more, so a line without a refusal may have
    been deleted by somebody: it must not go out again by itself.
    """
    nameless = {result.words: result for result in results if result.errors and result.external_id is None}
    known: dict[str, LineOutcome] = {}
    for write in lost:
        fitting = [result for result in nameless.values() if _quotes(result, write)]
        candidates = fitting or list(nameless.values())
        if len(candidates) == 1:
            known[write.key] = refusal(write, candidates[0])
        elif candidates:
            every = [refusal(write, result) for result in candidates]
            causes = {one.cause for one in every}
            known[write.key] = LineOutcome(
                key=write.key,
                failure="refused, one of: " + " | ".join(result.words for result in candidates),
                cause=causes.pop() if len(causes) == 1 else None,
                retry=all(one.retry for one in every),
            )
        elif vanished:
            words = "posted, and gone since: somebody deleted it in NetSuite"
            known[write.key] = LineOutcome(key=write.key, failure=words, cause=Cause.RECORD_VANISHED)
        else:
            # Nothing refused it: the job broke off, or was forgotten before it was asked.
            words = "not there, and the job tells no reason"
            known[write.key] = LineOutcome(key=write.key, failure=words, retry=True)
    return known


def _quotes(result: Result, write: VendorWrite) -> bool:
    for error in result.errors:
        value = (write.body or {}).get(error.field or "")
        text = wire.ref_id(value) or ""
        if text and re.search(rf"(?<!\w){re.escape(text)}(?!\w)", error.message):
            return True
    return False


def refusal(write: VendorWrite, result: Result) -> LineOutcome:
    """A line's refusal with its cause by the error table."""
    failure = errors.TABLE.failure(result.errors, system=write.system, write=True, what=write.title).failure
    return LineOutcome(
        key=write.key,
        failure=result.words,
        vendor_code=result.errors[0].code,
        cause=failure.cause,
        retry=failure.kind in _PASSING,
    )
