"""What an invoice's standing means: which reading counts, its status, its split, its age (rules 40, 41)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from zoneinfo import ZoneInfo

from canonical.base import Canonical
from canonical.erp_billing import InvoiceState
from canonical.feedback import (
    ApplicationKind,
    Bucket,
    Collection,
    InvoiceStanding,
    InvoiceStatus,
    LinePart,
    Share,
    zero,
)
from canonical.money import Exact, Money, allocate

# --- which reading counts -------------------------------------------------------------------------


class Reading(Canonical):
    """What two readings of a record are compared by."""

    modified_at: datetime | None
    digest: str
    paid: Exact = Decimal(0)
    complete: bool = True


class Verdict(StrEnum):
    """What becomes of a reading."""

    APPLY = "apply"
    SAME = "same"
    CONFIRM = "confirm"
    """Read again when the vendor's search has had time: only a second reading that says the same counts."""
    OLDER = "older"
    """Older than what was read before: never applied. The newer state is there, so it is read again."""


def judge(last: Reading | None, seen: Reading, confirming: str | None = None) -> Verdict:
    """Whether a reading may replace the last one.

    The vendor's change stamp has seconds, and does not move for everything that settles an invoice. So the
    same stamp with another content is read again, and a lower paid amount too (rule 40): what is read twice,
    with a pause in between, is the truth.

    Args:
        last: what was applied last; None when the record was never read.
        seen: what was read now.
        confirming: digest of the reading that is to be confirmed, if there was one just before.
    """
    if last is not None and _older(seen, last):
        return Verdict.OLDER
    if last is not None and seen.digest == last.digest:
        return Verdict.SAME
    if confirming == seen.digest:
        return Verdict.APPLY
    if not seen.complete:
        return Verdict.CONFIRM
    if last is None:
        return Verdict.APPLY
    if seen.modified_at is None or seen.modified_at == last.modified_at or seen.paid < last.paid:
        return Verdict.CONFIRM
    return Verdict.APPLY


def _older(seen: Reading, last: Reading) -> bool:
    return (
        seen.modified_at is not None and last.modified_at is not None and seen.modified_at < last.modified_at
    )


def reading(standing: InvoiceStanding) -> Reading:
    """An invoice's standing in what it is compared by."""
    paid = standing.invoice.paid.amount if standing.invoice is not None else Decimal(0)
    return Reading(
        modified_at=standing.modified_at,
        digest=standing.digest,
        paid=paid,
        complete=standing.complete,
    )


# --- status and age -------------------------------------------------------------------------------


def status_of(standing: InvoiceStanding) -> InvoiceStatus:
    """The one word for an invoice."""
    invoice = standing.invoice
    if standing.state in (InvoiceState.ABSENT, InvoiceState.REFUSED) or invoice is None:
        return InvoiceStatus.VOIDED
    if standing.state is not InvoiceState.POSTED:
        return InvoiceStatus.DRAFT
    if invoice.balance.amount:
        reduced = invoice.balance.amount != invoice.gross.amount
        return InvoiceStatus.PART_PAID if reduced else InvoiceStatus.ISSUED
    if invoice.paid.amount or invoice.withheld.amount or not invoice.gross.amount:
        return InvoiceStatus.PAID
    return InvoiceStatus.CREDITED if invoice.credited.amount else InvoiceStatus.WRITTEN_OFF


def today_in(zone: str, now: datetime) -> date:
    """The calendar day in a legal entity's zone."""
    return now.astimezone(ZoneInfo(zone)).date()


_LIMITS = (
    (0, Bucket.CURRENT),
    (30, Bucket.DAYS_1_30),
    (60, Bucket.DAYS_31_60),
    (90, Bucket.DAYS_61_90),
)


def bucket_of(due: date | None, today: date) -> Bucket:
    """Ageing of what is still owed: days past the due date. Without a due date nothing is ever late."""
    days = (today - due).days if due is not None else 0
    return next((bucket for limit, bucket in _LIMITS if days <= limit), Bucket.DAYS_OVER_90)


def collection_of(*, owed: bool, disputed: bool, bucket: Bucket) -> Collection:
    """How collecting one invoice stands."""
    if disputed:
        return Collection.DISPUTED
    if not owed:
        return Collection.NOTHING_DUE
    return Collection.CURRENT if bucket is Bucket.CURRENT else Collection.OVERDUE


class Collecting(Canonical):
    """How collecting one invoice stands on a day."""

    status: Collection
    bucket: Bucket | None = None
    """Of what is owed; None when nothing is."""

    @property
    def overdue(self) -> bool:
        """Whether something is owed past its due day, also while the client objects."""
        return self.bucket not in (None, Bucket.CURRENT)


def collecting_of(standing: InvoiceStanding, status: InvoiceStatus, today: date) -> Collecting | None:
    """How collecting an invoice stands; None of drafts and of what was voided: nobody collects those.

    Args:
        standing: the invoice as it was last read.
        status: its one word.
        today: the calendar day where its seller is.
    """
    invoice = standing.invoice
    if invoice is None or status in (InvoiceStatus.DRAFT, InvoiceStatus.VOIDED):
        return None
    owed, bucket = bool(invoice.balance.amount), bucket_of(invoice.due_on, today)
    state = collection_of(owed=owed, disputed=standing.disputed, bucket=bucket)
    return Collecting(status=state, bucket=bucket if owed else None)


