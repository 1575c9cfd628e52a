"""A chaos firm whose ledger and vendors can be looked at and told things by hand, as end-to-end tests do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ledger.store import Ledger
from tests.chaos.firm import ChaosFirm, Zygote
from tests.chaos.noting import NOTING
from tests.e2e.feedback_firm import Desk
from tests.e2e.firm import Firm
from wiring.ledger import open_ledger

GATHER = "\n[feedback]\ngather_seconds = 0.2\n"
"""A burst of events is shorter than production's, as are all times here."""


@dataclass
class DeskFirm(ChaosFirm):
    """Its workers' calls can be told apart."""

    books: Ledger = field(init=False)
    hand: Firm = field(init=False)
    """For looking and telling."""
    desk: Desk = field(init=False)
    """An accountant's: no two of its records have one id."""

    async def open(self) -> DeskFirm:
        """Start everything."""
        self.config = lambda text: text + GATHER
        self.patches = (*self.patches, NOTING)
        await super().open()
        self.books = await open_ledger(self.settings)
        self.hand = Firm(self.stack, self.client, self.settings, self.mapping, self.books)
        self.desk = Desk(self.hand)
        return self

    async def close(self) -> None:
        """Take everything down."""
        if hasattr(self, "books"):
            await self.books.close()
        await super().close()


@asynccontextmanager
async def desk_firm(folder: Path, zygote: Zygote, **options: Any) -> AsyncIterator[DeskFirm]:
    """A running firm."""
    one = DeskFirm(folder, zygote, **options)
    try:
        yield await one.open()
    finally:
        await one.close()
