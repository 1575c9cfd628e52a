"""Single moves of a connector, as most tests make them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from canonical.writes import Landed, VendorWrite
from connectors.ports import Writer


async def reading_of(port: Writer, write: VendorWrite, landed: Landed) -> Mapping[str, Any]:
    """What a read-back of one record shows of the fields that the write expects."""
    [one] = await port.read_back([(write, landed)])
    return one.values
