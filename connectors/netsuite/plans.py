"""Planned writes of the opportunity-to-project saga, in NetSuite's own order. Pure.

Order (rules 3 and 19): clients from the top, each new one under its primary entity; the relationship to a
further entity before a child is placed under it; then project, billing schedules, sales order.
"""

from __future__ import annotations

from collections.abc import Sequence

from canonical.engagement import BillingSchedule, Contract
from canonical.names import shared_key
from canonical.operations import (
    ClientSetup,
    ContractSetup,
    WriteContext,
    contract_symbol,
    project_symbol,
    schedule_symbol,
)
from canonical.writes import Json, KeyStyle, VendorWrite, WriteKind, symbol, text
from connectors.netsuite import mapping as to
from connectors.netsuite import wire
from connectors.netsuite.client import RECORD, STRICT
from connectors.netsuite.settings import NetSuiteSettings

ENSURE_CLIENT = "ensure_client"
EXTEND_ENTITY = "extend_client_entity"
EXTEND_CURRENCY = "extend_client_currency"
OPEN_PROJECT = "open_project"
OPEN_SCHEDULE = "open_schedule"
SIGN_CONTRACT = "sign_contract"
APPROVE_CONTRACT = "approve_contract"
ACTIVATE_PROJECT = "activate_project"


