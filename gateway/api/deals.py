"""Which legal entities a deal, contracts or a route belong to: what a caller's limits are held against."""

from __future__ import annotations

from canonical.opportunity import Opportunity
from gateway.front import Front
from runtime.settings import Settings
from wiring.events import read_won_deal
from wiring.start import spelled_record


def spelled(settings: Settings, system: str, record_id: str) -> str:
    """The one spelling of a record's id."""
    return spelled_record(settings, system, record_id)


def selling_entities(deal: Opportunity) -> tuple[str | None, ...]:
    """The entities that sell a deal; None stands for a line without one."""
    lines = [line.legal_entity or deal.legal_entity for line in deal.lines]
    return tuple(dict.fromkeys(lines or [deal.legal_entity]))


async def entities_of_deal(front: Front, system: str, record_id: str) -> tuple[str | None, ...] | None:
    """The same, read from the CRM; None when the deal is not there any more.

    Raises:
        SystemFailure: the CRM is away.
    """
    deal = await read_won_deal(front.desk, system, record_id)
    return None if deal is None else selling_entities(deal)


def entities_of_route(settings: Settings, psa: str, erp: str) -> tuple[str, ...] | None:
    """The entities whose work a route carries; None when there is no such route."""
    routes = [one for one in settings.routes if (one.psa, one.erp) == (psa, erp)]
    if not routes:
        return None
    if any(one.legal_entity is None for one in routes):
        return tuple(one.code for one in settings.entities)
    return tuple(dict.fromkeys(one.legal_entity for one in routes if one.legal_entity))
