"""What a month must become, worked out a second time from the rules: which revision is cost, what it is
worth, on which invoice it stands, what is held, written down, credited or open. Shares no code with the
product.

The judge is told what happened in order: delivery as it stood before a run, the cutoff, what reviewers and
approvers decided. For every source

    worth of its current revision = open + held + billed - credited + written down + covered
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from tests.conservation.pricing import expense_worth, share_worth, time_worth
from tests.conservation.terms import (
    MILESTONE,
    PROGRESS,
    RETAINER,
    SCHEDULE,
    TIME,
    Advance,
    Agreement,
    Order,
    Verdict,
)
from tests.conservation.vendor import Delivered, Work

Group = tuple[str, str | None]
"""(contract, purchase order): all else that one invoice has in common is the contract's."""


def month_of(day: date) -> str:
    """The monthly cycle of a day."""
    return f"{day.year}-{day.month:02}"


def month_end(cycle: str) -> date:
    """The last day of a monthly cycle."""
    year, month = (int(part) for part in cycle.split("-"))
    return date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)


def month_after(cycle: str) -> str:
    """The following cycle."""
    return month_of(month_end(cycle) + timedelta(days=1))


@dataclass
class Part:
    """A slice of an item and what became of it."""

    kind: str
    """``billed``, ``held``, ``written``, ``covered``, ``withdrawn`` or ``credited`` (was billed)."""
    minor: int
    invoice: int | None = None
    """Number of the expected invoice."""
    until: date | None = None
    """Of what a reviewer moved."""
    order: str | None = None
    """Purchase order that it was billed against."""
    cause: str = ""
    """Of what is held: ``cap``, ``order``, ``retainer`` or ``review``."""


@dataclass
class Item:
    """One revision of a source, or a fee that the contract itself makes billable."""

    source: str
    contract: str
    day: date
    kind: str
    """``time``, ``expense`` or ``fee``."""
    worth: int
    role: str | None = None
    work: Work | None = None
    draws: bool = False
    """On a retainer."""
    ready: bool = True
    """False while a milestone is not complete or not accepted."""
    gone: bool = False
    """Its source was edited, rejected or deleted since."""
    adjusts: Item | None = None
    """The billed work that it makes up a difference of."""
    given_up: int = 0
    """What of its worth nobody will ask for, though the rates say so."""
    parts: list[Part] = field(default_factory=list)

    @property
    def in_advance(self) -> bool:
        """Whether it is a retainer's period: due on its first day, on an invoice apart from the work's."""
        return self.source.startswith("contract/retainer_period/")

    @property
    def open(self) -> int:
        """What nothing became of yet."""
        return 0 if self.gone else self.worth - sum(p.minor for p in self.parts if p.kind != "credited")

    def amount(self, kind: str) -> int:
        """What became of it in one way."""
        return sum(part.minor for part in self.parts if part.kind == kind)


@dataclass
class Invoice:
    """An invoice that must be there."""

    number: int
    group: Group
    cycle: str
    lines: dict[str, int] = field(default_factory=dict)

    @property
    def net(self) -> int:
        """Sum of its lines."""
        return sum(self.lines.values())


@dataclass
class Credit:
    """A credit that must be there."""

    invoice: int
    lines: dict[str, int] = field(default_factory=dict)


