"""Activities over ports: clients shared by sagas, templates, plan mode, pinned mappings, messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.contracts import (
    ActivateContract,
    ClientPlacement,
    EnsureClients,
    ErpFindings,
    GatherErp,
    OpenDelivery,
    SendNotice,
    StepOutcome,
    UndoStep,
    UndoStepResult,
)
from activities.erp import ErpActivitiesOver
from activities.notify import NotifyActivitiesOver
from activities.psa import PsaActivitiesOver
from activities.undo import EffectActivitiesOver
from canonical.causes import Cause
from canonical.engagement import Contract
from canonical.failures import Failure, Refused, Unauthorised
from canonical.names import effect_key, shared_key, stamp, step_key
from canonical.operations import (
    ClientSetup,
    DeliverySetup,
    ErpClient,
    ErpReference,
    Notice,
    TemplateProgress,
    WriteContext,
)
from canonical.parties import Client, PartyRole
from canonical.refs import RecordRef
from canonical.writes import VendorWrite
from ledger.rows import LinkRow
from tests.activities.fakes import ERP, OTHER, SAGA, Bench, FakeVendor, client, create, ref
from tests.activities.firm import FakeNotifier, FakeSystems
from tests.cli.billing import contract
from tests.rules.examples import client as account
from tests.rules.test_baseline import DELIVERY

pytestmark = pytest.mark.anyio

NORTHWIND = account("001X")
SHARED = shared_key(ERP, "ensure_client", "001X")


@dataclass
class FakeErp(FakeVendor):
    """Customers with the entities they may be invoiced by."""

    found: tuple[ErpClient, ...] = ()
    planned: list[ClientSetup] = field(default_factory=list)
    unread: int = 0
    """How many reads to come do not see a customer yet."""

    async def read_reference(self, *, items: Sequence[str]) -> ErpReference:
        return ErpReference(system=self.system, items=tuple(items))

    async def search_clients(self, client: Client) -> list[ErpClient]:
        return list(self.found)

    async def read_client(self, client_id: str) -> ErpClient | None:
        if self.unread:
            self.unread -= 1
            return None
        record = self.records.get(client_id)
        if record is None:
            return None
        more = {one.fields["entity"] for one in self.live if one.fields.get("customer") == client_id}
        return ErpClient(
            ref=RecordRef(system=self.system, type="customer", id=client_id),
            name=record.fields["companyName"],
            entities=(record.fields["entity"], *sorted(more)),
            inactive=not record.active,
        )

    def plan_clients(self, context: WriteContext, setups: Sequence[ClientSetup]) -> list[VendorWrite]:
        writes = []
        for setup in setups:
            self.planned.append(setup)
            held: tuple[str, ...] = setup.existing.entities if setup.existing else setup.entities[:1]
            if setup.existing is None:
                key = context.key_of_shared(self.system, "ensure_client", setup.client.key)
                writes.append(
                    client(
                        context.saga_id,
                        key=key,
                        stamp=stamp(key),
                        step_key=context.step_key,
                        symbol=setup.symbol,
                        body={"companyName": setup.client.name, "entity": setup.entities[0]},
                        sets={"companyName": "client.name", "entity": "client.legal_entity"},
                    )
                )
            for entity in setup.entities:
                if entity not in held:
                    key = effect_key(self.system, "ensure_entity", f"{setup.client.key}.{entity}", 1)
                    body = {"entity": entity, "customer": {"$symbol": f"{setup.symbol}.id"}}
                    writes.append(
                        create(
                            key=key,
                            stamp=stamp(key),
                            step_key=context.step_key,
                            symbol=f"entity:{entity}",
                            body=body,
                            sets={"entity": "client.legal_entity", "customer": "client.external_key"},
                        )
                    )
        return writes

    def plan_activation(self, context: WriteContext, contract: Contract) -> list[VendorWrite]:
        return []


@dataclass
class Firm:
    bench: Bench
    erp: FakeErp
    systems: FakeSystems

    def activities(self) -> ErpActivitiesOver:
        return ErpActivitiesOver(self.systems, self.bench.effects)

    async def ensure(
        self, saga: str = SAGA, *entities: str, plan: bool = False, **placement: Any
    ) -> StepOutcome:
        one = ClientPlacement(
            client=NORTHWIND, system=ERP, entities=entities or ("NL01",), currencies=("EUR",), **placement
        )
        return await self.place(one, saga=saga, plan=plan)

    async def place(self, *placements: ClientPlacement, saga: str = SAGA, plan: bool = False) -> StepOutcome:
        command = EnsureClients(saga=ref(saga, plan=plan), step="clients", system=ERP, placements=placements)
        self.bench.attempts += 1
        environment = ActivityEnvironment()
        environment.info = replace(environment.info, activity_id=str(self.bench.attempts))
        outcome = await environment.run(self.activities().ensure_clients, command)
        assert isinstance(outcome, StepOutcome)
        return outcome

    async def undo(self, saga: str = SAGA) -> UndoStepResult:
        command = UndoStep(
            saga=ref(saga), step="clients", step_key=step_key(saga, 1, "clients"), system=ERP, reason="r"
        )
        undo = EffectActivitiesOver(self.systems, self.bench.effects)
        result = await ActivityEnvironment().run(undo.undo_step, command)
        assert isinstance(result, UndoStepResult)
        return result

    async def activate(self, values: dict[str, str], *, plan: bool = False) -> list[LinkRow]:
        """Activate a contract that bills Northwind; its client's links afterwards."""
        terms = contract(parties={PartyRole.SOLD_TO: "001X", PartyRole.BILL_TO: "001X"})
        command = ActivateContract(
            saga=ref(SAGA, plan=plan), step="activate", system=ERP, contract=terms, values=values
        )
        await ActivityEnvironment().run(self.activities().activate_contract, command)
        return await self.bench.ledger.links_of("client", "001X", system=ERP)

    def customers(self) -> list[str]:
        return [one.id for one in self.erp.live if "companyName" in one.fields]

    def entities(self) -> list[str]:
        return sorted(one.fields["entity"] for one in self.erp.live)


