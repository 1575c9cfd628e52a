"""A Kantata account with a project and people's time in it, for the tests of feed and marks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from canonical.authority import Phase
from canonical.billing import ApprovalState
from canonical.writes import Landed, VendorWrite
from connectors.kantata.settings import KantataSettings
from tests.acceptance.kantata import Subject
from tests.support.moves import reading_of

START = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Site:
    """A project with people's time."""

    def __init__(self) -> None:
        self.subject = Subject()
        self.project = ""
        self.references = 0

    async def open(self) -> None:
        setup = self.subject.setup()
        values, _ = await self.subject.project(setup)
        self.project = self.subject.project_id(values, setup)
        self.references = len(self.subject.records("external_references"))
        self.subject.vendor(
            "POST", "participations",
            {"participation": {"workspace_id": int(self.project), "user_id": 77, "role": "maven"}},
        )  # fmt: skip

    @property
    def settings(self) -> KantataSettings:
        return self.subject.connector._settings

    def time(self, day: int = 15, minutes: int = 30, *, date: str | None = None, **more: Any) -> str:
        body = {
            "workspace_id": int(self.project),
            "user_id": 77,
            "date_performed": date or f"2026-01-{day:02d}",
            "time_in_minutes": minutes,
            "role_id": 5,
            "billable": True,
            **more,
        }
        return one(self.subject.vendor("POST", "time_entries", {"time_entry": body}))

    def many(self, count: int, *, per_second: int = 1, sheets: bool = False) -> None:
        """Entries with instants of their own, each on an approved timesheet of its own if wanted."""
        seed: dict[str, list[dict[str, Any]]] = {"timesheet_submissions": [], "time_entries": []}
        for n in range(count):
            sheet = one_sheet(self.project, 50000 + n, "2026-01-04") if sheets else {}
            seed["timesheet_submissions"] += sheet.get("timesheet_submissions", [])
            at = (START + timedelta(seconds=n // per_second)).isoformat()
            link = {"recent_submission_id": 50000 + n} if sheets else {}
            entry = {"id": 90000 + n, "workspace_id": self.project, "user_id": 77, "updated_at": at, **link}
            seed["time_entries"].append({**entry, "date_performed": "2026-01-05", "time_in_minutes": 5})
        self.subject.seed(**seed)

    def before(self, call: str, number: int, what: Callable[[], Any], *, always: bool = False) -> None:
        """Let something happen before the n-th (and, if wanted, every later) call of the client."""
        client, seen = self.subject.connector._client, iter(range(1, 1_000_000))
        real = getattr(client, call)

        async def wrapped(*args: Any, **more: Any) -> Any:
            count = next(seen)
            if count == number or (always and count > number):
                what()
            return await real(*args, **more)

        setattr(client, call, wrapped)

    async def approval(self, entry: str) -> ApprovalState:
        (read,) = await self.subject.connector.read_time([entry])
        return read.approval

    def expense(self, day: int, cents: int) -> str:
        body = {"workspace_id": int(self.project), "user_id": 77, "category": "Travel"}
        body |= {"date": f"2026-01-{day:02d}", "amount_in_cents": cents}
        return one(self.subject.vendor("POST", "expenses", {"expense": body}))

    def submit(self, *entries: str) -> str:
        body = {
            "line_item_ids": [int(entry) for entry in entries],
            "title": "Week",
            "workspace_id": int(self.project),
            "user_id": 77,
        }
        return one(self.subject.vendor("POST", "timesheet_submissions", {"timesheet_submission": body}))

    def resolve(self, submission: str, word: str) -> None:
        body = {"resolution": {"description": "ok"}}
        self.subject.vendor("PUT", f"timesheet_submissions/{submission}/{word}", body)

    def later(self, seconds: int) -> None:
        self.subject.control.post("/_sim/clock", json={"offset_seconds": seconds})

    async def make(self, write: VendorWrite) -> Landed:
        kantata = self.subject.connector
        assert await kantata.find(write) is None
        landed = await kantata.send(write)
        shown = await reading_of(kantata, write, landed)
        assert shown == write.expect
        found = await kantata.find(write)
        assert found is not None
        assert found.id == landed.id
        return landed


def one(answer: dict[str, Any]) -> str:
    return str(answer["results"][0]["id"])


def one_sheet(project: str, id_: int, start: str) -> dict[str, list[dict[str, Any]]]:
    """An approved timesheet to seed."""
    row = {"id": id_, "title": "W", "workspace_id": project, "user_id": 77, "status": "approved"}
    row |= {"start_date": start, "updated_at": START.isoformat()}
    return {"timesheet_submissions": [row]}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    place = Site()
    await place.open()
    yield place
    await place.subject.close()


def after(site: Site) -> Any:
    return site.subject.context(phase=Phase.AFTER_APPROVAL)
