"""A month of work in a local firm: time in Kantata, contracts that bill it, runs of time-to-billing."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import httpx

from canonical.engagement import (
    Contract,
    ContractLine,
)
from canonical.money import Money
from canonical.names import project_key
from canonical.opening import OpeningPosition
from canonical.parties import PartyRole
from canonical.refs import Dimensions
from canonical.saga import SagaStatus
from cli.local.config import SECRETS
from cli.local.deals import Deal
from cli.local.vendors import (
    KANTATA_ACCEPTANCE,
    KANTATA_ACCEPTED_BY,
    KANTATA_ACCEPTED_ON,
    KANTATA_CODE_FIELD,
)
from tests.e2e.billing_runs import Runs
from tests.e2e.billing_terms import (
    ADVISORY,
    BRAM,
    CONSULTANT,
    CURRENCIES,
    ERP,
    PSA,
    RATES,
    SET_UP,
    SUBSIDIARIES,
    Project,
    card,
    line,
)
from tests.e2e.firm import ROOT_ACTOR, Json


@dataclass
class Month(Runs):
    """Seeds work, starts runs, judges what the vendors hold."""

    contracts: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    # --- what there is ----------------------------------------------------------------------------------

    async def agree(
        self, project: Project, change: Callable[[ContractLine], ContractLine] | None = None, **terms: Any
    ) -> Contract:
        """Other terms of a contract, before anybody has worked on it: a further version of it."""
        contract = (await self.agreed(project)).model_copy(update=terms)
        if change is not None:
            lines = tuple(change(line) for line in contract.lines)
            contract = contract.model_copy(update={"lines": lines})
        await self.firm.ledger.add_contract_version(contract, saga_id="test")
        return contract

    async def contract(
        self,
        *lines: ContractLine,
        entity: str = "NL01",
        currency: str = "EUR",
        opening: OpeningPosition | bool = True,
        **terms: Any,
    ) -> Project:
        """A contract that was there before Trueup: in all systems, adopted with links and opening position.

        Quick, and with terms that the CRM does not carry.
        """
        number = next(self.contracts)
        key, client = f"C{number}.{entity}.{currency}", f"K{number}"
        own = lines or (line(amount="90000", currency=currency),)
        contract = Contract(
            key=key,
            name=f"Contract {number}",
            engagement_key=f"C{number}",
            legal_entity=entity,
            currency=currency,
            erp=ERP,
            dimensions=Dimensions(region="emea", legal_entity=entity),
            parties={PartyRole.SOLD_TO: client, PartyRole.BILL_TO: client},
            lines=own,
            payment_terms="Net 30",
            **{
                "start": date(2026, 11, 1),
                "end": date(2027, 5, 31),
                "rate_card": card(currency),
                **terms,
            },
        )
        code = f"PRJ-A{number}"
        customer, job, order, workspace = (str(next(self.ids)) for _ in range(4))
        subsidiary, money = {"id": SUBSIDIARIES[entity]}, {"id": CURRENCIES[currency]}
        address = {"defaultBilling": True, "addressBookAddress": {"country": {"id": "NL"}}}
        tax_number = {"nexusCountry": {"id": "NL"}, "taxRegistrationNumber": f"NL{number:09d}B01"}
        items = [
            {
                "item": {"id": one.item},
                "quantity": 1,
                "amount": _amount(one.amount),
                "custcol_trueup_key": one.key,
            }
            for one in own
        ]
        self.firm.control(
            ERP,
            "POST",
            "seed",
            {
                "customer": [
                    {
                        "id": customer,
                        "companyName": f"Client {number} B.V.",
                        "subsidiary": subsidiary,
                        "currency": money,
                        "currencyList": {"items": [{"currency": money}]},
                        "taxRegistration": {"items": [tax_number]},
                        "addressBook": {"items": [address]},
                    }
                ],
                "job": [
                    {
                        "id": job,
                        "entityId": code,
                        "companyName": contract.name,
                        "parent": {"id": customer},
                        "subsidiary": subsidiary,
                        "currency": money,
                        "jobBillingType": {"id": "TM"},
                        "projectExpenseType": {"id": "-2"},
                        "entityStatus": {"id": "2"},
                    }
                ],
                "salesOrder": [
                    {
                        "id": order,
                        "entity": {"id": customer},
                        "job": {"id": job},
                        "subsidiary": subsidiary,
                        "currency": money,
                        "orderStatus": {"id": "B"},
                        "item": {"items": items},
                    }
                ],
            },
        )
        stones = [one for each in own if each.schedule for one in each.schedule.dates if one.milestone_key]
        stories = {one.key: str(next(self.ids)) for one in stones}
        self.firm.control(
            PSA,
            "POST",
            "seed",
            {
                "workspaces": [
                    {
                        "id": workspace,
                        "title": contract.name,
                        "creator_role": "consultant",
                        "currency": currency,
                        "budgeted": True,
                        "status_key": 310,
                        "require_time_approvals": True,
                        "require_expense_approvals": True,
                        "custom_fields": [{"custom_field_id": KANTATA_CODE_FIELD, "value": code}],
                    }
                ],
                "stories": [
                    {
                        "id": stories[one.key],
                        "workspace_id": workspace,
                        "title": one.title,
                        "story_type": "milestone",
                    }
                    for one in stones
                ],
            },
        )
        await self._adopt(contract, customer, job, order, workspace, stories)
        if opening:
            position = opening if isinstance(opening, OpeningPosition) else _new(contract)
            await self._open(position.model_copy(update={"contract_key": key}))
        return Project(key, code, workspace, job)

    async def _adopt(
        self, contract: Contract, customer: str, job: str, order: str, workspace: str, stories: dict[str, str]
    ) -> None:
        first = contract.lines[0]
        delivery = project_key(contract.key, first.delivery_region, first.service_code)
        links = [
            ("client", contract.parties[PartyRole.BILL_TO], ERP, "customer", customer),
            ("project", contract.key, ERP, "job", job),
            ("contract", contract.key, ERP, "salesOrder", order),
            ("delivery", delivery, PSA, "workspaces", workspace),
            *(("milestone", f"{delivery}.{key}", PSA, "stories", id_) for key, id_ in stories.items()),
        ]
        await self.firm.adopt(links)
        await self.firm.ledger.add_contract_version(contract, saga_id="test")

    async def _open(self, position: OpeningPosition) -> None:
        await self.firm.ledger.import_openings([position], actor=ROOT_ACTOR, on=date(2026, 11, 1))

    async def project(self, deal: Deal = ADVISORY, *, opening: bool = True, **changes: Any) -> Project:
        """A deal carried to an active project by the first saga."""
        firm = self.firm
        handle = await firm.start(firm.seed(firm.deal(deal, **changes)))
        view = await firm.until(handle, SagaStatus.COMPLETE, patience=SET_UP)
        ((contract, code),) = view.codes.items()
        links = {row.kind: row for row in await firm.ledger.links_of("project", contract, system=ERP)}
        (delivery,) = [
            row
            for row in (await firm.ledger.links(kind="delivery", system=PSA, limit=1_000)).rows
            if row.key.startswith(f"{contract}.")
        ]
        project = Project(contract, code, delivery.record.id, links["project"].record.id)
        if opening and await firm.ledger.opening(contract) is None:
            await self._open(_new(await self.agreed(project)))
        await firm.end(handle)
        return project

    def time(
        self,
        project: Project,
        *days: int,
        user: int = BRAM,
        minutes: int = 480,
        role: int | None = CONSULTANT,
        status: str = "approved",
        **more: Any,
    ) -> list[str]:
        """A timesheet of entries on days of November; answers their ids."""
        entries = [
            {
                "id": next(self.ids),
                "workspace_id": project.workspace,
                "user_id": user,
                "role_id": role,
                "date_performed": f"2026-11-{day:02d}",
                "time_in_minutes": minutes,
                "billable": True,
                "rate_in_cents": RATES.get(role or 0, 15_000),
                "updated_at": _now(),
                **more,
            }
            for day in days
        ]
        self._hand_in("timesheet_submissions", project, user, status, "time_entries", entries)
        return [str(entry["id"]) for entry in entries]

    def expense(
        self, project: Project, day: int, cents: int, currency: str = "EUR", *, status: str = "approved"
    ) -> str:
        """An expense of a day of November, in the smallest unit of its currency; answers its id."""
        row = {
            "id": next(self.ids),
            "workspace_id": project.workspace,
            "user_id": BRAM,
            "date": f"2026-11-{day:02d}",
            "category": "Travel",
            "amount_in_cents": cents,
            "currency_code": currency,
            "is_billable": True,
            "reimbursable": True,
            "updated_at": _now(),
        }
        self._hand_in("expense_report_submissions", project, BRAM, status, "expenses", [row])
        return str(row["id"])

    def _hand_in(
        self, sheets: str, project: Project, user: int, status: str, kind: str, rows: list[Json]
    ) -> None:
        sheet = {
            "id": next(self.ids),
            "title": "Week",
            "workspace_id": project.workspace,
            "user_id": user,
            "status": status,
            "start_date": "2026-11-01",
            "updated_at": _now(),
        }
        for row in rows:
            row["recent_submission_id"] = sheet["id"]
        self.firm.control(PSA, "POST", "seed", {sheets: [sheet], kind: rows})

    # --- what people do in the vendors' own user interfaces ---------------------------------------------

    def kantata(self, method: str, path: str, body: Json = None) -> Json:
        """Somebody works in Kantata."""
        answer = httpx.request(
            method,
            f"{self.firm.url(PSA)}/api/v1/{path}",
            json=body,
            headers={"Authorization": f"Bearer {SECRETS['TRUEUP_KANTATA_TOKEN']}"},
            timeout=30,
            trust_env=False,
            verify=False,
        )
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    def edit(self, entry: str, **fields: Any) -> None:
        """Somebody changes a time entry."""
        self.kantata("PUT", f"time_entries/{entry}", {"time_entry": fields})

    def resolve_sheet(self, entry: str, action: str) -> None:
        """Somebody approves, rejects or cancels the timesheet of an entry."""
        (row,) = (one for one in self.firm.records(PSA, "time_entries") if str(one["id"]) == entry)
        self.kantata("PUT", f"timesheet_submissions/{row['recent_submission_id']}/{action}", {})

    def milestone(
        self, project: Project, title: str, *, complete: bool = True, accepted: bool = True
    ) -> None:
        """A milestone becomes complete, and the client accepts it."""
        (story,) = (
            one
            for one in self.firm.records(PSA, "stories")
            if str(one["workspace_id"]) == project.workspace and one["title"] == title
        )
        state = {"state": "completed"} if complete else {"state": "started"}
        self.kantata("PUT", f"stories/{story['id']}", {"story": state})
        if accepted:
            for field_, value in (
                (KANTATA_ACCEPTED_ON, "2026-11-18"),
                (KANTATA_ACCEPTED_BY, "J. Client"),
                (KANTATA_ACCEPTANCE, f"ACC-{story['id']}"),
            ):
                one = {"subject_type": "Story", "subject_id": int(story["id"]), "custom_field_id": field_}
                self.kantata("POST", "custom_field_values", {"custom_field_value": {**one, "value": value}})

    def tasks(self, project: Project, *percent: int) -> None:
        """Tasks of a project with how far they are: Kantata works out the project's progress from them."""
        stories = [
            {
                "id": next(self.ids),
                "workspace_id": project.workspace,
                "title": f"Task {number}",
                "story_type": "task",
                "percentage_complete": done,
            }
            for number, done in enumerate(percent, 1)
        ]
        self.firm.control(PSA, "POST", "seed", {"stories": stories})

    def refuse_invoice(self, project: Project, message: str) -> None:
        """NetSuite refuses the next invoice of a contract's client."""
        (job,) = (row for row in self.firm.records(ERP, "job") if row["id"] == project.job)
        self.firm.fault(
            ERP,
            kind="business",
            method="PUT",
            path="/invoice/",
            body_contains=f'"{job["parent"]["id"]}"',
            message=message,
        )

    def periods(self) -> None:
        """The account has accounting periods: October to January, all open."""
        months = (("Oct 2026", 10, 31), ("Nov 2026", 11, 30), ("Dec 2026", 12, 31))
        rows = [
            {"periodName": name, "startDate": f"2026-{number}-01", "endDate": f"2026-{number}-{last}"}
            for name, number, last in months
        ]
        rows.append({"periodName": "Jan 2027", "startDate": "2027-01-01", "endDate": "2027-01-31"})
        self.firm.control(ERP, "POST", "seed", {"accountingPeriod": rows})

    def period(self, name: str, **locks: bool) -> None:
        """An accountant locks or opens a period in NetSuite."""
        self.firm.control(ERP, "POST", "periods", {"name": name, **locks})

    # --- what the vendors hold --------------------------------------------------------------------------

    def posted(self, project: Project) -> list[Json]:
        """Time entries of a project in NetSuite."""
        return [row for row in self.firm.records(ERP, "timeBill") if row["customer"]["id"] == project.job]

    def hours(self, project: Project) -> int:
        """Minutes of a project in NetSuite, taken-back ones counted off."""
        return sum(minutes(row["hours"]) for row in self.posted(project))

    def invoices(self, project: Project | None = None) -> list[Json]:
        """Invoices in NetSuite, oldest first; only those of a project where one is named."""
        rows = self.firm.records(ERP, "invoice")
        return [row for row in rows if project is None or (row.get("job") or {}).get("id") == project.job]

    def credits(self, project: Project) -> list[Json]:
        """Credit memos of a project's invoices."""
        own = {row["id"] for row in self.invoices(project)}
        return [
            row
            for row in self.firm.records(ERP, "creditMemo")
            if (row.get("createdFrom") or {}).get("id") in own
        ]

    def twice(self) -> list[str]:
        """Stamps that more than one posting carries: always empty, whatever happened."""
        stamps = Counter(str(row.get("externalId")) for row in self.firm.records(ERP, "timeBill"))
        return [stamp for stamp, count in stamps.items() if count > 1]

    def billed_twice(self) -> list[str]:
        """Posted lines that stand on more than one invoice."""
        found = Counter(
            (sublist, str(line["doc"]["id"]))
            for invoice in self.invoices()
            for sublist in ("time", "expCost")
            for line in (invoice.get(sublist) or {}).get("items", [])
            if line.get("apply")
        )
        return [f"{kind} {doc}" for (kind, doc), count in found.items() if count > 1]


def _new(contract: Contract) -> OpeningPosition:
    """The opening position of a contract of which nothing was billed before."""
    return OpeningPosition(contract_key=contract.key, billed_to_date=Money.of_minor(0, contract.currency))


def _amount(money: Money) -> float:
    return float(money.amount)


def minutes(hours: str) -> int:
    """Minutes of NetSuite's ``h:mm``."""
    sign = -1 if hours.startswith("-") else 1
    whole, rest = hours.lstrip("-").split(":")
    return sign * (int(whole) * 60 + int(rest))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
