"""What the checks of a line look at, gathered once for many lines from ledger, ERP, delivery and HR.

All of it is only read. What a vendor was asked for and changes rarely (projects, workers) is kept for a
moment, since neighbouring pieces ask for the same. Period locks never are, nor is anything of our own ledger:
new terms and rates hold at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import TypeVar

from activities.billing.terms import Terms
from activities.contracts import SagaRef
from activities.systems import Systems
from canonical.causes import Cause
from canonical.delivered import DeliveredProject
from canonical.delivery import Worker
from canonical.erp_billing import AccountingPeriod, ErpProject, ErpWorker
from canonical.failures import Refused
from canonical.firm import ErpCodes, Firm, Route
from canonical.items import SourceLine
from canonical.names import project_key, worker_address_key
from canonical.refs import Dimensions, RecordRef
from connectors.ports.billing import BillingPort
from connectors.ports.delivery import DeliveryFeed
from ledger.rows import LinkRow
from ledger.store import Ledger
from rules.caps import order_key
from rules.placing import ContractFacts, Facts, ProjectFacts, WorkerFacts

DELIVERY, PROJECT, WORKER, ADDRESS = "delivery", "project", "worker", "worker-address"
"""Kinds of links: a delivery project, an ERP project, a worker, a worker by the digest of an address."""
KEPT_SECONDS = 30.0
"""How long a vendor's reading of projects and workers is good for the next piece."""
V = TypeVar("V")


def route_between(firm: Firm, psa: str, erp: str) -> Route:
    """The route whose delivery system and ERP these are.

    Raises:
        Refused: there is none.
    """
    for route in firm.routes:
        if (route.psa, route.erp) == (psa, erp):
            return route
    raise Refused(
        f"No route leads from {psa} to {erp}.",
        cause=Cause.CONFIGURATION,
        remedy="Add the route to trueup.toml, or correct the command that names it.",
    )


