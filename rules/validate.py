"""All checks of a deal, all findings at once, before anything is written anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from canonical.causes import Cause
from canonical.delivery import RoleSupply
from canonical.failures import Finding
from canonical.firm import Firm, Route, Service
from canonical.money import AmountRole, Money, round_to
from canonical.operations import ContractSetup, DeliverySetup, ErpReference, PsaReference
from canonical.opportunity import Opportunity, OpportunityLine
from canonical.parties import Client, LegalEntity
from canonical.refs import RecordRef
from rules.findings import finding
from rules.routing import find_route

NAME_LIMIT = 255
"""Characters of a project's or client's name where a system names no limit of its own."""


@dataclass(frozen=True)
class Placed:
    """A deal line with everything its set-up depends on, as far as it is known."""

    line: OpportunityLine
    entity: LegalEntity
    service: Service
    route: Route
    region: str
    currency: str


class _At(TypedDict):
    """Where findings about one line point to."""

    record: RecordRef
    at_stake: Money


@dataclass
class Context:
    """What validations look at."""

    deal: Opportunity
    firm: Firm
    erp: Mapping[str, ErpReference] = field(default_factory=dict)
    psa: Mapping[str, PsaReference] = field(default_factory=dict)
    supply: tuple[RoleSupply, ...] = ()
    supply_known: bool = True


def entity_code(deal: Opportunity, line: OpportunityLine) -> str | None:
    """Code of the entity that sells a line: its own, else the deal's."""
    return line.legal_entity or deal.legal_entity


def line_currency(deal: Opportunity, line: OpportunityLine) -> str:
    """Contract currency of a line."""
    return line.conversion.to_currency if line.conversion else deal.currency


def place(deal: Opportunity, firm: Firm) -> tuple[list[Placed], list[Finding]]:
    """Every line with entity, service and route; findings for lines that have none."""
    placed: list[Placed] = []
    findings: list[Finding] = []
    for line in deal.lines:
        code = entity_code(deal, line)
        entity, service = firm.entity(code), firm.service(line.service_code)
        label = f"Line {line.id} ({line.service_name or line.service_code or 'no product'})"
        if code is None:
            findings.append(
                finding(
                    Cause.LEGAL_ENTITY_MISSING,
                    f"{label} names no selling entity, nor does the deal.",
                    record=deal.ref,
                    field="legal_entity",
                    at_stake=line.amount,
                )
            )
        elif entity is None:
            known = ", ".join(one.code for one in firm.entities)
            findings.append(
                finding(
                    Cause.LEGAL_ENTITY_UNKNOWN,
                    f"{label}: legal entity {code!r} is not known; known: {known}.",
                    record=deal.ref,
                    field="legal_entity",
                    at_stake=line.amount,
                )
            )
        if service is None:
            findings.append(
                finding(
                    Cause.SERVICE_UNKNOWN,
                    f"{label}: service {line.service_code!r} is not in the catalogue.",
                    record=deal.ref,
                    field="service_code",
                    at_stake=line.amount,
                )
            )
        if entity is None or service is None or not service.delivers:
            continue
        region = line.delivery_region or firm.region
        if region not in (firm.region, *firm.regions):
            findings.append(
                finding(
                    Cause.ROUTE_MISSING,
                    f"{label}: delivery region {region!r} is not known.",
                    record=deal.ref,
                    field="delivery_region",
                    at_stake=line.amount,
                )
            )
            continue
        try:
            route = find_route(
                firm,
                business_unit=deal.business_unit,
                legal_entity=entity.code,
                region=region,
                on=deal.close_date,
            )
        except ValueError as several:
            findings.append(finding(Cause.ROUTE_AMBIGUOUS, f"{label}: {several}.", record=deal.ref))
            continue
        if route is None:
            findings.append(
                finding(
                    Cause.ROUTE_MISSING,
                    f"{label}: no route for entity {entity.code}, region {region}.",
                    record=deal.ref,
                    at_stake=line.amount,
                )
            )
            continue
        placed.append(Placed(line, entity, service, route, region, line_currency(deal, line)))
    return placed, findings


def check_deal(context: Context) -> Iterator[Finding]:
    """What concerns the deal as a whole."""
    deal, policies = context.deal, context.firm.policies
    if deal.approval_status not in policies.approved_words:
        yield finding(
            Cause.APPROVAL_MISSING,
            f"Deal {deal.ref.id} has approval status {deal.approval_status!r}; "
            f"approved means {' or '.join(repr(word) for word in policies.approved_words)}.",
            record=deal.ref,
            field="approval_status",
            at_stake=deal.amount,
        )
    if deal.client is None:
        yield finding(
            Cause.CLIENT_MISSING, f"Deal {deal.ref.id} has no account.", record=deal.ref, field="client"
        )
    if not deal.lines:
        yield finding(
            Cause.LINES_MISSING, f"Deal {deal.ref.id} has no lines.", record=deal.ref, field="lines"
        )
    yield from check_amounts(deal)
    if deal.purchase_order is None and any(_needs_order(context, line) for line in deal.lines):
        yield finding(
            Cause.PURCHASE_ORDER_MISSING,
            f"Deal {deal.ref.id} needs a purchase order.",
            record=deal.ref,
            field="purchase_order",
        )


