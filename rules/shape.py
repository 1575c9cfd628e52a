"""From a validated deal to the engagement: contracts, ERP and delivery projects (rules 3, 13, 20)."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from canonical.causes import Cause
from canonical.delivery import DeliveryProject, RolePlaceholder
from canonical.engagement import (
    BillingMethod,
    Contract,
    ContractLine,
    Engagement,
    RevenueMethod,
)
from canonical.failures import Finding
from canonical.firm import Firm
from canonical.money import AmountRole, Money, total
from canonical.names import contract_key, project_key
from canonical.operations import ContractSetup, DeliverySetup, PsaReference, client_symbol, project_symbol
from canonical.opportunity import Opportunity
from canonical.parties import PartyRole
from canonical.rates import PricingAuthority, RateCard
from canonical.refs import Dimensions
from canonical.terms import PurchaseOrder
from rules.findings import finding
from rules.schedule import milestones_of, schedule_for
from rules.validate import Placed

DEFAULT_REVENUE = {
    BillingMethod.TIME_AND_MATERIALS: RevenueMethod.AS_INVOICED,
    BillingMethod.FIXED_SCHEDULE: RevenueMethod.STRAIGHT_LINE,
    BillingMethod.MILESTONE: RevenueMethod.OVER_TIME_OUTPUT,
    BillingMethod.RETAINER: RevenueMethod.STRAIGHT_LINE,
    BillingMethod.PROGRESS: RevenueMethod.OVER_TIME_INPUT,
}
"""What finance assumes where neither line nor service says; independent fields after that."""


@dataclass(frozen=True)
class Shape:
    """The engagement with everything to set up, or the findings that shaping made."""

    engagement: Engagement | None
    contracts: tuple[ContractSetup, ...] = ()
    deliveries: tuple[DeliverySetup, ...] = ()
    findings: tuple[Finding, ...] = ()


def shape(deal: Opportunity, firm: Firm, placed: list[Placed], psa: Mapping[str, PsaReference]) -> Shape:
    """One contract per selling entity and currency, one delivery project per region and sold service.

    Expects a deal without blocking findings: client, amount and dates are there.
    """
    assert deal.client is not None
    assert deal.amount is not None
    groups: dict[tuple[str, str, str], list[Placed]] = defaultdict(list)
    for one in placed:
        groups[one.route.erp, one.entity.code, one.currency].append(one)
    findings: list[Finding] = []
    contracts: list[Contract] = []
    deliveries: list[DeliverySetup] = []
    for (erp, entity, currency), rows in groups.items():
        contract = _contract(deal, firm, rows, erp, entity, currency)
        contracts.append(contract)
        found = _rate_findings(deal, contract, rows)
        # Positions carry rates: without one rate a role, there is nothing to shape them from.
        deliveries += [] if found else _deliveries(deal, contract, rows, psa)
        findings += found
    if findings:
        return Shape(None, findings=tuple(findings))
    split = sum(
        (line.deal_amount.amount for contract in contracts for line in contract.lines), 0 * deal.amount.amount
    )
    if (
        split != deal.amount.amount
        and all(one.service.delivers for one in placed)
        and len(placed) == len(deal.lines)
    ):
        message = f"The split over contracts adds up to {split}, the deal to {deal.amount}."
        return Shape(None, findings=(finding(Cause.AMOUNT_MISMATCH, message, record=deal.ref),))
    lead = max(contracts, key=lambda contract: sum(line.deal_amount.amount for line in contract.lines))
    engagement = Engagement(
        key=deal.ref.id,
        name=deal.name,
        deal_amount=deal.amount,
        contracts=tuple(contracts),
        lead_contract_key=lead.key,
    )
    bill_to = client_symbol((deal.bill_to or deal.client).key)
    setups = tuple(
        ContractSetup(
            contract=contract,
            project_name=project_name(deal, contract, len(contracts)),
            client_symbol=client_symbol(deal.client.key),
            bill_to_symbol=bill_to,
            subject=f"Deal {deal.ref.id}",
        )
        for contract in contracts
    )
    return Shape(engagement, setups, tuple(deliveries))


def project_name(deal: Opportunity, contract: Contract, contracts: int) -> str:
    """The ERP project's name: the deal's, with the entity where there are several contracts."""
    return deal.name if contracts == 1 else f"{deal.name} ({contract.legal_entity} {contract.currency})"


def _contract(
    deal: Opportunity, firm: Firm, rows: list[Placed], erp: str, entity: str, currency: str
) -> Contract:
    assert deal.client is not None
    key = contract_key(deal.ref.id, entity, currency)
    starts = [one.line.start for one in rows if one.line.start]
    ends = [one.line.end for one in rows if one.line.end]
    return Contract(
        key=key,
        name=deal.name,
        engagement_key=deal.ref.id,
        legal_entity=entity,
        currency=currency,
        erp=erp,
        dimensions=Dimensions(region=firm.region, legal_entity=entity),
        parties={
            PartyRole.SOLD_TO: deal.client.key,
            PartyRole.BILL_TO: (deal.bill_to or deal.client).key,
            PartyRole.SERVICE_RECIPIENT: deal.client.key,
        },
        lines=tuple(_line(one, currency) for one in rows),
        payment_terms=deal.payment_terms or firm.policies.default_payment_terms,
        purchase_orders=(PurchaseOrder(number=deal.purchase_order),) if deal.purchase_order else (),
        pricing_authority=PricingAuthority.CONTRACT,
        rate_card=rate_card(deal, firm, currency),
        documents=(deal.sow,) if deal.sow else (),
        start=min(starts, default=None),
        end=max(ends, default=None),
        project_manager_email=deal.project_manager_email,
    )


def _line(one: Placed, currency: str) -> ContractLine:
    line, service = one.line, one.service
    amount = (
        line.conversion.apply(line.amount, AmountRole.CONTRACT)
        if line.conversion
        else Money(amount=line.amount.amount, currency=currency)
    )
    method = line.billing_method or service.billing_method
    assert method is not None
    assert line.start is not None
    assert line.end is not None
    return ContractLine(
        key=line.id,
        service_code=service.code,
        item=service.items[one.route.erp],
        description=line.description or line.service_name or service.name,
        quantity=line.quantity,
        amount=amount,
        deal_amount=line.amount,
        conversion=line.conversion,
        billing_method=method,
        revenue_method=line.revenue_method or service.revenue_method or DEFAULT_REVENUE[method],
        schedule=schedule_for(line.id, service.name, service, method, amount, line.start, line.end),
        start=line.start,
        end=line.end,
        delivery_region=one.region,
        acceptance_required=service.acceptance_required,
    )


def rate_card(deal: Opportunity, firm: Firm, currency: str) -> RateCard | None:
    """The rates in force: negotiated with this client, else the standard card of the currency (rule 7)."""
    assert deal.client is not None
    cards = [card for card in firm.policies.standard_rates if card.currency == currency]
    for code in (f"deal:{deal.ref.id}", f"client:{deal.client.key}", "standard"):
        for card in cards:
            if card.code == code:
                return card
    return None


def _rate_findings(deal: Opportunity, contract: Contract, rows: list[Placed]) -> list[Finding]:
    """At most one rate per role on the first and last day; time and materials needs one."""
    findings = []
    for one in rows:
        method = one.line.billing_method or one.service.billing_method
        needed = method is BillingMethod.TIME_AND_MATERIALS
        for need in one.service.roles:
            for day in dict.fromkeys((one.line.start, one.line.end)):
                assert day is not None
                try:
                    rate = contract.rate_card.rate_on(need.role, day) if contract.rate_card else None
                except ValueError as overlap:
                    findings.append(
                        finding(Cause.RATE_OVERLAP, f"{overlap}.", record=deal.ref, field="rate_card")
                    )
                    continue
                if rate is None and needed:
                    message = f"No {contract.currency} rate for role {need.role!r} on {day.isoformat()}."
                    findings.append(finding(Cause.RATE_MISSING, message, record=deal.ref, field="rate_card"))
    return findings


def _deliveries(
    deal: Opportunity, contract: Contract, rows: list[Placed], psa: Mapping[str, PsaReference]
) -> list[DeliverySetup]:
    assert deal.client is not None
    by_project: dict[tuple[str, str, str], list[Placed]] = defaultdict(list)
    for one in rows:
        by_project[one.route.psa, one.region, one.service.code].append(one)
    setups = []
    lines = {line.key: line for line in contract.lines}
    for (system, region, service_code), parts in by_project.items():
        service = parts[0].service
        own = [lines[one.line.id] for one in parts]
        starts, ends = [line.start for line in own if line.start], [line.end for line in own if line.end]
        reference = psa[system]
        start = min(starts, default=None)
        template = next(found for found in reference.templates if found.title == service.template)
        title = (
            deal.name
            if len(by_project) == 1 and len(rows) == len(deal.lines)
            else (f"{deal.name} - {service.name} {region}")
        )
        project = DeliveryProject(
            key=project_key(contract.key, region, service_code),
            title=title,
            contract_key=contract.key,
            psa=system,
            dimensions=Dimensions(
                region=region, legal_entity=contract.legal_entity, service_line=service_code
            ),
            client_key=deal.client.key,
            currency=contract.currency,
            budget=total(line.amount for line in own),
            service_code=service_code,
            template=template.title,
            start=start,
            end=max(ends, default=None),
            milestones=tuple(stone for line in own for stone in milestones_of(line.schedule)),
            placeholders=tuple(
                RolePlaceholder(
                    key=need.role,
                    role=need.role,
                    count=need.count,
                    bill_rate=_rate(contract, need.role, start or deal.close_date),
                )
                for need in service.roles
            ),
            project_manager_email=deal.project_manager_email,
        )
        setups.append(
            DeliverySetup(
                project=project,
                client_name=deal.client.name,
                template=template,
                code_symbol=project_symbol(contract.key),
                role_ids=reference.role_ids,
            )
        )
    return setups


def _rate(contract: Contract, role: str, day: date | None) -> Decimal | None:
    if contract.rate_card is None or day is None:
        return None
    line = contract.rate_card.rate_on(role, day)
    return line.amount if line else None


def deal_digest(deal: Opportunity) -> str:
    """Digest of what matters in a deal: equal for two readings unless a term changed (rule 17).

    Left out: the revision, which moves with every touch of the record, and what we write back ourselves.
    """
    matters = deal.model_copy(update={"revision": "", "project_code": None})
    return hashlib.sha256(matters.model_dump_json().encode()).hexdigest()[:16]
