"""The ledger's tables, one module each. Importing this package registers all of them."""

from ledger.tables.audit import Audit, AuditHead, AuditPersonal, AuditSeal
from ledger.tables.base import METADATA
from ledger.tables.baseline import Baseline
from ledger.tables.contract_version import ContractVersion
from ledger.tables.decision import Decision
from ledger.tables.effect import Effect
from ledger.tables.exception_case import ExceptionCaseTable
from ledger.tables.holder import Holder
from ledger.tables.link import Link
from ledger.tables.mapping import Mapping
from ledger.tables.person import Person
from ledger.tables.saga import Saga
from ledger.tables.tombstone import Tombstone

__all__ = [
    "METADATA",
    "Audit",
    "AuditHead",
    "AuditPersonal",
    "AuditSeal",
    "Baseline",
    "ContractVersion",
    "Decision",
    "Effect",
    "ExceptionCaseTable",
    "Holder",
    "Link",
    "Mapping",
    "Person",
    "Saga",
    "Tombstone",
]
