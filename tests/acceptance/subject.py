"""What the acceptance suite asks of a vendor's ``Subject``, and where a subject's simulator is served."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Protocol

import httpx

from canonical.operations import ChangePage
from canonical.refs import SystemRole
from canonical.writes import Landed, VendorWrite
from connectors.ports import Writer
from simulators.kit import Running, Simulator, serve
from tests.acceptance.operations import Asked, Operation, Reading, Told


@dataclass(frozen=True)
class Site:
    """How a simulator is served: over TLS or not, and with what around it."""

    tls: tuple[Path, Path] | None = None
    """Certificate chain and key."""
    ca_file: Path | None = None
    """The throw-away authority behind it."""
    around: Callable[[Simulator], Simulator] = lambda simulator: simulator
    """Wraps the simulator, for example to record what passes."""

    def serve(self, simulator: Simulator) -> Running:
        """Serve ``simulator`` on loopback."""
        return serve(self.around(simulator), tls=self.tls, ca_file=self.ca_file)

    def control(self, running: Running) -> httpx.Client:
        """A client for the control API and for somebody else's calls."""
        context = ssl.create_default_context(cafile=str(self.ca_file)) if self.ca_file else False
        return httpx.Client(base_url=running.base_url, trust_env=False, timeout=10, verify=context)


PLAIN = Site()


@dataclass(frozen=True)
class Route:
    """Calls of one kind: HTTP method and a regular expression searched in the path with its query."""

    method: str
    path: str

    def seen(self, calls: Sequence[Mapping[str, Any]]) -> int:
        """How many of ``calls`` (as ``/_sim/calls`` lists them) begin with this path."""
        return sum(call["method"] == self.method and self.path in str(call["path"]) for call in calls)


@dataclass(frozen=True)
class BulkLine:
    """What a bulk call told of one line."""

    landed: str | None
    """Id of the record, None when the line was refused."""
    told: str
    """The refusal in the vendor's words."""
    there: bool
    """Whether the vendor's records show the line."""


class Subject(Protocol):
    """One account of a vendor in its simulator, the connector that talks to it, and its circumstances.

    The rows of the suite know no vendor; whatever differs is said here.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    """The vendor's name for people."""
    roles: ClassVar[tuple[SystemRole, ...]]
    creating: ClassVar[Route]
    """The call that makes the record of ``create``."""
    looking: ClassVar[Route]
    """The call by which ``find`` looks for it."""
    deleting: ClassVar[Route]
    """The call that deletes it."""
    token: ClassVar[Route | None]
    """The call that fetches a token; None when the vendor's tokens neither expire nor can be renewed."""
    taken: ClassVar[str]
    """A refusal in the vendor's words that means: this is there already."""
    no_bulk: ClassVar[str | None]
    """Why there is no bulk creation to accept; None when there is."""
    batching: ClassVar[Route | None]
    """The call that hands a batch over, or one of its calls; None when the connector takes no batches."""

    @property
    def connector(self) -> Writer:
        """The connector under test."""
        ...

    @property
    def running(self) -> Running:
        """The simulator, served."""
        ...

    def __init__(self, site: Site = PLAIN, **settings: Any) -> None: ...

    def build(self, **settings: Any) -> Writer:
        """A further connector of this account."""
        ...

    async def close(self) -> None:
        """Stop everything."""
        ...

    def create(self, name: str = ...) -> VendorWrite:
        """The create of one record; with another name, an amended form of the same create."""
        ...

    async def an_update(self) -> VendorWrite:
        """An update of a record that is there; not sent."""
        ...

    def made(self, write: VendorWrite) -> list[dict[str, Any]]:
        """The vendor's live records that carry the stamp of a ``create``."""
        ...

    def name_of(self, record: Mapping[str, Any]) -> str:
        """The name that a record of ``create`` shows at the vendor."""
        ...

    async def edit_created(self, landed: Landed) -> None:
        """Somebody at the client's renames the record of ``create``."""
        ...

    async def edit_updated(self, landed: Landed) -> None:
        """Somebody at the client's changes what ``an_update`` wrote, to neither our value nor the former."""
        ...

    async def own(self, title: str) -> VendorWrite:
        """A create that belongs to one saga alone, ready to be sent; another title amends it."""
        ...

    def title_in(self, landed: Landed) -> str:
        """The title of ``own`` as the vendor's record shows it."""
        ...

    async def priced(self, currency: str, amount: Decimal) -> VendorWrite:
        """A write that carries ``amount``, ready to be sent; what it refers to is there."""
        ...

    def amount_in(self, landed: Landed) -> Decimal:
        """The amount of ``priced`` as the vendor's own record holds it."""
        ...

    async def moving(self) -> list[str]:
        """Fill the change feed; the ids, oldest change first. More than ``poll`` tells in two pages."""
        ...

    async def move(self, record_id: str) -> None:
        """Somebody changes one of these records now."""
        ...

    async def poll(self, cursor: str | None) -> ChangePage:
        """One page of the change feed."""
        ...

    async def bulk(self) -> list[BulkLine]:
        """Write several lines in one bulk call, the second of them wrong."""
        ...

    async def batch(self) -> list[VendorWrite]:
        """A batch of a few lines, all of them right, for a connector that takes batches."""
        ...

    def landed_lines(self, writes: Sequence[VendorWrite]) -> list[int]:
        """How often the vendor's live records show each line of a batch."""
        ...

    async def asked(self, operation: Operation) -> Asked | str:
        """An operation on a record that is there; why there is none where this vendor takes no part in it."""
        ...

    async def told(self, reading: Reading) -> Told | str:
        """A reading of records that are there; why there is none where nothing is read of this vendor."""
        ...

    def wrong_credentials(self) -> tuple[dict[str, Any], str]:
        """Settings with credentials that the vendor refuses, and the secret they point at."""
        ...

    def rotate(self) -> None:
        """The secret is replaced at the vendor and here, and tokens of the old one die."""
        ...

    async def secrets(self) -> list[str]:
        """Every secret in use: keys, passwords, tokens."""
        ...

    def shown_settings(self) -> str:
        """The settings as they print and serialise themselves."""
        ...

    def plans(self) -> list[VendorWrite]:
        """Everything the connector can plan, of every operation and in every phase."""
        ...

    def fault(self, kind: str, **more: Any) -> None:
        """Let the next matching call go wrong."""
        ...

    def fired(self) -> int:
        """How many faults went off."""
        ...

    def writes(self) -> list[dict[str, Any]]:
        """Every accepted write, in order."""
        ...

    def calls(self) -> list[dict[str, Any]]:
        """Every call, in order."""
        ...