class Planner:
    """Builds the writes of one account; holds its settings and nothing else."""

    def __init__(self, system: str, settings: NetSuiteSettings) -> None:
        self.system = system
        self.settings = settings
        self.mapping = settings.mapping

    # --- clients ----------------------------------------------------------------------------------------

    def clients(self, context: WriteContext, setups: Sequence[ClientSetup]) -> list[VendorWrite]:
        """Creates for new clients, then relationships and currencies that are missing, parents first."""
        writes: list[VendorWrite] = []
        for setup in _parents_first(setups):
            if setup.existing is None:
                writes.append(self._client(context, setup))
                missing = setup.entities[1:]
            else:
                missing = tuple(e for e in setup.entities if e not in setup.existing.entities)
                for code in setup.currencies:
                    if code not in setup.existing.currencies:
                        writes.append(self._currency(context, setup, code))
            # A child can only stand under an entity that its parents have (rule 3).
            held = set(setup.existing.entities if setup.existing else setup.entities[:1])
            needed = dict.fromkeys((*missing, *_entities_below(setup, setups)))
            writes.extend(self._relationship(context, setup, e) for e in needed if e not in held)
        return writes

    def _client(self, context: WriteContext, setup: ClientSetup) -> VendorWrite:
        client, shared = setup.client, self._shared(setup)
        fields = to.to_customer(self.mapping, setup, context.saga_id)
        expect: dict[str, Json] = {
            "name": client.name,
            "legal_entity": setup.entities[0],
            "currency": setup.currencies[0],
        }
        if setup.parent_symbol is not None:
            expect["parent"] = symbol(setup.parent_symbol)
        return self.upsert(
            context,
            record_type="customer",
            operation=ENSURE_CLIENT,
            key=context.key_of_shared(self.system, ENSURE_CLIENT, client.key),
            shared=shared,
            name=setup.symbol,
            title=f"Create customer {client.name}",
            fields=fields,
            expect=expect,
        )

    def _shared(self, setup: ClientSetup) -> str:
        """A customer with its entities and currencies is one shared record: whoever holds it relies on all
        of them, and a customer that is made again needs all of them again.
        """
        return shared_key(self.system, ENSURE_CLIENT, setup.client.key)

    def _relationship(self, context: WriteContext, setup: ClientSetup, entity: str) -> VendorWrite:
        identity, shared = f"{setup.client.key}.{entity}", self._shared(setup)
        key = context.key_of_shared(self.system, EXTEND_ENTITY, identity, part_of=shared)
        fields = to.to_relationship(self.mapping, setup.symbol, entity)
        subsidiary = to.subsidiary_id(self.mapping, entity)
        record_type = "customerSubsidiaryRelationship"
        return VendorWrite(
            system=self.system,
            operation=EXTEND_ENTITY,
            title=f"Let {entity} sell to customer {setup.client.name}",
            record_type=record_type,
            kind=WriteKind.CREATE,
            key=key,
            step_key=context.step_key,
            stamp=context.stamp(key),
            symbol=f"client-entity:{identity}",
            method="POST",
            path=f"{RECORD}/{record_type}",
            headers=STRICT,
            body=fields.body,
            # The pair (customer, subsidiary) is the record's identity; it is looked up by it.
            key_style=KeyStyle.STAMPED,
            expect={"client": symbol(setup.symbol), "legal_entity": entity},
            shared=shared,
            found_by_stamp=False,
            settle_seconds=self.settings.search_lag_seconds,
            sets=fields.sets,
            phase=context.phase,
            options={
                "saga": context.saga_id,
                "find_sql": text(
                    "SELECT id FROM customersubsidiaryrelationship WHERE entity = ",
                    symbol(setup.symbol),
                    f" AND subsidiary = {int(subsidiary)} ORDER BY id",
                ),
            },
        )

    def _currency(self, context: WriteContext, setup: ClientSetup, code: str) -> VendorWrite:
        identity, shared = f"{setup.client.key}.{code}", self._shared(setup)
        body = {"currencyList": {"items": [{"currency": wire.ref(to.currency_id(self.mapping, code))}]}}
        return self.update(
            context,
            record_type="customer",
            operation=EXTEND_CURRENCY,
            key=context.key_of_shared(self.system, EXTEND_CURRENCY, identity, part_of=shared),
            shared=shared,
            name=f"client-currency:{identity}",
            title=f"Let customer {setup.client.name} be invoiced in {code}",
            target=symbol(setup.symbol),
            body=body,
            sets={"currencyList": "client.currency"},
            expect={f"currency:{code}": True},
            # Not restored by an undo: NetSuite offers no safe removal, and an unused currency does no harm.
            restore=(),
        )

    # --- contract and project -----------------------------------------------------------------------------

    def contract_and_project(self, context: WriteContext, setup: ContractSetup) -> list[VendorWrite]:
        """Project and billing schedules, which do not need one another; then the sales order."""
        schedules = [
            self.schedule(context, line.schedule, OPEN_SCHEDULE, line.schedule.key)
            for line in setup.contract.lines
            if line.schedule is not None
        ]
        beside = [self._project(context, setup), *schedules]
        return [
            *(write.model_copy(update={"independent": True}) for write in beside),
            self._order(context, setup),
        ]

    def _project(self, context: WriteContext, setup: ContractSetup) -> VendorWrite:
        contract = setup.contract
        return self.upsert(
            context,
            record_type="job",
            operation=OPEN_PROJECT,
            key=context.key(self.system, OPEN_PROJECT, contract.key),
            name=project_symbol(contract.key),
            produces=("id", "code"),
            title=f"Create project {setup.project_name}",
            fields=to.to_job(self.mapping, setup, context.saga_id, context.generation),
            expect={
                "title": setup.project_name,
                "client": symbol(setup.client_symbol),
                "legal_entity": contract.legal_entity,
                "currency": contract.currency,
                "billing_type": to.billing_type(self.mapping, contract),
                "status": to.project_state(self.mapping, self.mapping.job_status.prepared, inactive=False),
            },
        )

    def schedule(
        self, context: WriteContext, schedule: BillingSchedule, operation: str, identity: str, note: str = ""
    ) -> VendorWrite:
        """A billing schedule of its own; ``note`` ends its title."""
        key = context.key(self.system, operation, identity)
        stamp = context.stamp(key)
        fields = to.to_billing_schedule(self.mapping, schedule, stamp)
        return VendorWrite(
            system=self.system,
            operation=operation,
            title=f"Create billing schedule {schedule.name}{note}",
            record_type="billingSchedule",
            kind=WriteKind.CREATE,
            key=key,
            step_key=context.step_key,
            stamp=stamp,
            symbol=schedule_symbol(identity),
            method="POST",
            path=f"{RECORD}/billingSchedule",
            headers=STRICT,
            body=fields.body,
            key_style=KeyStyle.STAMPED,
            expect={"name": stamp, "occurrences": fields.body["numberRemaining"]},
            settle_seconds=self.settings.search_lag_seconds,
            sets=fields.sets,
            phase=context.phase,
            options={"saga": context.saga_id, "find_filter": f'name IS "{stamp}"'},
        )

    def _order(self, context: WriteContext, setup: ContractSetup) -> VendorWrite:
        contract, project = setup.contract, project_symbol(setup.contract.key)
        return self.upsert(
            context,
            record_type="salesOrder",
            operation=SIGN_CONTRACT,
            key=context.key(self.system, SIGN_CONTRACT, contract.key),
            name=contract_symbol(contract.key),
            title=f"Create sales order {contract.name}",
            fields=to.to_sales_order(self.mapping, setup, project, context.saga_id),
            expect={
                "client": symbol(setup.bill_to_symbol),
                "project": symbol(project),
                "legal_entity": contract.legal_entity,
                "currency": contract.currency,
                "amount": wire.number(contract.amount.amount, contract.currency),
                "lines": len(contract.lines),
                "approved": False,
            },
        )

    # --- activation ---------------------------------------------------------------------------------------

    def activation(self, context: WriteContext, contract: Contract) -> list[VendorWrite]:
        """Approve the order (the pivot, rule 15), then open the project (forward only)."""
        approve = self.update(
            context,
            record_type="salesOrder",
            operation=APPROVE_CONTRACT,
            key=context.key(self.system, APPROVE_CONTRACT, contract.key),
            name=contract_symbol(contract.key),
            title=f"Approve sales order {contract.name}",
            target=symbol(contract_symbol(contract.key)),
            body={"orderStatus": wire.ref(self.mapping.order_status.pending_fulfillment)},
            sets={"orderStatus": "contract.status"},
            expect={"approved": True},
            restore=("orderStatus",),
        )
        activate = self.update(
            context,
            record_type="job",
            operation=ACTIVATE_PROJECT,
            key=context.key(self.system, ACTIVATE_PROJECT, contract.key),
            name=project_symbol(contract.key),
            title=f"Open project of {contract.name}",
            target=symbol(project_symbol(contract.key)),
            body={"entityStatus": wire.ref(self.mapping.job_status.open)},
            sets={"entityStatus": "project.status"},
            expect={"status": to.project_state(self.mapping, self.mapping.job_status.open, inactive=False)},
            restore=("entityStatus",),
        )
        return [one.model_copy(update={"forward_only": True}) for one in (approve, activate)]

    # --- building blocks ----------------------------------------------------------------------------------

    def upsert(
        self,
        context: WriteContext,
        *,
        record_type: str,
        operation: str,
        key: str,
        name: str,
        title: str,
        fields: to.Fields,
        expect: dict[str, Json],
        produces: tuple[str, ...] = ("id",),
        shared: str | None = None,
    ) -> VendorWrite:
        """A create in external-id form: repeating it can never make a second record.

        It would overwrite the first, though, so the executor looks before every send (rule 11).
        """
        stamp = context.stamp(key)
        return VendorWrite(
            system=self.system,
            operation=operation,
            title=title,
            record_type=record_type,
            kind=WriteKind.CREATE,
            key=key,
            step_key=context.step_key,
            stamp=stamp,
            symbol=name,
            produces=produces,
            method="PUT",
            path=f"{RECORD}/{record_type}/eid:{{external_id}}",
            path_values={"external_id": stamp},
            headers=STRICT,
            body=fields.body,
            key_style=KeyStyle.NATIVE,
            expect=expect,
            shared=shared,
            sets=fields.sets,
            phase=context.phase,
            options={"saga": context.saga_id},
        )

    def update(
        self,
        context: WriteContext,
        *,
        record_type: str,
        operation: str,
        key: str,
        name: str,
        title: str,
        target: Json,
        body: dict[str, Json],
        sets: dict[str, str],
        expect: dict[str, Json],
        restore: tuple[str, ...],
        shared: str | None = None,
    ) -> VendorWrite:
        """A PATCH of one record by internal id; repeating it changes nothing more."""
        return VendorWrite(
            system=self.system,
            operation=operation,
            title=title,
            record_type=record_type,
            kind=WriteKind.UPDATE,
            key=key,
            step_key=context.step_key,
            stamp=context.stamp(key),
            symbol=name,
            method="PATCH",
            path=f"{RECORD}/{record_type}/{{id}}",
            path_values={"id": target},
            headers=STRICT,
            body=body,
            key_style=KeyStyle.NATIVE,
            target=target,
            expect=expect,
            restore=restore,
            shared=shared,
            sets=sets,
            phase=context.phase,
            options={"saga": context.saga_id},
        )


def _entities_below(
    setup: ClientSetup, setups: Sequence[ClientSetup], seen: frozenset[str] = frozenset()
) -> list[str]:
    """Entities under which descendants of a client will be placed, in order, without repetition."""
    if setup.symbol in seen:
        return []
    found: dict[str, None] = {}
    for child in setups:
        if child.parent_symbol == setup.symbol:
            held = child.existing.entities if child.existing else ()
            found.update(dict.fromkeys(e for e in child.entities if e not in held))
            found.update(dict.fromkeys(_entities_below(child, setups, seen | {setup.symbol})))
    return list(found)


def _parents_first(setups: Sequence[ClientSetup]) -> list[ClientSetup]:
    """Setups so that every parent comes before its children; otherwise in the given order."""
    waiting, done, order = list(setups), set[str](), list[ClientSetup]()
    inside = {s.symbol for s in setups}
    while waiting:
        ready = [s for s in waiting if s.parent_symbol not in inside or s.parent_symbol in done]
        # A circle cannot be ordered; NetSuite will name it.
        ready = ready or waiting[:1]
        order += ready
        done |= {s.symbol for s in ready}
        waiting = [s for s in waiting if s not in ready]
    return order
