"""The three-way check: revisions and approvals in delivery, postings and documents in the ERP, and what the
terms make of them by the judge's own pricing. No ledger of ours is read.

``judge`` compares every document with what must be there, line by line; ``invariants`` holds without knowing
what reviewers decided, from the vendors' records alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.conservation.differences import folded
from tests.conservation.expect import Expectation
from tests.conservation.pricing import expense_worth, time_worth
from tests.conservation.terms import MILESTONE, SCHEDULE, Agreement
from tests.conservation.vendor import Delivered, Document, Erp, Posting

Shape = tuple[tuple[str, int], ...]
"""A document's lines as (source, minor units), in order of the source."""


@dataclass
class Finding:
    """One violation."""

    what: str
    contract: str
    words: str

    def __str__(self) -> str:
        return f"{self.what} | {self.contract} | {self.words}"


@dataclass
class Report:
    """All violations, and what was looked at."""

    findings: list[Finding] = field(default_factory=list)
    revisions: int = 0
    postings: int = 0
    invoices: int = 0
    lines: int = 0
    credits: int = 0
    billed: dict[str, int] = field(default_factory=dict)
    """Net of credits, in minor units by currency."""

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def add(self, what: str, contract: str, words: str) -> None:
        """Note a violation."""
        self.findings.append(Finding(what, contract, words))


def judge(expected: Expectation, seen: Delivered, erp: Erp) -> Report:
    """Everything at once."""
    report = Report(
        revisions=len(expected.cost),
        postings=len(erp.postings),
        invoices=len(erp.invoices),
        credits=len(erp.credits),
        lines=sum(len(one.lines) for one in erp.invoices),
    )
    for invoice in erp.invoices:
        report.billed[invoice.currency] = report.billed.get(invoice.currency, 0) + invoice.net
    for credit in erp.credits:
        report.billed[credit.currency] = report.billed.get(credit.currency, 0) - credit.net
    _costs(expected, erp, report)
    _documents(expected, erp, report)
    _sums(expected, erp, report)
    invariants(list(expected.agreements.values()), seen, erp, report)
    return report


# --- cost -------------------------------------------------------------------------------------------


def _costs(expected: Expectation, erp: Erp, report: Report) -> None:
    """Every approved revision is posted exactly once net of reversals, as it is; nothing else is."""
    net: dict[str, list[Posting]] = defaultdict(list)
    for posting in erp.postings:
        net[posting.source].append(posting)
    jobs = {one.project: one.job for one in expected.agreements.values()}
    for source, work in expected.cost.items():
        mine = net.pop(source, [])
        contract = expected.by_project[work.project].key
        counts = Counter(dict.fromkeys((one.revision for one in mine), 0))
        for one in mine:
            counts[one.revision] += _sign(one)
        standing = [one for one in mine if counts[one.revision] > 0 and _sign(one) > 0]
        if sorted(counts.values()) != [*([0] * (len(counts) - 1)), 1] or len(standing) != 1:
            words = f"{source} stands as cost {sum(counts.values())} times: {_words(mine)}"
            report.add("cost not exactly once", contract, words)
            continue
        (one,) = standing
        if (one.minutes, one.minor) != (work.minutes, work.minor) or one.worked != work.day:
            words = f"{source} is {work.minutes} min {work.minor} on {work.day}, posted {_words([one])}"
            report.add("cost differs", contract, words)
        if one.job != jobs[work.project]:
            report.add("cost on another project", contract, f"{source} is posted on job {one.job}")
        if one.kind == "expense" and one.currency != work.currency:
            report.add("cost differs", contract, f"{source} is posted in {one.currency}")
    for source, mine in net.items():
        by_revision: dict[str, tuple[int, int]] = {}
        for one in mine:
            minutes, minor = by_revision.get(one.revision, (0, 0))
            by_revision[one.revision] = minutes + one.minutes, minor + one.minor
        if any(left != (0, 0) for left in by_revision.values()):
            words = f"{source} is not approved and stands as cost: {_words(mine)}"
            report.add("cost without approval", "", words)


def _sign(posting: Posting) -> int:
    return -1 if posting.minutes < 0 or posting.minor < 0 else 1


def _words(postings: Iterable[Posting]) -> str:
    return ", ".join(f"{p.id}: {p.minutes} min {p.minor} {p.worked} @{p.revision[-24:]}" for p in postings)


# --- documents --------------------------------------------------------------------------------------


