"""Every check of a time entry or expense, all findings at once; a line in order gets its place and its price.

A line with a finding is held by itself: it is neither posted nor billed until its cause is repaired, and
holds up nobody else (rules 5, 7, 27, 30, 34 to 37).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from canonical.causes import Cause
from canonical.engagement import BillingMethod, Contract, ContractLine
from canonical.erp_billing import Book
from canonical.failures import Finding
from canonical.items import BillingState, Hold, ItemKind, Placement, Price, SourceLine
from canonical.rates import RateVersion
from canonical.refs import Dimensions
from rules.findings import finding
from rules.grouping import place_in_group
from rules.opening import before_opening
from rules.periods import posted_on
from rules.placing import ContractFacts, Facts, ProjectFacts, WorkerFacts
from rules.pricing import price_expense, price_time
from rules.rates import PriceSources, price_differences, resolve_rate

DAY_MINUTES = 24 * 60
_MINOR_LIMIT = 2**62
"""An amount beyond it cannot be kept in the ledger's integers with room for sums."""


@dataclass(frozen=True)
class Enriched:
    """A line's place, and everything that was found. With findings the placement carries a hold."""

    placement: Placement
    findings: tuple[Finding, ...] = ()


@dataclass
class _Line:
    """One line while it is looked at; findings pile up."""

    line: SourceLine
    facts: Facts
    findings: list[Finding] = field(default_factory=list)

    def found(self, cause: Cause, message: str, name: str | None = None) -> None:
        self.findings.append(finding(cause, message, record=self.line.source, field=name))

    def keep(self, result: Finding) -> None:
        self.findings.append(result)


def enrich(line: SourceLine, facts: Facts, at: datetime) -> Enriched:
    """Where a line belongs, how it is billed, what it is worth; held where anything is wrong.

    Args:
        line: as the delivery system has it.
        facts: what is known around it.
        at: now, for the hold.
    """
    one = _Line(line, facts)
    _check_effort(one)
    project, terms = _project(one)
    worker = _worker(one)
    contract_line = _contract_line(one, project, terms)
    known: dict[str, object] = {"erp_system": facts.route.erp}
    if project is not None and terms is not None:
        known |= _place(one, project, terms, contract_line)
    if worker is not None:
        known |= _employment(one, worker, terms)
    if terms is not None:
        known |= _posting(one, terms)
        known |= _worth(one, terms, contract_line)
        if project is not None and known["billing"] is BillingState.UNBILLED:
            known |= place_in_group(terms.contract, project.code, one.line.work_date, facts.used_orders)
        _check_dimensions(one, terms.contract.dimensions, worker)
    if not line.approved:
        one.found(Cause.NOT_APPROVED, f"{line.source} is not approved.", "approval")
    hold = hold_for(one.findings, at)
    return Enriched(Placement.model_validate({**known, "hold": hold}), tuple(one.findings))


def hold_for(findings: Iterable[Finding], at: datetime) -> Hold | None:
    """One hold for all findings: the first names cause and queue, the message names them all."""
    every = list(findings)
    if not every:
        return None
    first = min(every, key=lambda one: _ORDER.get(one.cause, len(_ORDER)))
    rest = [one for one in every if one is not first]
    message = " ".join([first.message, *(f"Also: {one.message}" for one in rest)])
    return Hold(cause=first.cause, message=message, remedy=first.remedy, queue=first.queue, since=at)


_ORDER = {
    cause: place
    for place, cause in enumerate(
        (
            # What explains the others comes first: unapproved time need not be priced.
            Cause.NOT_APPROVED,
            Cause.BEFORE_OPENING_POSITION,
            Cause.PROJECT_UNKNOWN,
            Cause.PROJECT_CODE_DIFFERS,
            Cause.PROJECT_CLOSED,
            Cause.CONTRACT_LINE_UNCLEAR,
            Cause.HOURS_IMPOSSIBLE,
            Cause.DAY_TOO_LONG,
            Cause.AMOUNT_IMPOSSIBLE,
            Cause.WORKER_UNKNOWN,
            Cause.WORKER_UNKNOWN_IN_ERP,
            Cause.WORKER_NOT_IN_ENTITY,
            Cause.ROLE_MISSING,
            Cause.RATE_MISSING,
            Cause.RATE_OVERLAP,
        )
    )
}


