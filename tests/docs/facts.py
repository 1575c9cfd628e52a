"""Facts about the opportunity-to-project saga, read out of its code for comparison with its page."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

from canonical.delivery import DeliveryTemplate
from canonical.money import Money
from canonical.operations import (
    ClientSetup,
    DealOutcome,
    ErpClient,
    PsaReference,
    WriteContext,
    client_symbol,
)
from canonical.opportunity import Opportunity, OpportunityLine
from canonical.parties import Client
from canonical.refs import RecordRef
from canonical.saga import StepKind
from canonical.writes import VendorWrite
from cli.local.config import Places, render
from connectors.ports import CrmPort, ErpPort, PsaPort
from rules.shape import Shape, shape
from rules.validate import place
from runtime.config_file import read
from runtime.settings import Settings, check
from wiring.systems import build
from workflows.kernel.core import activity_name

PARTS = ("reading", "building", "closing")
CALLS = ("step", "delivery_step", "read_back", "clients_in", "look_in")
"""Calls of the business process that perform one activity."""


def steps() -> set[tuple[str, str]]:
    """(activity, kind) of every step that the process can perform."""
    found: set[tuple[str, str]] = set()
    for part in PARTS:
        module = importlib.import_module(f"workflows.opportunity.{part}")
        for call in _calls(module):
            methods = [name for argument in call.args if (name := _activity(module, argument))]
            for name in methods:
                found.add((name, _kind(module, call).value))
    return found


def literals() -> str:
    """The source of the process and of the rules that name steps."""
    names = [f"workflows.opportunity.{part}" for part in PARTS] + ["rules.gates"]
    return "\n".join(inspect.getsource(importlib.import_module(name)) for name in names)


def _calls(module: ModuleType) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in CALLS:
                yield node


def _activity(module: ModuleType, node: ast.expr) -> str | None:
    if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)):
        return None
    owner = getattr(module, node.value.id, None)
    if owner is None or not node.value.id.endswith("Activities"):
        return None
    return activity_name(getattr(owner, node.attr))


def _kind(module: ModuleType, call: ast.Call) -> StepKind:
    for keyword in call.keywords:
        if keyword.arg == "kind":
            if isinstance(keyword.value, ast.Name):
                found = getattr(module, keyword.value.id)
            else:
                assert isinstance(keyword.value, ast.Attribute)
                found = StepKind[keyword.value.attr]
            assert isinstance(found, StepKind)
            return found
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return StepKind.READ if name in ("read_back", "look_in") else StepKind.COMPENSATABLE


# --- the writes of a deal that has everything --------------------------------------------------------------


def writes(folder: Path) -> list[VendorWrite]:
    """Every kind of write that the process can plan: two entities, an existing client, all parts."""
    settings = settings_of(folder)
    deal = _deal()
    placed, findings = place(deal, settings.firm())
    assert findings == []
    reference = _reference()
    shaped = shape(deal, settings.firm(), placed, {reference.system: reference})
    assert shaped.findings == ()
    crm: Any = build("sf-main", settings.systems["sf-main"])
    erp: Any = build("netsuite-emea", settings.systems["netsuite-emea"])
    psa: Any = build("kantata-main", settings.systems["kantata-main"])
    return [*_erp(erp, deal, shaped), *_psa(psa, shaped), *_crm(crm, deal)]


def settings_of(folder: Path) -> Settings:
    """The local firm's settings, with its systems nowhere."""
    nowhere = "http://127.0.0.1:9"
    places = Places("127.0.0.1:9", nowhere, nowhere, nowhere, folder)
    file = folder / "trueup.toml"
    file.write_text(render(places, "nobody"))
    return check(read(file, {}))


def _deal() -> Opportunity:
    client = Client(key="001A", name="Client", ref=RecordRef(system="sf-main", type="Account", id="001A"))
    lines = [
        OpportunityLine(
            id=f"line{number}",
            service_code="IMPL",
            quantity=Decimal(1),
            unit_price=Decimal(1000),
            amount=Money(amount=Decimal(1000), currency="EUR"),
            legal_entity=entity,
            delivery_region="emea",
            start=date(2026, 12, 1),
            end=date(2027, 5, 31),
        )
        for number, entity in enumerate(("NL01", "UK01"), start=1)
    ]
    return Opportunity(
        ref=RecordRef(system="sf-main", type="Opportunity", id="006000000000001AAA"),
        name="Deal",
        revision="1",
        stage="Closed Won",
        is_won=True,
        is_closed=True,
        currency="EUR",
        amount=Money(amount=Decimal(2000), currency="EUR"),
        client=client,
        lines=tuple(lines),
        close_date=date(2026, 11, 20),
    )


def _reference() -> PsaReference:
    template = DeliveryTemplate(
        id="300", title="Implementation", roles={"consultant": 1}, tasks=6, milestones=1
    )
    roles = {"solution-architect": "5", "consultant": "6", "project-manager": "7"}
    return PsaReference(system="kantata-main", templates=(template,), roles=tuple(roles), role_ids=roles)


def _context(step: str) -> WriteContext:
    return WriteContext(saga_id="o2p:emea:sf-main:006000000000001AAA", generation=1, step=step, region="emea")


def _erp(erp: ErpPort, deal: Opportunity, shaped: Shape) -> list[VendorWrite]:
    assert deal.client is not None
    setup = ClientSetup(client=deal.client, entities=("NL01", "UK01"), currencies=("EUR", "GBP"))
    found = erp.plan_clients(_context("clients"), [setup])
    found += _extended(erp, setup)
    for one in shaped.contracts:
        found += erp.plan_contract_and_project(_context("contract"), one)
        found += erp.plan_activation(_context("activate"), one.contract)
    return found


def _extended(erp: ErpPort, setup: ClientSetup) -> list[VendorWrite]:
    """A customer that finance had before, without the second currency."""
    existing = ErpClient(
        ref=RecordRef(system=erp.system, type="customer", id="501"),
        name="Client",
        entities=("NL01", "UK01"),
        currencies=("EUR",),
    )
    assert client_symbol(setup.client.key) == setup.symbol
    return erp.plan_clients(_context("clients"), [setup.model_copy(update={"existing": existing})])


def _psa(psa: PsaPort, shaped: Shape) -> list[VendorWrite]:
    found: list[VendorWrite] = []
    for one in shaped.deliveries:
        found += psa.plan_client(_context("clients"), one)
        found += psa.plan_project(_context("delivery"), one)
        found += psa.plan_structure(_context("structure"), one)
        found += psa.plan_activation(_context("open"), one)
    return found


def _crm(crm: CrmPort, deal: Opportunity) -> list[VendorWrite]:
    outcome = DealOutcome(
        deal=deal.ref, engagement_code="PRJ-1", project_codes="PRJ-1, PRJ-2", status="Active"
    )
    return crm.plan_write_back(_context("write-back"), outcome)
