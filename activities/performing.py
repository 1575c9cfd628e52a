"""How a step's writes reach a vendor, each exactly once: looked for together, sent as soon as what they need
is there, read back together, recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from activities.contracts import SagaRef
from activities.sending import Attempt, Doubt, Landing, Looked, Sending
from canonical.causes import Cause
from canonical.failures import Conflict, Defect, Refused, SystemFailure
from canonical.refs import RecordRef, SystemRole
from canonical.writes import Shown, VendorWrite, WriteKind, needs, resolve_write, values_of
from connectors.ports import Writer
from ledger.outcomes import Outcome
from rules.causes import CATALOGUE


@dataclass
class Performed:
    """What performing a step's writes brought."""

    values: dict[str, str] = field(default_factory=dict)
    records: list[RecordRef] = field(default_factory=list)
    made: dict[str, bool] = field(default_factory=dict)
    """By effect key: whether the record is one of ours (else it was there before, and is linked)."""


@dataclass
class _Run:
    """One step's writes under way."""

    system: Writer
    saga: SagaRef
    attempt: Attempt
    done: Performed
    looked: Looked
    proofs: list[asyncio.Task[None]] = field(default_factory=list)
    """Readings under way: they go on beside the writes that follow."""

    def take(self, landing: Landing) -> None:
        """Note a record that is there, for later writes and for whoever has to look after it."""
        write, landed = landing.write, landing.landed
        self.done.made[write.key] = landing.created
        self.done.values[f"{write.symbol}.id"] = landed.id
        for name, value in landed.values.items():
            self.done.values[f"{write.symbol}.{name}"] = value
        record = RecordRef(system=write.system, type=write.record_type, id=landed.id, url=landed.url)
        if record not in self.done.records:
            self.done.records.append(record)

    def missing(self, write: VendorWrite) -> set[str]:
        """Symbols that have no value yet."""
        return needs(write) - self.done.values.keys()

    def givers(self, write: VendorWrite, group: Sequence[VendorWrite]) -> list[VendorWrite]:
        """Others of its group that bring a value which ``write`` still misses."""
        missing = self.missing(write)
        return [other for other in group if other is not write and values_of(other) & missing]

    def unmet(self, write: VendorWrite, group: Sequence[VendorWrite]) -> set[str]:
        """Symbols that have no value and get none from the others of its group."""
        return self.missing(write).difference(*map(values_of, self.givers(write, group)))


