"""What a won deal must become in every vendor, worked out a second time: from its terms, the settings and
the vendors' reference data. Shares no code with rules, sagas or connectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from tests.chaos.nodes import Names, Node, graph, node
from tests.chaos.terms import Due, Sold, Terms, minor
from tests.chaos.vendors import KANTATA, SALESFORCE, Change, Row, live
from tests.chaos.verdict import Verdict, compare

COUNTRIES = {"Netherlands": "NL", "United Kingdom": "GB", "Japan": "JP", "Germany": "DE"}
JOB_BILLING = {"time_and_materials": "TM", "fixed_schedule": "2", "milestone": "3"}
MIXED_BILLING, PENDING, APPROVED = "1", "A", "B"
JOB_OPEN = "2"
PROJECT_CODE_FIELD = "9"
"""NetSuite and Kantata settings of the simulated firm's accounts."""


class Oracle(Terms):
    """Judges what the vendors hold of one deal."""

    # --- judging ------------------------------------------------------------------------------------

    def judge_complete(self, seen: Change) -> Verdict:
        """Everything must be there exactly once, active, with codes in the deal."""
        verdict = compare(self.expected(), graph(seen))
        judge_the_rest(seen, verdict, {str(self.deal["Id"]): self.told})
        return verdict

    def judge_undone(self, seen: Change) -> Verdict:
        """Exactly what was there before the deal."""
        verdict = compare([], graph(seen))
        judge_the_rest(seen, verdict, {})
        return verdict

    def judge_partly(self, seen: Change) -> Verdict:
        """On its way: nothing twice, nothing foreign."""
        verdict = compare(self.expected(), graph(seen), partly=True)
        for vendor, kind, id_, moved in seen.changed:
            if kind != "Opportunity":
                verdict.wrong.append(f"{vendor} {kind} {id_} was changed: {moved}")
        return verdict

    # --- NetSuite ---------------------------------------------------------------------------------------

    def expected(self) -> list[Node]:
        """Every record that the finished deal needs, in every vendor but the CRM."""
        return [*self._clients(), *self.shared_in_delivery(), *self.own()]

    def own(self) -> list[Node]:
        """What the deal shares with no other deal."""
        return [*self._finance(), *self._delivery()]

    @property
    def entities(self) -> list[str]:
        """Selling entities in the order of the lines; a client made for this deal stands under the first."""
        return list(dict.fromkeys(line.entity for line in self.lines))

    @property
    def sold_in(self) -> list[str]:
        """Currencies in the order of the lines."""
        return list(dict.fromkeys(line.currency for line in self.lines))

    @property
    def new_accounts(self) -> list[Row]:
        """The accounts that must become customers, the parent first; none for a client finance knows."""
        if self.existing_customer() is not None:
            return []
        return [one for one in (self.parent, self.account) if one is not None]

    def _clients(self) -> list[Node]:
        return [
            one
            for account in self.new_accounts
            for one in self.customer(account, self.entities, self.sold_in)
        ]

    def customer(self, account: Row, entities: Sequence[str], currencies: Sequence[str]) -> list[Node]:
        """A customer with its entities; the first entity and currency are its primary ones."""
        return [
            node(
                "customer",
                [account["Name"]],
                parent=self.parent["Name"] if self.parent and account is self.account else None,
                subsidiary=self.subsidiaries[entities[0]],
                currency=self.currencies[currencies[0]],
                currencies={self.currencies[one] for one in currencies},
                terms=self.terms,
                tax=account.get("Tax_Id__c"),
                email=account.get("Billing_Email__c"),
                addresses=1,
                street=account.get("BillingStreet"),
                city=account.get("BillingCity"),
                zip=account.get("BillingPostalCode"),
                country=COUNTRIES.get(account.get("BillingCountry") or ""),
                inactive=False,
            ),
            *(
                node(
                    "customerSubsidiaryRelationship",
                    [account["Name"], self.subsidiaries[entity]],
                    primary=entity == entities[0],
                )
                for entity in entities
            ),
        ]

    def _finance(self) -> list[Node]:
        nodes = []
        for key, rows in self.contracts.items():
            job, (entity, currency) = self.job_name(key), key
            methods = {line.method for line in rows}
            total = sum((line.amount for line in rows), Decimal(0))
            nodes.append(
                node(
                    "job",
                    [job],
                    client=self.client_name,
                    subsidiary=self.subsidiaries[entity],
                    currency=self.currencies[currency],
                    billing=JOB_BILLING[methods.pop()] if len(methods) == 1 else MIXED_BILLING,
                    start=min(line.start for line in rows),
                    end=max(line.end for line in rows),
                    status=JOB_OPEN,
                    inactive=False,
                )
            )
            nodes.append(
                node(
                    "salesOrder",
                    [job],
                    client=self.client_name,
                    subsidiary=self.subsidiaries[entity],
                    currency=self.currencies[currency],
                    status=APPROVED,
                    terms=self.terms,
                    memo=self.deal["Name"],
                    total=total,
                    lines=[
                        {
                            "item": line.service["items"]["netsuite-emea"],
                            "description": line.description,
                            "quantity": line.quantity,
                            "amount": line.amount,
                            "method": line.method,
                            "scheduled": bool(self.dues(line)),
                            "closed": False,
                        }
                        for line in rows
                    ],
                )
            )
            nodes.append(node("revenueArrangement", [job], total=total))
            for number, line in enumerate(rows, start=1):
                nodes.append(node("revenuePlan", [job, number], amount=line.amount))
                if self.dues(line):
                    nodes.append(self._schedule(f"{job} / {number}", self.dues(line)))
        return nodes

    @staticmethod
    def _schedule(spot: str, dues: list[Due]) -> Node:
        """NetSuite's schedules know one differing first amount and equal months; all else is custom."""
        amounts, days = [due.amount for due in dues], [due.day for due in dues]
        months = [day.year * 12 + day.month for day in days]
        monthly = all(b - a == 1 for a, b in pairwise(months)) and all(
            (day + timedelta(days=1)).day == 1 for day in days
        )
        frequency, initial, remaining = "CUSTOM", Decimal(0), len(dues)
        if len(dues) == 1:
            frequency = "NEVER"
        elif monthly and len(set(amounts[1:])) == 1:
            frequency = "MONTHLY"
            if amounts[0] != amounts[1]:
                initial, remaining = amounts[0], len(dues) - 1
        return node(
            "billingSchedule",
            [spot],
            frequency=frequency,
            remaining=remaining,
            initial=initial,
            inactive=False,
        )

    # --- Kantata ------------------------------------------------------------------------------------------

    def shared_in_delivery(self) -> list[Node]:
        """The client's group."""
        return [
            node("workspace_groups", [self.account["Name"]], company=True),
            _reference(str(self.account["Name"]), "ensure_group"),
        ]

    def _delivery(self) -> list[Node]:
        nodes: list[Node] = []
        for key, rows in self.contracts.items():
            parts: dict[tuple[str, str], list[Sold]] = {}
            for line in rows:
                parts.setdefault((line.region, line.service["code"]), []).append(line)
            for (region, _), own in parts.items():
                alone = len(parts) == 1 and len(rows) == len(self.lines)
                name, service = self.deal["Name"], own[0].service
                title = name if alone else f"{name} - {service['name']} {region}"
                nodes += self._project(key, title, own)
        return nodes

    def _project(self, key: tuple[str, str], title: str, own: list[Sold]) -> list[Node]:
        service, currency = own[0].service, key[1]
        nodes = [
            node(
                "workspaces",
                [title],
                groups=[self.account["Name"]],
                primary=self.account["Name"],
                currency=currency,
                price=minor(sum((line.amount for line in own), Decimal(0)), currency),
                start=min(line.start for line in own),
                due=max(line.end for line in own),
                status=self.status_keys["active"],
                archived=False,
            ),
            _reference(title, "open_project"),
            node("custom_field_values", [title, PROJECT_CODE_FIELD], value=f"code of {self.job_name(key)}"),
            node("participations", [title, "1"]),
        ]
        template = next(
            row
            for row in self.base[KANTATA]["project_templates"].values()
            if row["title"] == service["template"]
        )
        nodes += _tasks(title, "-", template["raw_json"]["stories"])
        for line in own:
            if line.method != "milestone":
                continue
            for due in self.dues(line):
                amount = minor(due.amount, currency)
                nodes.append(_story(title, "-", due.title, "milestone", due=due.day, fee=True, amount=amount))
                nodes.append(_reference(f"{title} / {due.title}", "add_milestone"))
        return [*nodes, *self._positions(title, service, template, currency, min(line.start for line in own))]

    def _positions(self, title: str, service: Row, template: Row, currency: str, day: date) -> list[Node]:
        titles = self.firm["systems"]["kantata-main"]["mapping"]["role_titles"]
        role_ids = {row["name"]: str(row["id"]) for row in self.base[KANTATA]["roles"].values()}
        brought = [
            str(row["role_id"])
            for row in self.base[KANTATA]["project_template_assignments"].values()
            if str(row["project_template_id"]) == str(template["id"])
        ]
        nodes = []
        for need in service["roles"]:
            role, count = role_ids[titles[need["role"]]], need.get("count", 1)
            rate = self._rate(need["role"], currency, day)
            figure = None if rate is None else minor(rate, currency)
            for place in range(max(count, brought.count(role))):
                nodes.append(
                    node(
                        "workspace_resources",
                        [title, f"role {role}"],
                        rate=figure if place < count else None,
                        person=None,
                    )
                )
                if place >= brought.count(role):
                    nodes.append(_reference(f"{title} / role {role}", "add_placeholder"))
        return nodes

    def _rate(self, role: str, currency: str, day: date) -> Decimal | None:
        for card in self.firm["policies"]["standard_rates"]:
            for line in card["lines"] if card["currency"] == currency else ():
                if line["role"] == role and line["effective_from"] <= day:
                    return Decimal(line["amount"])
        return None


