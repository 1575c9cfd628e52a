"""The composition root: every vendor loads, every activity has one queue, runs keep their mapping."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from activities import contracts
from activities.contracts import StartSaga
from canonical.causes import Cause
from canonical.failures import ConfigurationError, Refused
from canonical.names import LEDGER_QUEUE, WORKFLOW_QUEUE, system_queue
from canonical.refs import SystemRole
from canonical.saga import Actor
from connectors.ports import ConnectedSystem
from ledger.store import Ledger
from runtime.sections import SystemSection
from runtime.settings import Settings
from tests.rules.examples import settings
from wiring.ledger import open_ledger
from wiring.start import start_input
from wiring.systems import ConnectedSystems, build, vendor_settings
from wiring.vendors import VENDORS
from wiring.workers import chosen, queue_workers, short_name

pytestmark = pytest.mark.anyio

SECRETS = ("TRUEUP_SALESFORCE_ID", "TRUEUP_SALESFORCE_SECRET", "TRUEUP_KANTATA_TOKEN")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "x")


def configured(**changes: Any) -> Settings:
    return settings().model_copy(update=changes)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    place = {"url": f"sqlite:///{tmp_path / 'ledger.db'}", "personal_key_file": None}
    section = settings().ledger.model_copy(update=place)
    ledger = await open_ledger(configured(ledger=section), bring_up_to_date=True)
    yield ledger
    await ledger.close()


@pytest.fixture
async def systems(ledger: Ledger) -> AsyncIterator[ConnectedSystems]:
    systems = ConnectedSystems(settings(), ledger)
    yield systems
    await systems.close()


def changed(name: str, **options: Any) -> Settings:
    """The settings with an instance's options changed; None removes one."""
    section = settings().systems[name]
    merged = {key: value for key, value in {**section.options, **options}.items() if value is not None}
    return configured(systems={**settings().systems, name: section.model_copy(update={"options": merged})})


# --- vendors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vendor", list(VENDORS))
def test_every_vendor_in_the_table_can_be_loaded(vendor: str) -> None:
    model, connector = VENDORS[vendor].load()
    assert model.model_config.get("extra") == "forbid"
    assert model.model_config.get("frozen") is True
    assert callable(connector)


async def test_every_configured_instance_is_a_connected_system(systems: ConnectedSystems) -> None:
    assert systems.names == ("sf-main", "netsuite-emea", "kantata-main", "hr-export")
    for name in systems.names:
        assert isinstance(systems.current(name), ConnectedSystem)
        assert systems.current(name).system == name
    assert systems.roles("sf-main") == (SystemRole.CRM,)


def test_an_unknown_vendor_is_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"systems\.x\.vendor: 'sap' is not known; known: hr_file"):
        build("x", SystemSection(vendor="sap", roles=(SystemRole.ERP,)))


def test_every_wrong_key_of_every_instance_is_reported_at_once() -> None:
    wrong = changed("netsuite-emea", concurrency="many", base_ulr="x")
    kantata = wrong.systems["kantata-main"]
    options = {**kantata.options, "tokken": "x"}
    both = wrong.model_copy(
        update={"systems": {**wrong.systems, "kantata-main": kantata.model_copy(update={"options": options})}}
    )
    with pytest.raises(ConfigurationError) as found:
        ConnectedSystems(both, None)
    said = "\n".join(found.value.problems)
    for key in (
        "systems.netsuite-emea.concurrency",
        "systems.netsuite-emea.base_ulr",
        "systems.kantata-main.tokken",
    ):
        assert key in said


async def test_an_instance_is_available_in_its_roles_only(systems: ConnectedSystems) -> None:
    assert (await systems.erp("netsuite-emea")).system == "netsuite-emea"
    for ask, role in ((systems.crm, "crm"), (systems.psa, "psa"), (systems.hr, "hr")):
        with pytest.raises(Refused) as no:
            await ask("netsuite-emea")
        assert no.value.failure.cause is Cause.CONFIGURATION
        assert f"'netsuite-emea' is not configured as {role}; configured: " in no.value.failure.message
        assert no.value.failure.remedy is not None
    with pytest.raises(Refused, match="'nowhere' is not configured"):
        await systems.writer("nowhere")
    assert systems.notifiers("pmo") == []


# --- pinned mappings -----------------------------------------------------------------------------------


async def test_a_run_keeps_the_mapping_it_was_started_with(ledger: Ledger) -> None:
    old = ConnectedSystems(settings(), ledger)
    await old.store_mappings()
    pinned = old.mapping_digests()
    mapping = {**settings().systems["netsuite-emea"].options["mapping"], "payment_terms": {"Net 30": "99"}}
    new = ConnectedSystems(changed("netsuite-emea", mapping=mapping), ledger)
    try:
        assert new.mapping_digests()["netsuite-emea"] != pinned["netsuite-emea"]
        assert new.mapping_digests()["sf-main"] == pinned["sf-main"]
        port = await new.erp("netsuite-emea", pinned["netsuite-emea"])
        assert port.mapping_digest == pinned["netsuite-emea"]
        assert await new.erp("netsuite-emea", pinned["netsuite-emea"]) is port
        assert await new.erp("netsuite-emea") is new.current("netsuite-emea")
    finally:
        await old.close()
        await new.close()


