"""Business rules as activities: classify, validate and shape, compare; a changed rule breaks no replay."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

from pydantic import ValidationError
from temporalio import activity

from activities.beginning import begin
from activities.contracts import (
    BaselineVerdict,
    ClientPlacement,
    CompareBaseline,
    DecisionActivities,
    EngagementPlan,
    ErpFindings,
    RouteDeal,
    Routing,
    SagaRef,
    ShapeEngagement,
)
from activities.failures import guarded
from activities.systems import Systems
from canonical.causes import Cause, Queue
from canonical.failures import Finding, Refused, Severity
from canonical.firm import Firm
from canonical.names import SagaName
from canonical.opportunity import DealClass, Opportunity
from canonical.parties import Client, ClientMatch
from canonical.saga import GateRequest, SagaStatus
from ledger.store import Ledger
from rules.baseline import contract_differences, delivery_differences
from rules.classify import classify
from rules.findings import finding
from rules.gates import choice_gate, choice_step, gates_for
from rules.matching import candidates, decisive
from rules.shape import deal_digest, shape
from rules.validate import (
    Context,
    Placed,
    check_client,
    check_deal,
    check_lines,
    check_made_names,
    check_names,
    place,
)


class DecisionActivitiesOver(DecisionActivities):
    """The rules over the firm's catalogue; registers sagas and keeps baselines in the ledger."""

    def __init__(self, systems: Systems, ledger: Ledger) -> None:
        self.systems = systems
        self.ledger = ledger

    @activity.defn(name="rules.route_deal")
    @guarded
    async def route_deal(self, command: RouteDeal) -> Routing:
        """Register the saga, classify the deal and say what must be read from where."""
        saga, deal, firm = command.saga, command.deal, self.systems.firm
        generation, earlier = await self._begin(saga, command.reason)
        if earlier is not None:
            return Routing(generation=generation, deal_class=None, earlier=earlier)
        deal_class, findings = classify(deal, firm)
        if deal_class is DealClass.NO_DELIVERY or findings:
            return Routing(generation=generation, deal_class=deal_class, findings=findings)
        placed, _ = place(deal, firm)
        # Findings of placing come again with all others: nothing is reported piecemeal.
        return Routing(
            generation=generation,
            deal_class=deal_class,
            erp_items=_by(
                placed, lambda one: one.route.erp, lambda one: one.service.items.get(one.route.erp)
            ),
            psa_templates=_by(placed, lambda one: one.route.psa, lambda one: one.service.template),
            psa_roles=_roles_by_psa(placed),
            hr=next((one.route.hr for one in placed if one.route.hr), None),
            clients={one.route.erp: tuple(_clients(deal)) for one in placed},
        )

    async def _begin(self, saga: SagaRef, reason: str) -> tuple[int, str | None]:
        """(generation, headline of an earlier complete run). Plan mode only looks."""
        if saga.plan:
            row = await self.ledger.saga(saga.saga_id.removeprefix("plan:"))
            if row is None:
                return 1, None
            return row.generation + (row.status is SagaStatus.UNDONE), None
        begun = await begin(self.ledger, saga, SagaName.OPPORTUNITY_TO_PROJECT.value, reason)
        if begun.accepted:
            return begun.generation, None
        codes = ", ".join(begun.view.codes.values()) if begun.view else ""
        return begun.generation, f"set up before, project code {codes}"

    @activity.defn(name="rules.shape_engagement")
    @guarded
    async def shape_engagement(self, command: ShapeEngagement) -> EngagementPlan:
        """All findings at once, or the engagement."""
        firm, deal = self.systems.firm, amended(command.deal, command.amendments)
        placed, findings = place(deal, firm)
        context = Context(
            deal=deal,
            firm=firm,
            erp={found.reference.system: found.reference for found in command.erp},
            psa={reference.system: reference for reference in command.psa},
            supply=command.supply,
            supply_known=command.supply_known,
        )
        names = {"project.title": deal.name, "contract.name": deal.name}
        found = [
            *findings,
            *chain(
                check_deal(context),
                check_client(context, placed),
                check_lines(context, placed),
                check_names(context, names),
            ),
        ]
        placements, gates, more = place_clients(deal, firm, placed, command.erp, command.choices)
        found += more
        blocking = tuple(one for one in found if one.severity is Severity.BLOCKING)
        warnings = tuple(one for one in found if one.severity is Severity.WARNING)
        plan = EngagementPlan(
            findings=blocking,
            warnings=warnings,
            clients=tuple(placements),
            deal=deal.ref,
            deal_class=command.deal_class,
            at_stake=deal.amount,
            deal_digest=deal_digest(command.deal),
        )
        if blocking or gates:
            return plan.model_copy(update={"gates": tuple(gates)})
        shaped = shape(deal, firm, placed, context.psa)
        wrong = shaped.findings or tuple(check_made_names(context, shaped.contracts, shaped.deliveries))
        if wrong:
            return plan.model_copy(update={"findings": wrong})
        new = [placement.client for placement in placements if placement.existing is None]
        return plan.model_copy(
            update={
                "engagement": shaped.engagement,
                "contracts": shaped.contracts,
                "deliveries": shaped.deliveries,
                "serial_psa": tuple(one.system for one in command.psa if one.serial_creation),
                "gates": tuple(gates_for(deal, firm, list({one.key: one for one in new}.values()))),
            }
        )

    @activity.defn(name="rules.compare_baseline")
    @guarded
    async def compare_baseline(self, command: CompareBaseline) -> BaselineVerdict:
        """Compare the deal's second reading and all systems with the plan; keep what agrees."""
        deal, plan = command.deal, command.plan
        if deal is None or not deal.is_won:
            return BaselineVerdict(deal_lost=True)
        if deal_digest(deal) != plan.deal_digest:
            return BaselineVerdict(deal_changed=True)
        contracts = {held.contract_key: held for one in command.baselines for held in one.contracts}
        deliveries = {held.delivery_key: held for one in command.baselines for held in one.deliveries}
        differences = (
            *chain.from_iterable(
                contract_differences(setup, contracts.get(setup.contract.key), command.values)
                for setup in plan.contracts
            ),
            *chain.from_iterable(
                delivery_differences(setup, deliveries.get(setup.project.key), command.values)
                for setup in plan.deliveries
            ),
        )
        if not differences:
            await self._keep_baseline(command)
        return BaselineVerdict(differences=differences)

    async def _keep_baseline(self, command: CompareBaseline) -> None:
        systems: dict[str, Any] = {one.system: one.model_dump(mode="json") for one in command.baselines}
        for setup in command.plan.contracts:
            contract = setup.contract
            version = await self.ledger.add_contract_version(
                contract, saga_id=command.saga.saga_id, effective_on=contract.start
            )
            await self.ledger.add_baseline(
                contract.key, systems, saga_id=command.saga.saga_id, contract_version=version.version
            )


