"""Do all systems hold what was agreed? Compared in canonical words, before activation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from canonical.causes import Cause
from canonical.failures import Finding
from canonical.operations import (
    ContractSetup,
    DeliverySetup,
    ErpBaseline,
    PsaBaseline,
    client_symbol,
    project_symbol,
)
from canonical.parties import PartyRole
from canonical.refs import RecordRef
from rules.findings import finding


def contract_differences(
    setup: ContractSetup, held: ErpBaseline | None, values: Mapping[str, str]
) -> Iterator[Finding]:
    """Where the ERP's contract is not the agreed one."""
    contract = setup.contract
    if held is None:
        yield finding(Cause.RECORD_VANISHED, f"Contract {contract.key} is not in {contract.erp} any more.")
        return
    record = held.refs[0] if held.refs else None
    agreed: dict[str, tuple[object, object]] = {
        "legal entity": (contract.legal_entity, held.legal_entity),
        "currency": (contract.currency, held.currency),
        "amount": (contract.amount.amount, held.amount.amount),
        "project code": (values.get(f"{project_symbol(contract.key)}.code"), held.project_code),
        "customer": (values.get(f"{client_symbol(contract.parties[PartyRole.BILL_TO])}.id"), held.client_id),
    }
    if held.billing_methods:
        agreed["billing methods"] = (
            sorted(line.billing_method.value for line in contract.lines),
            sorted(held.billing_methods),
        )
    yield from _compare(f"Contract {contract.key} in {contract.erp}", agreed, record)


def delivery_differences(
    setup: DeliverySetup, held: PsaBaseline | None, values: Mapping[str, str]
) -> Iterator[Finding]:
    """Where the delivery project is not the agreed one."""
    project = setup.project
    if held is None:
        yield finding(
            Cause.RECORD_VANISHED, f"Delivery project {project.key} is not in {project.psa} any more."
        )
        return
    wanted = dict(setup.template.roles)
    for placeholder in project.placeholders:
        wanted[placeholder.role] = max(wanted.get(placeholder.role, 0), placeholder.count)
    agreed: dict[str, tuple[object, object]] = {
        "project code": (values.get(f"{setup.code_symbol}.code"), held.project_code),
        "currency": (project.currency, held.currency),
        "budget": (project.budget.amount, held.budget.amount),
        "milestones": (setup.template.milestones + len(project.milestones), held.milestones),
        "tasks": (setup.template.tasks, held.tasks),
        "positions": (wanted, dict(held.placeholders)),
    }
    yield from _compare(f"Project {held.ref.id} in {project.psa}", agreed, held.ref)


def _compare(
    where: str, agreed: Mapping[str, tuple[object, object]], record: RecordRef | None
) -> Iterator[Finding]:
    for field, (wanted, found) in agreed.items():
        if wanted != found:
            yield finding(
                Cause.BASELINE_DIFFERS,
                f"{where}: {field} is {found}, agreed is {wanted}.",
                record=record,
                field=field,
            )
