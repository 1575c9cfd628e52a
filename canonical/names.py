"""Every name, id and key in the product is built here and nowhere else.

A key is business identity only: it never contains a run id, an activity id or a revision, because a
reset, a continue-as-new or a corrected deal must find the record that is already there (rule 10).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum

from canonical.refs import RecordRef
from canonical.writes import VendorWrite

TEMPORAL_ID_LIMIT = 255
"""Characters of a workflow id that every Temporal persistence accepts."""


class SagaName(StrEnum):
    """The sagas by their command-line and workflow names."""

    OPPORTUNITY_TO_PROJECT = "opportunity-to-project"
    TIME_TO_BILLING = "time-to-billing"
    POST_APPROVED_TIME = "post-approved-time"
    BILL_CONTRACT = "bill-contract"
    CREDIT_INVOICE = "credit-invoice"
    REVERSE_POSTED = "reverse-posted"
    RELEASE_HELD = "release-held"
    CHANGE_RATES = "change-rates"
    INVOICE_FEEDBACK = "invoice-feedback"
    POLL_CHANGES = "poll-changes"
    CHANGE_ORDER = "change-order"
    CONTRACT_CHANGES = "contract-changes"
    CLOSE_PROJECT = "close-project"
    REOPEN_PROJECT = "reopen-project"
    REVENUE_FOLLOW_UP = "revenue-follow-up"


_SHORT = {
    SagaName.OPPORTUNITY_TO_PROJECT: "o2p",
    SagaName.TIME_TO_BILLING: "t2b",
    SagaName.POST_APPROVED_TIME: "pat",
    SagaName.BILL_CONTRACT: "bill",
    SagaName.CREDIT_INVOICE: "cr",
    SagaName.REVERSE_POSTED: "rev",
    SagaName.RELEASE_HELD: "rel",
    SagaName.CHANGE_RATES: "rate",
    SagaName.INVOICE_FEEDBACK: "inv",
    SagaName.POLL_CHANGES: "poll",
    SagaName.CHANGE_ORDER: "co",
    SagaName.CONTRACT_CHANGES: "coc",
    SagaName.CLOSE_PROJECT: "close",
    SagaName.REOPEN_PROJECT: "reopen",
    SagaName.REVENUE_FOLLOW_UP: "rfu",
}
PLAN_PREFIX = "plan:"

WORKFLOW_QUEUE = "trueup-workflows"
LEDGER_QUEUE = "trueup-ledger"
EVENTS_QUEUE = "trueup-events"
"""Where our own events are sent from: a receiver that is slow keeps nobody else waiting."""
LEDGER_SYSTEM = "ledger"
"""What steps that change only our own ledger name as their system."""


EVENT_SIGNAL = "event"
"""Signal by which a saga gets the id of a received event, and nothing else of it."""


def system_queue(system: str) -> str:
    """Task queue of one connected system instance: its limits are the vendor's."""
    return f"trueup-system-{system}"


def saga_id(saga: SagaName, region: str, system: str, record_id: str, *, plan: bool = False) -> str:
    """Workflow id of a saga: one per business record, region and source instance.

    Raises:
        ValueError: a part is empty or contains the separator, or the whole is too long.
    """
    parts = (_SHORT[saga], region, system, record_id)
    for part in parts:
        if not part or ":" in part or not part.isprintable():
            raise ValueError(f"{part!r} cannot be part of a saga id")
    name = (PLAN_PREFIX if plan else "") + ":".join(parts)
    if len(name) > TEMPORAL_ID_LIMIT:
        raise ValueError(f"saga id of {len(name)} characters; at most {TEMPORAL_ID_LIMIT}")
    return name


def saga_parts(saga: str) -> tuple[SagaName, str, str, str]:
    """(saga, region, system, record id) of a saga id.

    Raises:
        ValueError: not a saga id.
    """
    parts = saga.removeprefix(PLAN_PREFIX).split(":")
    by_short = {short: name for name, short in _SHORT.items()}
    if len(parts) != 4 or parts[0] not in by_short:
        raise ValueError(f"{saga!r} is not a saga id; expected e.g. o2p:emea:sf-main:006...")
    return by_short[parts[0]], parts[1], parts[2], parts[3]


def effect_key(system: str, operation: str, identity: str, generation: int, ordinal: int = 1) -> str:
    """Key of one vendor write: system, operation, business identity, generation, ordinal."""
    return f"{system}|{operation}|{identity}|g{generation}|{ordinal}"


def step_key(saga: str, generation: int, step: str) -> str:
    """Key of a saga's step: what an undo and its tombstone refer to."""
    return f"{saga.removeprefix(PLAN_PREFIX)}|g{generation}|{step}"


