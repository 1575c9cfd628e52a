"""Puts generated cases into the simulated firm: records at the vendors, contracts and links in the ledger.

Only here do the judge's words become the product's. What the product makes of them is judged elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from canonical.engagement import (
    BillingMethod,
    BillingSchedule,
    Contract,
    ContractLine,
    InvoiceGrouping,
    RevenueMethod,
    ScheduleDate,
)
from canonical.money import Conversion, Money, Rounding
from canonical.names import cap_key, project_key, retainer_account
from canonical.opening import CapOpening, OpeningPosition
from canonical.parties import PartyRole
from canonical.rates import RateCard, RateLine
from canonical.refs import Dimensions, RecordRef
from canonical.terms import (
    Cap,
    CapScope,
    CurrencyTerms,
    ExpenseTerms,
    LateTime,
    OverageRule,
    PurchaseOrder,
    RateFixing,
    RetainerTerms,
)
from ledger.links import NewLink
from ledger.store import Ledger
from tests.conservation.generate import ENTITIES, ROLE_IDS, Case, Entry
from tests.conservation.terms import DECIMALS, MILESTONE, PROGRESS, Agreement, Span
from tests.e2e.firm import ROOT_ACTOR

Json = dict[str, Any]
Seed = dict[str, list[Json]]
PSA, ERP = "kantata-main", "netsuite-emea"
SERVICE, REGION, ITEM = "ADV", "emea", "32"
CURRENCY_IDS = {code: str(number) for number, code in enumerate(DECIMALS, 21)}
"""The ERP's ids of the twelve currencies; the firm's own four keep theirs."""
CURRENCY_IDS |= {"EUR": "1", "GBP": "2", "JPY": "3", "KWD": "4"}
CODE_FIELD = 9
ACCEPTANCE = (11, 12, 13)
"""Delivery's fields of a milestone: accepted on, by whom, with which document."""
ADDRESS = {"addr1": "Stationsplein 1", "city": "Utrecht", "zip": "3511 ED", "country": {"id": "NL"}}
TAX_NUMBER = "NL804321987B01"
WORKERS, EMPLOYEES = 2_000, 300_000


def configuration(text: str) -> str:
    """The firm's configuration with twelve currencies and every draft reviewed. Delivery's own rates are not
    what is judged here: any difference is tolerated.
    """
    known = 'currencies = { EUR = "1", GBP = "2", JPY = "3", KWD = "4" }'
    all_ = ", ".join(f'{code} = "{id_}"' for code, id_ in CURRENCY_IDS.items())
    for old, new in (
        (known, f"currencies = {{ {all_} }}"),
        ('above = "1000"', 'above = "0"'),
        ("collect_from = 2026-01-01", 'collect_from = 2026-01-01\nrate_tolerance = "1000000000"'),
    ):
        assert old in text, old
        text = text.replace(old, new)
    return text


def currencies() -> list[Json]:
    """The ERP's currencies beside the firm's own."""
    return [
        {"id": id_, "name": code, "symbol": code, "currencyPrecision": DECIMALS[code]}
        for code, id_ in CURRENCY_IDS.items()
        if int(id_) > 4
    ]


# --- vendors ----------------------------------------------------------------------------------------


def email(case: Case) -> str:
    """Address of a case's worker."""
    return f"w{case.worker}@northgate.example"


def hr_rows(cases: Iterable[Case]) -> str:
    """Lines of the HR export for the workers of cases."""
    return "".join(
        f"X{case.worker},Worker {case.worker},{email(case)},consultant,Finance,emea,"
        f"{case.terms.entity},60,EUR,2020-01-01,\n"
        for case in cases
    )


