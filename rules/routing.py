"""Which instances serve a business unit, legal entity and region on a day (rule 46)."""

from __future__ import annotations

from datetime import date

from canonical.firm import Firm, Route


def find_route(
    firm: Firm, *, business_unit: str | None, legal_entity: str | None, region: str | None, on: date | None
) -> Route | None:
    """The most specific route in force; None when there is none.

    Raises:
        ValueError: several routes are equally specific; the message names them.
    """
    wanted = (business_unit, legal_entity, region)

    def fits(route: Route) -> bool:
        conditions = (route.business_unit, route.legal_entity, route.region)
        if any(condition not in (None, value) for condition, value in zip(conditions, wanted, strict=True)):
            return False
        if on is None:
            return True
        return (route.effective_from is None or route.effective_from <= on) and (
            route.effective_to is None or on <= route.effective_to
        )

    def weight(route: Route) -> int:
        return sum(
            condition is not None for condition in (route.business_unit, route.legal_entity, route.region)
        )

    fitting = [route for route in firm.routes if fits(route)]
    if not fitting:
        return None
    best = max(weight(route) for route in fitting)
    chosen = [route for route in fitting if weight(route) == best]
    if len({(route.crm, route.erp, route.psa, route.hr) for route in chosen}) > 1:
        names = "; ".join(f"{route.erp} + {route.psa}" for route in chosen)
        raise ValueError(f"several routes fit equally: {names}")
    return chosen[0]
