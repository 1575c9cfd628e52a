"""The effect executor: how any planned write reaches any vendor exactly once, and how it is undone.

Temporal says what comes next, the ledger whether we may send, the vendor what exists::

    claim the key -> look -> send -> read back -> record          (perform)
    forbid later sends -> wait out -> look -> undo -> record       (undo)

No intent row, no call. A write whose outcome is unknown is looked for, never guessed.
"""

from __future__ import annotations

from activities.performing import Performed, batches, same
from activities.sending import body_hash
from activities.undoing import Undoing


class Effects(Undoing):
    """Performs and undoes writes. One per worker process; holds no state of its own."""


__all__ = ["Effects", "Performed", "batches", "body_hash", "same"]
