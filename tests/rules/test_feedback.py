"""Which reading counts, what an invoice's standing means, and that its split always adds up."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canonical.billing import Invoice
from canonical.erp_billing import InvoiceState
from canonical.feedback import (
    Application,
    ApplicationKind,
    Bucket,
    Collection,
    Facts,
    Held,
    InvoiceStanding,
    InvoiceStatus,
    LinePart,
    Rates,
    Share,
    TargetKind,
)
from canonical.money import AmountRole, Money, total
from canonical.refs import RecordRef
from rules.feedback import (
    Reading,
    Verdict,
    bucket_of,
    collecting_of,
    collection_of,
    contract_finder,
    judge,
    next_turn,
    reading,
    shares_of,
    status_of,
)
from rules.figures import figures_digest, figures_of

T0 = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
DUE = date(2026, 12, 20)


def eur(minor: int) -> Money:
    return Money.of_minor(minor, "EUR", AmountRole.BILLING)


def invoice(
    lines: list[tuple[str, int, int]],
    *,
    paid: int = 0,
    credited: int = 0,
    withheld: int = 0,
    written: int = 0,
    credits_: tuple[Application, ...] = (),
    state: InvoiceState = InvoiceState.POSTED,
    **more: object,
) -> InvoiceStanding:
    """A standing of lines (project, net, tax) in cents."""
    net = sum(line[1] for line in lines)
    gross = net + sum(line[2] for line in lines)
    ref = RecordRef(system="erp", type="invoice", id="880")
    told = Invoice(
        ref=ref,
        number="INV1",
        seller="NL01",
        bill_to="55",
        contract_keys=(),
        issued_on=date(2026, 11, 20),
        due_on=DUE,
        net=eur(net),
        gross=eur(gross),
        paid=eur(paid),
        credited=eur(credited),
        withheld=eur(withheld),
        written_off=eur(written),
        balance=eur(gross - paid - credited - withheld - written),
        modified_at=T0,
    )
    parts = tuple(LinePart(project=p, net=eur(n), tax=eur(t)) for p, n, t in lines)
    standing = InvoiceStanding(
        ref=ref, state=state, invoice=told, lines=parts, applications=credits_, modified_at=T0
    )
    return standing.model_copy(update=dict(more))


FIND = contract_finder({}, {"j1": "D1", "j2": "D2", "j3": "D3"})


def credit(amount: int, *parts: tuple[str, int]) -> Application:
    return Application(
        document=RecordRef(system="erp", type="creditMemo", id="9"),
        kind=ApplicationKind.CREDIT,
        amount=eur(amount),
        parts=tuple(LinePart(project=p, net=eur(n), tax=eur(0)) for p, n in parts),
    )


# --- which reading counts -------------------------------------------------------------------------


def seen(digest: str, *, at: int = 0, paid: int = 0, complete: bool = True) -> Reading:
    stamp = T0 + timedelta(seconds=at)
    return Reading(modified_at=stamp, digest=digest, paid=Decimal(paid), complete=complete)


@pytest.mark.parametrize(
    ("last", "now", "confirming", "verdict"),
    [
        (None, seen("a"), None, Verdict.APPLY),
        (None, seen("a", complete=False), None, Verdict.CONFIRM),
        (None, seen("a", complete=False), "a", Verdict.APPLY),
        (seen("a"), seen("a"), None, Verdict.SAME),
        (seen("a"), seen("b", at=5), None, Verdict.APPLY),
        (seen("a"), seen("b"), None, Verdict.CONFIRM),
        (seen("a"), seen("b"), "b", Verdict.APPLY),
        (seen("a"), seen("c"), "b", Verdict.CONFIRM),
        (seen("a", at=5), seen("b"), None, Verdict.OLDER),
        (seen("a", at=5), seen("b"), "b", Verdict.OLDER),
        (seen("a", paid=10), seen("b", at=5), None, Verdict.CONFIRM),
        (seen("a", paid=10), seen("b", at=5), "b", Verdict.APPLY),
    ],
)
def test_the_newest_reading_counts(
    last: Reading | None, now: Reading, confirming: str | None, verdict: Verdict
) -> None:
    assert judge(last, now, confirming) is verdict


def test_the_stamp_is_not_part_of_the_content() -> None:
    one = invoice([("j1", 100, 21)])
    later = one.model_copy(update={"modified_at": T0 + timedelta(hours=1)})
    assert one.digest == later.digest
    assert reading(one).modified_at != reading(later).modified_at
    assert one.digest != one.model_copy(update={"disputed": True}).digest


# --- status and age -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amounts", "status"),
    [
        ({}, InvoiceStatus.ISSUED),
        ({"paid": 50}, InvoiceStatus.PART_PAID),
        ({"credited": 50}, InvoiceStatus.PART_PAID),
        ({"paid": 121}, InvoiceStatus.PAID),
        ({"paid": 100, "withheld": 21}, InvoiceStatus.PAID),
        ({"credited": 121}, InvoiceStatus.CREDITED),
        ({"written": 121}, InvoiceStatus.WRITTEN_OFF),
        ({"state": InvoiceState.DRAFTED}, InvoiceStatus.DRAFT),
        ({"state": InvoiceState.REFUSED}, InvoiceStatus.VOIDED),
    ],
)
def test_status(amounts: dict[str, object], status: InvoiceStatus) -> None:
    assert status_of(invoice([("j1", 100, 21)], **amounts)) is status  # type: ignore[arg-type]


def test_settled_until_somebody_objects_or_the_payment_is_taken_back() -> None:
    paid = invoice([("j1", 100, 21)], paid=121)
    assert paid.settled
    assert not paid.model_copy(update={"disputed": True}).settled
    assert not invoice([("j1", 100, 21)], paid=120).settled


def test_ageing_by_days_past_the_due_date() -> None:
    ages = {
        0: "current",
        1: "days_1_30",
        30: "days_1_30",
        31: "days_31_60",
        61: "days_61_90",
        91: "days_over_90",
    }
    assert {n: bucket_of(DUE, DUE + timedelta(days=n)).value for n in ages} == ages
    assert bucket_of(None, DUE) is Bucket.CURRENT
    assert collection_of(owed=True, disputed=False, bucket=Bucket.DAYS_1_30) is Collection.OVERDUE


def test_how_collecting_one_invoice_stands() -> None:
    def at(days: int, **of: int) -> tuple[str, str | None, bool] | None:
        standing = invoice([("j1", 100, 21)], **of)  # type: ignore[arg-type]
        told = collecting_of(standing, status_of(standing), DUE + timedelta(days=days))
        if told is None:
            return None
        return told.status.value, told.bucket.value if told.bucket is not None else None, told.overdue

    assert at(0, paid=1) == ("current", "current", False)
    assert at(1, paid=1) == ("overdue", "days_1_30", True)
    assert at(91, disputed=1) == ("disputed", "days_over_90", True)
    assert at(91, paid=121) == ("nothing due", None, False)
    for state in (InvoiceState.DRAFTED, InvoiceState.REFUSED, InvoiceState.ABSENT):
        gone = invoice([("j1", 100, 21)], state=state)
        assert collecting_of(gone, status_of(gone), DUE) is None


def test_it_turns_overdue_at_midnight_where_the_seller_is() -> None:
    turn = next_turn(DUE, "Europe/Amsterdam", T0)
    assert turn is not None
    assert turn.astimezone(UTC) == datetime(2026, 12, 20, 23, 0, tzinfo=UTC)
    assert next_turn(DUE, "Europe/Amsterdam", turn) == turn + timedelta(days=30)
    assert next_turn(DUE, "UTC", datetime(2027, 12, 1, tzinfo=UTC)) is None
    assert next_turn(None, "UTC", T0) is None


# --- the split ------------------------------------------------------------------------------------


def test_one_invoice_over_three_deals() -> None:
    standing = invoice([("j1", 3333, 700), ("j2", 3333, 700), ("j3", 3334, 700)], paid=100)
    parts = shares_of(standing, FIND)
    assert [one.contract_key for one in parts] == ["D1", "D2", "D3"]
    assert [one.paid.minor for one in parts] == [33, 33, 34]
    assert total(one.balance for one in parts) == eur(12000)


def test_credits_go_to_the_lines_that_they_correct() -> None:
    standing = invoice(
        [("j1", 100, 0), ("j2", 100, 0)], credited=60, paid=70, credits_=(credit(60, ("j2", 60)),)
    )
    one, two = shares_of(standing, FIND)
    assert (one.credited.minor, two.credited.minor) == (0, 60)
    assert (one.paid.minor, two.paid.minor) == (50, 20)
    assert (one.balance.minor, two.balance.minor) == (50, 20)


def test_lines_of_nobody_keep_the_sums_right() -> None:
    parts = shares_of(invoice([("j1", 100, 21), (None, 50, 0)], paid=171), FIND)  # type: ignore[list-item]
    assert [(one.contract_key, one.balance.minor) for one in parts] == [("", 0), ("D1", 0)]


AMOUNT = st.integers(-2_000, 100_000)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["j1", "j2", "j3", "j4"]), AMOUNT, st.integers(0, 2_000)),
        min_size=1,
        max_size=6,
    ),
    st.lists(st.floats(0, 1), min_size=5, max_size=5),
)
def test_shares_always_add_up_to_the_invoice(lines: list[tuple[str, int, int]], cuts: list[float]) -> None:
    """400 cases: any lines, any part of it paid, credited, withheld, written off."""
    gross = sum(n + t for _, n, t in lines)
    if gross < 0:
        return
    left, parts = gross, []
    for cut in cuts[:4]:
        parts.append(int(left * cut))
        left -= parts[-1]
    by_line = parts[1] // 2
    credits_ = (credit(by_line, (lines[0][0], max(by_line, 1))),) if by_line else ()
    standing = invoice(
        lines, paid=parts[0], credited=parts[1], withheld=parts[2], written=parts[3], credits_=credits_
    )
    shares = shares_of(standing, FIND)
    told = standing.invoice
    assert told is not None
    for name in ("net", "gross", "paid", "credited", "withheld", "written_off", "balance"):
        assert total(getattr(one, name) for one in shares) == getattr(told, name), name
    if not left:
        assert all(not one.balance.amount for one in shares), "a settled invoice is settled everywhere"
    assert all(one.balance.minor >= 0 for one in shares if one.gross.minor >= 0)


# --- figures --------------------------------------------------------------------------------------


def held(share: Share, **more: object) -> Held:
    base = Held(
        invoice="erp/invoice/880", number="INV1", status=InvoiceStatus.ISSUED, issued_on=date(2026, 11, 20),
        due_on=DUE, share=share,
    )  # fmt: skip
    return base.model_copy(update=dict(more))


def whole(standing: InvoiceStanding) -> Share:
    (share,) = shares_of(standing, contract_finder({}, {"j1": "D1"}))
    return share


def test_figures_of_a_deal() -> None:
    open_ = held(whole(invoice([("j1", 10_000, 2_100)], paid=2_100)), status=InvoiceStatus.PART_PAID)
    void = held(whole(invoice([("j1", 500, 0)])), status=InvoiceStatus.VOIDED, invoice="erp/invoice/9")
    facts = Facts(kind=TargetKind.OPPORTUNITY, held=(open_, void))
    told = figures_of(facts, "EUR", lambda _: DUE + timedelta(days=31))
    assert told["invoiced"] == eur(12_100)
    assert told["invoiced_net"] == eur(10_000)
    assert told["days_31_60"] == told["overdue"] == told["balance"] == eur(10_000)
    assert told["collection_status"] == "overdue"
    assert told["open_invoices"] == 1
    earlier = figures_of(facts, "EUR", lambda _: DUE)
    assert earlier["overdue"] == eur(0)
    assert figures_digest(told) != figures_digest(earlier)


def test_amounts_in_a_foreign_currency_are_converted_or_named() -> None:
    own = whole(invoice([("j1", 10_000, 0)]))
    rates = Rates(deal="USD", deal_rate=Decimal("1.1"), base="EUR", base_rate=Decimal(1))
    facts = Facts(kind=TargetKind.ACCOUNT, held=(held(own, rates=rates),))
    assert str(figures_of(facts, "USD", lambda _: DUE)["invoiced"]) == "USD 110.00"
    told = figures_of(facts, "JPY", lambda _: DUE, corporate="EUR")
    assert str(told["invoiced"]) == "JPY 0"
    assert told["corporate_invoiced"] == eur(10_000)
    assert "without invoices in EUR" in str(told["summary"])
