"""``trueup revenue`` and what is refused before anything is started."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from canonical.causes import Cause, Queue
from canonical.money import Money
from canonical.progress import RevenueFigures, RevenueRow, SendState
from cli.output import Exit
from ledger.store import Ledger
from rules.findings import finding
from rules.revenue import differences
from tests.cli.billing import BILLING
from tests.cli.conftest import NOBODY, Cli
from tests.ledger.billing import eur


@pytest.fixture
def cli(make_cli: Callable[[str, str], Cli]) -> Cli:
    made = make_cli(NOBODY, "default")
    made.config.write_text(made.config.read_text() + BILLING)
    return made


def row(key: str, figures: RevenueFigures, **more: Any) -> RevenueRow:
    values: dict[str, Any] = {
        "contract_key": key,
        "name": f"Contract {key[:4]}",
        "period": "2026-02",
        "legal_entity": "NL01",
        "erp": "netsuite-emea",
        "figures": figures,
        "state": SendState.SENT,
        "differences": differences(key, figures),
        "saga_id": "rfu:1",
    }
    return RevenueRow(**{**values, **more})


def yen(amount: int) -> Money:
    return Money.of_minor(amount, "JPY")


async def followed(ledger: Ledger) -> None:
    """Billed ahead; held and not priced; over-recognised in yen."""
    await ledger.put_revenue(
        row(
            "006A.NL01.EUR",
            RevenueFigures(
                booked=eur(1000), delivered_minutes=90, delivered=eur(400), billed=eur(600),
                recognised=eur(400), deferred=eur(600),
            ),
        )
    )  # fmt: skip
    await ledger.put_revenue(
        row(
            "006B.NL01.EUR",
            RevenueFigures(booked=eur(500), billed=eur(0), recognised=None),
            state=SendState.HELD,
            findings=(finding(Cause.ESTIMATE_MISSING, "Nobody has estimated it.", at_stake=eur(500)),),
        )
    )
    await ledger.put_revenue(
        row(
            "006C.NL01.JPY",
            RevenueFigures(
                booked=yen(9000), delivered=yen(3000), billed=yen(4000), recognised=yen(4000),
                deferred=yen(5000),
            ),
        )
    )  # fmt: skip


def test_the_comparison_says_figures_totals_differences_and_who_acts(cli: Cli) -> None:
    cli.write(followed)
    answer = cli("revenue", "2026-02", "--entity", "NL01")
    assert answer.code == Exit.DONE, answer.err
    assert answer.first == (
        "2026-02 of NL01: 3 contracts, 1 difference to look at worth JPY 1,000, inputs of 1 contract held."
    )
    for words in (
        "contract liability EUR 200.00", "not priced", "ESTIMATE_MISSING", Queue.DELIVERY.value,
        "recognised above delivered", "trueup start revenue-follow-up 2026-02 --entity NL01",
    ):  # fmt: skip
        assert words in " ".join(answer.out.split()), words


def test_the_json_has_sums_per_currency_and_never_across(cli: Cli) -> None:
    cli.write(followed)
    found = cli("revenue", "2026-02", "--entity", "NL01", "--json").json
    booked = {one["currency"]: one["amount"] for one in found["totals"]["booked"]}
    assert booked == {"EUR": "1500", "JPY": "9000"} or booked == {"EUR": "1500.00", "JPY": "9000"}
    assert [one["contract_key"] for one in found["contracts"]] == [
        "006A.NL01.EUR", "006B.NL01.EUR", "006C.NL01.JPY",
    ]  # fmt: skip
    assert {one["kind"] for one in found["differences"]} == {
        "contract liability",
        "recognised above delivered",
    }
    assert found["held"] == 1


def test_differences_alone(cli: Cli) -> None:
    cli.write(followed)
    answer = cli("revenue", "2026-02", "--entity", "NL01", "--differences")
    assert "Totals" not in answer.out
    assert "recognised above delivered" in answer.out


def test_a_period_that_nobody_followed_says_what_to_type(cli: Cli) -> None:
    answer = cli("revenue", "2026-01", "--entity", "NL01")
    assert answer.code == Exit.FAILED
    assert "The revenue of NL01 for 2026-01 was not followed up yet" in answer.err
    assert "trueup start revenue-follow-up 2026-01 --entity NL01 --wait" in answer.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("revenue", "2026-13", "--entity", "NL01"), "'2026-13' is not a period."),
        (("revenue", "October", "--entity", "NL01"), "'October' is not a period."),
        (("revenue", "2099-01", "--entity", "NL01"), "has not come yet"),
        (("revenue", "2026-01", "--entity", "XX99"), "'XX99' is not a legal entity of this firm"),
        (("start", "revenue-follow-up", "--entity", "NL01"), "Which period? Give one"),
        (("start", "revenue-follow-up", "2026-01", "2026-02", "--entity", "NL01"), "Which period?"),
        (("start", "revenue-follow-up", "2026-01"), "Of which legal entity? Give --entity"),
        (("start", "revenue-follow-up", "2026-1", "--entity", "NL01"), "'2026-1' is not a period."),
        (("start", "revenue-follow-up", "2099-01", "--entity", "NL01"), "has not come yet"),
        (("start", "revenue-follow-up", "2026-01", "--entity", "XX99"), "is not a legal entity"),
        (
            ("start", "revenue-follow-up", "2026-01", "--entity", "NL01", "--cutoff", "2026-01"),
            "revenue-follow-up takes no --cutoff",
        ),
    ],
)
def test_bad_input_is_one_clear_sentence(cli: Cli, arguments: tuple[str, ...], said: str) -> None:
    answer = cli(*arguments)
    assert answer.code == Exit.USAGE
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert len(answer.err) < 500
