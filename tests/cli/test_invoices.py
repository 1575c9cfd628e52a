"""``trueup invoices`` and the last part of ``trueup trace``: what the ledger knows of invoices."""

from __future__ import annotations

from datetime import timedelta

from cli.output import Exit
from ledger.store import Ledger
from tests.cli.conftest import Cli, begin
from tests.ledger import test_feedback as books

LEASE = timedelta(seconds=30)


def read_once(cli: Cli) -> None:
    async def work(ledger: Ledger) -> None:
        await begin(ledger, "006")
        await ledger.apply_standing(books.new(60, 0, None))

    cli.write(work)


def test_nothing_was_read_yet(cli: Cli) -> None:
    assert cli("invoices").first == "No invoice was read yet."
    assert cli("invoices", "--crm-stale").first == "Every record shows what is known of its invoices."


def test_invoices_with_their_amounts(cli: Cli) -> None:
    read_once(cli)
    answer = cli("invoices")
    assert answer.first == "1 invoice, the last changed first; 1 not settled."
    assert "EUR 0.40" in answer.out
    (facts,) = cli("invoices", "--json").json["invoices"]
    assert (facts["number"], facts["paid"]["amount"], facts["balance"]["amount"]) == ("INV1", "0.60", "0.40")


def test_records_that_do_not_show_it_are_named_with_their_saga(cli: Cli) -> None:
    read_once(cli)
    answer = cli("invoices", "--crm-stale")
    assert answer.first == "2 records do not show what is known, 0 for longer than 15 minutes."
    assert answer.code == Exit.DONE
    assert "trueup show s" in answer.out

    async def shown(ledger: Ledger) -> None:
        for target in (books.OPPORTUNITY, books.ON_ACCOUNT):
            hold = await ledger.hold_target(target.key, "a", LEASE)
            await ledger.intend_figures(target.key, "a", "x", LEASE)
            await ledger.settle_target(
                target.key,
                "a",
                wanted=hold.wanted,
                digest="x",
                figures={"summary": "paid EUR 0.60"},
                wrote=True,
            )

    cli.write(shown)
    assert cli("invoices", "--crm-stale", "--json").json["stale"] == []


def test_a_payment_leads_to_the_whole_line(cli: Cli) -> None:
    read_once(cli)
    for text in ("77", "INV1", "880", "erp/invoice/880", "erp/customerPayment/77"):
        answer = cli("trace", text)
        assert answer.code == Exit.DONE, answer.err
        assert "1 invoice" in answer.first
        assert "sf/Opportunity/006" in answer.out
        assert "Settled by" in answer.out
    found = cli("trace", "77", "--json").json
    assert [one["deal"] for one in found["shares"]] == ["sf/Opportunity/006"]
    assert {one["target"]["kind"] for one in found["targets"]} == {"account", "opportunity"}