# --- the checks -----------------------------------------------------------------------------------


def _check_effort(one: _Line) -> None:
    line = one.line
    if line.kind is ItemKind.EXPENSE:
        if line.incurred is None or line.incurred.amount == 0:
            one.found(Cause.AMOUNT_IMPOSSIBLE, "The expense has no amount.", "amount")
        elif abs(line.incurred.minor) >= _MINOR_LIMIT:
            one.found(
                Cause.AMOUNT_IMPOSSIBLE,
                f"{line.incurred} is larger than any amount that can be kept.",
                "amount",
            )
        return
    if not 0 < line.minutes <= DAY_MINUTES:
        one.found(
            Cause.HOURS_IMPOSSIBLE,
            f"{line.minutes} minutes on {line.work_date}: an entry has between 1 and {DAY_MINUTES}.",
            "minutes",
        )
        return
    day = one.facts.day_minutes.get((line.worker.id, line.work_date), line.minutes)
    longest = one.facts.firm.policies.billing.longest_day_minutes
    if day > longest:
        one.found(
            Cause.DAY_TOO_LONG,
            f"All entries of {line.work_date} add up to {day} minutes; at most {longest} are allowed.",
            "minutes",
        )


def _project(one: _Line) -> tuple[ProjectFacts | None, ContractFacts | None]:
    project = one.facts.projects.get(one.line.project.id)
    terms = one.facts.contracts.get(project.contract_key) if project is not None else None
    if project is None or terms is None:
        one.found(Cause.PROJECT_UNKNOWN, f"No contract stands behind {one.line.project}.", "project")
        return None, None
    if project.delivery_code != project.code:
        one.found(
            Cause.PROJECT_CODE_DIFFERS,
            f"{one.line.project} carries code {project.delivery_code or 'none'}; the ERP's project is "
            f"{project.code}.",
            "project_code",
        )
    if project.closed:
        one.found(
            Cause.PROJECT_CLOSED,
            f"Project {project.code} is closed: nothing is booked on it any more.",
            "project",
        )
    elif not project.open:
        one.found(
            Cause.PROJECT_CLOSED, f"Project {project.code} takes no time in {one.facts.route.erp}.", "project"
        )
    problem = before_opening(project.contract_key, terms.opening, one.line.work_date)
    if problem is not None:
        one.keep(problem.model_copy(update={"record": one.line.source}))
    return project, terms


def _contract_line(
    one: _Line, project: ProjectFacts | None, terms: ContractFacts | None
) -> ContractLine | None:
    if project is None or terms is None:
        return None
    by_task = project.line_by_task.get(one.line.task or "")
    keys = (by_task,) if by_task is not None else project.lines
    lines = [line for key in keys if (line := terms.contract.line(key)) is not None]
    if len(lines) == 1:
        return lines[0]
    if one.line.kind is ItemKind.EXPENSE and lines:
        # Expenses are charged by the contract's expense terms, whatever line the project carries.
        return lines[0]
    named = ", ".join(keys) or "none"
    one.found(
        Cause.CONTRACT_LINE_UNCLEAR,
        f"{one.line.project} carries contract lines {named}; the entry must belong to exactly one.",
        "task",
    )
    return None


def _worker(one: _Line) -> WorkerFacts | None:
    worker = one.facts.workers.get(one.line.worker.id)
    if worker is None:
        one.found(Cause.WORKER_UNKNOWN, f"HR does not know {one.line.worker}.", "worker")
    return worker