def piece_key(saga: str, generation: int, number: int) -> str:
    """Key of a piece of work that a run has claimed: its lines carry it in the ledger."""
    return f"{saga.removeprefix(PLAN_PREFIX)}|g{generation}|p{number}"


def piece_number(key: str) -> int:
    """The number of a piece within its run."""
    return int(key.rpartition("|p")[2])


def run_name(route: str, run: str) -> str:
    """Record id of a run on a route: an ERP instance, and what the run is for (a cutoff, an instant)."""
    return f"{route}.{run}".replace(":", "")


def event_id(source: str, row: int) -> str:
    """What a saga is told of a received event: its source and its number in the inbox."""
    return f"{source}/{row}"


def telling_id(region: str, subscription: str) -> str:
    """What stands for telling one subscriber: the case that is opened when it does not take its events."""
    return f"tell.{region}.{subscription}"


def delivery_id(region: str, subscription: str, event: str) -> str:
    """Workflow id of telling one event to one subscriber. No saga's id has points where this has them."""
    return f"{telling_id(region, subscription)}.{event}"


SCHEDULE = "schedule"
"""Begins the ids of schedules: no saga's id begins so."""


def schedule_prefix(region: str) -> str:
    """How the ids of a region's schedules begin."""
    return f"{SCHEDULE}.{region}."


def schedule_id(region: str, name: str) -> str:
    """Id of a schedule, and the beginning of the ids of what it starts."""
    return f"{schedule_prefix(region)}{name}"


def step_name(key: str) -> str:
    """The step's own name within a step's key."""
    return key.rsplit("|", 1)[1]


def step_generation(key: str) -> int:
    """Generation within a step's key."""
    return int(key.rsplit("|", 2)[1].removeprefix("g"))


def shared_key(system: str, kind: str, identity: str) -> str:
    """Business key of a record that several sagas rely on (rule 12)."""
    return f"{system}|{kind}|{identity}"


STAMP_LIMIT = 60
"""Characters of a stamp: fits the shortest searchable key field in use (64)."""


def stamp(key: str) -> str:
    """What a vendor's record carries for ``key``: short, readable, safe in any URL path.

    The digest of the whole key keeps two long keys apart after shortening.
    """
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    _, operation, identity, generation, ordinal = key.split("|")
    readable = re.sub(r"[^A-Za-z0-9]+", "-", f"{operation}-{identity}-{generation}-{ordinal}").strip("-")
    return f"tu-{readable[: STAMP_LIMIT - 16]}-{digest}"


def contract_key(deal: str, entity: str, currency: str) -> str:
    """Business identity of a contract: one per deal, selling entity and currency (rule 3)."""
    return f"{deal}.{entity}.{currency}"


def contract_entities(keys: Iterable[str]) -> tuple[str, ...]:
    """The selling entities within contract keys, each once."""
    return tuple(dict.fromkeys(key.rsplit(".", 2)[1] for key in keys if key.count(".") >= 2))


def project_key(contract: str, region: str, service: str) -> str:
    """Business identity of a delivery project: contract, delivery region and sold service."""
    return f"{contract}.{region}.{service}"


def change_name(contract: str, order: str) -> str:
    """Record id of carrying one change order of a contract."""
    return f"{contract}.{order}"


def closing_name(contract: str, number: int) -> str:
    """Record id of a contract's ``number``-th closing, and of the re-opening after it."""
    return f"{contract}.{number}"


# --- time to billing ------------------------------------------------------------------------------


def billing_name(group: str, cycle: str) -> str:
    """Record id of billing one group for one cycle (rule 25): a run of ``BILL_CONTRACT`` in an ERP."""
    return f"{group}.{cycle}"


def item_key(source: RecordRef, revision: str) -> str:
    """Business identity of a billable item: source record and revision (rule 1)."""
    return _plain(f"{source}@{revision}")


def fee_source(kind: str, contract: str, key: str) -> RecordRef:
    """The source of a billable amount that the contract makes: its kind, contract and key within it.

    For schedule dates and milestones ``key`` is the schedule date's, for periods the cycle's, for
    adjustments the adjusted item's with the revision that caused it.
    """
    return RecordRef(system="contract", type=kind, id=f"{contract}/{key}")


def allocation_key(item: str, part: int, release: int = 0) -> str:
    """Key of an allocation: the item's ``part``; ``release`` counts what was taken back of that part."""
    return f"{item}#{part}" + (f"-{release}" if release else "")


def worker_address_key(email: str) -> str:
    """What a worker's e-mail address is known by where it must not stand itself."""
    return hashlib.sha256(email.strip().casefold().encode()).hexdigest()[:32]