class Expectation:
    """The judge's own books."""

    def __init__(self, agreements: Iterable[Agreement]) -> None:
        self.agreements = {one.key: one for one in agreements}
        self.by_project = {one.project: one for one in self.agreements.values()}
        self.items: list[Item] = []
        self.stuck: set[str] = set()
        """Postings that the ERP cannot take back."""
        self.cost: dict[str, Work] = {}
        """The revision that must stand as cost, by source."""
        self.invoices: list[Invoice] = []
        self.credits: list[Credit] = []
        self.lots: dict[str, int] = {
            one.key: one.opening.retainer for one in self.agreements.values() if one.opening is not None
        }
        self._fees: dict[str, Item] = {}
        self._numbers = itertools.count(1)

    # --- delivery ---------------------------------------------------------------------------------------

    def collect(self, seen: Delivered, *, listed: bool = True) -> None:
        """Delivery as it stood when a run read it.

        Args:
            seen: delivery.
            listed: the run lists what there is, so that deletions are noticed: runs up to a cutoff do.
        """
        for source, known in list(self.cost.items()):
            now = seen.work.get(source)
            if now is None and not listed:
                continue
            if now is None or not now.approved or now.substance != known.substance:
                if not self._stays(source):
                    del self.cost[source]
                self._withdraw(source)
        for source, work in sorted(seen.work.items()):
            terms = self.by_project.get(work.project)
            if source in self.cost or not work.approved or terms is None or not self._accepts(terms, work):
                continue
            self.cost[source] = work
            self._item(terms, work)

    def _stays(self, source: str) -> bool:
        """Whether the ERP cannot take a cost back: it knows no expense of negative amount, and lets nobody
        remove one that is on an invoice. Such a posting stays until a person corrects it.
        """
        if any(
            item.kind == "expense" and item.source == source and not item.gone and item.amount("billed")
            for item in self.items
        ):
            self.stuck.add(source)
        return source in self.stuck

    def _accepts(self, terms: Agreement, work: Work) -> bool:
        """Work at or before the opening position was posted and billed before the take-over (rule 36); work
        that cannot be priced is held before it is posted.
        """
        last = terms.opening.last_day if terms.opening else None
        if last is not None and work.day <= last:
            return False
        priced = work.kind == "time" and work.billable and terms.method in (TIME, RETAINER)
        return not priced or terms.rate_of(work.role or "", work.day) is not None

    def _withdraw(self, source: str) -> None:
        for item in self.items:
            of_it = item.adjusts is not None and item.adjusts.source == source
            if (of_it or item.source == source) and not item.gone:
                item.gone = True
                for part in item.parts:
                    if part.kind == "covered" and item.draws:
                        self.lots[item.contract] += part.minor
                    if part.kind in ("held", "covered"):
                        part.kind = "withdrawn"

    def _item(self, terms: Agreement, work: Work) -> None:
        if not work.billable:
            return
        if work.kind == "expense":
            if not terms.rebill:
                return
            worth = expense_worth(terms, work.minor, work.currency)
            self.items.append(Item(work.source, terms.key, work.day, "expense", worth, work.role, work))
        elif terms.method in (TIME, RETAINER):
            rate = terms.rate_of(work.role or "", work.day)
            assert rate is not None
            worth = time_worth(terms, work.minutes, rate)
            draws = terms.method == RETAINER
            self.items.append(
                Item(work.source, terms.key, work.day, "time", worth, work.role, work, draws=draws)
            )

    def fees(self, seen: Delivered, through: date) -> None:
        """What contracts themselves make billable up to a day (rules 32, 33)."""
        for terms in self.agreements.values():
            billed = terms.opening.billed if terms.opening else ()
            for due in terms.dues:
                if due.key in billed:
                    continue
                if terms.method == SCHEDULE and due.day <= through:
                    self._fee(terms, f"contract/schedule_date/{terms.key}/{due.key}", due.day, due.minor)
                elif terms.method == MILESTONE:
                    story = terms.story[due.key]
                    ready = seen.complete.get(story, False)
                    ready = ready and (not terms.acceptance or story in seen.accepted)
                    fee = self._fee(terms, f"contract/milestone/{terms.key}/{due.key}", due.day, due.minor)
                    fee.ready = ready
                    if not ready and fee.amount("billed") > 0:
                        fee.gone = True  # re-opened after billing: a credit is proposed
            if terms.method == RETAINER and terms.advance is not None:
                self._periods(terms, terms.advance, billed, through)
            if terms.method == PROGRESS:
                self._progress(terms, seen, through)

    def _periods(self, terms: Agreement, advance: Advance, billed: Sequence[str], through: date) -> None:
        """A retainer's periods that have begun."""
        cycle = month_of(terms.first)
        while date.fromisoformat(f"{cycle}-01") <= min(through, terms.last):
            key = f"{terms.line}.{cycle}"
            if key not in billed:
                day = max(terms.first, date.fromisoformat(f"{cycle}-01"))
                source = f"contract/retainer_period/{terms.key}/{key}"
                self._fee(terms, source, day, advance.minor)
            cycle = month_after(cycle)

    def _progress(self, terms: Agreement, seen: Delivered, through: date) -> None:
        """The line's worth by delivery's percentage, less what is billed already; never less than nothing."""
        prefix = f"contract/progress_period/{terms.key}/"
        source = f"{prefix}{terms.line}.{month_of(through)}"
        known = [item for item in self.items if item.source.startswith(prefix)]
        before = sum(item.worth for item in known if item.source != source)
        before += terms.opening.to_date if terms.opening else 0
        now = share_worth(terms, seen.percent[terms.story[terms.line]])
        fee = self._fee(terms, source, through, 0)
        if not fee.parts:
            fee.worth = max(0, now - before)

    def _fee(self, terms: Agreement, source: str, day: date, minor: int) -> Item:
        known = self._fees.get(source)
        if known is None:
            known = self._fees[source] = Item(source, terms.key, day, "fee", minor)
            self.items.append(known)
        return known

    def change(self, terms: Agreement) -> None:
        """A contract's terms are others from now on; what its cap held is decided anew."""
        self.agreements[terms.key] = self.by_project[terms.project] = terms
        for item in self.items:
            if item.contract == terms.key:
                item.parts = [p for p in item.parts if p.kind != "held" or p.cause != "cap"]

    # --- credits ----------------------------------------------------------------------------------------

    def credit(self) -> list[Credit]:
        """Approved credits of everything billed whose source is gone: one per invoice (rule 39)."""
        found: dict[int, Credit] = {}
        for item in self.items:
            if not item.gone:
                continue
            for part in item.parts:
                if part.kind == "billed" and part.invoice is not None:
                    part.kind = "credited"
                    one = found.setdefault(part.invoice, Credit(part.invoice))
                    one.lines[item.source] = one.lines.get(item.source, 0) + part.minor
            if item.kind == "fee":
                # Re-opened: what was credited is held until the milestone is complete again.
                item.gone = False
        made = [found[number] for number in sorted(found)]
        self.credits += made
        return made

    # --- billing ----------------------------------------------------------------------------------------

    def bill(self, through: date, verdicts: Mapping[str, Verdict]) -> list[Invoice]:
        """One billing run up to a cutoff; what reviewers decide about sources on the drafts is carried out.

        Returns:
            The invoices that it must issue.
        """
        for item in self.items:
            item.parts = [p for p in item.parts if p.until is None or p.until > through]
        made = [
            *self._bill(through, verdicts, in_advance=True),
            *self._bill(through, verdicts, in_advance=False),
        ]
        self.invoices += made
        return made

    def _bill(self, through: date, verdicts: Mapping[str, Verdict], *, in_advance: bool) -> list[Invoice]:
        """One of the two halves of a billing run. What is billed in advance goes first, on invoices of its
        own that make no work late; once they are issued, work draws on them (rule 32).
        """
        made: list[Invoice] = []
        for key, terms in sorted(self.agreements.items()):
            if terms.opening is None:
                continue
            candidates = [
                one
                for one in self.items
                if one.contract == key and one.ready and one.open > 0 and one.in_advance == in_advance
            ]
            by_cycle: dict[tuple[Group, str], list[Item]] = defaultdict(list)
            for item in sorted(candidates, key=lambda one: (one.day, one.source)):
                group = (key, self._order_of(terms, item))
                cycle = self._cycle(terms, group, item, through)
                if cycle is not None:
                    by_cycle[group, cycle].append(item)
            for (group, cycle), items in sorted(
                by_cycle.items(), key=lambda one: (one[0][1], str(one[0][0]))
            ):
                invoice = self._draft(terms, group, cycle, items, verdicts)
                if invoice is not None:
                    made.append(invoice)
                    if in_advance:
                        self.lots[key] += invoice.net
        return made

    def _cycle(self, terms: Agreement, group: Group, item: Item, through: date) -> str | None:
        if item.day > through:
            return None
        cycle = month_of(item.day)
        if item.in_advance:
            return f"{cycle}-advance"
        issued = {one.cycle for one in self.invoices if one.group == group}
        while cycle in issued and not terms.supplementary:
            cycle = month_after(cycle)
        return cycle if month_end(cycle) <= through else None

    def _draft(
        self,
        terms: Agreement,
        group: Group,
        cycle: str,
        items: Sequence[Item],
        verdicts: Mapping[str, Verdict],
    ) -> Invoice | None:
        invoice = Invoice(next(self._numbers), group, cycle)
        order = next((one for one in terms.orders if one.number == group[1]), None)
        for item in items:
            wanted = item.open
            if self._needs_order(terms, item) and order is None:
                item.parts.append(Part("held", wanted, cause="order"))
                continue
            if item.draws and terms.advance is not None:
                drawn = min(wanted, self.lots[terms.key])
                if drawn:
                    self.lots[terms.key] -= drawn
                    item.parts.append(Part("covered", drawn))
                wanted -= drawn
                if wanted and terms.advance.overage != "bill":
                    kind = "held" if terms.advance.overage == "hold" else "covered"
                    item.parts.append(Part(kind, wanted, cause="retainer"))
                    wanted = 0
                if not wanted:
                    continue
            room = max(0, min([wanted, *self._rooms(terms, item, order)]))
            if room:
                item.parts.append(Part("billed", room, invoice.number, order=group[1]))
            if wanted - room:
                item.parts.append(Part("held", wanted - room, cause="cap"))
        for item in items:
            verdict = verdicts.get(item.source)
            mine = [p for p in item.parts if p.kind == "billed" and p.invoice == invoice.number]
            if verdict is not None and mine:
                self._decide(item, mine[0], verdict)
        for item in items:
            minor = sum(p.minor for p in item.parts if p.kind == "billed" and p.invoice == invoice.number)
            if minor:
                invoice.lines[item.source] = invoice.lines.get(item.source, 0) + minor
        return invoice if invoice.lines else None

    def _decide(self, item: Item, part: Part, verdict: Verdict) -> None:
        if verdict.action == "write_down":
            given_up = min(verdict.minor, part.minor)
            item.parts.append(Part("written", given_up))
            part.minor -= given_up
            if not part.minor:
                item.parts.remove(part)
        else:
            part.kind, part.invoice, part.cause = "held", None, "review"
            part.until = verdict.until if verdict.action == "move" else None

    # --- limits -----------------------------------------------------------------------------------------

    def _order_of(self, terms: Agreement, item: Item) -> str | None:
        covering = [one for one in sorted(terms.orders, key=_by_date) if one.covers(item.day)]
        for order in covering:
            if order.minor is None or self.order_used(terms, order) < order.minor:
                return order.number
        return covering[-1].number if covering else None

    def _needs_order(self, terms: Agreement, item: Item) -> bool:
        return any(one.required for one in terms.orders) and not any(
            one.covers(item.day) for one in terms.orders
        )

    def order_used(self, terms: Agreement, order: Order) -> int:
        """What is billed against a purchase order, net of credits, by all contracts of the client."""
        return sum(
            part.minor
            for item in self.items
            if self.agreements[item.contract].customer == terms.customer
            for part in item.parts
            if part.kind == "billed" and part.order == order.number
        )

    def _rooms(self, terms: Agreement, item: Item, order: Order | None) -> list[int]:
        """What each limit that concerns an item has left."""
        found = []
        opened = terms.opening.cap_used if terms.opening else 0
        for limit in terms.limits:
            if item.kind == "expense" and not limit.with_expenses:
                continue
            if limit.role is not None and item.role != limit.role:
                continue
            used = sum(
                one.amount("billed")
                for one in self.items
                if one.contract == terms.key
                and (limit.role is None or one.role == limit.role)
                and (limit.with_expenses or one.kind != "expense")
            )
            found.append(limit.minor - used - (opened if limit.role is None else 0))
        if order is not None and order.minor is not None:
            found.append(order.minor - self.order_used(terms, order))
        return found


def _by_date(order: Order) -> tuple[date, str]:
    return order.first or date.min, order.number