@pytest.fixture
def firm(bench: Bench) -> Firm:
    erp = FakeErp(bench.clock)
    bench.vendor = erp
    return Firm(bench, erp, FakeSystems({ERP: erp}))


def failure(error: pytest.ExceptionInfo[ApplicationError]) -> Failure:
    return Failure.model_validate(error.value.details[0])


# --- clients --------------------------------------------------------------------------------------------


async def test_a_refused_client_names_the_parents_that_were_made_before_it(firm: Firm) -> None:
    child = NORTHWIND.model_copy(update={"key": "001Y", "name": "Northwind Logistics"})
    placements = [
        ClientPlacement(client=client, system=ERP, entities=("NL01",), currencies=("EUR",))
        for client in (NORTHWIND, child)
    ]
    firm.erp.faults["send"] += [_goes_on, Refused("no")]
    with pytest.raises(ApplicationError) as refused:
        await firm.place(*placements)
    told = failure(refused)
    assert told.maybe_landed
    assert {record.id for record in told.survivors} == {one.id for one in firm.erp.live}
    assert len(told.survivors) == 1


async def _goes_on(write: VendorWrite) -> None:
    return None


async def test_a_new_client_is_made_once_under_all_its_entities(firm: Firm) -> None:
    outcome = await firm.ensure(SAGA, "NL01", "UK01")
    assert firm.entities() == ["NL01", "UK01"]
    assert outcome.values["client:001X.id"] == "101"
    await firm.ensure(SAGA, "NL01", "UK01")
    assert firm.entities() == ["NL01", "UK01"]