def _check_dimensions(one: _Line, project: Dimensions, worker: WorkerFacts | None) -> None:
    own = worker.dimensions if worker is not None else None
    for name in one.facts.required_dimensions:
        value = (getattr(own, name) if own is not None else None) or getattr(project, name)
        if value is None:
            one.found(
                Cause.DIMENSION_MISSING, f"{name.replace('_', ' ')} is missing, and the ERP demands it.", name
            )
        elif (name, value) in one.facts.closed_dimensions:
            one.found(
                Cause.DIMENSION_CLOSED, f"{name.replace('_', ' ')} {value!r} is closed in the ERP.", name
            )


# --- what is found out ------------------------------------------------------------------------------


def _place(
    one: _Line, project: ProjectFacts, terms: ContractFacts, line: ContractLine | None
) -> dict[str, object]:
    contract = terms.contract
    found: dict[str, object] = {
        "contract_key": contract.key,
        "contract_version": terms.version,
        "line_key": line.key if line is not None else None,
        "method": line.billing_method if line is not None else None,
        "project_code": project.code,
        "legal_entity": contract.legal_entity,
        "erp_project": project.erp_project,
        "erp_task": one.facts.tasks.get(one.line.task or ""),
    }
    return found | _erp_item(one, line)


def _erp_item(one: _Line, line: ContractLine | None) -> dict[str, object]:
    if one.line.kind is ItemKind.EXPENSE:
        category = one.facts.expense_categories.get(one.line.category or "")
        if category is None:
            one.found(
                Cause.EXPENSE_CATEGORY_UNKNOWN,
                f"Category {one.line.category!r} is not mapped to {one.facts.route.erp}.",
                "category",
            )
        return {"erp_item": category}
    item = one.facts.labour_items.get(one.line.role or "") or (line.item if line is not None else None)
    if not item:
        one.found(
            Cause.LABOUR_ITEM_MISSING,
            f"Role {one.line.role!r} has no service item in {one.facts.route.erp}.",
            "role",
        )
    return {"erp_item": item or None}


def _employment(one: _Line, worker: WorkerFacts, terms: ContractFacts | None) -> dict[str, object]:
    """The worker's record in the ERP (rule 35): that of the project's entity, else of the employing one."""
    found: dict[str, object] = {"employing_entity": worker.employing_entity}
    posts = _posts_cost(one, worker)
    found["posts_cost"] = posts
    if terms is None or not posts:
        return found
    seller = terms.contract.legal_entity
    if not worker.erp_ids:
        one.found(
            Cause.WORKER_UNKNOWN_IN_ERP, f"{one.facts.route.erp} does not know {one.line.worker}.", "worker"
        )
        return found
    here = worker.erp_ids.get(seller)
    if here is None and seller != worker.employing_entity:
        accepts = one.facts.capabilities is not None and one.facts.capabilities.foreign_workers
        here = worker.erp_ids.get(worker.employing_entity) if accepts else None
    if here is None:
        one.found(
            Cause.WORKER_NOT_IN_ENTITY,
            f"{one.line.worker} belongs to {worker.employing_entity}, the project to {seller}; "
            f"{one.facts.route.erp} has no record of theirs that may book on it.",
            "worker",
        )
    found["erp_worker"] = here
    return found


def _posts_cost(one: _Line, worker: WorkerFacts) -> bool:
    """Subcontractors' cost comes from their vendor bills and is not posted twice (rule 34)."""
    subcontractors = one.facts.firm.policies.billing.subcontractor_entities
    return one.line.kind is ItemKind.EXPENSE or worker.employing_entity not in subcontractors


def _posting(one: _Line, terms: ContractFacts) -> dict[str, object]:
    line, route = one.line, one.facts.route
    # A payable only where this route's ERP is who pays the worker back (rule 34).
    payable = (
        line.kind is ItemKind.EXPENSE and line.reimbursable and route.expenses_reimbursed_by == route.erp
    )
    day = posted_on(
        one.facts.periods,
        terms.contract.legal_entity,
        line.work_date,
        Book.PAYABLES if payable else Book.GENERAL,
        one.facts.firm.policies.billing,
        record=line.source,
    )
    if isinstance(day, Finding):
        one.keep(day)
        return {"payable_to_worker": payable}
    return {"posting_date": day, "payable_to_worker": payable}