class Kept:
    """Readings by key that are good for a moment."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._values: dict[tuple[str, str], tuple[float, object]] = {}

    async def of(
        self, kind: str, keys: Iterable[str], read: Callable[[list[str]], Awaitable[Mapping[str, V]]]
    ) -> dict[str, V]:
        """Values by key; what is missing or old is read, what is not there stays absent for that moment."""
        now, wanted = self._clock(), sorted(set(keys))
        old = [key for key in wanted if self._values.get((kind, key), (0.0, None))[0] <= now]
        if old:
            found = await read(old)
            for key in old:
                self._values[kind, key] = (now + KEPT_SECONDS, found.get(key))
        kept = {key: self._values[kind, key][1] for key in wanted}
        return {key: value for key, value in kept.items() if value is not None}  # type: ignore[misc]


class Gathering:
    """Gathers the facts around lines of one route."""

    def __init__(self, systems: Systems, ledger: Ledger) -> None:
        self.systems = systems
        self.ledger = ledger
        self._kept = Kept()
        self.terms = Terms(ledger)

    async def facts(
        self,
        saga: SagaRef,
        psa: str,
        erp: str,
        lines: Sequence[SourceLine],
        today: date,
        *,
        periods: Sequence[AccountingPeriod],
    ) -> Facts:
        """Everything that the checks of these lines look at.

        Args:
            saga: on whose behalf; its field mappings are used.
            psa: delivery system instance.
            erp: ERP instance.
            lines: the lines.
            today: the day whose workers count.
            periods: of the ERP, with their locks as they are now.

        Raises:
            SystemFailure: a system could not be asked.
        """
        route = route_between(self.systems.firm, psa, erp)
        port = await self.systems.billing(erp, saga.mapping.get(erp, ""))
        feed = await self.systems.feed(psa, saga.mapping.get(psa, ""))
        contracts_of = await self.contracts_behind({line.project for line in lines})
        contracts = await self.contracts({key for key, _ in contracts_of.values()})
        projects, workers, minutes = await asyncio.gather(
            self._projects(feed, port, psa, erp, contracts_of, contracts),
            self._workers(saga, port, route, {line.worker for line in lines}, today),
            self.ledger.day_minutes({(line.worker.id, line.work_date) for line in lines}),
        )
        codes = self.systems.firm.policies.billing.codes.get(erp, ErpCodes())
        orders = {
            order_key(terms.contract, order)
            for terms in contracts.values()
            for order in terms.contract.purchase_orders
        }
        balances = await self.ledger.account_balances(orders)
        return Facts(
            firm=self.systems.firm,
            route=route,
            projects=projects,
            workers=workers,
            contracts=contracts,
            labour_items=codes.labour_items,
            expense_categories=codes.expense_categories,
            periods=periods,
            capabilities=port.billing,
            required_dimensions=codes.required_dimensions,
            day_minutes=minutes,
            used_orders=balances.used,
        )

    # --- projects and contracts ----------------------------------------------------------------------

    async def contracts_behind(self, projects: Iterable[RecordRef]) -> dict[str, tuple[str, str]]:
        """(contract key, delivery key) by the delivery system's project id; strangers are left out."""
        found: dict[str, tuple[str, str]] = {}
        for id_, rows in (await links_to(self.ledger, projects)).items():
            delivery = next((row.key for row in rows if row.kind == DELIVERY), None)
            if delivery is not None:
                found[id_] = (contract_of(delivery), delivery)
        return found

    async def deliveries(self, psa: str) -> dict[str, str]:
        """Our delivery key by the delivery system's project id, of all projects that are ours."""
        found: dict[str, str] = {}
        after = 0
        while True:
            page = await self.ledger.links(kind=DELIVERY, system=psa, after=after, limit=1_000)
            found |= {row.record.id: row.key for row in page.rows}
            if page.cursor is None:
                return found
            after = page.cursor

    async def erp_by_project(self, projects: Iterable[RecordRef]) -> dict[str, str]:
        """ERP instance by the delivery system's project id: a contract keeps its route (rule 46)."""
        behind = await self.contracts_behind(projects)
        contracts = await self.contracts({key for key, _ in behind.values()})
        return {id_: contracts[key].contract.erp for id_, (key, _) in behind.items() if key in contracts}

    async def contracts(self, keys: Iterable[str]) -> dict[str, ContractFacts]:
        """Contracts in force, with rates and opening positions, by key, as they are now."""
        return await self.terms.of(keys)

    async def delivered(
        self, feed: DeliveryFeed, psa: str, ids: Iterable[str]
    ) -> dict[str, DeliveredProject]:
        """Delivery projects by id."""

        async def read(wanted: list[str]) -> dict[str, DeliveredProject]:
            return {one.ref.id: one for one in await feed.projects(wanted)}

        return await self._kept.of(f"{psa}/project", ids, read)

    async def _projects(
        self,
        feed: DeliveryFeed,
        port: BillingPort,
        psa: str,
        erp: str,
        behind: Mapping[str, tuple[str, str]],
        contracts: Mapping[str, ContractFacts],
    ) -> dict[str, ProjectFacts]:
        links = await self.ledger.links_of_all(PROJECT, contracts, system=erp)
        erp_ids = {key: rows[0].record.id for key, rows in links.items()}

        async def in_erp(ids: list[str]) -> dict[str, ErpProject]:
            return {one.ref.id: one for one in await port.projects(ids)}

        theirs, ours, closed = await asyncio.gather(
            self.delivered(feed, psa, behind),
            self._kept.of(f"{erp}/project", erp_ids.values(), in_erp),
            self.ledger.closed_contracts(contracts),
        )
        found: dict[str, ProjectFacts] = {}
        for id_, (contract_key, delivery) in behind.items():
            erp_project = ours.get(erp_ids.get(contract_key, ""))
            terms = contracts.get(contract_key)
            if erp_project is None or terms is None:
                continue
            carried = theirs.get(id_)
            found[id_] = ProjectFacts(
                contract_key=contract_key,
                lines=tuple(
                    line.key
                    for line in terms.contract.lines
                    if project_key(contract_key, line.delivery_region, line.service_code) == delivery
                ),
                erp_project=erp_project.ref.id,
                code=erp_project.code,
                delivery_code=carried.code if carried is not None else None,
                open=erp_project.open,
                closed=contract_key in closed,
            )
        return found

    # --- workers -------------------------------------------------------------------------------------

    async def _workers(
        self, saga: SagaRef, port: BillingPort, route: Route, workers: set[RecordRef], today: date
    ) -> dict[str, WorkerFacts]:
        if route.hr is None:
            return {}
        hr = await self.systems.hr(route.hr, saga.mapping.get(route.hr, ""))
        links, known = await asyncio.gather(links_to(self.ledger, workers), hr.workers(today))
        people = people_behind(links, known)
        in_erp = await self._erp_workers(port, {one.id: one for one in people.values()}.values())
        return {
            id_: WorkerFacts(
                employing_entity=person.legal_entity or "",
                erp_ids=in_erp.get(person.id, {}),
                dimensions=Dimensions(
                    region=person.region or self.systems.firm.region,
                    legal_entity=person.legal_entity or "",
                    practice=person.practice,
                ),
            )
            for id_, person in people.items()
        }

    async def _erp_workers(self, port: BillingPort, people: Iterable[Worker]) -> dict[str, dict[str, str]]:
        """The ERP's id of a worker by legal entity, by HR's id of them."""
        wanted = {person.id: person for person in people}

        async def read(ids: list[str]) -> dict[str, dict[str, str]]:
            keys = [key for id_ in ids for key in (id_, wanted[id_].email) if key]
            rows = [one for one in await port.workers(keys) if not one.inactive]
            return {id_: _by_entity(wanted[id_], rows) for id_ in ids}

        return await self._kept.of(f"{port.system}/worker", wanted, read)