def amended(deal: Opportunity, patch: Mapping[str, Any]) -> Opportunity:
    """The deal with a repair's amendments, for this run only.

    Raises:
        Refused: the amendments make it something that is no deal.
    """
    if not patch:
        return deal
    data = deal.model_dump(mode="json")
    _merge(data, patch)
    try:
        return Opportunity.model_validate(data)
    except ValidationError as bad:
        first = bad.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise Refused(
            f"The amended deal is no deal any more: {field}: {first['msg']}.",
            queue=Queue.SALES,
            record=deal.ref,
            field=field,
            remedy='Amend this step again with {"amendments": {...}}; null takes a value back.',
        ) from None


def _merge(target: dict[str, Any], patch: Mapping[str, Any]) -> None:
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = value


def place_clients(
    deal: Opportunity,
    firm: Firm,
    placed: list[Placed],
    erps: tuple[ErpFindings, ...],
    choices: Mapping[str, str],
) -> tuple[list[ClientPlacement], list[GateRequest], list[Finding]]:
    """Per ERP and client: which record it is, that it is to be made, or who must be asked."""
    placements: list[ClientPlacement] = []
    gates: list[GateRequest] = []
    findings: list[Finding] = []
    for found in erps:
        system = found.reference.system
        here = [one for one in placed if one.route.erp == system]
        entities = tuple(dict.fromkeys(one.entity.code for one in here))
        currencies = tuple(dict.fromkeys(one.currency for one in here))
        for client in _clients(deal):
            rows = found.matches.get(client.key, ())
            by_id = {row.ref.id: row for row in rows}
            options = candidates(client, rows, system=system, similarity=firm.policies.name_similarity)
            choice = choices.get(choice_step(system, client.key))
            best = decisive(options)
            chosen = by_id.get(choice) if choice else (by_id[best.ref.id] if best else None)
            if options and chosen is None and choice is None:
                gates.append(choice_gate(client, system, options, firm, deal.amount))
            if chosen is not None and chosen.inactive:
                findings.append(
                    finding(
                        Cause.CLIENT_INACTIVE,
                        f"{client.name} is customer {chosen.ref.id} in {system}, which is inactive.",
                        record=chosen.ref,
                        field="inactive",
                        at_stake=deal.amount,
                    )
                )
            placements.append(
                ClientPlacement(
                    client=client,
                    system=system,
                    entities=entities,
                    currencies=currencies,
                    payment_terms=deal.payment_terms or firm.policies.default_payment_terms,
                    existing=chosen,
                    candidates=tuple(options) if chosen is None and choice is None else (),
                    unseen=not any(
                        option.match in (ClientMatch.LINK, ClientMatch.EXTERNAL_ID) for option in options
                    ),
                )
            )
    return placements, gates, findings


def _clients(deal: Opportunity) -> list[Client]:
    """Hierarchy from the top, the client, and whoever is invoiced instead; each once."""
    rows = [*deal.hierarchy, *(client for client in (deal.client, deal.bill_to) if client is not None)]
    return list({client.key: client for client in rows}.values())


def _by(placed: list[Placed], system: Any, value: Any) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for one in placed:
        row = found.setdefault(system(one), [])
        wanted = value(one)
        if wanted is not None and wanted not in row:
            row.append(wanted)
    return {name: tuple(rows) for name, rows in found.items()}


def _roles_by_psa(placed: list[Placed]) -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for one in placed:
        found.setdefault(one.route.psa, {}).update(dict.fromkeys(need.role for need in one.service.roles))
    return {system: tuple(roles) for system, roles in found.items()}
