"""What no single key shows: names that must exist elsewhere in the file, routes that contradict others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import combinations
from typing import TYPE_CHECKING
from zoneinfo import available_timezones

from canonical.causes import Queue
from canonical.firm import Route
from canonical.refs import SystemRole
from runtime.config_file import KeyPath, Problem, nearest
from runtime.sections import NAME_PATTERN

if TYPE_CHECKING:
    from runtime.settings import Settings

_ROUTE_ROLES = {"crm": SystemRole.CRM, "erp": SystemRole.ERP, "psa": SystemRole.PSA, "hr": SystemRole.HR}
RESERVED_SYSTEMS = ("trueup",)
"""Our own name: human decisions are audited under it."""


@dataclass(frozen=True)
class Names:
    """Names that the file introduces, also where what stands under them is invalid.

    Nobody should be told that a system is unknown because a key of it is misspelt.
    """

    systems: Sequence[str]
    entities: Sequence[str]
    regions: Sequence[str] | None
    """None when ``[firm]`` itself is invalid: regions cannot be judged then."""


def problems(settings: Settings, names: Names) -> list[Problem]:
    """Every contradiction between the sections that are valid by themselves."""
    return [
        *_catalogue(settings, names),
        *_systems(settings, names),
        *_routes(settings, names),
        *_schedules(settings, names),
        *_margin(settings),
        *_gateway(settings, names),
        *_one_host(settings),
    ]


def _catalogue(settings: Settings, names: Names) -> Iterator[Problem]:
    zones = available_timezones()
    for index, entity in enumerate(settings.entities):
        if entity.timezone not in zones:
            near = nearest(entity.timezone, zones)
            yield Problem(
                ("entities", index, "timezone"),
                f"{entity.timezone!r} is not an IANA time zone",
                f'Did you mean "{near}"?' if near else "Write for example Europe/Berlin.",
            )
    yield from _twice("entities", "code", [e.code for e in settings.entities])
    yield from _twice("services", "code", [s.code for s in settings.services])
    queues = [queue.value for queue in Queue]
    for key in ("repair_roles", "queue_owners"):
        for name in getattr(settings.policies, key):
            if name not in queues:
                yield _unknown(("policies", key, name), "exception queue", name, queues)
    for index, service in enumerate(settings.services):
        for name in service.items:
            yield from _known(("services", index, "items", name), "system", name, names.systems)


def _twice(section: str, key: str, values: list[str]) -> Iterator[Problem]:
    for index, value in enumerate(values):
        if value in values[:index]:
            yield Problem((section, index, key), f"{value!r} stands here twice", "Remove or rename one.")


def _systems(settings: Settings, names: Names) -> Iterator[Problem]:
    for name, system in settings.systems.items():
        if name in RESERVED_SYSTEMS:
            yield Problem(
                ("systems", name),
                f"{name!r} is our own name",
                "Name it after the system, e.g. sf-main.",
            )
        yield from _known(("systems", name, "region"), "region", system.region, names.regions)
    for key in ("slots", "calls_per_second"):
        for name, value in getattr(settings.worker, key).items():
            yield from _known(("worker", key, name), "system", name, names.systems)
            if value <= 0:
                yield Problem(
                    ("worker", key, name), f"{value} lets nothing through", "Write a number above zero."
                )
    yield from _fills(("notify", "system"), settings.notify.system, SystemRole.NOTIFICATION, settings, names)


def _routes(settings: Settings, names: Names) -> Iterator[Problem]:
    for index, route in enumerate(settings.routes):
        for key, role in _ROUTE_ROLES.items():
            yield from _fills(("routes", index, key), getattr(route, key), role, settings, names)
        yield from _known(
            ("routes", index, "legal_entity"), "legal entity", route.legal_entity, names.entities
        )
        yield from _known(("routes", index, "region"), "region", route.region, names.regions)
        if route.effective_from and route.effective_to and route.effective_from > route.effective_to:
            yield Problem(
                ("routes", index, "effective_to"),
                f"{route.effective_to} is before effective_from, {route.effective_from}",
                "Exchange or correct the dates.",
            )
    for (_, one), (index, other) in combinations(enumerate(settings.routes), 2):
        if _conditions(one) == _conditions(other) and _overlap(one, other):
            yield Problem(
                ("routes", index),
                "has the conditions of an earlier route and overlaps it in time, so neither wins",
                "End the older one (effective_to) on the day before the newer one begins.",
            )


def _schedules(settings: Settings, names: Names) -> Iterator[Problem]:
    zones = available_timezones()
    pairs = {(route.psa, route.erp) for route in settings.routes}
    for index, one in enumerate(settings.schedules):
        for key, system, role in (
            ("psa", one.psa, SystemRole.PSA),
            ("erp", one.erp, SystemRole.ERP),
            ("crm", one.crm, SystemRole.CRM),
        ):
            if system:
                yield from _fills(("schedules", index, key), system, role, settings, names)
        known = {one.psa, one.erp} <= set(names.systems)
        if known and (one.psa, one.erp) not in pairs:
            yield Problem(
                ("schedules", index),
                f"no route leads from {one.psa!r} to {one.erp!r}",
                "Correct psa or erp, or add the route.",
            )
        if one.timezone not in zones:
            yield Problem(
                ("schedules", index, "timezone"),
                f"{one.timezone!r} is not an IANA time zone",
                "Write for example Europe/Berlin.",
            )
    yield from _twice("schedules", "name", [one.name for one in settings.schedules])


def _margin(settings: Settings) -> Iterator[Problem]:
    if settings.feedback.margin and not any(route.hr for route in settings.routes):
        yield Problem(
            ("feedback", "margin"),
            "no route names an HR system, which alone knows what work costs",
            "Set hr in a route, or leave margin off.",
        )


def _gateway(settings: Settings, names: Names) -> Iterator[Problem]:
    gateway = settings.gateway
    for name in gateway.sources:
        if not re.fullmatch(NAME_PATTERN, name):
            yield Problem(
                ("gateway", "sources", name),
                f"{name!r} is not allowed here: it is part of an address",
                "Use lower-case letters, digits, - and _, beginning with a letter or digit.",
            )
    for name in gateway.subscriptions:
        if not re.fullmatch(NAME_PATTERN, name):
            yield Problem(
                ("gateway", "subscriptions", name),
                f"{name!r} is not allowed here: it is part of ids",
                "Use lower-case letters, digits, - and _, beginning with a letter or digit.",
            )
    for name, client in gateway.clients.items():
        for region in client.regions:
            yield from _known(("gateway", "clients", name, "regions"), "region", region, names.regions)
        for entity in client.entities:
            yield from _known(
                ("gateway", "clients", name, "entities"), "legal entity", entity, names.entities
            )


def _conditions(route: Route) -> tuple[str | None, str | None, str | None]:
    return (route.business_unit, route.legal_entity, route.region)


def _overlap(one: Route, other: Route) -> bool:
    return (one.effective_from or date.min) <= (other.effective_to or date.max) and (
        other.effective_from or date.min
    ) <= (one.effective_to or date.max)


def _fills(
    path: KeyPath, name: str | None, role: SystemRole, settings: Settings, names: Names
) -> Iterator[Problem]:
    """``name``, where given, must be a configured system with that role."""
    yield from _known(path, "system", name, names.systems)
    system = settings.systems.get(name) if name else None
    if system is not None and role not in system.roles:
        yield Problem(
            path,
            f"system {name!r} has no role {role.value!r}",
            f"Add it to systems.{name}.roles or name another.",
        )


def _known(path: KeyPath, kind: str, name: str | None, known: Iterable[str] | None) -> Iterator[Problem]:
    """``name``, where given, must be one of ``known``."""
    if name is not None and known is not None and name not in known:
        yield _unknown(path, kind, name, known)


def _unknown(path: KeyPath, kind: str, name: str, known: Iterable[str]) -> Problem:
    names = sorted(set(known))
    near = nearest(name, names)
    listing = f"Known: {', '.join(names)}." if names else f"No {kind} is configured."
    return Problem(
        path, f"{name!r} is not a configured {kind}", f'Did you mean "{near}"? {listing}' if near else listing
    )


def _one_host(settings: Settings) -> Iterator[Problem]:
    if settings.worker.hosts > 1 and settings.ledger.one_host_only:
        yield Problem(
            ("ledger", "url"),
            f"SQLite serves one host only, and worker.hosts is {settings.worker.hosts}",
            "Use postgresql://... or set worker.hosts = 1.",
        )