async def test_a_second_deal_uses_the_client_and_adds_its_entity(firm: Firm) -> None:
    await firm.ensure(SAGA, "NL01")
    await firm.ensure(OTHER, "NL01", "JP01")
    assert firm.customers() == ["101"]
    assert firm.entities() == ["JP01", "NL01"]
    assert await firm.bench.ledger.holders(SHARED) == (SAGA, OTHER)


async def test_a_deal_that_comes_at_the_same_moment_adds_its_entity_too(firm: Firm) -> None:
    """The other saga finishes between our planning and our claim."""
    original = firm.bench.ledger.claim
    raced: list[bool] = []

    async def late_claim(write: VendorWrite, **more: Any) -> Any:
        if more["saga_id"] == SAGA and not raced:
            raced.append(True)
            await firm.ensure(OTHER, "UK01")
        return await original(write, **more)

    firm.bench.ledger.claim = late_claim  # type: ignore[method-assign]
    await firm.ensure(SAGA, "NL01")
    assert firm.customers() == ["101"]
    assert firm.entities() == ["NL01", "UK01"]


async def test_a_client_that_cannot_be_read_yet_is_waited_for(firm: Firm) -> None:
    await firm.ensure(OTHER, "UK01")
    firm.erp.unread = 2
    with pytest.raises(ApplicationError) as early:
        await firm.ensure(SAGA, "NL01")
    assert failure(early).kind.passes_by_itself
    await firm.ensure(SAGA, "NL01")
    assert firm.entities() == ["NL01", "UK01"]


async def test_the_last_deal_to_be_undone_takes_the_client_away(firm: Firm) -> None:
    await firm.ensure(SAGA)
    await firm.ensure(OTHER)
    await firm.undo(SAGA)
    assert firm.customers() == ["101"]
    await firm.undo(OTHER)
    assert firm.customers() == []


async def test_a_client_chosen_earlier_is_held_and_survives_the_other_deals_undo(firm: Firm) -> None:
    await firm.ensure(SAGA)
    chosen = await firm.erp.read_client("101")
    await firm.ensure(OTHER, existing=chosen)
    await firm.undo(SAGA)
    assert firm.customers() == ["101"]


async def test_a_client_being_undone_is_waited_for_and_made_again(firm: Firm) -> None:
    """It was found while validating; until this step came, its last holder began to undo it."""
    await firm.ensure(SAGA)
    chosen = await firm.erp.read_client("101")
    firm.erp.faults["undo"].append(Refused("it has transactions"))
    with pytest.raises(ApplicationError):
        await firm.undo(SAGA)
    with pytest.raises(ApplicationError) as busy:
        await firm.ensure(OTHER, existing=chosen)
    assert failure(busy).kind.passes_by_itself
    await firm.undo(SAGA)
    outcome = await firm.ensure(OTHER, existing=chosen)
    assert firm.customers() == [outcome.values["client:001X.id"]] == ["102"]


async def test_a_chosen_client_that_finance_removed_since_is_for_a_person(firm: Firm) -> None:
    gone = ErpClient(ref=RecordRef(system=ERP, type="customer", id="7"), name="Northwind")
    with pytest.raises(ApplicationError) as parked:
        await firm.ensure(SAGA, existing=gone)
    assert failure(parked).cause is Cause.RECORD_VANISHED
    assert str(failure(parked).record) == "erp/customer/7"
    assert firm.customers() == []


async def test_a_chosen_client_that_was_inactivated_since_is_for_a_person(firm: Firm) -> None:
    await firm.ensure(SAGA)
    chosen = await firm.erp.read_client("101")
    firm.erp.records["101"].active = False
    with pytest.raises(ApplicationError) as parked:
        await firm.ensure(OTHER, existing=chosen)
    assert failure(parked).cause is Cause.CLIENT_INACTIVE


