"""What contracts themselves make billable: milestones as delivery has them, schedule dates, retainers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from activities.billing.deciding import Deciding
from activities.billing.gathering import contract_of, links_to
from activities.contracts import SagaRef
from canonical.engagement import BillingMethod
from canonical.failures import Conflict
from canonical.items import ItemKind
from canonical.money import Money
from canonical.names import project_key
from connectors.ports.delivery import DeliveryFeed
from ledger.billing_rows import FeesTaken, TakenIn
from rules.caps import order_key
from rules.fees import FeeFacts, MilestoneState, Progress, fees_of, milestone_state
from rules.placing import ContractFacts

MILESTONE = "milestone"
"""Kind of the links between our milestones and delivery's."""
TRIES = 3
FEES = frozenset(BillingMethod) - {BillingMethod.TIME_AND_MATERIALS}


class Milestones(Deciding):
    """Takes fees into the ledger."""

    async def take_in(
        self, saga: SagaRef, feed: DeliveryFeed, psa: str, erp: str, through: date
    ) -> tuple[int, TakenIn]:
        """Every fee of the route's contracts up to a day; answers how many were looked at, and what was new
        or changed.
        """
        deliveries = await self._projects(psa)
        projects = {id_: contract_of(key) for id_, key in deliveries.items()}
        contracts = {
            key: terms
            for key, terms in (await self.gathering.contracts(set(projects.values()))).items()
            if terms.contract.erp == erp and any(line.billing_method in FEES for line in terms.contract.lines)
        }
        wanted = [id_ for id_, key in projects.items() if key in contracts]
        delivered = await self.gathering.delivered(feed, psa, wanted)
        states = await self._states(feed, wanted)
        codes = {projects[id_]: project.code for id_, project in delivered.items() if project.code}
        progress = await self._progress(feed, contracts, deliveries)
        looked, told = 0, TakenIn()
        for key, terms in contracts.items():
            code = codes.get(key)
            if code is None:
                continue
            facts = FeeFacts(
                region=saga.region,
                project_code=code,
                through=through,
                at=self._now(),
                milestones=_of_contract(terms, states),
                opening=terms.opening,
                used_orders=(
                    await self.ledger.account_balances(
                        order_key(terms.contract, order) for order in terms.contract.purchase_orders
                    )
                ).used,
                progress=progress.get(key, {}),
            )
            taken = await self._take(terms, facts, erp)
            told = told + TakenIn(new=taken.new, same=taken.same, renewed=taken.changed)
            looked += taken.new + taken.same + taken.changed
        return looked, told

    async def _take(self, terms: ContractFacts, facts: FeeFacts, erp: str) -> FeesTaken:
        """Take a contract's fees in. Progress is worked out again when another run billed some meanwhile."""
        for left in reversed(range(TRIES)):
            if facts.progress:
                facts = replace(facts, **await self._progress_billed(terms.contract.key))
            try:
                return await self.ledger.take_fees(fees_of(terms.contract, facts), erp=erp)
            except Conflict:
                if not left:
                    raise
        raise AssertionError

    async def _projects(self, psa: str) -> dict[str, str]:
        """Our delivery key by the delivery system's project id, of all projects that are ours."""
        return await self.gathering.deliveries(psa)

    async def _progress(
        self, feed: DeliveryFeed, contracts: Mapping[str, ContractFacts], deliveries: Mapping[str, str]
    ) -> dict[str, dict[str, Progress]]:
        """Progress by contract and line, of the lines that are billed by it, read now."""
        lines = {
            project_key(key, line.delivery_region, line.service_code): (key, line.key)
            for key, terms in contracts.items()
            for line in terms.contract.lines
            if line.billing_method is BillingMethod.PROGRESS
        }
        wanted = {id_: lines[delivery] for id_, delivery in deliveries.items() if delivery in lines}
        found: dict[str, dict[str, Progress]] = {key: {} for key, _ in lines.values()}
        for project in await feed.projects(list(wanted)) if wanted else ():
            key, line = wanted[project.ref.id]
            found[key][line] = Progress(
                percent=project.percent_complete, minutes_at_completion=project.minutes_at_completion
            )
        return found

    async def _progress_billed(self, contract: str) -> dict[str, Any]:
        """What was made billable by progress so far, and which of it stands."""
        billed: dict[str, dict[str, Money]] = {}
        used: set[tuple[str, str]] = set()
        page = await self.ledger.items(contract_key=contract, kinds=[ItemKind.PROGRESS_PERIOD])
        for item in page.rows:
            assert item.line_key is not None
            assert item.priced is not None
            cycle = item.source.rsplit(f"{item.line_key}.", 1)[1]
            billed.setdefault(item.line_key, {})[cycle] = item.priced
            if item.open != item.priced:
                used.add((item.line_key, cycle))
        return {"progress_billed": billed, "progress_used": frozenset(used)}

    async def _states(self, feed: DeliveryFeed, projects: list[str]) -> dict[str, MilestoneState]:
        """How far milestones are, by the key of our link."""
        if not projects:
            return {}
        told = {one.ref.id: one for one in await feed.milestones(projects)}
        links = await links_to(self.ledger, (one.ref for one in told.values()))
        return {
            row.key: milestone_state(told[id_])
            for id_, rows in links.items()
            for row in rows
            if row.kind == MILESTONE
        }


def _of_contract(terms: ContractFacts, states: Mapping[str, MilestoneState]) -> dict[str, MilestoneState]:
    """States by the milestone keys of the contract's own schedules."""
    found: dict[str, MilestoneState] = {}
    for line in terms.contract.lines:
        delivery = project_key(terms.contract.key, line.delivery_region, line.service_code)
        for one in line.schedule.dates if line.schedule is not None else ():
            key = one.milestone_key or one.key
            if (state := states.get(f"{delivery}.{key}")) is not None:
                found[key] = state
    return found
