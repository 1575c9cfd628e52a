"""The connected systems of one process: one connector per instance and field mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from canonical.causes import Cause
from canonical.failures import ConfigurationError, Refused
from canonical.firm import Firm
from canonical.refs import SystemRole
from connectors.ports import ConnectedSystem, CrmPort, ErpPort, HrPort, NotificationPort, PsaPort, Writer
from connectors.ports.billing import BillingPort
from connectors.ports.delivery import DeliveryFeed
from connectors.ports.feedback import FeedbackPort, FiguresPort
from ledger.store import Ledger
from runtime.sections import SystemSection
from runtime.settings import Settings
from wiring.vendors import VENDORS

P = TypeVar("P")


class ConnectedSystems:
    """All configured instances, as ports (``activities.systems.Systems``).

    A run is pinned to the field mapping it was started with. Its content is in the ledger by digest, so
    that a worker with a newer configuration still serves the run with the older one.
    """

    def __init__(self, settings: Settings, ledger: Ledger | None) -> None:
        self.settings = settings
        self.firm: Firm = settings.firm()
        self._ledger = ledger
        self._current: dict[str, ConnectedSystem] = {}
        self._pinned: dict[tuple[str, str], ConnectedSystem] = {}
        problems: list[str] = []
        for name, section in settings.systems.items():
            try:
                self._current[name] = build(name, section)
            except ConfigurationError as wrong:
                problems += wrong.problems
        if problems:
            raise ConfigurationError(problems)

    @property
    def names(self) -> tuple[str, ...]:
        """All configured instances."""
        return tuple(self._current)

    def current(self, system: str) -> ConnectedSystem:
        """An instance with the current mapping.

        Raises:
            Refused: it is not configured.
        """
        if system not in self._current:
            raise _not_configured(system, "at all", self.names)
        return self._current[system]

    def roles(self, system: str) -> tuple[SystemRole, ...]:
        """What an instance is used for."""
        return self.settings.systems[system].roles

    def mapping_digests(self) -> dict[str, str]:
        """Digest of the current field mapping by instance: what a start pins."""
        return {
            name: system.mapping_digest for name, system in self._current.items() if system.mapping_digest
        }

    async def store_mappings(self) -> None:
        """Keep the content of all current mappings in the ledger, by digest."""
        assert self._ledger is not None
        for name, section in self.settings.systems.items():
            mapping = getattr(vendor_settings(name, section), "mapping", None)
            if isinstance(mapping, BaseModel):
                digest = self._current[name].mapping_digest
                await self._ledger.put_mapping(digest, name, mapping.model_dump(mode="json"))

    async def crm(self, system: str, digest: str = "") -> CrmPort:
        """An instance as a CRM."""
        return cast(CrmPort, await self._as(SystemRole.CRM, system, digest))

    async def erp(self, system: str, digest: str = "") -> ErpPort:
        """An instance as an ERP."""
        return cast(ErpPort, await self._as(SystemRole.ERP, system, digest))

    async def psa(self, system: str, digest: str = "") -> PsaPort:
        """An instance as a delivery system."""
        return cast(PsaPort, await self._as(SystemRole.PSA, system, digest))

    async def billing(self, system: str, digest: str = "") -> BillingPort:
        """An ERP instance as what takes cost and makes invoices."""
        return cast(BillingPort, await self._as(SystemRole.ERP, system, digest))

    async def feed(self, system: str, digest: str = "") -> DeliveryFeed:
        """A delivery system instance as the source of approved work."""
        return cast(DeliveryFeed, await self._as(SystemRole.PSA, system, digest))

    async def feedback(self, system: str, digest: str = "") -> FeedbackPort:
        """An ERP instance as the source of what was billed and paid."""
        return cast(FeedbackPort, await self._as(SystemRole.ERP, system, digest))

    async def figures(self, system: str, digest: str = "") -> FiguresPort:
        """An instance whose records can show finance's figures."""
        return cast(FiguresPort, await self._at(system, digest))

    async def hr(self, system: str, digest: str = "") -> HrPort:
        """An instance as HR."""
        return cast(HrPort, await self._as(SystemRole.HR, system, digest))

    async def writer(self, system: str, digest: str = "") -> Writer:
        """An instance as something that is written to."""
        return cast(Writer, await self._at(system, digest))

    def notifiers(self, channel: str) -> Sequence[NotificationPort]:
        """Every instance with the notification role."""
        return [
            cast(NotificationPort, self._current[name])
            for name, section in self.settings.systems.items()
            if SystemRole.NOTIFICATION in section.roles
        ]

    async def close(self) -> None:
        """Close all connections."""
        for system in [*self._current.values(), *self._pinned.values()]:
            await system.close()

    async def _as(self, role: SystemRole, system: str, digest: str) -> ConnectedSystem:
        section = self.settings.systems.get(system)
        if section is None or role not in section.roles:
            raise _not_configured(system, f"as {role.value}", self.settings.systems_with(role))
        return await self._at(system, digest)

    async def _at(self, system: str, digest: str) -> ConnectedSystem:
        current = self.current(system)
        if digest in ("", current.mapping_digest):
            return current
        if (system, digest) not in self._pinned:
            row = await self._ledger.mapping(digest) if self._ledger else None
            if row is None:
                raise Refused(
                    f"This run is pinned to field mapping {digest[:12]} of {system}; the ledger lacks it.",
                    cause=Cause.CONFIGURATION,
                    system=system,
                    remedy="Resolve the step with the current mapping.",
                )
            self._pinned[system, digest] = build(system, self.settings.systems[system], mapping=row.content)
        return self._pinned[system, digest]


def vendor_settings(
    name: str, section: SystemSection, *, mapping: Mapping[str, Any] | None = None
) -> BaseModel:
    """A vendor's own settings from an instance's section.

    Raises:
        ConfigurationError: unknown vendor, unknown key, bad value; each named with its key.
    """
    vendor = VENDORS.get(section.vendor)
    if vendor is None:
        known = ", ".join(sorted(VENDORS))
        raise ConfigurationError([f"systems.{name}.vendor: {section.vendor!r} is not known; known: {known}"])
    settings, _ = vendor.load()
    options = {**section.options, **({"mapping": mapping} if mapping is not None else {})}
    try:
        return settings.model_validate(options)
    except ValidationError as wrong:
        raise ConfigurationError(
            [
                f"systems.{name}.{'.'.join(str(part) for part in error['loc'])}: {error['msg']}"
                for error in wrong.errors()
            ]
        ) from None


def build(name: str, section: SystemSection, *, mapping: Mapping[str, Any] | None = None) -> ConnectedSystem:
    """A connector for an instance.

    Raises:
        ConfigurationError: see ``vendor_settings``.
    """
    settings = vendor_settings(name, section, mapping=mapping)
    _, connector = VENDORS[section.vendor].load()
    return connector(name, settings)


def _not_configured(system: str, how: str, known: Sequence[str]) -> Refused:
    return Refused(
        f"System {system!r} is not configured {how}; configured: {', '.join(known) or 'none'}.",
        cause=Cause.CONFIGURATION,
        system=system,
        remedy="Add it to trueup.toml, or correct the route or command that names it.",
    )
