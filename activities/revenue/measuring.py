"""Which contracts are to be followed, and how far delivery says they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from pydantic import ValidationError
from temporalio import activity

from activities.billing.gathering import DELIVERY, links_to
from activities.billing.milestones import MILESTONE
from activities.contracts import (
    ContractPage,
    FollowedContract,
    ListContracts,
    MeasureContract,
    MeasuredContract,
    MeasuringActivities,
    RevenueActivities,
)
from activities.failures import guarded
from activities.systems import Systems
from canonical.delivered import DeliveredMilestone, DeliveredProject
from canonical.engagement import Contract, ContractLine, RevenueMethod
from canonical.names import project_key
from canonical.progress import NEEDS_INPUTS, MeasuredLine, MeasuredMilestone
from connectors.ports.progress import EstimateFeed
from ledger.revenue import terms_of
from ledger.rows import ContractVersionRow
from ledger.store import Ledger
from rules.fees import milestone_state
from rules.progress import needs_inputs


class RevenueActivitiesOver(RevenueActivities):
    """Lists contracts from the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    @activity.defn(name="revenue.list")
    @guarded
    async def list_contracts(self, command: ListContracts) -> ContractPage:
        """Contracts with work in the period or revenue that is open."""
        rows, after = await self._ledger.contracts_to_follow(
            command.entity,
            command.erp,
            command.first,
            command.last,
            after=command.after,
            limit=command.limit,
        )
        found = tuple(FollowedContract(key=row.contract_key, inputs=_needs(row)) for row in rows)
        return ContractPage(contracts=found, after=after)


def _needs(row: ContractVersionRow) -> bool:
    try:
        return needs_inputs(terms_of(row))
    except ValidationError:
        # Terms that cannot be read are a finding of their own, further on.
        return True


class MeasuringActivitiesOver(MeasuringActivities):
    """Reads estimates and milestones of one delivery system."""

    def __init__(self, systems: Systems, ledger: Ledger) -> None:
        self._systems = systems
        self._ledger = ledger

    @activity.defn(name="revenue.measure")
    @guarded
    async def measure(self, command: MeasureContract) -> MeasuredContract:
        """Read what the lines that need inputs hang on, and nothing else."""
        row = await self._ledger.contract_version(command.contract, on=command.last)
        if row is None:
            return MeasuredContract()
        try:
            contract = terms_of(row)
        except ValidationError:
            return MeasuredContract()
        lines = [line for line in contract.lines if line.revenue_method in NEEDS_INPUTS]
        projects = await self._projects(contract, lines, command.system)
        if not any(projects.values()):
            return MeasuredContract()
        mapping = command.saga.mapping.get(command.system, "")
        feed = cast(EstimateFeed, await self._systems.feed(command.system, mapping))
        estimates = await self._estimates(feed, lines, projects)
        percents = await self._percents(feed, lines, projects)
        milestones = await self._milestones(feed, contract, lines, projects)
        return MeasuredContract(
            lines=tuple(
                MeasuredLine(
                    line_key=line.key,
                    minutes_at_completion=estimates.get(line.key),
                    percent=percents[line.key].percent_complete if line.key in percents else None,
                    milestones=milestones.get(line.key, ()),
                )
                for line in lines
            )
        )

    async def _projects(
        self, contract: Contract, lines: Iterable[ContractLine], system: str
    ) -> dict[str, list[str]]:
        """Ids of delivery projects by line."""
        found: dict[str, list[str]] = {}
        for line in lines:
            links = await self._ledger.links_of(DELIVERY, _delivery(contract, line), system=system)
            found[line.key] = [link.record.id for link in links]
        return found

    async def _estimates(
        self, feed: EstimateFeed, lines: Sequence[ContractLine], projects: Mapping[str, list[str]]
    ) -> dict[str, int | None]:
        """Minutes at completion by line: of all of its projects, or nobody knows."""
        wanted = [line.key for line in lines if line.revenue_method is RevenueMethod.OVER_TIME_INPUT]
        ids = [id_ for key in wanted for id_ in projects[key]]
        told = await feed.estimates(ids) if ids else {}
        found: dict[str, int | None] = {}
        for key in wanted:
            minutes = [told.get(id_) for id_ in projects[key]]
            known = [one for one in minutes if one is not None]
            found[key] = sum(known) if known and len(known) == len(minutes) else None
        return found

    async def _percents(
        self, feed: EstimateFeed, lines: Sequence[ContractLine], projects: Mapping[str, list[str]]
    ) -> dict[str, DeliveredProject]:
        """The project of each output line that has no milestones; several projects tell no one percentage."""
        wanted = {
            line.key: projects[line.key][0]
            for line in lines
            if line.revenue_method is RevenueMethod.OVER_TIME_OUTPUT
            and line.schedule is None
            and len(projects[line.key]) == 1
        }
        read = {one.ref.id: one for one in await feed.projects(list(wanted.values()))} if wanted else {}
        return {key: read[id_] for key, id_ in wanted.items() if id_ in read}

    async def _milestones(
        self,
        feed: EstimateFeed,
        contract: Contract,
        lines: Sequence[ContractLine],
        projects: Mapping[str, list[str]],
    ) -> dict[str, tuple[MeasuredMilestone, ...]]:
        """Milestones by line, under the contract's own keys."""
        wanted = [
            line
            for line in lines
            if line.schedule is not None and line.revenue_method is not RevenueMethod.OVER_TIME_INPUT
        ]
        ids = list(dict.fromkeys(id_ for line in wanted for id_ in projects[line.key]))
        if not ids:
            return {}
        told = {one.ref.id: one for one in await feed.milestones(ids)}
        links = await links_to(self._ledger, (one.ref for one in told.values()))
        by_key = {row.key: told[id_] for id_, rows in links.items() for row in rows if row.kind == MILESTONE}
        return {line.key: _of_line(contract, line, by_key) for line in wanted}


def _of_line(
    contract: Contract, line: ContractLine, by_key: Mapping[str, DeliveredMilestone]
) -> tuple[MeasuredMilestone, ...]:
    found: dict[str, MeasuredMilestone] = {}
    for one in line.schedule.dates if line.schedule is not None else ():
        key = one.milestone_key or one.key
        told = by_key.get(f"{_delivery(contract, line)}.{key}")
        if told is None:
            continue
        state = milestone_state(told)
        accepted = state.acceptance is not None or not line.acceptance_required
        on = state.acceptance.on if state.acceptance is not None else state.completed_on
        found[key] = MeasuredMilestone(key=key, reached=state.complete and accepted, reached_on=on)
    return tuple(found.values())


def _delivery(contract: Contract, line: ContractLine) -> str:
    return project_key(contract.key, line.delivery_region, line.service_code)