_WORSE = (Collection.NOTHING_DUE, Collection.CURRENT, Collection.OVERDUE, Collection.DISPUTED)


def worst(states: Iterable[Collection]) -> Collection:
    """How collecting several invoices stands: as badly as the worst of them."""
    return max(states, key=_WORSE.index, default=Collection.NOTHING_DUE)


def next_turn(due: date | None, zone: str, now: datetime) -> datetime | None:
    """When the age of an open invoice changes by itself: midnight of the seller's zone; None: never."""
    if due is None:
        return None
    for limit, _ in _LIMITS:
        day = due + timedelta(days=limit + 1)
        turn = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
        if turn > now:
            return turn
    return None


# --- the split ------------------------------------------------------------------------------------


def shares_of(standing: InvoiceStanding, contract_of: Callable[[LinePart], str]) -> list[Share]:
    """Split an invoice over the contracts of its lines; the shares add up to it to the minor unit.

    Net and gross come from the contract's own lines. Credits go to the lines that they correct, where the
    ERP tells; everything else in proportion to what the shares still owe, so that no share is ever settled
    beyond its own gross amount.
    """
    invoice = standing.invoice
    if invoice is None:
        return []
    nothing = zero(invoice.gross.currency)
    nets: dict[str, Money] = defaultdict(lambda: nothing)
    grosses: dict[str, Money] = defaultdict(lambda: nothing)
    for line in standing.lines:
        contract = contract_of(line)
        nets[contract] += line.net
        grosses[contract] += line.net + line.tax
    keys = sorted(nets) or [""]
    weights = [max(nets[key].amount, Decimal(0)) for key in keys]
    if not any(weights):
        weights = [Decimal(1)] + [Decimal(0)] * (len(keys) - 1)
    net = _tied([nets[key] for key in keys], invoice.net, weights)
    gross = _tied([grosses[key] for key in keys], invoice.gross, weights)
    if any(part.amount < 0 for part in gross):
        gross = allocate(invoice.gross, weights)  # a contract of deductions only has nothing to settle
    split = _Settling(keys, gross)
    credits_ = [one for one in standing.applications if one.kind is ApplicationKind.CREDIT and one.parts]
    for credit in credits_:
        split.by_line(credit.amount, credit.parts, contract_of)
    named = sum((one.amount.amount for one in credits_), Decimal(0))
    rest = {
        "credited": invoice.credited.model_copy(update={"amount": invoice.credited.amount - named}),
        "withheld": invoice.withheld,
        "written_off": invoice.written_off,
        "paid": invoice.paid,
    }
    parts = {name: split.in_proportion(amount) for name, amount in rest.items()}
    refunded = allocate(standing.refunded or nothing, weights)
    return [
        Share(
            contract_key=key,
            net=net[i],
            gross=gross[i],
            paid=parts["paid"][i],
            credited=parts["credited"][i] + split.credited[i],
            withheld=parts["withheld"][i],
            written_off=parts["written_off"][i],
            balance=split.left[i],
            refunded=refunded[i],
        )
        for i, key in enumerate(keys)
    ]


def _tied(parts: Sequence[Money], whole: Money, weights: Sequence[Decimal]) -> list[Money]:
    """The parts if they add up to the whole, else the whole in proportion."""
    if sum((part.amount for part in parts), Decimal(0)) == whole.amount:
        return list(parts)
    return allocate(whole, weights)


class _Settling:
    """What the shares still owe while payments and credits are laid on them."""

    def __init__(self, keys: Sequence[str], gross: Sequence[Money]) -> None:
        self.keys = list(keys)
        self.left = list(gross)
        self.credited = [zero(one.currency) for one in gross]

    def by_line(
        self, amount: Money, parts: Sequence[LinePart], contract_of: Callable[[LinePart], str]
    ) -> None:
        """Lay a credit on the contracts of the lines it corrects, as far as these owe it."""
        wanted = [Decimal(0)] * len(self.keys)
        for part in parts:
            contract = contract_of(part)
            if contract in self.keys:
                wanted[self.keys.index(contract)] += max(part.net.amount + part.tax.amount, Decimal(0))
        named = allocate(amount, wanted) if any(wanted) else [zero(amount.currency) for _ in self.keys]
        for i, share in enumerate(named):
            taken = min(share.amount, self.left[i].amount)
            self._credit(i, share.model_copy(update={"amount": taken}))
            amount = amount.model_copy(update={"amount": amount.amount - taken})
        for i, rest in enumerate(self._spread(amount)):
            self._credit(i, rest)

    def in_proportion(self, amount: Money) -> list[Money]:
        """Lay an amount on all shares in proportion to what they owe."""
        parts = self._spread(amount)
        self.left = [left - part for left, part in zip(self.left, parts, strict=True)]
        return parts

    def _credit(self, i: int, amount: Money) -> None:
        self.credited[i] += amount
        self.left[i] -= amount

    def _spread(self, amount: Money) -> list[Money]:
        weights = [max(one.amount, Decimal(0)) for one in self.left]
        if not any(weights):
            weights = [Decimal(1)] + [Decimal(0)] * (len(self.keys) - 1)
        return allocate(amount, weights)


def contract_finder(by_key: Mapping[str, str], by_project: Mapping[str, str]) -> Callable[[LinePart], str]:
    """Whose a line is: by our own key of it, else by the project it stands on; empty when nobody's."""

    def find(line: LinePart) -> str:
        return by_key.get(line.key or "") or by_project.get(line.project or "", "")

    return find