class Performing(Sending):
    """Performs a step's writes."""

    async def perform(
        self,
        system: Writer,
        roles: tuple[SystemRole, ...],
        writes: Sequence[VendorWrite],
        *,
        saga: SagaRef,
        attempt: Attempt,
        values: Mapping[str, str],
        absent: Iterable[str] = (),
    ) -> Performed:
        """Make all ``writes`` in order; symbols are filled in as their values appear.

        Args:
            system: the connected system, all writes are to it.
            roles: what it is used for; decides which fields may be written.
            writes: as planned, with symbols.
            saga: on whose behalf.
            attempt: the activity attempt.
            values: symbol values known so far.
            absent: keys that ``look_ahead`` found nothing of.

        Raises:
            SystemFailure: with ``maybe_landed`` and the records that exist, when one could not be made.
        """
        for write in writes:
            self.check_authority(write, roles)
        done = Performed(values=dict(values))
        known = dict.fromkeys(absent)
        looked = {**known, **await self._looked(system, [w for w in writes if w.key not in known])}
        run = _Run(system, saga, attempt, done, looked)
        try:
            for group in batches(writes):
                await self._perform_group(run, group)
            await self._proven(run)
        finally:
            for proof in run.proofs:
                proof.cancel()
            await asyncio.gather(*run.proofs, return_exceptions=True)
        done.values = {name: value for name, value in done.values.items() if values.get(name) != value}
        return done

    async def look_ahead(self, system: Writer, writes: Sequence[VendorWrite]) -> tuple[str, ...]:
        """Keys of which neither the ledger nor the vendor has anything: their first look is made.

        Raises:
            SystemFailure: the vendor could not be asked.
        """
        looked = await self._looked(system, writes)
        return tuple(key for key, found in looked.items() if found is None)

    async def _looked(self, system: Writer, writes: Sequence[VendorWrite]) -> Looked:
        """Look for all creates at once that the ledger does not know: for the others a look of its own
        follows the claim.
        """
        if self.ledger.look_always:
            return {}  # after a restore the ledger knows too little: every claim says to look
        early = [write for write in writes if write.kind is WriteKind.CREATE and write.found_by_stamp]
        known = await self.ledger.known_keys([write.key for write in early]) if early else frozenset()
        unknown = [write for write in early if write.key not in known]
        if not unknown:
            return {}
        try:
            found = await system.find_all(unknown)
        except SystemFailure as error:
            # What the ledger knows may have landed in an earlier attempt.
            error.failure = error.failure.model_copy(update={"maybe_landed": bool(known)})
            raise
        return {write.key: landed for write, landed in zip(unknown, found, strict=True)}

    async def _perform_group(self, run: _Run, group: Sequence[VendorWrite]) -> None:
        """Make writes that do not wait for one another, but for the values that they need.

        All are brought to their end before the first failure is raised, so that none is forgotten. Their
        proof goes on beside the next group.
        """
        if any(proof.done() and proof.exception() for proof in run.proofs) or any(
            run.unmet(write, group) for write in group
        ):
            await self._proven(run)  # the readings under way may bring what is missing
        for write in group:
            if unmet := run.unmet(write, group):
                await self._proven(run)
                raise _told(_without(write, unmet), run, write, False)
        doubts = {write.key: Doubt() for write in group}
        ended = {write.key: asyncio.Event() for write in group}

        async def perform(write: VendorWrite) -> Landing | None:
            try:
                givers = run.givers(write, group)
                for giver in givers:
                    await ended[giver.key].wait()
                if missing := run.missing(write):
                    if all(giver.key in run.done.made for giver in givers):
                        raise _without(write, missing)
                    return None  # what it builds on could not be made: that failure is the one to tell
                ready = resolve_write(write, run.done.values)
                landing = await self.land(
                    run.system, ready, run.saga, run.attempt, doubts[write.key], run.looked
                )
                run.take(landing)
                return landing
            finally:
                ended[write.key].set()

        results = await asyncio.gather(*map(perform, group), return_exceptions=True)
        landings = [one for one in results if isinstance(one, Landing) and not one.recorded]
        if landings:
            run.proofs.append(asyncio.create_task(self._prove(run, landings)))
        for write, result in zip(group, results, strict=True):
            if isinstance(result, BaseException):
                lost = [
                    doubts[w.key] for w, r in zip(group, results, strict=True) if not isinstance(r, Landing)
                ]
                await asyncio.gather(*run.proofs, return_exceptions=True)
                raise _told(result, run, write, any(doubt.sent for doubt in lost))

    async def _proven(self, run: _Run) -> None:
        """Wait for all proofs under way.

        Raises:
            SystemFailure: of the first that failed.
        """
        proofs, run.proofs = run.proofs, []
        for result in await asyncio.gather(*proofs, return_exceptions=True):
            if isinstance(result, SystemFailure):
                # More may have been made since the reading failed.
                survivors = {"survivors": tuple(run.done.records)}
                result.failure = result.failure.model_copy(update=survivors)
            if isinstance(result, BaseException):
                raise result

    async def _prove(self, run: _Run, landings: Sequence[Landing]) -> None:
        """Read back what matters, and record what is proven: an accepted write is not proof."""
        doubtful = [one for one in landings if one.write.expect or not _complete(one)]
        shown: list[Shown] = []
        try:
            if doubtful:
                shown = await run.system.read_back([(one.write, one.landed) for one in doubtful])
        except BaseException as error:
            failure = error.failure if isinstance(error, SystemFailure) else None
            for one in landings:
                await asyncio.shield(self._unproven(run, one, failure))
            _told(error, run, landings[0].write, any(one.created for one in landings))
            raise
        readings = {one.write.key: reading for one, reading in zip(doubtful, shown, strict=True)}
        failures: list[SystemFailure] = []
        for one in landings:
            reading = readings.get(one.write.key, Shown(landed=one.landed))
            try:
                await self._record(run, one, reading)
            except SystemFailure as failure:
                failures.append(_told(failure, run, one.write, one.created))
        if failures:
            raise failures[0]

    async def _record(self, run: _Run, landing: Landing, reading: Shown) -> None:
        """Keep one record as done, if it shows what was written."""
        write = landing.write
        wrong = [
            f"{name} is {reading.values.get(name)!r}, written was {wanted!r}"
            for name, wanted in write.expect.items()
            if not same(reading.values.get(name), wanted)
        ]
        if wrong:
            entry = CATALOGUE[Cause.READ_BACK_DIFFERS]
            refused = Refused(
                f"{write.title}: {write.system} shows something else: {'; '.join(wrong)}.",
                cause=Cause.READ_BACK_DIFFERS,
                queue=entry.queue,
                remedy=entry.remedy,
                system=write.system,
                record=RecordRef(
                    system=write.system, type=write.record_type, id=landing.landed.id, url=landing.landed.url
                ),
                key=write.key,
            )
            await self._unproven(run, landing, refused.failure)
            raise refused
        recorded = await self.ledger.done(
            write.key,
            run.attempt.id,
            reading.landed,
            created=landing.created,
            write=write if landing.amended else None,
            body_hash=landing.body_hash,
        )
        if recorded.closed:
            raise Conflict(
                f"{write.title}: landed while it was being undone.",
                cause=Cause.KEY_CLOSED,
                system=write.system,
            )
        for name, value in reading.landed.values.items():
            run.done.values[f"{write.symbol}.{name}"] = value

    async def _unproven(self, run: _Run, landing: Landing, failure: Any) -> None:
        """A record that was there before us must not look like one of ours to the next attempt."""
        outcome: Outcome = "unknown" if landing.created else "not_sent"
        await self.ledger.release(landing.write.key, run.attempt.id, outcome=outcome, failure=failure)