def _worth(one: _Line, terms: ContractFacts, line: ContractLine | None) -> dict[str, object]:
    """Billing state at the start, and the price where there is something to bill."""
    if line is None or not one.line.billable:
        return {"billing": BillingState.NOT_BILLABLE}
    if one.line.kind is ItemKind.EXPENSE:
        if not terms.contract.expense_terms.rebill:
            return {"billing": BillingState.COVERED}
        return _priced(one, _expense_price(one, terms.contract), line)
    if line.billing_method in (
        BillingMethod.FIXED_SCHEDULE,
        BillingMethod.MILESTONE,
        BillingMethod.PROGRESS,
    ):
        return {"billing": BillingState.COVERED}
    return _priced(one, _time_price(one, terms, line), line)


def _priced(one: _Line, price: Price | Finding | None, line: ContractLine) -> dict[str, object]:
    if price is None or isinstance(price, Finding):
        if price is not None:
            one.keep(price)
        return {"billing": BillingState.UNBILLED}
    # Retainer work is drawn from its balance: for the ERP it is cost only.
    open_in_erp = one.line.kind is ItemKind.EXPENSE or line.billing_method is BillingMethod.TIME_AND_MATERIALS
    return {"billing": BillingState.UNBILLED, "price": price, "unbilled_in_erp": open_in_erp}


def _expense_price(one: _Line, contract: Contract) -> Price | Finding | None:
    incurred = one.line.incurred
    if incurred is None or incurred.amount == 0:
        return None
    return price_expense(
        contract,
        incurred,
        one.line.work_date,
        recoverable_tax=one.line.recoverable_tax,
        conversions=one.facts.conversions,
        record=one.line.source,
    )


def _time_price(one: _Line, terms: ContractFacts, line: ContractLine) -> Price | Finding | None:
    entry, contract = one.line, terms.contract
    sources = price_sources(entry, terms, line, one.facts)
    rate = resolve_rate(contract.pricing_authority, sources, entry.role, entry.work_date, record=entry.source)
    if isinstance(rate, Finding):
        return rate
    tolerance = one.facts.firm.policies.billing.rate_tolerance
    day = entry.work_date
    conversion = one.facts.conversions.rate_for(contract, rate.currency, day, day)
    for words in price_differences(rate, sources, entry.role, day, tolerance, conversion):
        one.found(Cause.PRICE_DIFFERS, f"Role {entry.role!r} on {entry.work_date}: {words}.", "rate")
    if not 0 < entry.minutes <= DAY_MINUTES:
        return None
    return price_time(
        contract,
        rate,
        entry.minutes,
        entry.work_date,
        conversions=one.facts.conversions,
        hours_decimals=one.facts.hours_decimals,
        record=entry.source,
    )


def rates_of_line(terms: ContractFacts, line: ContractLine) -> RateVersion | None:
    """The contract's own rates of a line: draws price at the retainer's, where it has any (rule 32)."""
    rates, retainer = terms.rates, terms.contract.retainer
    if line.billing_method is not BillingMethod.RETAINER or retainer is None or retainer.rate_card is None:
        return rates
    card = retainer.rate_card
    number = rates.number if rates is not None else 0
    return RateVersion(contract_key=terms.contract.key, number=number, label=card.version, card=card)


def price_sources(entry: SourceLine, terms: ContractFacts, line: ContractLine, facts: Facts) -> PriceSources:
    """What contract, delivery system and ERP say about the rate of an entry."""
    told = None
    if entry.delivery_rate is not None and entry.delivery_currency is not None:
        told = (entry.delivery_rate, entry.delivery_currency)
    return PriceSources(
        contract=rates_of_line(terms, line),
        delivery=told,
        erp=facts.erp_rates.get((terms.contract.key, entry.role or "")),
    )
