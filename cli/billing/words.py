"""Runs of finance in words and tables: what they are about, items and money, what is held."""

from __future__ import annotations

from collections.abc import Iterable

from canonical.money import Money
from canonical.names import SagaName, feedback_subject, saga_parts
from canonical.saga import HeldItems, SagaStatus, SagaView, Tally
from cli.output import Table, Value, worth
from rules.causes import CATALOGUE, then
from workflows.billing.bill_contract import BILLING
from workflows.billing.change_rates import CHANGING
from workflows.billing.credit_invoice import CREDITING
from workflows.billing.posting import POSTING
from workflows.billing.release_held import RELEASING
from workflows.billing.reverse_posted import REVERSING
from workflows.billing.time_to_billing import CUTOFF
from workflows.changes.change_order import CHANGING as ORDERING
from workflows.changes.contract_changes import SERVING
from workflows.closing.close_project import CLOSING
from workflows.closing.reopen_project import REOPENING
from workflows.feedback.invoice_feedback import FOLLOWING
from workflows.feedback.poll_changes import POLLING
from workflows.figures import counted, held_words
from workflows.kernel.nature import Nature
from workflows.revenue.revenue_follow_up import FOLLOWING_UP

NATURES: dict[SagaName, Nature] = {
    SagaName.TIME_TO_BILLING: CUTOFF,
    SagaName.POST_APPROVED_TIME: POSTING,
    SagaName.BILL_CONTRACT: BILLING,
    SagaName.CREDIT_INVOICE: CREDITING,
    SagaName.REVERSE_POSTED: REVERSING,
    SagaName.RELEASE_HELD: RELEASING,
    SagaName.CHANGE_RATES: CHANGING,
    SagaName.INVOICE_FEEDBACK: FOLLOWING,
    SagaName.POLL_CHANGES: POLLING,
    SagaName.CHANGE_ORDER: ORDERING,
    SagaName.CONTRACT_CHANGES: SERVING,
    SagaName.CLOSE_PROJECT: CLOSING,
    SagaName.REOPEN_PROJECT: REOPENING,
    SagaName.REVENUE_FOLLOW_UP: FOLLOWING_UP,
}
"""What kind of business each run is."""


def is_billing(saga: str) -> bool:
    """Whether a saga id is a run of finance: of time-to-billing, change orders or closings."""
    try:
        return saga_parts(saga)[0] in NATURES
    except ValueError:
        return False


def subject(saga: str) -> str:
    """What a run is about, as finance says it."""
    name, _, system, record = saga_parts(saga)
    match name:
        case SagaName.TIME_TO_BILLING:
            erp, _, through = record.rpartition(".")
            return f"Time to billing up to {through} ({system} to {erp})"
        case SagaName.POST_APPROVED_TIME:
            erp, _, run = record.rpartition(".")
            return f"Posting from {system} to {erp} ({run})"
        case SagaName.BILL_CONTRACT:
            group, _, cycle = record.rpartition(".")
            return f"Billing of {group} for {cycle}"
        case SagaName.CREDIT_INVOICE:
            return f"Credit of invoice {record}"
        case SagaName.REVERSE_POSTED:
            return f"Taking posted lines back in {system}"
        case SagaName.RELEASE_HELD:
            return f"Letting held lines of {system} go"
        case SagaName.CHANGE_RATES:
            return f"New rates of {record}"
        case SagaName.INVOICE_FEEDBACK:
            followed, revenue = feedback_subject(record)
            return f"{'Revenue of contract' if revenue else 'Invoice'} {system}/{followed}"
        case SagaName.POLL_CHANGES:
            return f"Poll of {system} ({record})"
        case SagaName.CHANGE_ORDER:
            contract, _, order = record.rpartition(".")
            return f"Change order {order} of {contract}"
        case SagaName.CONTRACT_CHANGES:
            return f"The change orders of {record}"
        case SagaName.CLOSE_PROJECT | SagaName.REOPEN_PROJECT:
            contract, _, number = record.rpartition(".")
            nth = f" ({number})" if number != "1" else ""
            return f"{'Closing' if name is SagaName.CLOSE_PROJECT else 'Re-opening'} of {contract}{nth}"
        case SagaName.REVENUE_FOLLOW_UP:
            entity, _, period = record.rpartition(".")
            return f"Revenue of {entity} for {period} in {system}"
    return saga


