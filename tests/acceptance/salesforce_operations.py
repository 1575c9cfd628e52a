"""What change orders, closings and re-openings ask of a Salesforce organisation: figures of its deal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from canonical.authority import Phase
from canonical.change_orders import ContractScope
from canonical.money import Money
from canonical.operations import WriteContext
from canonical.project_closing import DealClosure, DealStatus
from canonical.refs import RecordRef
from canonical.writes import VendorWrite
from tests.acceptance.operations import Asked, Operation

if TYPE_CHECKING:
    from tests.acceptance.salesforce import Subject

SCHEMA: list[dict[str, Any]] = [
    {"name": "Scope_Value__c", "type": "currency", "precision": 18, "scale": 3},
    {"name": "Scope_Versions__c", "type": "string", "length": 80},
    {"name": "Scope_Lines__c", "type": "textarea", "length": 32_000},
    {"name": "Scope_Status__c", "type": "string", "length": 80},
]
FIELDS = {
    "value": "Scope_Value__c",
    "versions": "Scope_Versions__c",
    "lines": "Scope_Lines__c",
    "status": "Scope_Status__c",
}


def asked(subject: Subject, operation: Operation) -> Asked | str:
    """An operation on the deal."""
    match operation:
        case Operation.CHANGE_SHOWN:
            return _scope(subject, agreed=False)
        case Operation.CHANGE:
            return _scope(subject, agreed=True)
        case Operation.CLOSING:
            return _status(subject, closed=True)
        case Operation.REOPENING:
            return _status(subject, closed=False)
        case Operation.PROGRESS:
            assert not hasattr(subject.connector, "plan_progress"), (
                "there is progress, so it must be accepted"
            )
            return "sales take no part in recognising revenue"


def _scope(subject: Subject, *, agreed: bool) -> Asked:
    status = "Agreed" if agreed else "Proposed"
    scope = ContractScope(
        deal=_deal(subject),
        contract_key=f"{subject.deal}.DE01.EUR",
        version=2,
        versions="DE01 EUR v2",
        value=Money.of_minor(125_050, "EUR"),
        lines="Größe 東京 | 1,000.50\nWeiteres | 250.00",
        status=status,
    )

    async def plan() -> list[VendorWrite]:
        return subject.connector.plan_scope(_context(subject, operation="co"), scope, agreed=agreed)

    def state() -> tuple[Any, ...]:
        record = subject.record("Opportunity", subject.deal)
        return tuple(record.get(field) for field in FIELDS.values())

    return Asked(plan, state, (1250.5, scope.versions, scope.lines, status))


def _status(subject: Subject, *, closed: bool) -> Asked:
    words = ("Active", "Closed")
    subject.change("Opportunity", subject.deal, Project_Status__c=words[not closed])
    closure = DealClosure(
        deal=_deal(subject),
        contract_key=f"{subject.deal}.DE01.EUR",
        number=1,
        status=DealStatus.CLOSED if closed else None,
        former={} if closed else {"Project_Status__c": "Active"},
    )

    async def plan() -> list[VendorWrite]:
        return subject.connector.plan_project_status(_context(subject, operation="close"), closure)

    def state() -> Any:
        return subject.record("Opportunity", subject.deal).get("Project_Status__c")

    return Asked(plan, state, words[closed])


def _deal(subject: Subject) -> RecordRef:
    return RecordRef(system=subject.connector.system, type="Opportunity", id=subject.deal)


def _context(subject: Subject, *, operation: str) -> WriteContext:
    return WriteContext(
        saga_id=f"{operation}:emea:{subject.connector.system}:{subject.deal}",
        generation=1,
        step="tell_deal",
        region="emea",
        phase=Phase.AFTER_APPROVAL,
    )
