"""What finance types: routes, entities, cutoffs, periods; each read once, refused in one clear sentence."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from canonical.parties import LegalEntity
from cli.output import Complaint, Exit
from cli.session import Session

EntityOption = Annotated[str | None, typer.Option("--entity", help="Legal entity, for example NL01.")]
ErpOption = Annotated[
    str | None, typer.Option("--erp", help="ERP instance of the route; the only one by default.")
]
PsaOption = Annotated[
    str | None, typer.Option("--psa", help="Delivery system of the route; the only one by default.")
]
RegionOption = Annotated[str | None, typer.Option("--region", help="Route of this region.")]
CutoffOption = Annotated[
    str | None,
    typer.Option("--cutoff", metavar="DAY", help="Last work date that counts: 2026-10-31, or 2026-10."),
]

_PERIOD = re.compile(r"^(\d{4})-(\d{2})$")


@dataclass(frozen=True)
class BillingRoute:
    """From which delivery system to which ERP."""

    psa: str
    erp: str

    def __str__(self) -> str:
        return f"{self.psa} to {self.erp}"


@dataclass(frozen=True)
class Period:
    """A calendar month of a legal entity's books."""

    name: str
    first: date
    last: date

    def begins(self, zone: str) -> datetime:
        """Its first moment in a zone, aware."""
        return datetime(self.first.year, self.first.month, 1, tzinfo=ZoneInfo(zone))

    def ends(self, zone: str) -> datetime:
        """The first moment after it in a zone, aware."""
        year, month = divmod(self.first.year * 12 + self.first.month, 12)
        return datetime(year, month + 1, 1, tzinfo=ZoneInfo(zone))


def the_route(
    session: Session, *, entity: str | None, region: str | None, psa: str | None, erp: str | None
) -> BillingRoute:
    """The one route that is meant.

    Raises:
        Complaint: an unknown entity, region or system; none or several routes fit.
    """
    if entity is not None:
        the_entity(session, entity)
    known_region(session, region)
    routes = [
        route
        for route in session.settings.routes
        if route.legal_entity in (None, entity or route.legal_entity)
        and route.region in (None, region or route.region)
        and psa in (None, route.psa)
        and erp in (None, route.erp)
    ]
    if entity is not None:
        # What names the entity goes before what serves everybody (rule 46).
        routes = [route for route in routes if route.legal_entity == entity] or routes
    found = list(dict.fromkeys(BillingRoute(route.psa, route.erp) for route in routes))
    if len(found) == 1:
        return found[0]
    every = list(dict.fromkeys(BillingRoute(route.psa, route.erp) for route in session.settings.routes))
    listing = "; ".join(f"--psa {one.psa} --erp {one.erp}" for one in (found or every)) or "none"
    if not found:
        asked = [f"{name} {value}" for name, value in _asked(entity, region, psa, erp)]
        raise Complaint(
            f"No route of time-to-billing fits {', '.join(asked) or 'that'}; configured: {listing}.",
            remedy="Correct the options, or add the route to trueup.toml.",
            code=Exit.USAGE,
        )
    raise Complaint(f"Which route? Possible: {listing}.", code=Exit.USAGE, details=found)


def _asked(
    entity: str | None, region: str | None, psa: str | None, erp: str | None
) -> Iterable[tuple[str, str]]:
    for name, value in (("entity", entity), ("region", region), ("psa", psa), ("erp", erp)):
        if value is not None:
            yield name, value


def the_entity(session: Session, code: str) -> LegalEntity:
    """The legal entity of that code.

    Raises:
        Complaint: it is not one of the firm's.
    """
    for entity in session.settings.entities:
        if entity.code == code:
            return entity
    raise Complaint(
        f"{code!r} is not a legal entity of this firm; configured: {_names(session.settings.entities)}.",
        code=Exit.USAGE,
    )


def known_region(session: Session, region: str | None) -> None:
    """Refuse a region that is not the firm's.

    Raises:
        Complaint: it is not configured.
    """
    if region is not None and region not in session.settings.regions:
        known = ", ".join(session.settings.regions)
        raise Complaint(f"{region!r} is not a region; configured: {known}.", code=Exit.USAGE)


def _names(entities: Sequence[LegalEntity]) -> str:
    return ", ".join(entity.code for entity in entities) or "none"


def the_period(text: str) -> Period:
    """A month as typed.

    Raises:
        Complaint: it is not like 2026-10.
    """
    found = _PERIOD.match(text)
    if found is None or not 1 <= int(found[2]) <= 12 or int(found[1]) < 1900:
        raise Complaint(
            f"{text!r} is not a period.", remedy="Write year and month, for example 2026-10.", code=Exit.USAGE
        )
    year, month = int(found[1]), int(found[2])
    last = calendar.monthrange(year, month)[1]
    return Period(text, date(year, month, 1), date(year, month, last))


def the_day(text: str, what: str) -> date:
    """A calendar date as typed.

    Raises:
        Complaint: it is not one.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Complaint(
            f"{text!r} is not a {what}.", remedy="Write a date, for example 2026-10-31.", code=Exit.USAGE
        ) from None


def the_cutoff(session: Session, text: str, entity: str | None = None) -> date:
    """The last work date that counts; not one that has not come yet.

    Args:
        session: its entities' zones say which day it is (rule 30).
        text: a day, or a month, which means its last day.
        entity: whose zone counts; every entity's when empty.

    Raises:
        Complaint: not a day, or in the future.
    """
    day = the_period(text).last if _PERIOD.match(text) else the_day(text, "cutoff")
    entities = [one for one in session.settings.entities if entity in (None, one.code)]
    for one in entities:
        _not_in_the_future(day, one.timezone, f"in {one.code} ({one.timezone})", "cutoff")
    if not entities:
        _not_in_the_future(day, "UTC", "in UTC", "cutoff")
    return day


def _not_in_the_future(day: date, zone: str, where: str, what: str) -> None:
    today = datetime.now(UTC).astimezone(ZoneInfo(zone)).date()
    if day > today:
        raise Complaint(
            f"The {what} {day.isoformat()} has not come yet: {where} it is {today.isoformat()}.",
            remedy="Take today or a day before." if what == "cutoff" else "Take a month that has begun.",
            code=Exit.USAGE,
        )


def past_period(session: Session, text: str, entity: LegalEntity) -> Period:
    """A period that has begun.

    Raises:
        Complaint: not like 2026-10, or not begun.
    """
    period = the_period(text)
    _not_in_the_future(period.first, entity.timezone, f"in {entity.code} ({entity.timezone})", "period from")
    return period
