"""Open the ledger as configured."""

from __future__ import annotations

from ledger.personal import AesGcmSealer
from ledger.store import Ledger
from runtime.settings import Settings


async def open_ledger(settings: Settings) -> Ledger:
    """The ledger of this installation; personal values are kept only when a key is configured.

    Raises:
        Transient: the database does not answer.
        ConfigurationError: the key file is unusable.
    """
    key = settings.ledger.personal_key_file
    return await Ledger.open(
        settings.ledger.location(),
        sealer=AesGcmSealer.from_file(key) if key else None,
        look_always=settings.ledger.look_always,
    )