def _documents(expected: Expectation, erp: Erp, report: Report) -> None:
    """Every invoice and credit that must be there is there, line for line; no other is."""
    contracts = {one.job: one.key for one in expected.agreements.values()}
    wanted: dict[str, Counter[Shape]] = defaultdict(Counter)
    found: dict[str, Counter[Shape]] = defaultdict(Counter)
    for invoice in expected.invoices:
        wanted[invoice.group[0]][_shape(invoice.lines.items())] += 1
    owner = {invoice.number: invoice.group[0] for invoice in expected.invoices}
    credited: dict[str, list[tuple[str, int]]] = defaultdict(list)
    memos: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for credit in expected.credits:
        credited[owner[credit.invoice]] += credit.lines.items()
    for document in erp.invoices:
        found[_contract(document, contracts)][_shape((x.source, x.minor) for x in document.lines)] += 1
        if not document.issued:
            report.add("draft left", _contract(document, contracts), f"invoice {document.id} is not issued")
    for document in erp.credits:
        memos[_contract(document, contracts)] += ((x.source, x.minor) for x in document.lines)
    for contract in _contended(expected):
        wanted.pop(contract, None)
        found.pop(contract, None)
    # What changed while a credit waits for its approver is on another memo of the same invoice.
    _compare("invoice", wanted, found, report)
    _compare("credit", _whole(credited), _whole(memos), report)


def _contended(expected: Expectation) -> set[str]:
    """Contracts whose invoices depend on who came first; together they bill what the judge says."""
    return {one.key for one in expected.agreements.values() if one.contended}


def _contract(document: Document, contracts: Mapping[str, str]) -> str:
    if document.job in contracts:
        return contracts[document.job]
    named = {x.source.split("/")[2] for x in document.lines if x.source.startswith("contract/")}
    return named.pop() if len(named) == 1 else f"job {document.job or 'none'}"


def _shape(lines: Iterable[tuple[str, int]]) -> Shape:
    sums: dict[str, int] = {}
    for source, minor in lines:
        sums[source] = sums.get(source, 0) + minor
    return tuple(sorted(sums.items()))


def _whole(lines: Mapping[str, Iterable[tuple[str, int]]]) -> dict[str, Counter[Shape]]:
    return {contract: Counter([_shape(own)]) for contract, own in lines.items()}


def _compare(
    what: str, wanted: Mapping[str, Counter[Shape]], found: Mapping[str, Counter[Shape]], report: Report
) -> None:
    for contract in sorted({*wanted, *found}):
        missing = wanted.get(contract, Counter()) - found.get(contract, Counter())
        extra = found.get(contract, Counter()) - wanted.get(contract, Counter())
        gaps, more = list(missing.elements()), list(extra.elements())
        while gaps and more:
            near = max(more, key=lambda one: len(set(one) & set(gaps[0])))
            report.add(f"{what} differs", contract, _difference(gaps.pop(0), near))
            more.remove(near)
        for shape in gaps:
            report.add(f"{what} missing", contract, f"net {sum(m for _, m in shape)}: {_named(shape)}")
        for shape in more:
            report.add(f"{what} not wanted", contract, f"net {sum(m for _, m in shape)}: {_named(shape)}")


def _difference(wanted: Shape, found: Shape) -> str:
    want, have = dict(wanted), dict(found)
    words = [
        f"{source} must be {want.get(source, 0)}, is {have.get(source, 0)}"
        for source in sorted({*want, *have})
        if want.get(source) != have.get(source)
    ]
    return f"net must be {sum(want.values())}, is {sum(have.values())}: " + "; ".join(words[:6])


def _named(shape: Shape) -> str:
    words = ", ".join(f"{source}={minor}" for source, minor in shape[:6])
    return words + (f" and {len(shape) - 6} more" if len(shape) > 6 else "")


# --- every amount, once ------------------------------------------------------------------------------


def _sums(expected: Expectation, erp: Erp, report: Report) -> None:
    """Billed less credited, by source, is what the judge's books say is billed; the rest is accounted for."""
    net: Counter[str] = Counter()
    for document, sign in [*((one, 1) for one in erp.invoices), *((one, -1) for one in erp.credits)]:
        for line in document.lines:
            net[line.source] += sign * line.minor
    held: Counter[str] = Counter()
    contended, clients = _contended(expected), {x.key: x.customer for x in expected.agreements.values()}
    for item in expected.items:
        if item.contract in contended:
            together = f"all work of client {clients[item.contract]}"
            net[together] += net.pop(item.source, 0)
            held[together] += item.amount("billed")
        else:
            held[item.source] += item.amount("billed")
        rest = item.worth - item.open - sum(p.minor for p in item.parts if p.kind != "credited")
        if not item.gone and rest:
            report.add("not conserved", item.contract, f"{item.source}: {rest} unaccounted for by the judge")
    for source in sorted({*net, *held}):
        if net[source] != held[source]:
            words = f"{source} is billed {net[source]} net of credits, must be {held[source]}"
            report.add("billed amount differs", "", words)


# --- what holds whatever was decided -----------------------------------------------------------------