async def test_a_mapping_that_the_ledger_lacks_says_how_to_go_on(systems: ConnectedSystems) -> None:
    with pytest.raises(Refused) as no:
        await systems.erp("netsuite-emea", "0123456789abcdef")
    assert no.value.failure.cause is Cause.CONFIGURATION
    assert "pinned to field mapping 0123456789ab" in no.value.failure.message
    assert no.value.failure.remedy == "Resolve the step with the current mapping."


def test_connection_details_are_no_part_of_the_mapping() -> None:
    """A rotated secret or a moved address must not unpin every run."""
    moved = changed("netsuite-emea", base_url="https://elsewhere.example", concurrency=1)
    digests = [ConnectedSystems(one, None).mapping_digests() for one in (settings(), moved)]
    assert digests[0] == digests[1]


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUEUP_KANTATA_TOKEN", "very-secret-token")
    section = settings().systems["kantata-main"]
    assert "very-secret-token" not in repr(vendor_settings("kantata-main", section))


# --- queues --------------------------------------------------------------------------------------------


def contracted() -> set[str]:
    """Names of all activities that workflows may call."""
    return {
        definition.name
        for cls in vars(contracts).values()
        if isinstance(cls, type)
        for method in vars(cls).values()
        if (definition := getattr(method, "__temporal_activity_definition", None)) is not None
    }


async def test_every_activity_that_workflows_may_call_is_served_once_per_queue(
    systems: ConnectedSystems, ledger: Ledger
) -> None:
    queues = {one.queue: one for one in queue_workers(settings(), systems, ledger)}
    assert list(queues) == [
        WORKFLOW_QUEUE,
        LEDGER_QUEUE,
        *(system_queue(name) for name in ("sf-main", "netsuite-emea", "kantata-main", "hr-export")),
    ]
    served: set[str] = set()
    for one in queues.values():
        names = [getattr(method, "__temporal_activity_definition").name for method in one.activities]
        assert [name for name, count in Counter(names).items() if count > 1] == []
        served |= set(names)
    assert served == contracted()


async def test_undo_runs_on_the_queue_of_every_system_that_is_written_to(
    systems: ConnectedSystems, ledger: Ledger
) -> None:
    for one in queue_workers(settings(), systems, ledger):
        names = {getattr(method, "__temporal_activity_definition").name for method in one.activities}
        written = any(name.startswith(("crm.", "erp.", "psa.")) for name in names)
        assert ("effects.undo_step" in names) or not written


async def test_a_systems_slots_are_those_configured(systems: ConnectedSystems, ledger: Ledger) -> None:
    slots = {short_name(one.queue): one.slots for one in queue_workers(settings(), systems, ledger)}
    named = settings().worker.slots
    assert (slots["netsuite-emea"], slots["kantata-main"]) == (5, 5)
    assert slots["sf-main"] == named["sf-main"] != settings().worker.system_slots
    assert slots["hr-export"] == settings().worker.system_slots


async def test_queues_are_chosen_by_short_name(systems: ConnectedSystems, ledger: Ledger) -> None:
    queues = queue_workers(settings(), systems, ledger)
    assert [one.queue for one in chosen(queues, ["ledger", "sf-main"])] == [
        LEDGER_QUEUE,
        system_queue("sf-main"),
    ]
    assert chosen(queues, []) == queues
    with pytest.raises(ConfigurationError, match=r"netsuite unknown; known: workflows, ledger, sf-main"):
        chosen(queues, ["netsuite"])


# --- starting --------------------------------------------------------------------------------------------


def begun(record_id: str = "006000000000001AAA", **more: Any) -> StartSaga:
    return start_input(
        settings(), {"sf-main": "d"}, system="sf-main", record_id=record_id, actor=Actor(name="anna"), **more
    )


def test_every_spelling_of_a_deal_is_the_same_saga() -> None:
    assert begun("006000000000001").saga_id == begun("006000000000001AAA").saga_id
    assert begun().saga_id == "o2p:emea:sf-main:006000000000001AAA"


def test_a_plan_has_an_id_of_its_own() -> None:
    assert begun(plan=True).saga_id == f"plan:{begun().saga_id}"
    assert begun(plan=True).plan


def test_a_start_takes_its_times_and_mapping_along() -> None:
    at = datetime(2026, 11, 20, tzinfo=UTC)
    start = begun(source_event_at=at, reason="won")
    assert start.timings.call == settings().retry.call
    assert start.timings.renew_after == settings().retry.renew_after
    assert start.mapping == {"sf-main": "d"}
    assert (start.source_event_at, start.reason, start.region) == (at, "won", "emea")
    assert start.repair_roles == settings().policies.repair_roles
    assert StartSaga.model_validate_json(start.model_dump_json()) == start


@pytest.mark.parametrize("bad", ["", "006:1", "006\n"])
def test_what_cannot_be_part_of_an_id_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="cannot be part of a saga id"):
        begun(bad)
