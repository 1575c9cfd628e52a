"""Whom a contract's figures concern: its deal, its account, its delivery projects."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, localcontext

from activities.systems import Systems
from canonical.engagement import Contract
from canonical.feedback import Rates, Reach, Target, TargetKind
from canonical.names import SagaName, project_key, saga_parts
from canonical.parties import PartyRole
from canonical.refs import RecordRef, SystemRole
from ledger.rows import ContractVersionRow
from ledger.store import Ledger

PLACES = 12
"""Digits of a contract's own rate, worked out from its sums."""


class Reaching:
    """Resolves contracts against the cross-reference."""

    def __init__(self, systems: Systems, ledger: Ledger) -> None:
        self._systems = systems
        self._ledger = ledger

    async def contracts_of(self, kind: str, system: str, records: Iterable[str]) -> dict[str, str]:
        """Contract by record id, for the ERP's projects or contracts."""
        return await self._ledger.objects_of(kind, system, records)

    async def reach(self, contract_key: str, base_rate: Decimal | None = None) -> Reach:
        """Whom a contract's figures concern. What nobody linked is left out.

        Args:
            contract_key: the contract.
            base_rate: the rate at which the ERP booked the invoice that is looked at.
        """
        version = await self._ledger.contract_version(contract_key)
        if version is None:
            return Reach(contract_key=contract_key)
        contract = Contract.model_validate(version.terms)
        deal = await self._deal(contract, version)
        return Reach(
            contract_key=contract_key,
            deal=deal,
            account=await self._account(contract, deal),
            projects=tuple(await self._projects(contract)),
            budget=contract.amount,
            legal_entity=contract.legal_entity,
            rates=self._rates(contract, base_rate),
        )

    async def _deal(self, contract: Contract, version: ContractVersionRow) -> RecordRef | None:
        for link in await self._ledger.links_of("deal", contract.engagement_key):
            return link.record.model_copy(update={"url": None})
        try:
            saga, _, system, record = saga_parts(version.saga_id)
        except ValueError:
            return None
        if saga is not SagaName.OPPORTUNITY_TO_PROJECT or not self._is_crm(system):
            return None
        return (await self._systems.crm(system)).deal_ref(record)

    async def _account(self, contract: Contract, deal: RecordRef | None) -> RecordRef | None:
        client = contract.parties.get(PartyRole.SOLD_TO)
        if client is None:
            return None
        for link in await self._ledger.links_of("account", client):
            return link.record.model_copy(update={"url": None})
        if deal is None:
            return None
        return (await self._systems.crm(deal.system)).account_ref(client)

    async def _projects(self, contract: Contract) -> list[RecordRef]:
        keys = dict.fromkeys(
            project_key(contract.key, line.delivery_region, line.service_code) for line in contract.lines
        )
        found: dict[str, RecordRef] = {}
        for key in keys:
            for link in await self._ledger.links_of("delivery", key):
                found[str(link.record)] = link.record.model_copy(update={"url": None})
        return list(found.values())

    def _is_crm(self, system: str) -> bool:
        try:
            return SystemRole.CRM in self._systems.roles(system)
        except KeyError:
            return False  # it is not configured any more

    def _rates(self, contract: Contract, base_rate: Decimal | None) -> Rates:
        entity = self._systems.firm.entity(contract.legal_entity)
        base = entity.base_currency if entity is not None else None
        deals = {line.deal_amount.currency for line in contract.lines}
        own = contract.amount.amount
        rate = None
        if len(deals) == 1 and own:
            agreed = sum((line.deal_amount.amount for line in contract.lines), Decimal(0))
            with localcontext() as context:
                context.prec = PLACES
                rate = agreed / own
        return Rates(
            deal=deals.pop() if rate is not None else None, deal_rate=rate, base=base, base_rate=base_rate
        )


def targets_of(reaches: Iterable[Reach]) -> tuple[Target, ...]:
    """Every record that shows figures of these contracts, each once."""
    found: dict[str, Target] = {}
    for reach in reaches:
        for kind, ref in ((TargetKind.OPPORTUNITY, reach.deal), (TargetKind.ACCOUNT, reach.account)):
            if ref is not None:
                target = Target(kind=kind, ref=ref, subject=str(ref))
                found[target.key] = target
        for ref in reach.projects:
            target = Target(kind=TargetKind.PROJECT, ref=ref, subject=reach.contract_key)
            found[target.key] = target
    return tuple(found.values())