def invariants(agreements: Sequence[Agreement], seen: Delivered, erp: Erp, report: Report) -> None:
    """Nothing of the judge's books is used here: vendors' records and terms only."""
    by_job = {one.job: one for one in agreements}
    by_key = {one.key: one for one in agreements}
    for document in (*erp.invoices, *erp.credits):
        contract = _contract(document, {one.job: one.key for one in agreements})
        terms = by_job.get(document.job) or by_key.get(contract)
        _document(document, terms, contract, report)
    for terms in agreements:
        own = [one for one in erp.invoices if by_key.get(_contract(one, {terms.job: terms.key})) is terms]
        ids = {one.id for one in own}
        credited = [one for one in erp.credits if one.corrects in ids]
        _caps(terms, seen, own, credited, report)
        _worth(terms, seen, own, credited, report)
    _orders(agreements, erp, report)
    twice = [stamp for stamp, count in Counter(erp.stamps).items() if count > 1]
    for stamp in twice:
        report.add("stamp twice", "", stamp)


def _document(document: Document, terms: Agreement | None, contract: str, report: Report) -> None:
    for words in document.strays:
        report.add("amount impossible", contract, f"document {document.id}: {words}")
    if document.net != sum(line.minor for line in document.lines):
        report.add("net is not its lines", contract, f"document {document.id}: {document.net}")
    if terms is None:
        report.add("document of nobody", contract, f"document {document.id}")
        return
    if document.currency != terms.currency:
        report.add("currency differs", contract, f"document {document.id} is in {document.currency}")
    if document.entity != terms.customer:
        report.add("bills another client", contract, f"document {document.id} bills {document.entity}")
    if terms.opening is None:
        report.add("billed without opening position", contract, f"document {document.id}")


def _net(own: Iterable[Document], credited: Iterable[Document]) -> Counter[str]:
    net: Counter[str] = Counter()
    for document, sign in [*((one, 1) for one in own), *((one, -1) for one in credited)]:
        for line in document.lines:
            net[line.source] += sign * line.minor
    return net


def _orders(agreements: Sequence[Agreement], erp: Erp, report: Report) -> None:
    """Purchase orders are never overdrawn by all contracts under them together."""
    orders = {(terms.customer, order): terms.key for terms in agreements for order in terms.orders}
    for (customer, order), contract in orders.items():
        mine = [one for one in erp.invoices if (one.entity, one.order) == (customer, order.number)]
        ids = {one.id for one in mine}
        used = sum(one.net for one in mine) - sum(one.net for one in erp.credits if one.corrects in ids)
        if order.minor is not None and used > order.minor:
            report.add("purchase order overdrawn", contract, f"{order.number}: {used} of {order.minor}")


def _caps(
    terms: Agreement,
    seen: Delivered,
    own: Sequence[Document],
    credited: Sequence[Document],
    report: Report,
) -> None:
    """Caps are never overdrawn."""
    net = _net(own, credited)
    work = seen.work
    for limit in terms.limits:
        used = terms.opening.cap_used if terms.opening and limit.role is None else 0
        for source, minor in net.items():
            one = work.get(source)
            if one is not None and one.kind == "expense" and not limit.with_expenses:
                continue
            if limit.role is not None and (one is None or one.role != limit.role):
                continue
            used += minor
        if used > limit.minor:
            report.add("cap overdrawn", terms.key, f"{used} of {limit.minor}")


def _worth(
    terms: Agreement,
    seen: Delivered,
    own: Sequence[Document],
    credited: Sequence[Document],
    report: Report,
) -> None:
    """No source is billed for more than it is worth, nor at or before the opening position, nor less than
    nothing; fees are those of the contract.
    """
    amounts = {f"contract/milestone/{terms.key}/{due.key}": due.minor for due in terms.dues}
    amounts |= {f"contract/schedule_date/{terms.key}/{due.key}": due.minor for due in terms.dues}
    billed = terms.opening.billed if terms.opening else ()
    last = terms.opening.last_day if terms.opening else None
    for source, minor in folded(_net(own, credited), terms.key).items():
        if minor < 0:
            report.add("credited more than billed", terms.key, f"{source}: {minor}")
        if source.startswith("contract/"):
            key = source.split("/", 3)[3]
            if key in billed:
                report.add("billed before opening position", terms.key, source)
            if terms.method in (SCHEDULE, MILESTONE) and minor > amounts.get(source, 0):
                report.add("billed more than agreed", terms.key, f"{source}: {minor}")
            continue
        one = seen.work.get(source)
        if minor and (one is None or not one.approved):
            report.add("billed without approval", terms.key, f"{source}: {minor}")
        if one is None:
            continue
        if last is not None and one.day <= last:
            report.add("billed before opening position", terms.key, f"{source} of {one.day}")
        if one.kind == "expense":
            most = expense_worth(terms, one.minor, one.currency)
        else:
            rate = terms.rate_of(one.role or "", one.day)
            most = time_worth(terms, one.minutes, rate) if rate is not None else 0
        if minor > most:
            report.add("billed more than it is worth", terms.key, f"{source}: {minor} of {most}")