async def test_a_plan_writes_nothing_and_holds_nothing(firm: Firm) -> None:
    outcome = await firm.ensure(SAGA, "NL01", "UK01", plan=True)
    assert [write["kind"] for write in outcome.writes] == ["create", "create"]
    assert outcome.writes[1]["body"] == {"entity": "UK01", "customer": "@client:001X.id"}
    assert firm.erp.calls == []
    assert await firm.bench.ledger.holders(SHARED) == ()
    assert (await firm.bench.ledger.effects()).rows == ()


async def test_a_plan_shows_the_id_of_a_client_that_exists(firm: Firm) -> None:
    await firm.ensure(SAGA)
    outcome = await firm.ensure(OTHER, "NL01", plan=True)
    assert outcome.writes == ()
    assert outcome.values == {"client:001X.id": "101"}


async def test_after_an_undo_a_client_is_planned_under_its_next_generation(firm: Firm) -> None:
    await firm.ensure(SAGA)
    await firm.undo(SAGA)
    outcome = await firm.ensure(OTHER, plan=True)
    assert outcome.writes[0]["key"] == f"{ERP}|ensure_client|001X|g2|1"
    await firm.ensure(OTHER)
    assert firm.customers() == ["102"]


async def test_our_own_links_come_with_what_the_search_found(firm: Firm) -> None:
    await firm.ensure(SAGA)
    firm.erp.found = (ErpClient(ref=RecordRef(system=ERP, type="customer", id="55"), name="Northwind"),)
    command = GatherErp(saga=ref(OTHER), system=ERP, items=("31",), clients=(NORTHWIND,))
    found = await ActivityEnvironment().run(firm.activities().gather, command)
    assert isinstance(found, ErpFindings)
    assert [(row.ref.id, row.linked) for row in found.matches["001X"]] == [("55", False), ("101", True)]


async def test_a_client_that_finance_had_before_is_linked_once_its_contract_is_active(firm: Firm) -> None:
    await firm.ensure(OTHER)
    found = await firm.erp.read_client("101")
    assert found is not None
    there_before = found.model_copy(update={"ref": found.ref.model_copy(update={"id": "501"})})
    firm.erp.records["501"] = replace(firm.erp.records["101"], id="501", stamp="")
    await firm.undo(OTHER)
    outcome = await firm.ensure(SAGA, existing=there_before)
    assert await firm.bench.ledger.links_of("client", "001X") == []
    assert await firm.activate(outcome.values, plan=True) == []
    (link,) = await firm.activate(outcome.values)
    assert (link.record.id, link.created_by_us, link.saga_id) == ("501", False, SAGA)
    assert await firm.activate(outcome.values) == [link]


async def test_a_client_that_a_deal_made_keeps_the_link_of_its_making(firm: Firm) -> None:
    outcome = await firm.ensure(SAGA)
    before = await firm.bench.ledger.links_of("client", "001X", system=ERP)
    assert len(before) == 1
    assert await firm.activate(outcome.values) == before


async def test_every_call_uses_the_mapping_pinned_on_the_run(firm: Firm) -> None:
    command = GatherErp(saga=ref(mapping={ERP: "pinned"}), system=ERP, items=(), clients=())
    await ActivityEnvironment().run(firm.activities().gather, command)
    assert firm.systems.asked == [(ERP, "pinned")]


# --- templates (rule 20) ------------------------------------------------------------------------------------


@dataclass
class FakePsa(FakeVendor):
    progress: list[TemplateProgress] = field(default_factory=list)
    reads: int = 0

    async def template_progress(self, setup: DeliverySetup, values: Mapping[str, str]) -> TemplateProgress:
        self.reads += 1
        return self.progress.pop(0) if len(self.progress) > 1 else self.progress[0]

    def plan_structure(self, context: WriteContext, setup: DeliverySetup) -> list[VendorWrite]:
        return [
            create(
                system=self.system,
                step_key=context.step_key,
                body={"title": "Blueprint", "placeholder": {"$symbol": "delivery:K.placeholder.1"}},
                sets={"title": "project.milestones", "placeholder": "project.placeholders"},
            )
        ]


