"""Letting held items go on: checked again with today's data, and looked for in the ERP first."""

from __future__ import annotations

from collections.abc import Sequence

from activities.billing.deciding import Deciding
from activities.billing.lines import COST_KINDS, Figures, cost_line, line_context
from activities.contracts import ReleaseHeld, ReleasePage
from activities.failures import progress
from canonical.erp_billing import AccountingPeriod, CostKind
from canonical.items import CostState
from canonical.saga import Tally
from connectors.ports.billing import BillingPort
from ledger.billing_rows import ItemRow
from ledger.items import Placed
from rules.enrichment import enrich

WOULD_POST, IN_ERP = "would post", "already in the ERP"
POSTED_BY = "found when its cause was resolved"


class Releasing(Deciding):
    """Lets held items go on. One per worker process."""

    async def release(self, command: ReleaseHeld) -> ReleasePage:
        """One page of held items; in a plan only counted."""
        port = await self.systems.billing(command.erp, command.saga.mapping.get(command.erp, ""))
        page = await self.ledger.items(
            psa=command.psa,
            erp=command.erp,
            project_code=command.project_code,
            # What was taken back by command and is held is posted anew, as its next turn.
            cost=[CostState.UNPOSTED, CostState.REVERSED],
            withdrawn=False,
            causes=command.causes,
            after=int(command.after or 0),
            limit=command.limit,
        )
        figures = Figures()
        items = [item for item in page.rows if item.line is not None]
        await self._check(command, port, items, await port.accounting_periods(), figures)
        if not command.saga.plan:
            # What billing holds of items for these causes (over a cap, moved) is open again and decided anew.
            while await self.ledger.release_held(causes=command.causes, project_code=command.project_code):
                pass
        return ReleasePage(
            would_post=next(iter(figures.tallies(WOULD_POST)), Tally(state=WOULD_POST)),
            in_erp=next(iter(figures.tallies(IN_ERP)), Tally(state=IN_ERP)),
            still_held=figures.held(),
            after=str(page.cursor) if page.cursor is not None else None,
        )

    async def _check(
        self,
        command: ReleaseHeld,
        port: BillingPort,
        items: Sequence[ItemRow],
        periods: Sequence[AccountingPeriod],
        figures: Figures,
    ) -> None:
        if not items:
            return
        now, saga = self._now(), command.saga
        lines = [item.line for item in items if item.line is not None]
        facts = await self.gathering.facts(saga, command.psa, command.erp, lines, now.date(), periods=periods)
        placed: list[Placed] = []
        in_order: list[ItemRow] = []
        for item in items:
            assert item.line is not None
            placement = enrich(item.line, facts, now).placement
            placed.append(Placed(item.id, item.key, placement))
            if placement.hold is not None:
                figures.hold(placement.hold, item, placement.price.amount if placement.price else None)
            else:
                in_order.append(
                    item.model_copy(
                        update={
                            "placement": placement,
                            "turn": item.turn + (item.cost is CostState.REVERSED),
                            "posting_date": placement.posting_date,
                            "legal_entity": placement.legal_entity,
                            "project_code": placement.project_code,
                            "price": placement.price,
                            "priced": placement.price.amount if placement.price else None,
                        }
                    )
                )
        there = await self._in_erp(saga.saga_id, saga.region, port, in_order)
        for item in in_order:
            figures.add(IN_ERP if item.key in there else WOULD_POST, item)
        progress({"checked": len(items)})
        if saga.plan:
            return
        await self.ledger.place(placed)
        if there:
            await self.ledger.found_posted(there, posted_by=POSTED_BY)

    async def _in_erp(
        self, saga_id: str, region: str, port: BillingPort, items: Sequence[ItemRow]
    ) -> dict[str, str]:
        """The ERP's ids of items that it has already, by item key."""
        posting = [item for item in items if item.placement is not None and item.placement.posts_cost]
        if not posting:
            return {}
        context = line_context(saga_id, region, "")
        writes = port.plan_cost(context, [cost_line(item) for item in posting])
        stamps: dict[CostKind, list[str]] = {}
        for item, write in zip(posting, writes, strict=True):
            stamps.setdefault(COST_KINDS[item.kind], []).append(write.stamp)
        held: dict[str, str] = {}
        for kind, wanted in stamps.items():
            held |= {stamp: one.ref.id for stamp, one in (await port.postings(kind, wanted)).items()}
        return {
            item.key: held[write.stamp]
            for item, write in zip(posting, writes, strict=True)
            if write.stamp in held
        }