def _needs_order(context: Context, line: OpportunityLine) -> bool:
    entity = context.firm.entity(entity_code(context.deal, line))
    return entity is not None and entity.code in context.firm.policies.purchase_order_required


def check_amounts(deal: Opportunity) -> Iterator[Finding]:
    """Lines multiply out and add up to the deal, in the deal's currency."""
    for line in deal.lines:
        gross = line.quantity * line.unit_price
        product = round_to(gross * (100 - line.discount_percent) / 100, line.amount.currency)
        less = f" less {line.discount_percent} %" if line.discount_percent else ""
        product_words = f"{line.quantity} x {line.unit_price}{less}"
        if line.amount.amount < 0:
            yield finding(
                Cause.AMOUNT_MISMATCH,
                f"Line {line.id} has a negative amount, {line.amount}.",
                record=deal.ref,
                field="amount",
                at_stake=deal.amount,
            )
        elif product != line.amount.amount:
            expected = Money(amount=product, currency=line.amount.currency, role=AmountRole.CONTRACT)
            yield finding(
                Cause.AMOUNT_MISMATCH,
                f"Line {line.id} says {line.amount}, but {product_words} is {expected}.",
                record=deal.ref,
                field="amount",
                at_stake=deal.amount,
            )
    if deal.amount is None or not deal.lines:
        if deal.amount is None:
            yield finding(
                Cause.AMOUNT_MISMATCH, f"Deal {deal.ref.id} has no amount.", record=deal.ref, field="amount"
            )
        return
    lines_sum = sum((line.amount.amount for line in deal.lines), deal.amount.amount * 0)
    if lines_sum != deal.amount.amount:
        summed = Money(amount=lines_sum, currency=deal.currency)
        yield finding(
            Cause.AMOUNT_MISMATCH,
            f"Deal {deal.ref.id} is worth {deal.amount}, but its lines add up to {summed}.",
            record=deal.ref,
            field="amount",
            at_stake=deal.amount,
        )


def check_client(context: Context, placed: list[Placed]) -> Iterator[Finding]:
    """Client, its hierarchy and bill-to: names that fit, country, tax registration."""
    deal = context.deal
    parties = [client for client in (*deal.hierarchy, deal.client, deal.bill_to) if client is not None]
    for client in {client.key: client for client in parties}.values():
        limits = [reference.limits.get("client.name", NAME_LIMIT) for reference in context.erp.values()]
        limit = min(limits, default=NAME_LIMIT)
        if len(client.name) > limit:
            yield finding(
                Cause.NAME_TOO_LONG,
                f"Account {client.key}: the name has {len(client.name)} characters; the ERP holds {limit}.",
                record=client.ref,
                field="name",
            )
        if not client.name.strip():
            yield finding(
                Cause.CLIENT_MISSING, f"Account {client.key} has no name.", record=client.ref, field="name"
            )
    invoiced = deal.bill_to or deal.client
    if invoiced is None:
        return
    if invoiced.address.country is None:
        yield finding(
            Cause.CLIENT_COUNTRY_MISSING,
            f"Account {invoiced.name} ({invoiced.key}) has no billing country.",
            record=invoiced.ref,
            field="address.country",
        )
    entities = {one.entity.code: one.entity for one in placed}
    asking = [entity.code for entity in entities.values() if entity.tax_registration_required]
    if asking and not invoiced.tax_registrations:
        yield finding(
            Cause.TAX_REGISTRATION_MISSING,
            f"Account {invoiced.name} ({invoiced.key}) has no tax registration; "
            f"{', '.join(asking)} must show one on its invoices.",
            record=invoiced.ref,
            field="tax_registrations",
            at_stake=deal.amount,
        )


def check_lines(context: Context, placed: list[Placed]) -> Iterator[Finding]:
    """Entity, currency, item, template, billing method and dates of every line."""
    deal = context.deal
    terms = deal.payment_terms or context.firm.policies.default_payment_terms
    for erp in sorted({one.route.erp for one in placed}):
        reference = context.erp.get(erp)
        if reference is not None and terms is not None and terms not in reference.payment_terms:
            known = ", ".join(reference.payment_terms)
            yield finding(
                Cause.PAYMENT_TERMS_UNKNOWN,
                f"Payment terms {terms!r} are not known in {erp}; known: {known}.",
                record=deal.ref,
                field="payment_terms",
            )
    for one in placed:
        line, label = one.line, f"Line {one.line.id} ({one.service.name})"
        at = _At(record=deal.ref, at_stake=line.amount)
        if not one.entity.sells_in(one.currency):
            yield finding(
                Cause.CURRENCY_NOT_SOLD,
                f"{label}: {one.entity.code} does not sell in {one.currency}.",
                field="currency",
                **at,
            )
        yield from _check_in_erp(context, one, label)
        yield from _check_in_psa(context, one, label)
        if line.billing_method is None and one.service.billing_method is None:
            yield finding(
                Cause.BILLING_METHOD_MISSING,
                f"{label}: nothing says how it is billed.",
                field="billing_method",
                **at,
            )
        if line.start is None or line.end is None or line.end < line.start:
            yield finding(
                Cause.DATES_MISSING,
                f"{label}: start {line.start or 'missing'}, end {line.end or 'missing'}.",
                field="start",
                **at,
            )
        shares = [shape.share for shape in one.service.milestones]
        if shares and (sum(shares) != 1 or min(shares) < 0):
            yield finding(
                Cause.SCHEDULE_MISMATCH,
                f"{label}: the milestone shares of service {one.service.code} do not add up to 1.",
                field="service_code",
                **at,
            )


