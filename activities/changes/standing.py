"""How a contract stands when a change order is judged: its terms, what of it is billed, where it is."""

from __future__ import annotations

from dataclasses import dataclass, field

from activities.contracts import DeliveryPlace, SystemBaseline
from canonical.causes import Cause, Queue
from canonical.change_orders import ChangeImpact, DeliveryChange, DeliveryImpact
from canonical.delivery import DeliveryProject, DeliveryTemplate
from canonical.engagement import Contract
from canonical.failures import Refused
from canonical.firm import Firm
from canonical.names import SagaName, project_key, saga_parts
from canonical.operations import (
    DeliverySetup,
    ErpBaseline,
    PsaBaseline,
    client_symbol,
    contract_symbol,
    delivery_symbol,
    project_symbol,
)
from canonical.parties import PartyRole
from canonical.refs import Dimensions
from ledger.store import Ledger
from rules.causes import CATALOGUE
from rules.change_orders import Standing


@dataclass
class Place:
    """A contract as the ledger knows it: judged on ``standing``, found by ``values``."""

    standing: Standing
    crm: str
    values: dict[str, str] = field(default_factory=dict)
    deliveries: dict[str, tuple[str, PsaBaseline]] = field(default_factory=dict)
    """By key: the delivery system, and what it held of the project."""


class Standings:
    """Reads how contracts stand."""

    def __init__(self, ledger: Ledger, firm: Firm) -> None:
        self.ledger = ledger
        self.firm = firm

    async def place(self, contract_key: str) -> Place:
        """How a contract stands.

        Raises:
            Refused: it was never set up, or no baseline of it is kept (``CONTRACT_UNKNOWN``).
        """
        versions = await self.ledger.contract_versions(contract_key)
        baseline = await self.ledger.baseline(contract_key)
        if not versions or baseline is None:
            entry = CATALOGUE[Cause.CONTRACT_UNKNOWN]
            raise Refused(
                f"Contract {contract_key}: {entry.meaning}",
                cause=Cause.CONTRACT_UNKNOWN,
                queue=Queue.BILLING,
                remedy=entry.remedy,
            )
        held = [SystemBaseline.model_validate(one) for one in baseline.systems.values()]
        deliveries = {
            one.delivery_key: (system.system, one)
            for system in held
            for one in system.deliveries
            if one.delivery_key.startswith(f"{contract_key}.")
        }
        contract = await self.terms(contract_key, versions[-1].version)
        return Place(
            standing=Standing(
                terms=contract,
                version=versions[-1].version,
                reached=await self.ledger.reached_version(contract_key),
                floor=await self.ledger.contract_floor(contract_key),
                deliveries=tuple(deliveries),
            ),
            crm=self._crm(versions[0].saga_id, contract),
            values=_values(contract, held, deliveries),
            deliveries=deliveries,
        )

    async def terms(self, contract_key: str, version: int) -> Contract:
        """The terms of a version, with the rates in force: new rates need no new version (rule 7)."""
        row = await self.ledger.contract_version(contract_key, version=version)
        assert row is not None
        contract = Contract.model_validate(row.terms)
        rates = await self.ledger.rate_version(contract_key)
        return contract if rates is None else contract.model_copy(update={"rate_card": rates.card})

    async def siblings(self, contract: Contract) -> list[tuple[Contract, int]]:
        """The deal's other contracts, with their versions."""
        keys = await self.ledger.contract_keys()
        mine = [key for key in keys if key.startswith(f"{contract.engagement_key}.") and key != contract.key]
        rows = await self.ledger.latest_contracts(mine)
        return [(Contract.model_validate(row.terms), row.version) for row in rows.values()]

    def _crm(self, saga: str, contract: Contract) -> str:
        """Where the deal is: the saga that made the first version names it."""
        try:
            name, _, system, _ = saga_parts(saga)
        except ValueError:
            name, system = SagaName.CHANGE_ORDER, ""
        if name is SagaName.OPPORTUNITY_TO_PROJECT:
            return system
        routes = [one for one in self.firm.routes if one.erp == contract.erp]
        return routes[0].crm if routes else ""

    async def delivery_places(
        self, place: Place, contract: Contract, impact: ChangeImpact, version: int
    ) -> tuple[DeliveryPlace, ...]:
        """The contract's delivery projects, with what changes of them."""
        changes = {one.delivery_key: one for one in impact.deliveries}
        found = []
        for key, (system, held) in sorted(place.deliveries.items()):
            setup = self._setup(contract, key, system, held)
            change = None
            if (own := changes.get(key)) is not None:
                change = DeliveryChange(
                    version=version,
                    contract_key=contract.key,
                    impact=own,
                    project_id=held.ref.id,
                    milestones=await self._milestones(system, own),
                )
            found.append(DeliveryPlace(system=system, setup=setup, change=change))
        return tuple(found)

    async def _milestones(self, system: str, impact: DeliveryImpact) -> dict[str, str]:
        keys = [one.milestone_key for one in impact.put_milestones if one.milestone_key is not None]
        found = {}
        for key in [*keys, *impact.drop_milestones]:
            links = await self.ledger.links_of("milestone", f"{impact.delivery_key}.{key}", system=system)
            if links:
                found[key] = links[-1].record.id
        return found

    def _setup(self, contract: Contract, key: str, system: str, held: PsaBaseline) -> DeliverySetup:
        """What a delivery system is asked by to read one of its projects back."""
        line = next(
            (
                one
                for one in contract.lines
                if project_key(contract.key, one.delivery_region, one.service_code) == key
            ),
            None,
        )
        _, region, code = key.rsplit(".", 2)
        service = self.firm.service(line.service_code if line else code)
        template = service.template if service is not None and service.template else ""
        project = DeliveryProject(
            key=key,
            title=held.title,
            contract_key=contract.key,
            psa=system,
            dimensions=Dimensions(region=region, legal_entity=contract.legal_entity),
            client_key=contract.parties[PartyRole.BILL_TO],
            currency=held.currency,
            budget=held.budget,
            service_code=code,
            template=template,
        )
        return DeliverySetup(
            project=project,
            client_name="",
            template=DeliveryTemplate(id="", title=template),
            code_symbol=project_symbol(contract.key),
        )


def _values(
    contract: Contract,
    held: list[SystemBaseline],
    deliveries: dict[str, tuple[str, PsaBaseline]],
) -> dict[str, str]:
    """Ids and code that the contract's records got when they were made."""
    found = {f"{delivery_symbol(key)}.id": one.ref.id for key, (_, one) in deliveries.items()}
    for one in (one for system in held for one in system.contracts if one.contract_key == contract.key):
        found |= _of_erp(contract, one)
    return found


def _of_erp(contract: Contract, held: ErpBaseline) -> dict[str, str]:
    order, project = held.refs[0], held.refs[1]
    return {
        f"{contract_symbol(contract.key)}.id": order.id,
        f"{project_symbol(contract.key)}.id": project.id,
        f"{project_symbol(contract.key)}.code": held.project_code,
        f"{client_symbol(contract.parties[PartyRole.BILL_TO])}.id": held.client_id,
    }
