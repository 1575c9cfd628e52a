"""``trueup rates``: a file of rates, checked line by line; what they would change, before anything does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from canonical.rates import RateCard, RateLine
from cli.output import Exit
from ledger.store import Ledger
from tests.cli.billing import BILLING, agree, contract
from tests.cli.conftest import NOBODY, Cli
from tests.ledger.billing import CONTRACT, draft, issue, key, plan, posted

HEAD = "contract,role,rate,from,to,currency"
JANUARY = date(2026, 1, 1)


@pytest.fixture
def cli(make_cli: Callable[[str, str], Cli]) -> Cli:
    made = make_cli(NOBODY, "default")
    made.config.write_text(made.config.read_text() + BILLING)
    return made


def card(rate: str = "100") -> RateCard:
    line = RateLine(role="consultant", amount=Decimal(rate), currency="EUR", effective_from=JANUARY)
    return RateCard(code="standard", version="2026", currency="EUR", lines=(line,))


async def work(ledger: Ledger) -> None:
    """Four hours at 100: two on an issued invoice, two unbilled."""
    await agree(ledger, contract(rate_card=card()))
    await posted(ledger, 1, 2, 3, 4)
    await issue(ledger, await draft(ledger, plan(key(1), "100"), plan(key(2), "100")))


def file(cli: Cli, *lines: str) -> str:
    path: Path = cli.config.parent / "rates.csv"
    path.write_text("\n".join([HEAD, *lines]) + "\n", encoding="utf-8")
    return str(path)


def test_a_preview_says_what_new_rates_would_change_and_changes_nothing(cli: Cli) -> None:
    cli.write(work)
    answer = cli("rates", "import", file(cli, f"{CONTRACT},consultant,110,2026-01-01,,"))
    assert answer.code == Exit.DONE
    assert answer.first == (
        "1 line: 1 to be imported. 2 unbilled lines would be repriced. "
        "EUR 20.00 more on billed work, to be decided."
    )
    assert "--apply --reason" in answer.out
    found = cli("rates", "import", file(cli, f"{CONTRACT},consultant,95,2026-01-01,,"), "--json").json
    (one,) = found["contracts"]
    assert (one["unbilled_lines"], one["to_bill"]) == (2, None)
    assert [money["amount"] for money in one["to_credit"].values()] == ["10.00"]
    assert cli.write(lambda ledger: ledger.rate_version(CONTRACT)) is None


def test_a_rate_from_a_later_day_leaves_what_was_worked_before(cli: Cli) -> None:
    cli.write(work)
    lines = (f"{CONTRACT},consultant,100,2026-01-01,,", f"{CONTRACT},consultant,110,2026-03-01,,")
    assert cli("rates", "import", file(cli, *lines)).first == "2 lines: 2 to be imported."


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("006Z.NL01.EUR,consultant,1,2026-01-01,,", "contract 006Z.NL01.EUR is not known"),
        (",consultant,1,2026-01-01,,", "contract is empty"),
        (f"{CONTRACT},wizard,1,2026-01-01,,", "role 'wizard' is not known; known: consultant"),
        (f'{CONTRACT},consultant,"1,5",2026-01-01,,', "rate '1,5' is not an amount"),
        (f"{CONTRACT},consultant,1,01.01.2026,,", "from '01.01.2026' is not a date"),
        (f"{CONTRACT},consultant,1,2026-01-01,,GBP", "it is in GBP; contract"),
        (f"{CONTRACT},consultant,1,2026-02-11,,", "gap: no rate for 'consultant' from 2026-01-01"),
        (f"{CONTRACT},consultant,1,2026-01-01,2026-06-30,", "gap: no rate for 'consultant' from 2026-07-01"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_imported(cli: Cli, line: str, words: str) -> None:
    cli.write(work)
    answer = cli("rates", "import", file(cli, line), "--apply", "--reason", "agreed", "--json")
    assert answer.code == Exit.FAILED
    assert answer.json["message"].startswith("Nothing was imported")
    (bad,) = [one for one in answer.json["lines"] if one["problems"]]
    assert words in "; ".join(bad["problems"])
    assert cli.write(lambda ledger: ledger.rate_version(CONTRACT)) is None


def test_rates_that_overlap_are_refused_with_both(cli: Cli) -> None:
    cli.write(work)
    lines = (f"{CONTRACT},consultant,1,2026-01-01,2026-03-01,", f"{CONTRACT},consultant,2,2026-03-01,,")
    answer = cli("rates", "import", file(cli, *lines))
    assert answer.code == Exit.FAILED
    assert "overlap: consultant has 1 and 2 at once from 2026-03-01" in answer.out


def test_a_draft_with_the_contracts_work_is_decided_first(cli: Cli) -> None:
    async def drafted(ledger: Ledger) -> None:
        await work(ledger)
        await draft(ledger, plan(key(3), "100"), cycle="2026-03")

    cli.write(drafted)
    answer = cli("rates", "import", file(cli, f"{CONTRACT},consultant,110,2026-01-01,,"))
    assert answer.code == Exit.FAILED
    assert "is being drafted with its work; decide it first: `trueup approvals show bill:1`" in answer.out


def test_an_import_needs_a_reason(cli: Cli) -> None:
    cli.write(work)
    answer = cli("rates", "import", file(cli, f"{CONTRACT},consultant,110,2026-01-01,,"), "--apply")
    assert (answer.code, "need --reason" in answer.err) == (Exit.USAGE, True)


def test_rates_are_listed_and_written_to_a_file_that_changes_nothing(cli: Cli) -> None:
    cli.write(work)
    out = cli.config.parent / "todo.csv"
    answer = cli("rates", "list", "--out", str(out))
    assert answer.first == "1 contract billed by the hour, 1 rate."
    assert out.read_text().splitlines()[1] == f"{CONTRACT},consultant,100,2026-01-01,,EUR,Orchard advisory"
    again = cli("rates", "import", str(out))
    assert again.first == "1 line: 1 imported before."
    assert "--apply" not in again.out
    assert cli("rates", "list", "--contract", "nobody").code == Exit.USAGE
