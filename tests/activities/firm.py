"""The simulated firm's systems as fakes: what the activities see of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from canonical.causes import Cause
from canonical.failures import Refused
from canonical.firm import Firm
from canonical.operations import Notice
from canonical.refs import RecordRef, SystemRole
from tests.rules import examples


@dataclass
class FakeNotifier:
    """Keeps what it is asked to send."""

    system: str = "mail"
    mapping_digest: str = ""
    sent: list[Notice] = field(default_factory=list)
    fault: Exception | None = None

    async def notify(self, notice: Notice) -> RecordRef:
        if self.fault is not None:
            raise self.fault
        self.sent.append(notice)
        return RecordRef(system=self.system, type="message", id=str(len(self.sent)))


@dataclass
class FakeSystems:
    """``activities.systems.Systems`` over a dictionary of ports."""

    ports: dict[str, Any] = field(default_factory=dict)
    firm: Firm = field(default_factory=examples.firm)
    mail: list[Any] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Instance and mapping digest of every request for a port."""

    def roles(self, system: str) -> tuple[SystemRole, ...]:
        return {"kantata-main": (SystemRole.PSA,), "sf-main": (SystemRole.CRM,)}.get(
            system, (SystemRole.ERP,)
        )

    async def _port(self, system: str, digest: str = "") -> Any:
        self.asked.append((system, digest))
        if system not in self.ports:
            raise Refused(f"System {system!r} is not configured", cause=Cause.CONFIGURATION)
        return self.ports[system]

    crm = erp = psa = hr = writer = billing = feed = feedback = figures = _port

    def notifiers(self, channel: str) -> Sequence[Any]:
        return self.mail
