"""ERP activities over the ERP port."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from temporalio import activity

from activities.contracts import (
    ActivateContract,
    ClientPlacement,
    EnsureClients,
    ErpActivities,
    ErpFindings,
    GatherErp,
    LookAhead,
    LookedAhead,
    ReadBaseline,
    SetUpContract,
    StepOutcome,
    SystemBaseline,
)
from activities.effects import Performed
from activities.failures import guarded
from activities.writing import Writing, outcome_of, planned
from canonical.causes import Cause
from canonical.failures import Refused, SystemFailure, Transient
from canonical.names import shared_key, step_key
from canonical.operations import ClientSetup, ErpClient, WriteContext, client_symbol
from canonical.parties import Client
from canonical.refs import RecordRef
from canonical.writes import VendorWrite
from connectors.ports import ErpPort
from ledger.rows import EffectRow, EffectState
from rules.causes import CATALOGUE

ENSURE_CLIENT = "ensure_client"
"""The operation whose key identifies a client's record in an ERP."""


class ErpActivitiesOver(Writing, ErpActivities):
    """Looks up, builds and activates in an ERP."""

    @activity.defn(name="erp.gather")
    @guarded
    async def gather(self, command: GatherErp) -> ErpFindings:
        """Reference data, and customers that may be the deal's clients; our own links come first."""
        erp = await self._erp(command.saga.mapping, command.system)
        reference, *matches = await asyncio.gather(
            erp.read_reference(items=command.items),
            *(self._matches(erp, client) for client in command.clients),
        )
        keys = (client.key for client in command.clients)
        return ErpFindings(reference=reference, matches=dict(zip(keys, matches, strict=True)))

    async def _matches(self, erp: ErpPort, client: Client) -> tuple[ErpClient, ...]:
        """Customers that may be the client; those that we are linked to are always among them."""
        found, links = await asyncio.gather(
            erp.search_clients(client),
            self.effects.ledger.links_of("client", client.key, system=erp.system),
        )
        linked = {link.record.id for link in links}
        rows = [row.model_copy(update={"linked": True}) if row.ref.id in linked else row for row in found]
        for missing in linked - {row.ref.id for row in rows}:
            row = await erp.read_client(missing)
            if row is not None:
                rows.append(row.model_copy(update={"linked": True}))
        return tuple(rows)

    @activity.defn(name="erp.look_ahead")
    @guarded
    async def look_ahead(self, command: LookAhead) -> LookedAhead:
        """Which of the contracts' records are certainly not there yet."""
        erp = await self._erp(command.saga.mapping, command.system)
        context = self.context(command.saga, "")
        writes = [
            write for setup in command.contracts for write in erp.plan_contract_and_project(context, setup)
        ]
        return LookedAhead(absent=await self.effects.look_ahead(erp, writes))

    @activity.defn(name="erp.ensure_clients")
    @guarded
    async def ensure_clients(self, command: EnsureClients) -> StepOutcome:
        """Clients, parents first. Work on a client is serialised by its own key, not by the deal."""
        erp = await self._erp(command.saga.mapping, command.system)
        placements = {placement.client.key: placement for placement in command.placements}
        shared = {key: shared_key(command.system, ENSURE_CLIENT, key) for key in placements}
        context = self.context(command.saga, command.step)
        total = Performed()
        found = False
        writes: list[VendorWrite] = []
        for placement in command.placements:
            key = placement.client.key
            if command.saga.plan:
                existing = placement.existing or await self._made_before(erp, shared[key])
            else:
                existing = await self._held(erp, placement, shared[key], command)
            setup = _setup(placement, existing, known=set(placements))
            if existing is not None:
                found = True
                total.values[f"{client_symbol(key)}.id"] = existing.ref.id
                total.records.append(existing.ref)
            plan = await self._plan(erp, context, setup)
            if command.saga.plan:
                writes += plan
                continue
            absent = [write.key for write in plan if placement.unseen and write.operation == ENSURE_CLIENT]
            done = await self._send(erp, plan, command, total, absent)
            if existing is None and not (all(done.made.values()) and await self._ours(shared[key], command)):
                # Another saga made this client meanwhile, perhaps under other entities: extend it.
                now = await erp.read_client(total.values[f"{client_symbol(key)}.id"])
                if now is None:
                    raise Transient(
                        f"{placement.client.name}: made a moment ago, {erp.system} does not show it yet.",
                        system=erp.system,
                        maybe_landed=True,
                    )
                again = await self._plan(erp, context, _setup(placement, now, known=set(placements)))
                await self._send(erp, again, command, total)
        if command.saga.plan:
            # A client that exists has an id already: later steps' plans show it.
            return planned(writes, total.values).model_copy(update={"values": total.values})
        if found:
            total.records += await self._of_earlier_attempts(erp, command, total)
        return outcome_of(total)

    async def _plan(self, erp: ErpPort, context: WriteContext, setup: ClientSetup) -> list[VendorWrite]:
        return await self.shared_plan(context, lambda keys: erp.plan_clients(keys, [setup]))

    async def _send(
        self,
        erp: ErpPort,
        plan: list[VendorWrite],
        command: EnsureClients,
        total: Performed,
        absent: Sequence[str] = (),
    ) -> Performed:
        try:
            done = await self.send(erp, plan, command.saga, total.values, absent)
        except SystemFailure as error:
            # Whoever repairs it must know of the step's earlier clients too.
            error.failure = error.failure.model_copy(
                update={
                    "maybe_landed": error.failure.maybe_landed or any(total.made.values()),
                    "survivors": tuple(dict.fromkeys((*total.records, *error.failure.survivors))),
                }
            )
            raise
        total.values.update(done.values)
        total.records += done.records
        total.made |= done.made
        return done

    async def _held(
        self, erp: ErpPort, placement: ClientPlacement, shared: str, command: EnsureClients
    ) -> ErpClient | None:
        """The client that exists, held so that no other saga's undo takes it away; None: it is to be made.

        Raises:
            Transient: such an undo is under way: look again when it is over.
            Refused: the record that was found or chosen earlier is gone or inactive by now.
        """
        existing = placement.existing or await self._made_before(erp, shared)
        if existing is None:
            return None
        name = placement.client.name
        if not await self.effects.ledger.hold(shared, command.saga.saga_id, self._step_key(command)):
            raise Transient(f"{name}: another saga is undoing customer {existing.ref.id}.", system=erp.system)
        # What was found while validating may be days old: the saga may have been parked since.
        now = await erp.read_client(existing.ref.id)
        if now is not None and not now.inactive:
            return now.model_copy(update={"linked": existing.linked})
        if now is None and await self._undone(shared, existing):
            return None
        cause = Cause.RECORD_VANISHED if now is None else Cause.CLIENT_INACTIVE
        entry = CATALOGUE[cause]
        raise Refused(
            f"{name}: customer {existing.ref.id} in {erp.system} is {'gone' if now is None else 'inactive'}.",
            cause=cause,
            queue=entry.queue,
            remedy=entry.remedy,
            system=erp.system,
            record=existing.ref,
        )

    async def _ours(self, shared: str, command: EnsureClients) -> bool:
        """Whether this saga, and no other one, made the shared record."""
        rows = (await self.effects.ledger.effects(shared=shared, states=[EffectState.DONE])).rows
        return all(row.saga_id == command.saga.saga_id for row in rows)

    async def _made_before(self, erp: ErpPort, shared: str) -> ErpClient | None:
        """The client's record when a saga of ours has made it and it was not undone."""
        rows = (await self.effects.ledger.effects(shared=shared, states=[EffectState.DONE])).rows
        # The client's entities and currencies are effects of the same shared record.
        made = [row.landed for row in rows if row.write.operation == ENSURE_CLIENT and row.landed is not None]
        return await erp.read_client(made[0].id) if made else None

    async def _undone(self, shared: str, existing: ErpClient) -> bool:
        """Whether it is gone because a saga of ours had made it and has undone it."""
        found = await self.effects.ledger.effects(
            shared=shared, record=existing.ref, states=[EffectState.UNDONE], limit=1
        )
        return bool(found.rows)

    async def _of_earlier_attempts(
        self, erp: ErpPort, command: EnsureClients, total: Performed
    ) -> list[RecordRef]:
        """What earlier attempts of the step made, and nobody may have heard of. A client that is there by now
        is planned with less: what is not planned any more is looked for, recorded and named all the same.
        """
        rows = await self._rows(command, [EffectState.INTENDED, EffectState.UNKNOWN])
        if rows:
            await self._send(erp, [row.write for row in rows], command, total)
        rows = await self._rows(command, [EffectState.DONE])
        return [row.record for row in rows if row.created_by_us and row.record is not None]

    async def _rows(self, command: EnsureClients, states: list[EffectState]) -> tuple[EffectRow, ...]:
        ledger = self.effects.ledger
        return (await ledger.effects(step_key=self._step_key(command), states=states, limit=1000)).rows

    @staticmethod
    def _step_key(command: EnsureClients | SetUpContract) -> str:
        return step_key(command.saga.saga_id, command.saga.generation, command.step)

    @activity.defn(name="erp.set_up_contract_and_project")
    @guarded
    async def set_up_contract_and_project(self, command: SetUpContract) -> StepOutcome:
        """Contract, project, schedule and revenue settings, in the ERP's own order."""
        erp = await self._erp(command.saga.mapping, command.system)
        context = self.context(command.saga, command.step)
        writes = erp.plan_contract_and_project(context, command.setup)
        outcome = await self.perform(erp, writes, command.saga, command.values, command.absent)
        if not command.saga.plan:
            # A line that was dropped before activation leaves a schedule that no order uses any more.
            keep = {write.key for write in writes}
            await self.effects.take_back_superseded(erp, self._step_key(command), keep, saga=command.saga)
        return outcome

    @activity.defn(name="erp.read_baseline")
    @guarded
    async def read_baseline(self, command: ReadBaseline) -> SystemBaseline:
        """What the ERP holds of the contracts."""
        erp = await self._erp(command.saga.mapping, command.system)
        held = await asyncio.gather(
            *(erp.read_baseline(contract, command.values) for contract in command.contracts)
        )
        return SystemBaseline(system=command.system, contracts=tuple(held))

    @activity.defn(name="erp.activate_contract")
    @guarded
    async def activate_contract(self, command: ActivateContract) -> StepOutcome:
        """Approve the contract and open its project; whom it bills is linked from now on."""
        erp = await self._erp(command.saga.mapping, command.system)
        context = self.context(command.saga, command.step)
        writes = erp.plan_activation(context, command.contract)
        outcome = await self.perform(erp, writes, command.saga, command.values)
        if not command.saga.plan:
            for key in sorted(set(command.contract.parties.values())):
                await self._link_found(erp, key, command)
        return outcome

    async def _link_found(self, erp: ErpPort, key: str, command: ActivateContract) -> None:
        """Link a client whose record was there before us; one that a saga made is linked since then.

        Not before the contract is active: a deal that is undone leaves no decision on who its client is.
        """
        ledger = self.effects.ledger
        id_ = command.values.get(f"{client_symbol(key)}.id")
        if id_ is None or await ledger.links_of("client", key, system=erp.system):
            return
        found = await erp.read_client(id_)
        if found is not None:
            await ledger.link(
                "client",
                key,
                found.ref,
                evidence={"found by": command.contract.engagement_key},
                created_by_us=False,
                saga_id=command.saga.saga_id,
            )

    async def _erp(self, mapping: dict[str, str], system: str) -> ErpPort:
        return await self.systems.erp(system, mapping.get(system, ""))


def _setup(placement: ClientPlacement, existing: ErpClient | None, *, known: set[str]) -> ClientSetup:
    parent = placement.client.parent_key
    return ClientSetup(
        client=placement.client,
        parent_symbol=client_symbol(parent) if parent in known else None,
        entities=placement.entities,
        currencies=placement.currencies,
        payment_terms=placement.payment_terms,
        existing=existing,
    )
