"""What can be away: the Temporal server, the ledger's database, a vendor; each taken away and given back."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from dataclasses import dataclass, field
from typing import Protocol

from simulators.kit import serve
from tests.chaos.firm import ChaosFirm
from tests.ledger.postgres import PostgresServer

BACKLOG = 1024
"""Connections that the kernel takes for a listener that never does."""


class Outage(Protocol):
    """Something that is away for a while."""

    name: str
    sagas_wait: bool
    """Whether the sagas themselves notice, and show it; without a server nothing can notice anything."""

    async def begin(self, firm: ChaosFirm) -> None:
        """Take it away."""
        ...

    async def end(self, firm: ChaosFirm) -> None:
        """Give it back; returns once it serves again."""
        ...


@dataclass
class TemporalKilled:
    """The Temporal server dies; its histories are in a file."""

    name: str = "temporal killed"
    sagas_wait: bool = False

    async def begin(self, firm: ChaosFirm) -> None:
        """SIGKILL: no goodbye."""
        server = firm.stack.server
        assert server.database is not None, "a server that keeps nothing cannot come back"
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        await asyncio.to_thread(server.stop)

    async def end(self, firm: ChaosFirm) -> None:
        """The same server on the same port, over the same file."""
        server = firm.stack.server
        server.port = int(server.address.rpartition(":")[2])
        await server.start()


@dataclass
class LedgerKilled:
    """The ledger's PostgreSQL dies with all its processes."""

    server: PostgresServer
    name: str = "ledger killed"
    sagas_wait: bool = True

    async def begin(self, firm: ChaosFirm) -> None:
        """SIGKILL to the server and to every one of its processes."""
        await asyncio.to_thread(self.server.kill)

    async def end(self, firm: ChaosFirm) -> None:
        """It starts again and recovers from its log."""
        await asyncio.to_thread(self.server.resume)


@dataclass
class VendorRefuses:
    """A vendor's server is gone: connections are refused, those that were open break."""

    vendor: str
    sagas_wait: bool = True
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = f"{self.vendor} away"

    async def begin(self, firm: ChaosFirm) -> None:
        """Stop listening; what the vendor holds stays."""
        await asyncio.to_thread(getattr(firm.stack.vendors, self.vendor).stop)

    async def end(self, firm: ChaosFirm) -> None:
        """Listen again on the same port."""
        gone = getattr(firm.stack.vendors, self.vendor)
        back = await asyncio.to_thread(serve, gone.simulator, port=gone.port)
        setattr(firm.stack.vendors, self.vendor, back)


@dataclass
class VendorHangs(VendorRefuses):
    """A vendor takes connections and never answers; what it was sent is lost."""

    _silent: socket.socket | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.name = f"{self.vendor} hangs"

    async def begin(self, firm: ChaosFirm) -> None:
        """Listen in the vendor's place and read nothing."""
        await super().begin(firm)
        self._silent = socket.socket()
        self._silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._silent.bind(("127.0.0.1", getattr(firm.stack.vendors, self.vendor).port))
        self._silent.listen(BACKLOG)

    async def end(self, firm: ChaosFirm) -> None:
        """The vendor listens again."""
        assert self._silent is not None
        self._silent.close()
        await super().end(firm)


@dataclass
class VendorUnavailable:
    """A vendor answers 503 to everything and does nothing."""

    vendor: str
    sagas_wait: bool = True
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = f"{self.vendor} answers 503"

    async def begin(self, firm: ChaosFirm) -> None:
        """From now on every call fails."""
        fault = {"kind": "error_before", "status": 503, "times": 10**9}
        await firm.control(self.vendor, "POST", "faults", fault)

    async def end(self, firm: ChaosFirm) -> None:
        """Everything works again."""
        await firm.control(self.vendor, "DELETE", "faults")


VENDORS = ("netsuite", "kantata", "salesforce")


def all_outages(postgres: PostgresServer | None) -> list[Outage]:
    """Every outage that can be had here; the ledger's needs PostgreSQL."""
    found: list[Outage] = [TemporalKilled()]
    if postgres is not None:
        found.append(LedgerKilled(postgres))
    found += [VendorRefuses(vendor) for vendor in VENDORS]
    found += [VendorHangs(vendor) for vendor in VENDORS]
    found += [VendorUnavailable(vendor) for vendor in VENDORS]
    return found