def contract_of(delivery: str) -> str:
    """The contract of a delivery project, from our key of it."""
    return delivery.rsplit(".", 2)[0]


def people_behind(links: Mapping[str, Iterable[LinkRow]], known: Iterable[Worker]) -> dict[str, Worker]:
    """Who workers of a delivery system are to HR, by delivery id: linked by hand, else by their address."""
    everybody = list(known)
    by_id = {worker.id: worker for worker in everybody}
    by_address = {worker_address_key(worker.email): worker for worker in everybody if worker.email}
    people: dict[str, Worker] = {}
    for id_, rows in links.items():
        mine = list(rows)
        adopted = [by_id.get(row.key) for row in mine if row.kind == WORKER]
        addressed = [by_address.get(row.key) for row in mine if row.kind == ADDRESS]
        person = next((one for one in (*adopted, *addressed) if one is not None), None)
        if person is not None:
            people[id_] = person
    return people


async def links_to(ledger: Ledger, records: Iterable[RecordRef]) -> dict[str, list[LinkRow]]:
    """What records of one system and type stand for, by record id."""
    by_type: dict[tuple[str, str], list[str]] = {}
    for record in records:
        by_type.setdefault((record.system, record.type), []).append(record.id)
    found: dict[str, list[LinkRow]] = {}
    for (system, type_), ids in by_type.items():
        found |= await ledger.links_to_all(system, type_, ids)
    return found


def _by_entity(person: Worker, rows: Iterable[ErpWorker]) -> dict[str, str]:
    """The records that are this person's: by number or external id first, else by address."""
    mine = [one for one in rows if person.id in (one.external_id, one.number)]
    if not mine and person.email:
        address = person.email.casefold()
        mine = [one for one in rows if one.email and one.email.casefold() == address]
    return {one.legal_entity or "": one.ref.id for one in mine}