def applied(tasks: int, placeholders: int = 1, **more: Any) -> TemplateProgress:
    return TemplateProgress(
        tasks=tasks, milestones=0, placeholders=placeholders, fingerprint=f"{tasks}/{placeholders}", **more
    )


async def complete(bench: Bench, psa: FakePsa, seconds: float = 0.05) -> StepOutcome:
    activities = PsaActivitiesOver(FakeSystems({"kantata-main": psa}), bench.effects)
    command = OpenDelivery(
        saga=ref(),
        step="structure",
        system="kantata-main",
        setup=DELIVERY,
        settle_poll=0.001,
        settle_seconds=seconds,
        values={f"delivery:{DELIVERY.project.key}.id": "9"},
    )
    outcome = await ActivityEnvironment().run(activities.complete_structure, command)
    assert isinstance(outcome, StepOutcome)
    return outcome


MADE = {"delivery:K.placeholder.1": "31"}


async def test_structure_waits_until_the_template_is_there_completely(bench: Bench) -> None:
    psa = FakePsa(bench.clock, "kantata-main", progress=[applied(0), applied(2), applied(4, values=MADE)])
    outcome = await complete(bench, psa)
    assert psa.reads == 3
    assert outcome.values["delivery:K.placeholder.1"] == "31"
    assert [record.fields["placeholder"] for record in psa.live] == ["31"]


@pytest.mark.parametrize("progress", [applied(3), applied(9)])
async def test_a_template_that_brings_something_else_is_for_a_person(
    bench: Bench, progress: TemplateProgress
) -> None:
    psa = FakePsa(bench.clock, "kantata-main", progress=[progress])
    with pytest.raises(ApplicationError) as parked:
        await complete(bench, psa)
    found = failure(parked)
    assert found.cause is Cause.TEMPLATE_INCOMPLETE
    assert f"brought {progress.tasks} tasks" in found.message
    assert "it declares 4, 0, 1" in found.message
    assert str(found.record) == "kantata-main/project/9"
    assert psa.live == []


# --- messages --------------------------------------------------------------------------------------------


def notice(plan: bool = False) -> SendNotice:
    return SendNotice(
        saga=ref(plan=plan),
        step="notify",
        notice=Notice(key="k", channel="pmo", subject="Project P77", facts={}),
    )


async def send(systems: FakeSystems, *, plan: bool = False) -> StepOutcome:
    outcome = await ActivityEnvironment().run(NotifyActivitiesOver(systems).send, notice(plan))
    assert isinstance(outcome, StepOutcome)
    return outcome


async def test_a_message_goes_to_every_notifier_of_its_channel() -> None:
    mail, chat = FakeNotifier("mail"), FakeNotifier("chat")
    outcome = await send(FakeSystems(mail=[mail, chat]))
    assert [str(record) for record in outcome.records] == ["mail/message/1", "chat/message/1"]
    assert mail.sent == chat.sent == [notice().notice]


@pytest.mark.parametrize("fault", [Refused("no such recipient"), Unauthorised("bad password")])
async def test_a_message_that_cannot_be_delivered_is_noted_and_fails_nothing(fault: Exception) -> None:
    mail, chat = FakeNotifier("mail", fault=fault), FakeNotifier("chat")
    outcome = await send(FakeSystems(mail=[mail, chat]))
    assert outcome.note == f"not delivered by mail: {fault}"
    assert len(chat.sent) == 1


async def test_without_a_notifier_it_says_so() -> None:
    assert (await send(FakeSystems())).note == "no notifier for channel 'pmo' is configured"


async def test_a_plan_sends_no_message() -> None:
    mail = FakeNotifier()
    assert (await send(FakeSystems(mail=[mail]), plan=True)).note == "would send: Project P77"
    assert mail.sent == []