def erp_seed(cases: Iterable[Case]) -> Seed:
    """Customers, projects, contracts and workers in the ERP."""
    seed: Seed = {"employee": [], "customer": [], "job": [], "salesOrder": []}
    for case in cases:
        terms = case.terms
        subsidiary, currency = {"id": ENTITIES[terms.entity]}, {"id": CURRENCY_IDS[terms.currency]}
        all_ = [{"currency": {"id": id_}} for id_ in CURRENCY_IDS.values()]
        seed["employee"].append(
            {
                "id": str(EMPLOYEES + int(case.worker)),
                "entityId": f"X{case.worker}",
                "email": email(case),
                "subsidiary": subsidiary,
            }
        )
        # A client of several contracts is there once.
        known = {row["id"] for row in seed["customer"]}
        seed["customer"] += [
            {
                "id": terms.customer,
                "companyName": f"Client {terms.key}",
                "subsidiary": subsidiary,
                "currency": currency,
                "terms": {"id": "2"},
                "currencyList": {"items": all_},
                "addressBook": {"items": [{"defaultBilling": True, "addressBookAddress": dict(ADDRESS)}]},
                "defaultTaxReg": TAX_NUMBER,
            }
        ][terms.customer in known :]
        seed["job"].append(
            {
                "id": terms.job,
                "companyName": f"Project {terms.key}",
                "parent": {"id": terms.customer},
                "subsidiary": subsidiary,
                "currency": currency,
                "jobBillingType": {"id": "TM"},
                "projectExpenseType": {"id": "-2"},
                "startDate": terms.first.isoformat(),
                "entityStatus": {"id": "2"},
                "entityId": code_of(terms),
            }
        )
        seed["salesOrder"].append(
            {
                "id": order_of(terms),
                "entity": {"id": terms.customer},
                "job": {"id": terms.job},
                "subsidiary": subsidiary,
                "currency": currency,
                "orderStatus": {"id": "B"},
                "item": {
                    "items": [
                        {
                            "item": {"id": ITEM},
                            "quantity": 1,
                            "amount": float(_decimal(terms.amount, terms.currency)),
                            "custcol_trueup_key": terms.line,
                        }
                    ]
                },
            }
        )
    return seed


def order_of(terms: Agreement) -> str:
    """The contract's order in the ERP. Counted downwards: the ERP itself counts on from the highest."""
    return str(9_000_000 - int(terms.project))


def code_of(terms: Agreement) -> str:
    """The project code."""
    return f"PX-{terms.project}"


def psa_seed(cases: Iterable[Case]) -> Seed:
    """Projects, milestones and workers in delivery."""
    seed: Seed = {"users": [], "workspaces": [], "stories": [], "custom_field_values": []}
    for case in cases:
        terms = case.terms
        seed["users"].append(
            {
                "id": WORKERS + int(case.worker),
                "full_name": f"Worker {case.worker}",
                "email_address": email(case),
            }
        )
        seed["workspaces"].append(
            {
                "id": int(terms.project),
                "title": f"Project {terms.key}",
                "currency": terms.rate_currency or terms.currency,
                "stage": "project",
                "status_key": 310,
                "require_time_approvals": True,
                "require_expense_approvals": True,
                "custom_fields": [{"custom_field_id": CODE_FIELD, "value": code_of(terms)}],
            }
        )
        for key, story in terms.story.items():
            known = {"id": int(story), "title": key, "workspace_id": int(terms.project)}
            if terms.method == PROGRESS:
                seed["stories"].append({**known, "story_type": "task", "percentage_complete": case.percent})
                continue
            state = "completed" if key in case.complete else "not started"
            seed["stories"].append({**known, "story_type": "milestone", "state": state})
            if key in case.accepted:
                seed["custom_field_values"] += acceptance(story)
    return seed


def acceptance(story: str) -> list[Json]:
    """A milestone's acceptance: when, by whom, with which document."""
    return [
        {"subject_type": "Story", "subject_id": int(story), "custom_field_id": field, "value": value}
        for field, value in zip(ACCEPTANCE, ("2026-10-20", "C. Lient", "ACC-1"), strict=True)
    ]


