"""The ledger's tables, one module each. Importing this package registers all of them."""

from ledger.tables.accounts import CapUse, RetainerMovement
from ledger.tables.allocation import Allocation, Repricing
from ledger.tables.api_request import ApiRequest
from ledger.tables.audit import Audit, AuditHead, AuditPersonal, AuditSeal
from ledger.tables.base import METADATA
from ledger.tables.baseline import Baseline
from ledger.tables.batch import Batch, BatchLine, Piece
from ledger.tables.billable_item import BillableItem
from ledger.tables.change_order import ChangeOrderTable
from ledger.tables.contract_version import ContractVersion
from ledger.tables.cursor import Cursor
from ledger.tables.decision import Decision
from ledger.tables.effect import Effect
from ledger.tables.exception_case import ExceptionCaseTable
from ledger.tables.feedback import (
    ContractReach,
    ErpInvoice,
    FeedbackClock,
    FeedbackTarget,
    InvoiceApplication,
    InvoiceShare,
)
from ledger.tables.holder import Holder
from ledger.tables.inbox import Inbox
from ledger.tables.invoice_state import InvoiceState
from ledger.tables.link import Link
from ledger.tables.mapping import Mapping
from ledger.tables.opening_position import OpeningPositionTable
from ledger.tables.outgoing_event import OutgoingEvent, Undelivered
from ledger.tables.person import Person
from ledger.tables.posting import Posting
from ledger.tables.project_closing import ProjectClosing
from ledger.tables.rate_version import RateVersion
from ledger.tables.revenue import ContractRevenue, ProgressInput
from ledger.tables.saga import Saga
from ledger.tables.tombstone import Tombstone

__all__ = [
    "METADATA",
    "Allocation",
    "ApiRequest",
    "Audit",
    "AuditHead",
    "AuditPersonal",
    "AuditSeal",
    "Baseline",
    "Batch",
    "BatchLine",
    "BillableItem",
    "CapUse",
    "ChangeOrderTable",
    "ContractReach",
    "ContractRevenue",
    "ContractVersion",
    "Cursor",
    "Decision",
    "Effect",
    "ErpInvoice",
    "ExceptionCaseTable",
    "FeedbackClock",
    "FeedbackTarget",
    "Holder",
    "Inbox",
    "InvoiceApplication",
    "InvoiceShare",
    "InvoiceState",
    "Link",
    "Mapping",
    "OpeningPositionTable",
    "OutgoingEvent",
    "Person",
    "Piece",
    "Posting",
    "ProgressInput",
    "ProjectClosing",
    "RateVersion",
    "Repricing",
    "RetainerMovement",
    "Saga",
    "Tombstone",
    "Undelivered",
]
