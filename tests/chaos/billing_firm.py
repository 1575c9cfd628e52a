"""A firm that bills, for chaos: contracts that were there before, workers whose calls can be told apart."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from ledger.store import Ledger
from tests.chaos.billing_months import everybody
from tests.chaos.firm import ChaosFirm, Zygote
from tests.chaos.noting import NOTING
from tests.conservation import seeding
from tests.conservation.generate import Case, Event
from wiring.ledger import open_ledger
from wiring.start_billing import BillingStarts

PSA, ERP = seeding.PSA, seeding.ERP
TOKEN = {"Authorization": "Bearer kantata-token"}


@dataclass
class BillingFirm(ChaosFirm):
    """A chaos firm whose ledger can be told of contracts."""

    books: Ledger = field(init=False)
    starts: BillingStarts = field(init=False)

    async def open(self) -> BillingFirm:
        """Start everything."""

        def configure(text: str) -> str:
            with (self.folder / "hr.csv").open("a") as out:
                out.write(seeding.hr_rows(everybody()))
            return seeding.configuration(text)

        self.config = configure
        self.patches = (*self.patches, NOTING)
        await super().open()
        await self.control("netsuite", "POST", "seed", {"currency": seeding.currencies()})
        self.books = await open_ledger(self.settings)
        self.starts = BillingStarts(self.settings, self.mapping, self.settings.actor("root"))
        self.http.timeout = httpx.Timeout(60)
        return self

    async def close(self) -> None:
        """Take everything down."""
        if hasattr(self, "books"):
            await self.books.close()
        await super().close()

    async def agree(self, cases: Sequence[Case]) -> None:
        """Contracts, projects, workers and their approved work."""
        await self.control("netsuite", "POST", "seed", seeding.erp_seed(cases))
        await self.control("kantata", "POST", "seed", seeding.psa_seed(cases))
        await seeding.tell_ledger(self.books, cases)
        work = seeding.merged(seeding.work_seed(case, case.work[0]) for case in cases)
        await self.control("kantata", "POST", "seed", work)

    async def happen(self, case: Case, event: Event) -> None:
        """What somebody does in delivery, by its own API.

        Raises:
            RuntimeError: refused.
        """
        if event.what == "edit":
            path = f"time_entries/{event.id}"
            body: Any = {"time_entry": {"time_in_minutes": event.minutes}}
        else:
            path, body = f"stories/{case.terms.story[event.id]}", {"story": {"state": "started"}}
        url = f"{self.urls['kantata']}/api/v1/{path}"
        answer = await self.http.put(url, json=body, headers=TOKEN)
        if answer.status_code >= 300:
            raise RuntimeError(f"{event.what} {event.id}: {answer.status_code} {answer.text}")


@asynccontextmanager
async def billing_firm(folder: Path, zygote: Zygote, **options: Any) -> AsyncIterator[BillingFirm]:
    """A running firm."""
    one = BillingFirm(folder, zygote, **options)
    try:
        yield await one.open()
    finally:
        await one.close()