def sentence(view: SagaView) -> str:
    """Where a run stands."""
    about = subject(view.saga_id)
    stake = f", {view.at_stake} at stake" if view.at_stake else ""
    match view.status:
        case SagaStatus.PARKED | SagaStatus.UNDO_BLOCKED:
            stuck = ", ".join(f"'{step.title}'" for step in view.parked_steps) or "a step"
            queue = f"; {view.queue.value} acts" if view.queue else ""
            return f"{about} is parked at {stuck}{stake}{queue}."
        case SagaStatus.GATED:
            asked = ", ".join(step.gate.title for step in view.gates if step.gate) or "a decision"
            return f"{about} waits for a decision: {asked}{stake}."
        case SagaStatus.WAITING:
            return f"{about} waits for a connected system and goes on by itself{stake}."
        case SagaStatus.RUNNING | SagaStatus.UNDOING:
            done = "; ".join(f"{one.state} {counted(one)}" for one in view.tallies if one.items)
            return f"{about} is under way{f': {done}' if done else ''}."
    return f"{about}. {view.headline}"


def hours(minutes: int) -> str:
    """Whole minutes as hours and minutes."""
    sign = "-" if minutes < 0 else ""
    whole, rest = divmod(abs(minutes), 60)
    return f"{sign}{whole:,}:{rest:02}"


def effort(minutes: int) -> str:
    """A cell for hours: empty for what is no work, such as a fee."""
    return hours(minutes) if minutes else ""


def of_hours(minutes: int) -> str:
    """Hours as a part of a sentence; empty for what is no work."""
    return f", {hours(minutes)} h" if minutes else ""


def per_currency(amounts: Iterable[Money | None]) -> str:
    """Sums as text, one per currency and role; a dash where nothing is priced."""
    return worth(amounts) or "-"


def tally_table(tallies: Iterable[Tally], title: str = "Items") -> Table:
    """Items, hours and money by state."""
    rows: list[list[Value]] = [
        [one.state, f"{one.items:,}", effort(one.minutes), per_currency(one.amounts)]
        for one in tallies
        if one.items
    ]
    return Table(("state", "items", "hours", "money"), rows, title=title)


def held_table(held: Iterable[HeldItems]) -> Table:
    """Held items by cause, with who acts and what to do."""
    rows: list[list[Value]] = [
        [
            one.cause.value,
            f"{one.tally.items:,}",
            effort(one.tally.minutes),
            per_currency(one.tally.amounts),
            CATALOGUE[one.cause].queue.value,
            CATALOGUE[one.cause].remedy,
            then(one.cause),
        ]
        for one in held
    ]
    return Table(("cause", "items", "hours", "money", "who", "remedy", "then"), rows, title="Held")


def figures(view: SagaView) -> list[Table | str]:
    """A run's items by state and cause, and its pace."""
    parts: list[Table | str] = []
    if any(one.items for one in view.tallies):
        parts.append(tally_table(view.tallies))
    if view.held:
        parts.append(held_table(view.held))
    if view.rate is not None:
        parts.append(pace(view))
    return parts


def pace(view: SagaView) -> str:
    """How fast a run writes against what the vendor allows; empty when it has not written yet."""
    rate = view.rate
    if rate is None:
        return ""
    return (
        f"{rate.lines_per_second:,.0f} lines/s, {rate.calls_in_flight:.1f} of {rate.limit} calls in flight "
        f"at {rate.system}"
    )


def held_sentence(held: tuple[HeldItems, ...]) -> str:
    """What is held, in a sentence; empty when nothing is."""
    return held_words(held)
