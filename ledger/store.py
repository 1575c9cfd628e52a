"""``Ledger``: the one object through which everything reaches the ledger."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from ledger.api_requests import ApiRequests
from ledger.change_orders import ChangeOrders
from ledger.clocks import Clocks
from ledger.contracts import Contracts
from ledger.core import utc_now
from ledger.effect_queries import EffectQueries
from ledger.engine import build
from ledger.feedback_targets import FeedbackTargets
from ledger.inbox import Inboxes
from ledger.invoice_overview import InvoiceOverviews
from ledger.lookups import Lookups
from ledger.mappings import Mappings
from ledger.margins import Margins
from ledger.migrate import require_current
from ledger.personal import Sealer
from ledger.project_closings import ProjectClosings
from ledger.rate_versions import RateVersions
from ledger.revenue import Revenue
from ledger.sagas import Sagas
from ledger.undelivered import Undeliverable
from ledger.undo import Undo
from ledger.verification import Verification


class Ledger(
    Undo,
    EffectQueries,
    Sagas,
    Undeliverable,
    ChangeOrders,
    ProjectClosings,
    Revenue,
    Contracts,
    Mappings,
    Lookups,
    RateVersions,
    FeedbackTargets,
    InvoiceOverviews,
    Margins,
    Inboxes,
    ApiRequests,
    Clocks,
    Verification,
):
    """The ledger on SQLite or PostgreSQL.

    Claims, outcomes, undo and shared records decide whether a write may be sent; the rest records.
    Items, allocations, documents, accounts and batches are what time-to-billing stands on
    (``docs/time-to-billing.md``).
    Every method is one short transaction and can be repeated. ``Transient`` with cause
    ``LEDGER_UNAVAILABLE`` is the only failure that the database's state can cause.

    ::

        claim -> FIRST: extend -> send -> done | release(unknown | not_sent)
              -> LOOK:  find, then done or as FIRST
              -> DONE:  use landed
              -> BUSY:  ask again at until
              -> CLOSED: never
    """

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        clock: Callable[[], datetime] = utc_now,
        sealer: Sealer | None = None,
        look_always: bool = False,
    ) -> Ledger:
        """Connect to a ledger whose schema is current (``ledger.migrate.migrate``).

        Args:
            url: ``sqlite:///path``, ``postgresql://...``, or the same with ``+aiosqlite``/``+asyncpg``.
            clock: Gives aware datetimes.
            sealer: The installation's key for personal values; without it none are stored, and actors
                have no names.
            look_always: After a restore of the ledger: every claim that may send says ``LOOK``.

        Raises:
            ConfigurationError: a bad URL, or a schema of another version; says what to do.
            Transient: the database cannot be reached (``LEDGER_UNAVAILABLE``).
        """
        engine = build(url)
        try:
            await require_current(engine)
        except BaseException:
            await engine.dispose()
            raise
        return cls(engine, clock=clock, sealer=sealer, look_always=look_always)
