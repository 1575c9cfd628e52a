"""Open the ledger as configured."""

from __future__ import annotations

from ledger.migrate import migrate
from ledger.personal import AesGcmSealer
from ledger.store import Ledger
from runtime.settings import Settings


async def open_ledger(settings: Settings, *, bring_up_to_date: bool = False) -> Ledger:
    """The ledger of this installation; personal values are kept only when a key is configured.

    Args:
        settings: the installation's settings.
        bring_up_to_date: run pending migrations first.

    Raises:
        Transient: the database does not answer.
        ConfigurationError: the key file is unusable.
    """
    if bring_up_to_date:
        await migrate(settings.ledger.location())
    key = settings.ledger.personal_key_file
    return await Ledger.open(
        settings.ledger.location(),
        sealer=AesGcmSealer.from_file(key) if key else None,
        look_always=settings.ledger.look_always,
    )