def billing_group_key(*parts: str | None) -> str:
    """Key of a billing group: readable, with a digest of all parts, safe in a workflow id (rule 25)."""
    whole = "\x1f".join(part or "" for part in parts)
    digest = hashlib.sha256(whole.encode()).hexdigest()[:12]
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", ".".join(part for part in parts if part)).strip("-.")
    return f"{readable[:80]}-{digest}"


def invoice_key(group: str, cycle: str, sequence: int) -> str:
    """Business identity of an invoice (rule 25)."""
    return f"{group}/{cycle}/{sequence}"


def credit_key(invoice: str, number: int) -> str:
    """Business identity of a credit: the invoice it corrects and how many there were before."""
    return f"{invoice}/credit-{number}"


def cap_key(contract: str, scope: str, subject: str | None) -> str:
    """What a cap's use is counted under (rule 31)."""
    return _plain("cap/" + "/".join((contract, scope, subject or "")))


def purchase_order_key(seller: str, bill_to: str, number: str) -> str:
    """What a purchase order's use is counted under: all contracts under it draw on the same amount."""
    return _plain(f"po/{seller}/{bill_to}/{number}")


def retainer_account(contract: str, line: str) -> str:
    """The account of a retainer: a contract line."""
    return _plain(f"retainer/{contract}/{line}")


def movement_key(account: str, kind: str, identity: str) -> str:
    """Business identity of a retainer's movement: period, allocation or decision."""
    return f"{account}/{kind}/{identity}"


def batch_key(system: str, purpose: str, number: int, lines: Iterable[str]) -> str:
    """Key of one batch. It contains a digest of its lines: the same key always means the same lines, also
    after a ledger was restored and counts from an earlier number again (rule 29).
    """
    digest = hashlib.sha256("\x1f".join(sorted(lines)).encode()).hexdigest()[:16]
    return f"{system}|{purpose}|{number}|{digest}"


def cursor_name(system: str, feed: str) -> str:
    """Name of a polling position (rule 28)."""
    return f"{system}|{feed}"


def progress_key(contract: str, period: str, revision: int) -> str:
    """Business identity of telling the ERP a contract's progress for a period: other inputs are another
    update (rule 10).
    """
    return _plain(f"{contract}@{period}.{revision}")


# --- invoice feedback -----------------------------------------------------------------------------

_REVENUE = "order-"


def feedback_record(record_id: str, *, revenue: bool = False) -> str:
    """Record id of a feedback saga: an invoice's, or a contract's whose revenue it follows."""
    return f"{_REVENUE}{record_id}" if revenue else record_id


def feedback_subject(record: str) -> tuple[str, bool]:
    """(The ERP's record id, whether it is a contract's revenue) of a feedback saga's record id."""
    return record.removeprefix(_REVENUE), record.startswith(_REVENUE)


def polled_event(change: RecordRef, at: datetime) -> str:
    """Id of an event that a poll found: the same change has the same id."""
    return f"poll/{change}@{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def event_moment(event: str) -> datetime | None:
    """When the change happened that a polled event tells of; None for other events' ids."""
    if not event.startswith("poll/"):
        return None
    return datetime.fromisoformat(event.rpartition("@")[2].replace("Z", "+00:00"))


def inbox_row(event: str) -> int | None:
    """The number in the inbox of an ``event_id``; None for other events' ids."""
    number = event.rpartition("/")[2]
    return int(number) if "/" in event and number.isdecimal() and not event.startswith("poll/") else None


def figures_key(target: str, revision: int) -> str:
    """Business identity of one writing of figures to a record: a later state is another one (rule 10)."""
    return _plain(f"{target}@{revision}")


def _plain(text: str) -> str:
    """Without the separator of effect keys, which these become part of."""
    return text.replace("|", "/")


def write_label(write: VendorWrite) -> str:
    """The vendor's method and path as a person reads them."""
    return f"{write.method} {write.path}"


def case_id(saga: str, generation: int, step: str) -> str:
    """One exception case per saga generation and step; re-parking re-opens it."""
    return f"{saga}|g{generation}|{step}"


class SearchAttribute(StrEnum):
    """The nine custom search attributes. All Keyword but the last, which is Datetime."""

    SAGA_STATUS = "SagaStatus"
    SAGA_STEP = "SagaStep"
    CAUSE_CODE = "CauseCode"
    EXCEPTION_QUEUE = "ExceptionQueue"
    SYSTEM = "System"
    BUSINESS_KEY = "BusinessKey"
    PROJECT_CODE = "ProjectCode"
    REGION = "Region"
    PARKED_SINCE = "ParkedSince"
