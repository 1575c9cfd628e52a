"""What sagas ask of records that are there: to change, close and open them again, to take inputs, to be read.

A ``Subject`` says for each what its vendor's records look like before and after; the rows know no vendor.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from canonical.writes import VendorWrite, resolve
from connectors.kit.http import fill


class Operation(StrEnum):
    """A step of a saga that writes to records which are there."""

    CHANGE_SHOWN = "Change order under way"
    CHANGE = "Change order"
    CLOSING = "Closing a project"
    REOPENING = "Opening a project again"
    PROGRESS = "Revenue inputs"


class Reading(StrEnum):
    """What a saga reads of records that are there, before it decides or writes."""

    CHANGE = "Change order"
    CLOSING = "Closing a project"
    REVENUE = "Revenue"


@dataclass(frozen=True)
class Asked:
    """An operation on a record that is there and waits for it."""

    plan: Callable[[], Awaitable[list[VendorWrite]]]
    """As the saga's activity plans it: anew for every attempt."""
    state: Callable[[], Any]
    """What it is about, as the vendor's own records show it now."""
    wanted: Any
    """That state, once the operation is done."""
    values: Mapping[str, str] = field(default_factory=dict)
    """Symbol values that earlier sagas left."""

    def place(self, write: VendorWrite) -> dict[str, str]:
        """Where faults meet the call that makes a write."""
        # Simulators search the pattern in the path as it comes over the wire.
        path = fill(write.path, resolve(write.path_values, self.values))
        return {"method": write.method, "path": f"{re.escape(path)}([?]|$)"}


@dataclass(frozen=True)
class Told:
    """A reading of records that are there."""

    read: Callable[[], Awaitable[Any]]
    wanted: Any
    """What it tells."""
    method: str
    path: str
    """Of the call, or one of the calls, by which it is read."""