def _complete(landing: Landing) -> bool:
    """Whether every value that only the vendor makes is known."""
    return set(landing.write.produces) <= {"id", *landing.landed.values}


def _without(write: VendorWrite, missing: set[str]) -> Defect:
    return Defect(f"{write.title}: nothing gives a value for {', '.join(sorted(missing))}.")


def _told(error: BaseException, run: _Run, write: VendorWrite, doubtful: bool) -> Any:
    """The failure with what exists of the step, and whether more may."""
    if isinstance(error, SystemFailure):
        error.failure = error.failure.model_copy(
            update={
                "maybe_landed": doubtful or any(run.done.made.values()),
                "survivors": tuple(run.done.records),
                "key": write.key,
            }
        )
    return error


def batches(writes: Sequence[VendorWrite]) -> list[list[VendorWrite]]:
    """The writes in order, neighbours that are independent of one another together."""
    grouped: list[list[VendorWrite]] = []
    for write in writes:
        if grouped and write.independent and grouped[-1][-1].independent:
            grouped[-1].append(write)
        else:
            grouped.append([write])
    return grouped


def same(found: Any, wanted: Any) -> bool:
    """Whether a value read back is the one written: numbers by value, text to the letter.

    Two texts are never compared as numbers: a project code "0042" is not "42".
    """
    if (
        (isinstance(found, (bool, str)) and isinstance(wanted, (bool, str)))
        or found is None
        or wanted is None
    ):
        return found is wanted or found == wanted
    try:
        return Decimal(str(found)) == Decimal(str(wanted))
    except InvalidOperation:
        return bool(found == wanted)