def _check_in_erp(context: Context, one: Placed, label: str) -> Iterator[Finding]:
    reference = context.erp.get(one.route.erp)
    if reference is None:
        return
    deal, item = context.deal, one.service.items.get(one.route.erp)
    if one.entity.code not in reference.entities:
        yield finding(
            Cause.LEGAL_ENTITY_UNKNOWN,
            f"{label}: {one.entity.code} has no subsidiary in {one.route.erp}.",
            record=deal.ref,
            field="legal_entity",
            at_stake=one.line.amount,
        )
    if one.currency not in reference.currencies:
        yield finding(
            Cause.CURRENCY_UNKNOWN_IN_ERP,
            f"{label}: {one.route.erp} does not have {one.currency}.",
            record=deal.ref,
            field="currency",
            at_stake=one.line.amount,
        )
    if item is None or item not in reference.items:
        what = "no item is mapped" if item is None else f"item {item} is not active"
        yield finding(
            Cause.SERVICE_ITEM_MISSING,
            f"{label}: {what} in {one.route.erp} for service {one.service.code}.",
            record=deal.ref,
            field="service_code",
            at_stake=one.line.amount,
        )


def _check_in_psa(context: Context, one: Placed, label: str) -> Iterator[Finding]:
    deal, reference = context.deal, context.psa.get(one.route.psa)
    if one.service.template is None:
        yield finding(
            Cause.TEMPLATE_MISSING,
            f"{label}: service {one.service.code} names no delivery template.",
            record=deal.ref,
            field="service_code",
        )
    elif reference is not None and one.service.template not in {found.title for found in reference.templates}:
        yield finding(
            Cause.TEMPLATE_MISSING,
            f"{label}: {one.route.psa} has no template {one.service.template!r}.",
            record=deal.ref,
            field="service_code",
        )
    known_to_hr = {supply.role for supply in context.supply}
    for need in one.service.roles:
        if context.supply_known and need.role not in known_to_hr:
            yield finding(
                Cause.ROLE_UNKNOWN_IN_HR,
                f"{label}: HR knows no worker in role {need.role!r}.",
                record=deal.ref,
                field="roles",
            )
        elif context.supply_known and not any(
            supply.role == need.role and supply.region == one.region and supply.workers
            for supply in context.supply
        ):
            yield finding(
                Cause.ROLE_UNKNOWN_IN_HR,
                f"{label}: nobody in region {one.region} has role {need.role!r}.",
                record=deal.ref,
                field="roles",
                warning=True,
            )
        if reference is not None and need.role not in reference.roles:
            yield finding(
                Cause.ROLE_UNKNOWN_IN_DELIVERY,
                f"{label}: {one.route.psa} has no role {need.role!r}.",
                record=deal.ref,
                field="roles",
            )


def check_names(context: Context, names: Mapping[str, str]) -> Iterator[Finding]:
    """Project names fit every system. ``names`` maps a limit's name to the text it limits."""
    references: list[ErpReference | PsaReference] = [*context.erp.values(), *context.psa.values()]
    for reference in references:
        for what, text in names.items():
            yield from _check_name(context, reference, what, text)


def check_made_names(
    context: Context, contracts: Iterable[ContractSetup], deliveries: Iterable[DeliverySetup]
) -> Iterator[Finding]:
    """Names that shaping makes longer than the deal's own, with entity or region, fit their systems too."""
    for setup in contracts:
        erp = context.erp.get(setup.contract.erp)
        yield from _check_name(context, erp, "project.title", setup.project_name)
    for delivery in deliveries:
        psa = context.psa.get(delivery.project.psa)
        yield from _check_name(context, psa, "project.title", delivery.project.title)


def _check_name(
    context: Context, reference: ErpReference | PsaReference | None, what: str, text: str
) -> Iterator[Finding]:
    limit = reference.limits.get(what) if reference is not None else None
    if reference is not None and limit is not None and len(text) > limit:
        yield finding(
            Cause.NAME_TOO_LONG,
            f"{what} {text!r} has {len(text)} characters; {reference.system} holds {limit}.",
            record=context.deal.ref,
            field="name",
        )


def invoiced_client(deal: Opportunity) -> Client | None:
    """Who is invoiced."""
    return deal.bill_to or deal.client
