"""Commands that the ledger answers: without Temporal they still say what is known, and that it is that."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from canonical.causes import Cause
from canonical.refs import RecordRef
from canonical.saga import SagaStatus
from cli.output import Exit
from ledger.store import Ledger
from rules.causes import CATALOGUE
from tests.cli.conftest import ANNA, Cli, begin, failure, open_case, run, saga

# --- explain ----------------------------------------------------------------------------------------


def test_explain_needs_no_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    answer = run("explain", "tax-registration-missing")
    entry = CATALOGUE[Cause.TAX_REGISTRATION_MISSING]
    assert answer.code == Exit.DONE
    assert answer.first == f"TAX_REGISTRATION_MISSING: {entry.meaning}"
    assert entry.remedy in answer.out
    assert "trueup resolve --cause TAX_REGISTRATION_MISSING --retry" in answer.out


def test_explain_suggests_what_was_meant() -> None:
    answer = run("explain", "TAX_REGISTRATION_MISING")
    assert answer.code == Exit.USAGE
    assert "Did you mean TAX_REGISTRATION_MISSING" in answer.err


def test_explain_lists_every_cause() -> None:
    assert {row["code"] for row in run("explain", "--json").json["causes"]} == {
        cause.value for cause in Cause
    }


# --- exceptions -------------------------------------------------------------------------------------


def three_cases(cli: Cli) -> None:
    async def work(ledger: Ledger) -> None:
        for deal, amount in (("006A", "100.00"), ("006B", "64000.00")):
            await begin(ledger, deal)
            await open_case(ledger, deal, failure(amount=amount), owner="Finance master data")
        await begin(ledger, "006C")
        await open_case(ledger, "006C", failure(Cause.VENDOR_UNAVAILABLE, None), transient=True)

    cli.write(work)


def test_exceptions_say_money_owner_and_next_command(cli: Cli) -> None:
    three_cases(cli)
    answer = cli("exceptions")
    assert answer.code == Exit.DONE
    assert answer.first == "2 exceptions need a person, EUR 64,100.00 at stake; 1 more pass by themselves."
    assert answer.out.index("sf-main/006B") < answer.out.index("sf-main/006A")
    assert f"trueup show {saga('006B')}" in answer.out
    assert "Finance master data" in answer.out
    assert "<https://crm.example/001>" in answer.out


def test_exceptions_as_json_group_by_queue_and_cause(cli: Cli) -> None:
    three_cases(cli)
    found = cli("exceptions", "--cause", "TAX_REGISTRATION_MISSING", "--json").json
    (group,) = found["groups"]
    assert (group["queue"], group["cases"], group["at_stake"]) == ("master-data", 2, "EUR 64,100.00")
    assert [case["saga_id"] for case in found["cases"]] == [saga("006B"), saga("006A")]
    assert found["cases"][0]["failure"]["at_stake"]["amount"] == "64000.00"


def test_exceptions_of_mine_are_those_my_roles_may_repair(cli: Cli) -> None:
    three_cases(cli)
    assert len(cli("exceptions", "--mine", "--as", "anna", "--json").json["cases"]) == 3
    assert cli("exceptions", "--mine", "--as", "bert", "--json").json["cases"] == []


def test_no_exceptions_is_a_sentence_too(cli: Cli) -> None:
    assert cli("exceptions").out == "No exceptions need a person.\n"


# --- list and show without Temporal -----------------------------------------------------------------


def test_list_from_the_ledger_shows_the_parked_ones_first_and_says_its_source(cli: Cli) -> None:
    three_cases(cli)
    cli.write(
        lambda ledger: begin(ledger, "006D", SagaStatus.COMPLETE, codes={"k": "PRJ-9"}, project_code="PRJ-9")
    )
    answer = cli("list", "--json")
    assert answer.code == Exit.DONE
    found = answer.json
    assert [(row["saga_id"], row["status"]) for row in found["sagas"]] == [
        (saga("006B"), "parked"),
        (saga("006A"), "parked"),
        (saga("006C"), "waiting"),
        (saga("006D"), "complete"),
    ]
    assert found["message"] == "4 sagas, 2 need a person (EUR 64,100.00 at stake)."
    assert "No Temporal server could be used" in found["caveat"]


@pytest.mark.parametrize(
    ("option", "value", "deals"),
    [
        ("--status", "parked", ["006B", "006A"]),
        ("--status", "waiting", ["006C"]),
        ("--queue", "master-data", ["006B", "006A", "006C"]),
        ("--cause", "VENDOR_UNAVAILABLE", ["006C"]),
        ("--system", "sf-main", ["006B", "006A", "006C"]),
        ("--system", "ns", []),
        ("--region", "amer", []),
        ("--since", "1h", ["006B", "006A", "006C"]),
    ],
)
def test_the_list_is_narrowed(cli: Cli, option: str, value: str, deals: list[str]) -> None:
    three_cases(cli)
    found = cli("list", option, value, "--json").json["sagas"]
    assert [row["saga_id"] for row in found] == [saga(deal) for deal in deals]


@pytest.mark.parametrize("name", ["006D", "o2p:emea:sf-main:006D", "PRJ-9", "main:006D"])
def test_show_finds_a_saga_by_whatever_is_known_of_it(cli: Cli, name: str) -> None:
    cli.write(
        lambda ledger: begin(ledger, "006D", SagaStatus.COMPLETE, codes={"k": "PRJ-9"}, human_seconds=5)
    )
    answer = cli("show", name)
    assert answer.code == Exit.DONE
    assert answer.first == "Deal 006D is set up: project code PRJ-9."
    assert "by anna (unverified): kick-off on Monday" in answer.out
    assert "This is the ledger's last word." in answer.out
    assert "http://temporal.example/namespaces/default/workflows/o2p:emea:sf-main:006D" in answer.out


def test_show_tells_both_clocks(cli: Cli) -> None:
    cli.write(lambda ledger: begin(ledger, "006D", SagaStatus.COMPLETE, human_seconds=100_000))
    found = cli("show", "006D", "--json").json
    assert found["seconds"]["without_people"] == 0
    assert found["seconds"]["total"] >= 0
    assert found["source"] == "ledger"


def test_an_unknown_name_says_how_to_start(cli: Cli) -> None:
    answer = cli("show", "nothing")
    assert answer.code == Exit.FAILED
    assert answer.out == ""
    assert answer.err.splitlines()[0] == "No saga, deal, project code, invoice or item 'nothing' is known."
    assert "trueup start opportunity-to-project DEAL_ID" in answer.err


def test_an_ambiguous_end_lists_the_sagas(cli: Cli) -> None:
    async def work(ledger: Ledger) -> None:
        await begin(ledger, "006XA")
        await begin(ledger, "007XA")

    cli.write(work)
    answer = cli("show", "XA")
    assert answer.code == Exit.USAGE
    assert saga("006XA") in answer.err
    assert saga("007XA") in answer.err


# --- trace ------------------------------------------------------------------------------------------


def test_trace_leads_from_a_record_to_what_it_stands_for(cli: Cli) -> None:
    ref = RecordRef(system="ns", type="customer", id="502", url="https://erp.example/502")

    async def work(ledger: Ledger) -> None:
        await begin(ledger, "006A")
        await ledger.link("client", "001X", ref, created_by_us=True, saga_id=saga("006A"))
        await ledger.decide(
            command_id="c1", kind="repair", saga_id=saga("006A"), step="validate", outcome="retry", actor=ANNA
        )

    cli.write(work)
    for text in ("ns/customer/502", "502", "001X"):
        answer = cli("trace", text, "--json")
        assert answer.code == Exit.DONE
        found = answer.json
        assert [row["saga_id"] for row in found["sagas"]] == [saga("006A")], text
        assert [(row["kind"], row["record"]["id"]) for row in found["links"]] == [("client", "502")]
        assert [row["outcome"] for row in found["decisions"]] == ["retry"]
        assert {row["action"] for row in found["audit"]} == {"saga_begun", "decided"}
    shown = cli("trace", "502").out
    assert "customer 502 <https://erp.example/502>" in shown
    assert "anna (unverified)" in shown


def test_trace_of_nothing_is_no_success(cli: Cli) -> None:
    assert cli("trace", "zzz").code == Exit.FAILED


# --- commands that need Temporal say so --------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("start", "opportunity-to-project", "006A"),
        ("plan", "opportunity-to-project", "006A"),
        ("approvals",),
        ("approvals", "list"),
    ],
)
def test_without_temporal_the_address_and_the_remedy_are_named(cli: Cli, arguments: tuple[str, ...]) -> None:
    answer = (
        run(*arguments[:1], "--config", str(cli.config)) if arguments == ("approvals",) else cli(*arguments)
    )
    assert answer.code == Exit.USAGE
    assert "No Temporal server could be used at 127.0.0.1:9" in answer.err
    assert "temporal.address" in answer.err


def test_doctor_without_temporal_is_broken_and_checks_the_rest(cli: Cli) -> None:
    answer = cli("doctor", "--json")
    assert answer.code == Exit.FAILED
    found = {(line["check"], line["state"]) for line in answer.json["checks"]}
    assert ("Temporal", "broken") in found
    assert ("ledger", "ok") in found
    assert ("audit trail", "ok") in found
    assert ("routes", "broken") in found
    assert answer.json["ok"] is False


def test_doctor_notices_a_history_that_was_changed(cli: Cli) -> None:
    cli.write(lambda ledger: begin(ledger, "006A"))
    with sqlite3.connect(cli.config.parent / "ledger.db") as database:
        for (name,) in database.execute("select name from sqlite_master where type = 'trigger'").fetchall():
            database.execute(f"drop trigger {name}")
        database.execute("update audit set action = 'nothing_happened'")
    database.close()
    lines = [line for line in cli("doctor", "--json").json["checks"] if line["check"] == "audit trail"]
    assert [line["state"] for line in lines] == ["broken"]
    assert "was changed after it was written" in lines[0]["detail"]


def test_doctor_reports_wrong_settings_as_broken(cli: Cli) -> None:
    cli.config.write_text("[firm]\nname = 'x'\n")
    answer = cli("doctor")
    assert answer.code == Exit.FAILED
    assert "firm.region" in answer.out


def test_an_unmigrated_ledger_is_told_and_migrated_on_request(cli: Cli) -> None:
    (cli.config.parent / "ledger.db").unlink()
    assert cli("exceptions").code == Exit.USAGE
    cli("doctor", "--apply")
    assert cli("exceptions").code == Exit.DONE
