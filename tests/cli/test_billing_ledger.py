"""Commands of time-to-billing that the ledger answers: what is unbilled, opening positions, previews."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from canonical.causes import Cause
from canonical.engagement import BillingMethod
from canonical.items import AllocationKind
from canonical.money import Money
from canonical.opening import OpeningPosition
from canonical.terms import Cap, CapScope, RetainerTerms
from cli.billing.arguments import the_period
from cli.output import Complaint, Exit
from ledger.items import Placed
from ledger.store import Ledger
from tests.cli.billing import BILLING, agree, contract
from tests.cli.billing import line as contract_line
from tests.cli.conftest import NOBODY, Cli
from tests.ledger.billing import (
    CONTRACT,
    GROUP_KEY,
    HOLD,
    PSA,
    draft,
    eur,
    issue,
    key,
    line,
    place,
    placement,
    plan,
    posted,
)


@pytest.fixture
def cli(make_cli: Callable[[str, str], Cli]) -> Cli:
    made = make_cli(NOBODY, "default")
    made.config.write_text(made.config.read_text() + BILLING)
    return made


async def work(ledger: Ledger) -> None:
    """Five hours: two ready, one not posted, one without a rate, one over its cap."""
    await agree(ledger)
    await posted(ledger, 1, 2, 3)
    await ledger.take_in([line(4), line(6, minutes=30)])
    await place(ledger, 4)
    (six,) = await ledger.items_of([f"{PSA}/time_entries/6"])
    await ledger.place([Placed(six.id, six.key, placement(hold=HOLD, price=None))])
    await ledger.allocate([plan(key(2), "30", 18, kind=AllocationKind.HELD, cause=Cause.OVER_CAP)])


# --- unbilled ---------------------------------------------------------------------------------------


def test_unbilled_by_reason_says_hours_money_and_who_acts(cli: Cli) -> None:
    cli.write(work)
    answer = cli("unbilled")
    assert answer.code == Exit.DONE
    assert answer.first == ("6 items not billed, 4:30 h, EUR 400.00. 1 of them could not be priced yet.")
    found = cli("unbilled", "--json").json
    assert [(row["key"], row["items"], row["minutes"]) for row in found["rows"]] == [
        ("ready", 3, 162),
        ("not posted", 1, 60),
        ("OVER_CAP", 1, 18),
        ("RATE_MISSING", 1, 30),
    ]
    assert "trueup resolve --cause RATE_MISSING" in answer.out
    assert "delivery" in answer.out


def test_unbilled_by_project_and_by_manager(cli: Cli) -> None:
    cli.write(work)
    by_project = cli("unbilled", "--by", "project", "--json").json
    assert [(row["key"], row["minutes"]) for row in by_project["rows"]] == [("PRJ-1", 270)]
    by_manager = cli("unbilled", "--by", "manager")
    assert "pia@acme.example" in by_manager.out
    assert "ready 3" in by_manager.out


def test_unbilled_of_another_entity_is_nothing(cli: Cli) -> None:
    cli.write(work)
    assert cli("unbilled", "--entity", "JP01").first == "No items not billed."
    assert cli("unbilled", "--cutoff", "2026-01").first == "No items not billed."


def test_currencies_are_never_added(cli: Cli) -> None:
    async def both(ledger: Ledger) -> None:
        await work(ledger)
        await ledger.take_in([line(8)])
        (row,) = await ledger.items_of([f"{PSA}/time_entries/8"])
        price = placement().price
        assert price is not None
        yen = price.model_copy(update={"amount": Money(amount="9000", currency="JPY")})
        await ledger.place([Placed(row.id, row.key, placement(price=yen, legal_entity="JP01"))])

    cli.write(both)
    assert "EUR 400.00 + JPY 9,000." in cli("unbilled").first


# --- exceptions -------------------------------------------------------------------------------------


def test_held_items_are_exceptions_by_cause_and_project(cli: Cli) -> None:
    cli.write(work)
    answer = cli("exceptions")
    assert answer.first == "No exceptions need a person. 2 items are held, 0:48 h, EUR 30.00."
    found = cli("exceptions", "--queue", "delivery", "--json").json
    (one,) = found["items"]
    assert (one["cause"], one["project_code"], one["minutes"], one["amount"]) == (
        "RATE_MISSING",
        "PRJ-1",
        30,
        None,
    )
    assert cli("exceptions", "--cause", "OVER_CAP", "--json").json["items"][0]["amount"]["amount"] == "30.00"
    assert cli("exceptions", "--region", "amer", "--json").json["items"] == []


@pytest.mark.parametrize("command", ["resolve", "exceptions", "list"])
def test_a_cause_that_is_none_is_answered_by_those_spelt_like_it(cli: Cli, command: str) -> None:
    answer = cli(command, "--cause", "RATE_MISING")
    assert answer.code == Exit.USAGE
    assert "There is no cause 'RATE_MISING'. Did you mean RATE_MISSING" in answer.err
    assert len(answer.err) < 400
    assert cli("exceptions", "--cause", "rate-missing", "--json").json["items"] == []


def test_a_cause_that_nobody_has_is_one_sentence(cli: Cli) -> None:
    cli.write(work)
    answer = cli("resolve", "--cause", "PERIOD_CLOSED")
    assert answer.code == Exit.DONE
    assert answer.first == "No saga is parked with PERIOD_CLOSED and no item is held for it."
    elsewhere = cli("resolve", "--cause", "RATE_MISSING", "--project", "PRJ-9")
    assert elsewhere.first == (
        "No saga is parked with RATE_MISSING and no item of project PRJ-9 is held for it."
    )


# --- previews and bad input -------------------------------------------------------------------------


def test_the_preview_of_a_run_says_what_it_would_post_and_bill(cli: Cli) -> None:
    cli.write(work)
    answer = cli("start", "time-to-billing", "--cutoff", "2026-02", "--plan")
    assert answer.code == Exit.DONE, answer.err
    assert answer.first == (
        "Preview of time-to-billing on kantata-main to netsuite-emea up to 2026-02-28: 1 item (1:00 h, "
        "EUR 100.00) to post, 2 items (0:48 h, EUR 30.00) held; nothing was started."
    )
    (due,) = cli("start", "time-to-billing", "--cutoff", "2026-02", "--plan", "--json").json["due"]
    assert due["group"]["seller"] == "NL01"


TOMORROW = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("start", "time-to-billing"), "Up to which day? Give --cutoff"),
        (("start", "time-to-billing", "--cutoff", "soon"), "'soon' is not a cutoff."),
        (("start", "time-to-billing", "--cutoff", "2026-13"), "'2026-13' is not a period."),
        (("start", "time-to-billing", "--cutoff", TOMORROW), f"The cutoff {TOMORROW} has not come yet"),
        (("start", "time-to-billing", "--cutoff", "2026-02", "--entity", "XX"), "'XX' is not a legal entity"),
        (("start", "time-to-billing", "--cutoff", "2026-02", "--erp", "sap"), "fits erp sap"),
        (("start", "time-to-billing", "--cutoff", "2026-02", "--region", "mars"), "'mars' is not a region"),
        (("start", "time-to-billing", "006A", "--cutoff", "2026-02"), "time-to-billing takes no ID."),
        (("start", "opportunity-to-project", "006A", "--cutoff", "2026-02"), "takes no --cutoff."),
        (("start", "opportunity-to-project"), "Which deals?"),
        (("start", "bill-contract", "x"), "bill-contract is not started with a deal."),
        (("unbilled", "--entity", "XX"), "configured: NL01, JP01."),
        (("unbilled", "--cutoff", "2026-2"), "'2026-2' is not a cutoff."),
        (("reverse",), "What is to be taken back?"),
        (("reverse", "--item", "500001"), "'500001' is no source record."),
        (("reverse", "--from", "1 May"), "'1 May' is not a day."),
        (("reverse", "--from", "2026-03-01", "--to", "2026-02-01"), "is after --to"),
        (("reverse", "--project", "PRJ-9"), "The ledger has no item of project 'PRJ-9'."),
        (("resolve", "006A", "--retry", "--project", "PRJ-1"), "--project belongs to --cause."),
        (("approvals", "hold", "x", "1"), "hold needs --reason."),
        (("approvals", "move", "x", "1", "--until", "later"), "'later' is not a day."),
        (("approvals", "write-down", "x", "1", "--amount", "-5"), "'-5' is not an amount."),
        (("opening", "import", "/nowhere.csv"), "/nowhere.csv: No such file or directory."),
    ],
)
def test_bad_input_is_one_clear_sentence(cli: Cli, arguments: tuple[str, ...], words: str) -> None:
    answer = cli(*arguments)
    assert answer.code == Exit.USAGE
    assert answer.out == ""
    assert words in answer.err
    assert "Traceback" not in answer.err


def test_a_period_knows_its_days_and_its_entitys_midnight() -> None:
    period = the_period("2026-12")
    assert (period.first.isoformat(), period.last.isoformat()) == ("2026-12-01", "2026-12-31")
    assert period.begins("Asia/Tokyo").astimezone(UTC).isoformat() == "2026-11-30T15:00:00+00:00"
    assert period.ends("Europe/Amsterdam").astimezone(UTC).isoformat() == "2026-12-31T23:00:00+00:00"
    with pytest.raises(Complaint):
        the_period("26-12")


# --- opening positions ------------------------------------------------------------------------------

OTHER = "006B.NL01.EUR"
HEAD = "contract,billed_to_date,last_billed_work_date,billed_keys,caps,retainer_balance\n"


def openings_file(cli: Cli, *lines: str) -> Path:
    file = cli.config.parent / "openings.csv"
    file.write_text(HEAD + "".join(f"{line}\n" for line in lines))
    return file


async def terms(ledger: Ledger) -> None:
    cap = Cap(scope=CapScope.CONTRACT, amount=eur(8000))
    retainer = (contract_line("L3", BillingMethod.RETAINER),)
    await agree(
        ledger,
        contract(caps=(cap,)),
        contract(OTHER, lines=retainer, retainer=RetainerTerms(period_amount=eur(1000))),
    )


def test_opening_positions_are_previewed_then_imported_once(cli: Cli) -> None:
    cli.write(terms)
    file = openings_file(
        cli, f"{CONTRACT},4500,2026-01-31,L2.1,contract=3000,", f"{OTHER},2000.50,2026-01-31,,,250"
    )
    seen = cli("opening", "import", str(file))
    assert seen.code == Exit.DONE, seen.out
    assert seen.first == "2 lines: 2 to be imported; EUR 6,500.50 billed before."
    assert f"trueup opening import {file} --apply" in seen.out
    assert cli.write(lambda ledger: ledger.openings([CONTRACT, OTHER])) == {}

    done = cli("opening", "import", str(file), "--apply", "--as", "anna")
    assert done.first == "Done. 2 lines: 2 imported; EUR 6,500.50 billed before."
    position = cli.write(lambda ledger: ledger.opening(CONTRACT))
    assert isinstance(position, OpeningPosition)
    assert (position.billed_keys, position.caps[0].used, position.source) == (
        ("L2.1",),
        eur(3000),
        "openings.csv",
    )
    balances = cli.write(
        lambda ledger: ledger.account_balances([f"cap/{CONTRACT}/contract/"], [f"retainer/{OTHER}/L3"])
    )
    assert balances.used[f"cap/{CONTRACT}/contract/"] == eur(3000)
    assert balances.lots[f"retainer/{OTHER}/L3"][0].balance == eur(250)

    again = cli("opening", "import", str(file), "--apply")
    assert again.first == "Done. 2 lines: 2 imported before; EUR 6,500.50 billed before."


@pytest.mark.parametrize(
    ("line_", "words"),
    [
        (f"{OTHER},12.345,,,,", "12.345 has more decimals than EUR"),
        (f'{OTHER},"1,200",,,,', "billed_to_date '1,200' is not an amount"),
        (f"{OTHER},-5,,,,", "negative amount"),
        (f"{OTHER},,,,,", "billed_to_date is empty; write 0"),
        (f"{OTHER},5,31.12.2025,,,", "'31.12.2025' is not a date"),
        (f"{OTHER},5,2999-01-01,,,", "is in the future"),
        (f"{OTHER},5,2025-01-01,,,", "before the contract began, 2026-01-01"),
        (f"{CONTRACT},5,,L2.9,,", "billed_keys L2.9 are not of this contract; it has L2.1, L2.2"),
        (f"{CONTRACT},5,,,role x=5,", "the contract has no limit 'role x'; it has contract"),
        (f"{CONTRACT},5,,,contract=x,", "'contract=x' is not NAME=AMOUNT"),
        (f"{CONTRACT},5,,,,100", "the contract has no retainer"),
        ("006Z.NL01.EUR,5,,,,", "no contract 006Z.NL01.EUR is known"),
        (",5,,,,", "contract is empty"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_imported(cli: Cli, line_: str, words: str) -> None:
    cli.write(terms)
    good = CONTRACT if OTHER in line_ else OTHER
    file = openings_file(cli, f"{good},0,,,,", line_)
    answer = cli("opening", "import", str(file), "--apply", "--json")
    assert answer.code == Exit.FAILED
    assert answer.json["message"].startswith("Nothing was imported")
    assert answer.json["applied"] is False
    (bad,) = [one for one in answer.json["lines"] if one["problems"]]
    assert bad["line"] == 3
    assert words in "; ".join(bad["problems"])
    assert cli.write(lambda ledger: ledger.openings([CONTRACT, OTHER])) == {}


def test_a_contract_twice_in_a_file_is_refused(cli: Cli) -> None:
    cli.write(terms)
    answer = cli("opening", "import", str(openings_file(cli, f"{OTHER},0,,,,", f"{OTHER},1,,,,")))
    assert answer.code == Exit.FAILED
    assert f"contract {OTHER} stands on line 2 too" in answer.out


def test_a_position_that_invoices_rest_on_is_not_replaced(cli: Cli) -> None:
    cli.write(terms)
    cli("opening", "import", str(openings_file(cli, f"{CONTRACT},0,,,,")), "--apply")
    replaced = cli("opening", "import", str(openings_file(cli, f"{CONTRACT},10,,,,")))
    assert "replaces EUR 0.00 of openings.csv" in replaced.out

    async def bill(ledger: Ledger) -> None:
        await posted(ledger, 1)
        await draft(ledger, plan(key(1), "100"))

    cli.write(bill)
    answer = cli("opening", "import", str(openings_file(cli, f"{CONTRACT},10,,,,")))
    assert answer.code == Exit.FAILED
    assert "something was billed or held since" in answer.out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"contract\nx\n", "lacks the columns billed_to_date."),
        (HEAD.encode(), "holds no lines."),
        (b"\xff\xfe\x00c", "is not text in UTF-8"),
    ],
)
def test_a_file_that_is_none_is_refused(cli: Cli, content: bytes, words: str) -> None:
    file = cli.config.parent / "openings.csv"
    file.write_bytes(content)
    answer = cli("opening", "import", str(file))
    assert answer.code == Exit.USAGE
    assert words in answer.err


def test_contracts_without_a_position_are_listed_and_written_to_a_file(cli: Cli) -> None:
    cli.write(terms)
    out = cli.config.parent / "todo.csv"
    answer = cli("opening", "list", "--out", str(out))
    assert answer.first == "2 contracts, 2 without an opening position: they do not bill."
    rows = out.read_text().splitlines()
    assert rows[0].startswith("contract,billed_to_date,currency,last_billed_work_date")
    assert rows[1] == f"{CONTRACT},,EUR,,,,,Orchard advisory,L2.1;L2.2,contract"
    again = cli("opening", "list", "--out", str(out))
    assert again.code == Exit.USAGE
    assert "File exists" in again.err
    out.write_text(
        out.read_text().replace(f"{CONTRACT},,", f"{CONTRACT},0,").replace(f"{OTHER},,", f"{OTHER},0,")
    )
    assert cli("opening", "import", str(out), "--apply").code == Exit.DONE
    assert cli("opening", "list", "--missing", "--json").json["contracts"] == []
    assert cli("opening", "list", "--entity", "JP01").first == "No contracts, 0 without an opening position."


def test_semicolons_are_read_too(cli: Cli) -> None:
    """What a spreadsheet writes where the comma is the decimal sign."""
    cli.write(terms)
    file = cli.config.parent / "openings.csv"
    file.write_text(f"contract;billed_to_date\n{OTHER};12.5\n")
    assert cli("opening", "import", str(file)).code == Exit.DONE


# --- show -------------------------------------------------------------------------------------------


async def billed_work(ledger: Ledger) -> None:
    """One line issued, one on a draft with a part held, one held."""
    await work(ledger)
    await issue(ledger, await draft(ledger, plan(key(1), "100")))
    await draft(ledger, plan(key(3), "100"), cycle="2026-03")


@pytest.mark.parametrize("name", [key(1), f"{PSA}/time_entries/1", "1", "p1.post_cost"])
def test_an_item_is_shown_by_whatever_is_known_of_it(cli: Cli, name: str) -> None:
    cli.write(billed_work)
    answer = cli("show", name)
    assert answer.code == Exit.DONE, answer.err
    assert answer.first == "consultant of 2026-02-10, 1:00 h, EUR 100.00: posted, billed."
    found = cli("show", name, "--json").json
    assert found["item"]["key"] == key(1)
    assert [one["kind"] for one in found["allocations"]] == ["billed"]
    assert [(one["purpose"], one["line"]) for one in found["batches"]] == [("post_cost", "landed")]


def test_an_item_says_why_it_is_held_and_what_to_type(cli: Cli) -> None:
    cli.write(billed_work)
    answer = cli("show", f"{PSA}/time_entries/6")
    assert answer.first.endswith("not posted, unbilled. Held: RATE_MISSING.")
    assert "delivery: Add a rate." in answer.out
    assert "trueup resolve --cause RATE_MISSING" in answer.out
    posted_one = cli("show", f"{PSA}/time_entries/2")
    assert f"trueup reverse --item {PSA}/time_entries/2" in posted_one.out
    assert "OVER_CAP" in posted_one.out


def test_an_invoice_is_shown_by_number_record_or_key(cli: Cli) -> None:
    cli.write(billed_work)
    for name in ("INV-1", "880", f"{GROUP_KEY}/2026-02/1"):
        answer = cli("show", name)
        assert answer.code == Exit.DONE, answer.err
        assert answer.first == (
            f"Invoice INV-1 ({GROUP_KEY}/2026-02/1) is issued: EUR 100.00 net, EUR 100.00 gross."
        )
    open_one = cli("show", f"{GROUP_KEY}/2026-03/1")
    assert "is drafting: EUR 100.00 net." in open_one.first
    assert "trueup approvals show bill:1" in open_one.out
    assert [line["line"] for line in cli("show", "INV-1", "--json").json["lines"]] == ["1"]
