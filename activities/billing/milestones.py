"""What contracts themselves make billable: milestones as delivery has them, schedule dates, retainers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime

from activities.billing.gathering import DELIVERY, Gathering, links_to
from activities.contracts import SagaRef
from activities.systems import Systems
from canonical.engagement import BillingMethod
from canonical.names import project_key
from connectors.ports.delivery import DeliveryFeed
from ledger.store import Ledger
from rules.caps import order_key
from rules.fees import FeeFacts, MilestoneState, fees_of, milestone_state
from rules.placing import ContractFacts

MILESTONE = "milestone"
"""Kind of the links between our milestones and delivery's."""
FEES = frozenset({BillingMethod.MILESTONE, BillingMethod.FIXED_SCHEDULE, BillingMethod.RETAINER})


class Milestones:
    """Takes fees into the ledger."""

    def __init__(
        self,
        systems: Systems,
        ledger: Ledger,
        gathering: Gathering,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.systems = systems
        self.ledger = ledger
        self.gathering = gathering
        self._now = clock

    async def take_in(self, saga: SagaRef, feed: DeliveryFeed, psa: str, erp: str, through: date) -> int:
        """Every fee of the route's contracts up to a day; answers how many were looked at."""
        projects = await self._projects(psa)
        contracts = {
            key: terms
            for key, terms in (await self.gathering.contracts(set(projects.values()))).items()
            if terms.contract.erp == erp and any(line.billing_method in FEES for line in terms.contract.lines)
        }
        wanted = [id_ for id_, key in projects.items() if key in contracts]
        delivered = await self.gathering.delivered(feed, psa, wanted)
        states = await self._states(feed, wanted)
        codes = {projects[id_]: project.code for id_, project in delivered.items() if project.code}
        looked = 0
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
            )
            fees = fees_of(terms.contract, facts)
            await self.ledger.take_fees(fees, erp=erp)
            looked += len(fees)
        return looked

    async def _projects(self, psa: str) -> dict[str, str]:
        """Contract key by delivery project id, of all projects that are ours."""
        found: dict[str, str] = {}
        after = 0
        while True:
            page = await self.ledger.links(kind=DELIVERY, system=psa, after=after, limit=1_000)
            found |= {row.record.id: row.key.rsplit(".", 2)[0] for row in page.rows}
            if page.cursor is None:
                return found
            after = page.cursor

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
