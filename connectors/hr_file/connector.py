"""The HR export as ``HrPort``. Read again whenever the file changes; never written."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime

from canonical.causes import Cause, Queue
from canonical.delivery import RoleSupply, Worker
from canonical.failures import ConfigurationError, Refused, SystemFailure, Transient
from canonical.operations import HealthCheck, HealthState
from connectors.hr_file.mapping import in_force, read_workers, role_supply
from connectors.hr_file.settings import HrFileSettings

READ_ATTEMPTS = 3
"""Times a file that changes while it is being read is read again at once."""

_Version = tuple[int, int]
"""Modification time in nanoseconds, and size."""


class HrFileConnector:
    """One HR export."""

    def __init__(self, system: str, settings: HrFileSettings) -> None:
        self._system = system
        self.settings = settings
        self._known: tuple[_Version, list[Worker]] | None = None
        self._lock = asyncio.Lock()

    @property
    def system(self) -> str:
        """Instance name."""
        return self._system

    @property
    def mapping_digest(self) -> str:
        """Digest of the columns and formats."""
        return self.settings.mapping_digest

    def link(self, record_type: str, record_id: str) -> str | None:
        """A file has no pages."""
        return None

    async def close(self) -> None:
        """Forget what was read: pay data does not outlive its use."""
        self._known = None

    async def role_supply(self, on: date) -> list[RoleSupply]:
        """How many workers hold each role, per region, on a day.

        Raises:
            Refused: rows cannot be read; the message names line and column of each.
            Transient: the file is not there, or is being written.
        """
        return role_supply(in_force(await self._workers(), on))

    async def workers(self, on: date) -> list[Worker]:
        """Workers in force on a day, with cost rates.

        Raises:
            Refused: rows cannot be read; the message names line and column of each.
            Transient: the file is not there, or is being written.
        """
        return in_force(await self._workers(), on)

    async def workers_between(self, first: date, last: date) -> list[Worker]:
        """Every row that holds on some day of a stretch, with cost rates.

        Raises:
            Refused: rows cannot be read; the message names line and column of each.
            Transient: the file is not there, or is being written.
        """
        return in_force(await self._workers(), first, last)

    async def check(self) -> list[HealthCheck]:
        """Whether the file is there, current and readable. Never raises."""
        try:
            workers = await self._workers()
        except SystemFailure as failure:
            return [self._finding("file", HealthState.BROKEN, str(failure), failure.failure.remedy)]
        checks = [self._finding("file", HealthState.OK, f"{len(workers)} rows, all readable", None)]
        assert self._known is not None
        written = datetime.fromtimestamp(self._known[0][0] / 1e9, UTC)
        age = datetime.now(UTC) - written
        if age.days >= self.settings.stale_after_days:
            checks.append(
                self._finding(
                    "age",
                    HealthState.WARNING,
                    f"written {age.days} days ago",
                    "Look at the HR system's scheduled export, or raise stale_after_days.",
                )
            )
        return checks

    async def _workers(self) -> list[Worker]:
        async with self._lock:
            return await asyncio.to_thread(self._read)

    def _read(self) -> list[Worker]:
        """Runs in a thread: network shares may be slow."""
        path = self.settings.path
        try:
            for _ in range(READ_ATTEMPTS):
                before = self._version()
                if self._known is not None and self._known[0] == before:
                    return self._known[1]
                raw = path.read_bytes()
                if self._version() == before:
                    workers = self._parse(raw)
                    self._known = (before, workers)
                    return workers
        except OSError as error:
            raise Transient(
                f"{path}: {error.strerror or type(error).__name__}.",
                system=self._system,
                remedy="Provide the export there, readable for this process; it is looked for again.",
            ) from None
        raise Transient(f"{path}: being written; it is read again soon.", system=self._system)

    def _version(self) -> _Version:
        state = self.settings.path.stat()
        return state.st_mtime_ns, state.st_size

    def _parse(self, raw: bytes) -> list[Worker]:
        try:
            text = raw.decode(self.settings.encoding)
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            problem = f"{self.settings.path}: line {line}: not {self.settings.encoding}"
            raise self._refusal(ConfigurationError([problem])) from None
        try:
            return read_workers(text, self.settings)
        except ConfigurationError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: ConfigurationError) -> Refused:
        return Refused(
            str(error),
            cause=Cause.CONFIGURATION,
            queue=Queue.MASTER_DATA,
            system=self._system,
            remedy="Correct these rows in the HR system or its export, or the columns in the settings; "
            "a new file is picked up by itself.",
        )

    def _finding(self, check: str, state: HealthState, detail: str, remedy: str | None) -> HealthCheck:
        return HealthCheck(system=self._system, check=check, state=state, detail=detail, remedy=remedy)