def work_seed(case: Case, entries: Sequence[Entry], now: datetime | None = None) -> Seed:
    """Entries with a submission each, so that each has an approval of its own."""
    at = (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    seed: Seed = {
        "timesheet_submissions": [],
        "time_entries": [],
        "expense_report_submissions": [],
        "expenses": [],
    }
    for one in entries:
        common = {
            "workspace_id": int(case.terms.project),
            "user_id": WORKERS + int(case.worker),
            "updated_at": at,
        }
        sheet = {**common, "id": sheet_of(one.id), "title": "Week", "status": one.status}
        if one.kind == "time":
            seed["timesheet_submissions"].append({**sheet, "start_date": one.day.isoformat()})
            seed["time_entries"].append(
                {
                    **common,
                    "id": one.id,
                    "role_id": ROLE_IDS[one.role],
                    "date_performed": one.day.isoformat(),
                    "time_in_minutes": one.minutes,
                    "billable": one.billable,
                    "rate_in_cents": 1,
                    "recent_submission_id": sheet_of(one.id),
                }
            )
        else:
            seed["expense_report_submissions"].append(sheet)
            seed["expenses"].append(
                {
                    **common,
                    "id": one.id,
                    "date": one.day.isoformat(),
                    "category": "Travel",
                    "amount_in_cents": one.minor,
                    "is_billable": one.billable,
                    "recent_submission_id": sheet_of(one.id),
                }
            )
    return {type_: rows for type_, rows in seed.items() if rows}


def sheet_of(entry: int | str) -> int:
    """The submission of an entry."""
    return 5_000_000 + int(entry)


def merged(seeds: Iterable[Seed]) -> Seed:
    """Several seeds as one."""
    found: Seed = {}
    for seed in seeds:
        for type_, rows in seed.items():
            found.setdefault(type_, []).extend(rows)
    return found


# --- ledger -----------------------------------------------------------------------------------------


async def tell_ledger(ledger: Ledger, cases: Sequence[Case]) -> None:
    """Contracts as agreed, the records behind them, and opening positions: as after the first saga."""
    links: list[NewLink] = []
    for case in cases:
        terms = case.terms
        await ledger.add_contract_version(contract(terms), saga_id="conservation", effective_on=terms.first)
        links += _links(terms)
    for start in range(0, len(links), 400):
        await ledger.link_many(links[start : start + 400])
    await import_openings(ledger, [case.terms for case in cases])


async def import_openings(ledger: Ledger, all_terms: Sequence[Agreement]) -> None:
    """Opening positions of all contracts that have one."""
    positions, retainers, limits = [], {}, {}
    for terms in all_terms:
        opening = terms.opening
        if opening is None:
            continue
        account = retainer_account(terms.key, terms.line)
        retainers[terms.key] = account
        caps = []
        if opening.cap_used:
            key = cap_key(terms.key, CapScope.CONTRACT.value, None)
            caps = [CapOpening(cap_key=key, used=_money(opening.cap_used, terms))]
            limits[key] = _money(next(one.minor for one in terms.limits if one.role is None), terms)
        positions.append(
            OpeningPosition(
                contract_key=terms.key,
                billed_to_date=_money(opening.to_date, terms),
                last_billed_work_date=opening.last_day,
                billed_keys=tuple(f"{key}" for key in opening.billed),
                caps=tuple(caps),
                retainer_balance=_money(opening.retainer, terms) if opening.retainer else None,
            )
        )
    await ledger.import_openings(
        positions, actor=ROOT_ACTOR, on=date(2026, 10, 1), retainers=retainers, limits=limits
    )


def _links(terms: Agreement) -> list[NewLink]:
    delivery = project_key(terms.key, REGION, SERVICE)
    known = [
        ("client", terms.customer, RecordRef(system=ERP, type="customer", id=terms.customer)),
        ("contract", terms.key, RecordRef(system=ERP, type="salesOrder", id=order_of(terms))),
        ("project", terms.key, RecordRef(system=ERP, type="job", id=terms.job)),
        ("delivery", delivery, RecordRef(system=PSA, type="workspaces", id=terms.project)),
        *(
            ("milestone", f"{delivery}.{key}", RecordRef(system=PSA, type="stories", id=story))
            for key, story in terms.story.items()
            if terms.method == MILESTONE
        ),
    ]
    return [NewLink(kind=k, key=key, record=ref, created_by_us=False, adopted=True) for k, key, ref in known]


def contract(terms: Agreement) -> Contract:
    """The agreement as the product states it."""
    dues = tuple(
        ScheduleDate(
            key=due.key, title=due.key, due=due.day, amount=_money(due.minor, terms), milestone_key=due.key
        )
        for due in terms.dues
    )
    advance = terms.advance
    line = ContractLine(
        key=terms.line,
        service_code=SERVICE,
        item=ITEM,
        description=f"Line of {terms.key}",
        quantity=Decimal(1),
        amount=_money(terms.amount, terms),
        deal_amount=_money(terms.amount, terms),
        billing_method=BillingMethod(terms.method),
        revenue_method=RevenueMethod.AS_INVOICED,
        schedule=BillingSchedule(key=terms.line, name=terms.line, dates=dues) if dues else None,
        start=terms.first,
        end=terms.last,
        delivery_region=REGION,
        acceptance_required=terms.acceptance,
    )
    return Contract(
        key=terms.key,
        name=terms.key,
        engagement_key=terms.key,
        legal_entity=terms.entity,
        currency=terms.currency,
        erp=ERP,
        dimensions=Dimensions(region=REGION, legal_entity=terms.entity),
        parties={PartyRole.SOLD_TO: terms.customer, PartyRole.BILL_TO: terms.customer},
        lines=(line,),
        purchase_orders=tuple(
            PurchaseOrder(
                number=order.number,
                amount=_money(order.minor, terms) if order.minor is not None else None,
                valid_from=order.first,
                valid_to=order.last,
                required=order.required,
            )
            for order in terms.orders
        ),
        caps=tuple(
            Cap(
                scope=CapScope.ROLE if limit.role else CapScope.CONTRACT,
                subject=limit.role,
                amount=_money(limit.minor, terms),
                includes_expenses=limit.with_expenses,
            )
            for limit in terms.limits
        ),
        grouping=InvoiceGrouping(terms.grouping),
        rounding=Rounding(terms.rounding),
        rate_card=card(terms, terms.rates),
        expense_terms=ExpenseTerms(
            rebill=terms.rebill,
            markup_percent=Decimal(terms.markup),
            limit=_money(terms.expense_limit, terms) if terms.expense_limit is not None else None,
        ),
        retainer=None
        if advance is None
        else RetainerTerms(
            period_amount=_money(advance.minor, terms),
            rolls_over=advance.rolls_over,
            overage=OverageRule(advance.overage),
        ),
        currency_terms=CurrencyTerms(
            fixing=RateFixing.FIXED if terms.agreed else RateFixing.INCURRED,
            agreed=tuple(
                Conversion(
                    from_currency=currency,
                    to_currency=terms.currency,
                    rate=Decimal(rate),
                    rate_type="fixed_by_contract",
                    rate_date=terms.first.isoformat(),
                    source="contract",
                )
                for currency, rate in terms.agreed
            ),
        ),
        late_time=LateTime.SUPPLEMENTARY if terms.supplementary else LateTime.NEXT_CYCLE,
        start=terms.first,
        end=terms.last,
    )


def card(terms: Agreement, spans: Sequence[Span], version: int = 1) -> RateCard:
    """Rates as the product states them."""
    currency = terms.rate_currency or terms.currency
    return RateCard(
        code=terms.key,
        version=str(version),
        currency=currency,
        lines=tuple(
            RateLine(
                role=span.role,
                amount=Decimal(span.amount),
                currency=currency,
                effective_from=span.first,
                effective_to=span.last,
            )
            for span in spans
        ),
    )


def _money(minor: int, terms: Agreement) -> Money:
    return Money(amount=_decimal(minor, terms.currency), currency=terms.currency)


def _decimal(minor: int, currency: str) -> Decimal:
    return Decimal(minor).scaleb(-DECIMALS[currency])
