"""The judge notices what it is there for: true records pass, each doctored one is named. No firm runs."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from fractions import Fraction
from pathlib import Path

import pytest

from tests.conservation.differences import reprice
from tests.conservation.expect import Expectation
from tests.conservation.exposure import exposure
from tests.conservation.generate import KINDS, Generator
from tests.conservation.oracle import judge
from tests.conservation.pricing import expense_worth, time_worth, to_minor
from tests.conservation.terms import Advance, Agreement, Due, Limit, Opening, Order, Span, Verdict
from tests.conservation.vendor import Delivered, Document, Erp, Line, Posting, Row, Work

HERE = Path(__file__).parent
JUDGES = ("terms", "pricing", "vendor", "expect", "differences", "oracle", "exposure")
OCTOBER, NOVEMBER = date(2026, 10, 31), date(2026, 11, 30)
TERMS = Agreement(
    key="D1.NL01.EUR",
    entity="NL01",
    currency="EUR",
    method="time_and_materials",
    line="L1",
    project="40001",
    job="700",
    customer="701",
    first=date(2026, 10, 1),
    last=date(2026, 12, 31),
    rates=(Span("consultant", "100", date(2026, 1, 1)),),
)


def work(number: int, day: int, minutes: int = 60, **more: object) -> Work:
    one = Work(
        source=f"kantata-main/time_entries/{number}",
        kind="time",
        project=TERMS.project,
        worker="1",
        day=date(2026, 10, day),
        minutes=minutes,
        minor=0,
        currency="EUR",
        role="consultant",
        billable=True,
        approved=True,
    )
    return replace(one, **more)  # type: ignore[arg-type]


ENTRIES = (work(1, 2), work(2, 3), work(3, 4, 20))


def delivered(*entries: Work) -> Delivered:
    return Delivered({one.source: one for one in entries}, {})


def posting(one: Work, number: int, sign: int = 1) -> Posting:
    return Posting(
        str(number), "time", one.source, "r1", TERMS.job, one.day, one.day, sign * one.minutes, 0, None
    )


def document(number: int, lines: dict[str, int], **more: object) -> Document:
    made = Document(
        id=str(number),
        job=TERMS.job,
        entity=TERMS.customer,
        currency="EUR",
        day=OCTOBER,
        issued=True,
        order=None,
        lines=tuple(Line(source, "", minor) for source, minor in lines.items()),
        net=sum(lines.values()),
    )
    return replace(made, **more)  # type: ignore[arg-type]


BILLED = {ENTRIES[0].source: 10_000, ENTRIES[1].source: 10_000, ENTRIES[2].source: 3_333}
TRUE = Erp(
    postings=tuple(posting(one, number) for number, one in enumerate(ENTRIES, 1)),
    invoices=(document(1, BILLED),),
    credits=(),
    stamps=("a", "b"),
)


def month(terms: Agreement = TERMS, *entries: Work) -> Expectation:
    expected = Expectation([terms])
    seen = delivered(*(entries or ENTRIES))
    expected.collect(seen)
    expected.fees(seen, OCTOBER)
    expected.bill(OCTOBER, {})
    return expected


def found(erp: Erp, terms: Agreement = TERMS) -> set[str]:
    return {one.what for one in judge(month(terms), delivered(*ENTRIES), erp).findings}


def test_true_records_pass() -> None:
    assert found(TRUE) == set()


def without(number: int) -> Erp:
    kept = {source: minor for source, minor in BILLED.items() if source != ENTRIES[number].source}
    return replace(TRUE, invoices=(document(1, kept),))


DOCTORED: dict[str, tuple[Callable[[], Erp], str]] = {
    "a line dropped": (lambda: without(2), "invoice differs"),
    "an invoice twice": (
        lambda: replace(TRUE, invoices=(document(1, BILLED), document(2, BILLED))),
        "billed more than it is worth",
    ),
    "an invoice missing": (lambda: replace(TRUE, invoices=()), "invoice missing"),
    "a draft left": (lambda: replace(TRUE, invoices=(document(1, BILLED, issued=False),)), "draft left"),
    "a credit nobody asked for": (
        lambda: replace(TRUE, credits=(document(9, {ENTRIES[0].source: 10_000}, corrects="1"),)),
        "credit not wanted",
    ),
    "a cent too much": (
        lambda: replace(TRUE, invoices=(document(1, {**BILLED, ENTRIES[2].source: 3_334}),)),
        "billed more than it is worth",
    ),
    "net is not its lines": (
        lambda: replace(TRUE, invoices=(document(1, BILLED, net=1),)),
        "net is not its lines",
    ),
    "another currency": (
        lambda: replace(TRUE, invoices=(document(1, BILLED, currency="GBP"),)),
        "currency differs",
    ),
    "another client": (
        lambda: replace(TRUE, invoices=(document(1, BILLED, entity="9"),)),
        "bills another client",
    ),
    "posted twice": (
        lambda: replace(TRUE, postings=(*TRUE.postings, posting(ENTRIES[0], 9))),
        "cost not exactly once",
    ),
    "never posted": (lambda: replace(TRUE, postings=TRUE.postings[1:]), "cost not exactly once"),
    "posted short": (
        lambda: replace(TRUE, postings=(replace(TRUE.postings[0], minutes=59), *TRUE.postings[1:])),
        "cost differs",
    ),
    "posted for nobody": (
        lambda: replace(TRUE, postings=(*TRUE.postings, posting(work(77, 9), 9))),
        "cost without approval",
    ),
    "posted on another project": (
        lambda: replace(TRUE, postings=(replace(TRUE.postings[0], job="1"), *TRUE.postings[1:])),
        "cost on another project",
    ),
    "a stamp twice": (lambda: replace(TRUE, stamps=("a", "a")), "stamp twice"),
}


@pytest.mark.parametrize("name", DOCTORED)
def test_doctored_records_are_noticed(name: str) -> None:
    make, what = DOCTORED[name]
    assert what in found(make())


def test_a_posting_taken_back_and_made_again_counts_once() -> None:
    first = posting(ENTRIES[0], 8)
    back, again = posting(ENTRIES[0], 9, -1), replace(first, id="10", revision="r2")
    assert found(replace(TRUE, postings=(*TRUE.postings, back, again))) == set()


def test_caps_orders_and_openings_are_watched() -> None:
    capped = replace(TERMS, limits=(Limit(20_000),))
    assert "cap overdrawn" in found(TRUE, capped)
    ordered = replace(TERMS, orders=(Order("PO", 20_000),))
    erp = replace(TRUE, invoices=(document(1, BILLED, order="PO"),))
    assert "purchase order overdrawn" in found(erp, ordered)
    opened = replace(TERMS, opening=Opening(last_day=date(2026, 10, 2)))
    assert "billed before opening position" in found(TRUE, opened)
    assert "billed without opening position" in found(TRUE, replace(TERMS, opening=None))


def test_unapproved_work_on_an_invoice_is_noticed() -> None:
    expected = month()
    seen = delivered(replace(ENTRIES[0], approved=False), *ENTRIES[1:])
    assert "billed without approval" in {one.what for one in judge(expected, seen, TRUE).findings}


# --- the judge's own books ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "currency", "rounding", "minor"),
    [
        ("0.005", "EUR", "half_up", 1),
        ("0.015", "EUR", "half_even", 2),
        ("0.025", "EUR", "half_even", 2),
        ("0.0259", "EUR", "down", 2),
        ("-0.005", "EUR", "half_up", -1),
        ("0.5", "JPY", "half_up", 1),
        ("0.5", "JPY", "half_even", 0),
        ("1.2345", "KWD", "half_up", 1235),
    ],
)
def test_rounding_is_by_the_currency(value: str, currency: str, rounding: str, minor: int) -> None:
    assert to_minor(Fraction(value), currency, rounding) == minor


def test_worth_is_rounded_once() -> None:
    assert time_worth(TERMS, 20, Fraction("100.0005")) == 3_333
    yen = replace(TERMS, currency="JPY", rate_currency="EUR", agreed=(("EUR", "162.35"),))
    assert time_worth(yen, 20, Fraction(100)) == 5_412
    marked = replace(TERMS, markup="7.5", expense_limit=10_000)
    assert expense_worth(marked, 12_345, "EUR") == 10_750


def test_a_cap_splits_the_line_that_crosses_it() -> None:
    expected = month(replace(TERMS, limits=(Limit(15_000),)))
    (invoice,) = expected.invoices
    assert invoice.lines == {ENTRIES[0].source: 10_000, ENTRIES[1].source: 5_000}
    assert [item.amount("held") for item in expected.items] == [0, 5_000, 3_333]


def test_an_edit_is_credited_and_billed_in_the_next_cycle() -> None:
    expected = month()
    seen = delivered(replace(ENTRIES[0], minutes=90), *ENTRIES[1:])
    expected.collect(seen)
    (credit,) = expected.credit()
    expected.bill(NOVEMBER, {})
    assert credit.lines == {ENTRIES[0].source: 10_000}
    assert [(one.cycle, one.net) for one in expected.invoices] == [("2026-10", 23_333), ("2026-11", 15_000)]


def test_reviewers_decisions_are_carried_out() -> None:
    expected = Expectation([TERMS])
    expected.collect(delivered(*ENTRIES))
    first, second = ENTRIES[0].source, ENTRIES[1].source
    verdicts = {
        first: Verdict(first, "write_down", 2_500),
        second: Verdict(second, "move", until=date(2026, 11, 5)),
    }
    expected.bill(OCTOBER, verdicts)
    expected.bill(NOVEMBER, {})
    october, november = expected.invoices
    assert october.lines == {first: 7_500, ENTRIES[2].source: 3_333}
    assert november.lines == {second: 10_000}


def rated(*changes: tuple[str, bool]) -> Expectation:
    """October billed at 100, but for what a reviewer moved; then other rates and whether they are billed."""
    expected = Expectation([TERMS])
    expected.collect(delivered(*ENTRIES))
    moved = ENTRIES[1].source
    expected.bill(OCTOBER, {moved: Verdict(moved, "move", until=date(2026, 11, 5))})
    for amount, bills in changes:
        terms = replace(TERMS, rates=(Span("consultant", amount, date(2026, 1, 1)),))
        reprice(expected, terms, bills=bills, on=date(2026, 11, 20))
    expected.bill(NOVEMBER, {})
    return expected


FIRST, MOVED, THIRD = (one.source for one in ENTRIES)


def difference(source: str) -> str:
    return f"contract/adjustment/{TERMS.key}/{source}"


@pytest.mark.parametrize(
    ("changes", "billed", "credited"),
    [
        (
            [("120", True)],
            {MOVED: 12_000, difference(FIRST): 2_000, difference(THIRD): 667},
            {},
        ),
        ([("120", False)], {MOVED: 12_000}, {}),
        ([("90", True)], {MOVED: 9_000}, {FIRST: 1_000, THIRD: 333}),
        # What was given up is not asked for again, and not given back either.
        ([("120", False), ("110", True)], {MOVED: 11_000}, {}),
        (
            [("120", False), ("130", True)],
            {MOVED: 13_000, difference(FIRST): 1_000, difference(THIRD): 333},
            {},
        ),
        (
            [("110", True), ("120", True)],
            {MOVED: 12_000, difference(FIRST): 2_000, difference(THIRD): 667},
            {},
        ),
        # A difference that nobody was billed gives way before anything is credited.
        ([("120", True), ("105", True)], {MOVED: 10_500, difference(FIRST): 500, difference(THIRD): 167}, {}),
        ([("120", True), ("95", True)], {MOVED: 9_500}, {FIRST: 500, THIRD: 166}),
    ],
)
def test_other_rates_reprice_what_is_open_and_bill_or_credit_the_difference_of_the_rest(
    changes: list[tuple[str, bool]], billed: dict[str, int], credited: dict[str, int]
) -> None:
    expected = rated(*changes)
    first, second = expected.invoices
    assert (first.lines, second.lines) == ({FIRST: 10_000, THIRD: 3_333}, billed)
    assert [one.lines for one in expected.credits] == ([credited] if credited else [])


def test_a_difference_goes_with_the_work_that_was_withdrawn() -> None:
    expected = Expectation([TERMS])
    expected.collect(delivered(*ENTRIES))
    expected.bill(OCTOBER, {})
    terms = replace(TERMS, rates=(Span("consultant", "120", date(2026, 1, 1)),))
    reprice(expected, terms, bills=True, on=date(2026, 11, 20))
    expected.collect(delivered(*ENTRIES[1:]))
    expected.credit()
    (second,) = expected.bill(NOVEMBER, {})
    assert second.lines == {difference(MOVED): 2_000, difference(THIRD): 667}
    assert [one.lines for one in expected.credits] == [{FIRST: 10_000}]


def test_more_than_the_new_rate_in_all_is_named() -> None:
    """The invariants count a difference to the work that it belongs to."""
    terms = replace(TERMS, rates=(Span("consultant", "120", date(2026, 1, 1)),))
    expected = rated(("120", True))
    lines = {**expected.invoices[1].lines, difference(FIRST): 2_001}
    erp = replace(TRUE, invoices=(document(1, expected.invoices[0].lines), document(2, lines)))
    names = {one.what for one in judge(expected, delivered(*ENTRIES), erp).findings}
    assert {"billed more than it is worth", "invoice differs"} <= names
    assert expected.agreements[TERMS.key] == terms


def test_a_milestone_is_billed_when_complete_and_credited_when_reopened() -> None:
    terms = replace(TERMS, method="milestone", dues=(Due("M1", date(2026, 10, 5), 500),), story={"M1": "600"})
    expected = Expectation([terms])
    for complete in (False, True):
        expected.fees(Delivered({}, {"600": complete}), OCTOBER)
        expected.bill(OCTOBER, {})
    assert [one.net for one in expected.invoices] == [500]
    expected.fees(Delivered({}, {"600": False}), NOVEMBER)
    assert [one.lines for one in expected.credit()] == [{"contract/milestone/D1.NL01.EUR/M1": 500}]
    assert expected.bill(NOVEMBER, {}) == []


def test_progress_bills_what_delivery_has_come_further_and_never_takes_back() -> None:
    terms = replace(
        TERMS, method="progress", amount=100_001, story={TERMS.line: "700"}, opening=Opening(to_date=10_000)
    )
    expected = Expectation([terms])
    for percent, through in ((5, OCTOBER), (50, OCTOBER), (60, OCTOBER), (40, NOVEMBER), (100, NOVEMBER)):
        expected.fees(Delivered({}, {}, {"700": percent}), through)
        expected.bill(through, {})
    assert [one.net for one in expected.invoices] == [40_001, 50_000]


def test_an_advance_is_billed_apart_and_drawn_on_in_the_same_month() -> None:
    terms = replace(TERMS, method="retainer", advance=Advance(15_000, overage="bill"))
    expected = month(terms)
    assert [(one.cycle, one.net) for one in expected.invoices] == [
        ("2026-10-advance", 15_000),
        ("2026-10", 8_333),
    ]
    assert expected.lots == {terms.key: 0}


ORDER = Order("PO", 15_000)
SHARED = replace(TERMS, orders=(ORDER,))
OTHER = replace(SHARED, key="D2.NL01.EUR", project="40002", job="702")


def test_contracts_of_a_client_share_a_purchase_order() -> None:
    expected = Expectation([SHARED, OTHER])
    expected.collect(delivered(ENTRIES[0], work(9, 5, project=OTHER.project)))
    expected.bill(OCTOBER, {})
    assert [(one.group, one.net) for one in expected.invoices] == [
        ((SHARED.key, "PO"), 10_000),
        ((OTHER.key, "PO"), 5_000),
    ]


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        (10_000, 5_000, set()),
        (5_000, 10_000, set()),
        (5_000, 9_999, {"billed amount differs"}),
        (10_000, 10_000, {"billed amount differs", "purchase order overdrawn"}),
    ],
)
def test_contracts_that_contend_for_an_order_use_it_up_together(
    first: int, second: int, what: set[str]
) -> None:
    both = [replace(one, contended=True) for one in (SHARED, OTHER)]
    theirs = work(9, 5, project=OTHER.project)
    seen, expected = delivered(ENTRIES[0], theirs), Expectation(both)
    expected.collect(seen)
    expected.bill(OCTOBER, {})
    erp = Erp(
        postings=(posting(ENTRIES[0], 1), replace(posting(theirs, 2), job=OTHER.job)),
        invoices=(
            document(1, {ENTRIES[0].source: first}, order="PO"),
            document(2, {theirs.source: second}, order="PO", job=OTHER.job),
        ),
        credits=(),
    )
    assert {one.what for one in judge(expected, seen, erp).findings} == what


# --- exposure -----------------------------------------------------------------------------------------


def write(second: float, **more: object) -> Row:
    body = {"custcol_trueup_source": "kantata-main/time_entries/1@r1", **more}
    return {
        "operation": "create",
        "type": "timeBill",
        "accepted_at": f"2026-11-29T10:00:{second:09.6f}+00:00",
        "body": body,
    }


def approved(second: int, yes: bool) -> Row:
    return {"at": f"2026-11-29T10:00:{second:02d}.000000+00:00", "approved": yes}


@pytest.mark.parametrize(
    ("history", "exposed", "violations"),
    [
        ([approved(1, True)], 0, 0),
        ([approved(1, True), approved(28, False)], 1, 0),
        ([approved(1, True), approved(20, False)], 1, 1),
        ([approved(1, True), approved(20, False), approved(29, False)], 1, 1),
        ([approved(1, True), approved(20, False), approved(25, True)], 0, 0),
        ([approved(1, False)], 0, 1),
        ([approved(40, True)], 0, 1),
    ],
)
def test_exposure_is_the_time_since_the_approval_went(
    history: list[Row], exposed: int, violations: int
) -> None:
    seen = exposure([write(30)], {"time_entries": {"1": history}, "expenses": {}})
    assert (seen.sent, len(seen.exposed), len(seen.violations)) == (1, exposed, violations)


def test_what_is_taken_back_is_no_exposure() -> None:
    seen = exposure([write(30, custcol_trueup_reverses="tu-1")], {"time_entries": {}, "expenses": {}})
    assert seen.sent == 0


# --- the judge stands by itself -----------------------------------------------------------------------


@pytest.mark.parametrize("name", JUDGES)
def test_the_judge_shares_no_code_with_the_product(name: str) -> None:
    tree = ast.parse((HERE / f"{name}.py").read_text())
    imported = {
        module
        for node in ast.walk(tree)
        for module in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }
    standard = {"__future__", "collections", "collections.abc", "dataclasses", "datetime", "decimal"}
    standard |= {"fractions", "itertools", "json", "typing"}
    assert imported <= standard | {f"tests.conservation.{one}" for one in JUDGES}


def test_the_same_seed_makes_the_same_cases() -> None:
    count = len(KINDS)
    assert Generator(3).cases(count) == Generator(3).cases(count)
    assert Generator(3).cases(count) != Generator(4).cases(count)
