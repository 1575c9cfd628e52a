"""How activities get at connected systems: by instance name and role, as ports only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from canonical.firm import Firm
from canonical.refs import SystemRole
from connectors.ports import CrmPort, ErpPort, HrPort, NotificationPort, PsaPort, Writer
from connectors.ports.billing import BillingPort
from connectors.ports.delivery import DeliveryFeed
from connectors.ports.feedback import FeedbackPort, FiguresPort


class Systems(Protocol):
    """The connected systems of this process. Wiring provides it.

    ``digest`` is the field mapping pinned on the run; empty means the current one. Each method raises
    ``Refused`` (cause ``CONFIGURATION``) for an instance that is not configured in that role.
    """

    @property
    def firm(self) -> Firm:
        """The firm's catalogue and policies."""
        ...

    def roles(self, system: str) -> tuple[SystemRole, ...]:
        """What an instance is used for."""
        ...

    async def crm(self, system: str, digest: str = "") -> CrmPort:
        """An instance as a CRM."""
        ...

    async def erp(self, system: str, digest: str = "") -> ErpPort:
        """An instance as an ERP."""
        ...

    async def psa(self, system: str, digest: str = "") -> PsaPort:
        """An instance as a delivery system."""
        ...

    async def billing(self, system: str, digest: str = "") -> BillingPort:
        """An ERP instance as what takes cost and makes invoices."""
        ...

    async def feed(self, system: str, digest: str = "") -> DeliveryFeed:
        """A delivery system instance as the source of approved work."""
        ...

    async def feedback(self, system: str, digest: str = "") -> FeedbackPort:
        """An ERP instance as the source of what was billed and paid."""
        ...

    async def figures(self, system: str, digest: str = "") -> FiguresPort:
        """An instance whose records can show finance's figures."""
        ...

    async def hr(self, system: str, digest: str = "") -> HrPort:
        """An instance as HR."""
        ...

    async def writer(self, system: str, digest: str = "") -> Writer:
        """An instance as something that is written to, whatever its role."""
        ...

    def notifiers(self, channel: str) -> Sequence[NotificationPort]:
        """Where messages of a channel go."""
        ...
