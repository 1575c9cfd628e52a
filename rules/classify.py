"""What a won deal asks for (rule 18)."""

from __future__ import annotations

from canonical.causes import Cause
from canonical.failures import Finding
from canonical.firm import Firm
from canonical.opportunity import DealClass, Opportunity
from rules.findings import finding


def classify(deal: Opportunity, firm: Firm) -> tuple[DealClass | None, tuple[Finding, ...]]:
    """The deal's class, or why it has none. Only new engagements and contracts open projects."""
    if not deal.is_won:
        message = f"Deal {deal.ref.id} is not won: its stage is {deal.stage!r}."
        return None, (finding(Cause.DEAL_NOT_WON, message, record=deal.ref, field="stage"),)
    services = [firm.service(line.service_code) for line in deal.lines]
    if deal.lines and all(service is not None and not service.delivers for service in services):
        return DealClass.NO_DELIVERY, ()
    known = firm.policies.deal_types
    if not known:
        named = DealClass.NEW_ENGAGEMENT
    elif deal.deal_type is None or deal.deal_type not in known:
        message = (
            f"Deal {deal.ref.id} has type {deal.deal_type!r}; known types are "
            f"{', '.join(repr(word) for word in known)}."
        )
        return None, (finding(Cause.DEAL_CLASS_UNCLEAR, message, record=deal.ref, field="deal_type"),)
    else:
        named = known[deal.deal_type]
    if named is DealClass.NEW_CONTRACT and not deal.amends_engagement:
        message = f"Deal {deal.ref.id} is a new contract under an engagement but names no engagement."
        return None, (finding(Cause.ENGAGEMENT_UNKNOWN, message, record=deal.ref, field="amends_engagement"),)
    if named in (DealClass.AMENDMENT, DealClass.RENEWAL):
        cause = Cause.DEAL_IS_AMENDMENT if named is DealClass.AMENDMENT else Cause.DEAL_IS_RENEWAL
        message = (
            f"Deal {deal.ref.id} is an {named.value}: it changes an existing contract and opens no project."
        )
        return named, (finding(cause, message, record=deal.ref, field="deal_type"),)
    return named, ()