def judge_the_rest(seen: Change, verdict: Verdict, told: Mapping[str, Mapping[str, str]]) -> None:
    """Nothing that was there before is gone or changed, but for what the deals are told (by deal)."""
    names = Names(seen.now)
    for vendor, kind, id_ in seen.gone:
        verdict.missing.append(f"{vendor} {kind} {id_}, which was there before")
    found: dict[str, dict[str, Any]] = {}
    for vendor, kind, id_, moved in seen.changed:
        if vendor == SALESFORCE and kind == "Opportunity":
            found[id_[:15]] = {name: names.text(after) for name, (_, after) in moved.items()}
        else:
            verdict.wrong.append(f"{vendor} {kind} {id_} was changed: {moved}")
    for deal in sorted({*found, *told}):
        shown, expected = found.get(deal, {}), dict(told.get(deal, {}))
        if shown != expected:
            verdict.wrong.append(f"Opportunity {deal}: shows {shown}, expected {expected}")
    for kind, rows in live(seen)[SALESFORCE].items():
        verdict.orphans += [f"{SALESFORCE} {kind} {id_}" for id_ in rows]


def _story(
    project: str,
    parent: str,
    title: str,
    kind: str,
    *,
    due: date | None = None,
    fee: bool = False,
    amount: int | None = None,
) -> Node:
    return node(
        "stories", [project, parent, title], type=kind, due=due, fee=fee, amount=amount, archived=False
    )


def _tasks(project: str, parent: str, rows: list[Row]) -> list[Node]:
    nodes = []
    for row in rows:
        nodes.append(_story(project, parent, row["title"], row["story_type"]))
        nodes += _tasks(project, row["title"], row.get("sub_stories", []))
    return nodes


def _reference(subject: str, model: str) -> Node:
    return node("external_references", [subject, model], service="trueup", status=None)
