"""What every command has in common: sentences, JSON, exit codes, errors for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from canonical.causes import Cause
from canonical.failures import ConfigurationError, RateLimited
from canonical.money import Money
from canonical.refs import RecordRef
from cli.command import complaint_of, perform
from cli.output import (
    Cell,
    Complaint,
    Exit,
    Report,
    Table,
    age,
    clean,
    duration,
    moment,
    plain_table,
    sums,
    worth,
)
from cli.session import Session
from tests.cli.conftest import Cli, run


def euro(amount: str) -> Money:
    return Money(amount=amount, currency="EUR")


def test_help_names_every_command_of_the_contract() -> None:
    text = run("--help").out
    wanted = (
        "start", "list", "show", "plan", "cancel", "resolve", "approvals", "exceptions", "trace", "deals",
        "adopt", "explain", "doctor", "worker", "demo", "dev", "simulators",
    )  # fmt: skip
    assert [name for name in wanted if f"\n  {name} " not in text] == []


@pytest.mark.parametrize("command", ["list", "show", "plan", "start", "resolve", "cancel", "trace", "doctor"])
def test_every_command_takes_the_common_options(command: str) -> None:
    text = run(command, "--help").out
    assert "--json" in text
    assert "--config" in text
    assert "--as" in text


def test_without_configuration_a_command_says_so_and_exits_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRUEUP_CONFIG", raising=False)
    answer = run("list")
    assert answer.code == Exit.USAGE
    assert answer.out == ""
    assert "there is no such file" in answer.err
    assert "Traceback" not in answer.err


def test_with_json_an_error_is_one_object_on_standard_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRUEUP_CONFIG", raising=False)
    answer = run("list", "--json")
    assert answer.err == ""
    assert answer.json["exit_code"] == Exit.USAGE == answer.code
    assert "there is no such file" in answer.json["message"]


def test_a_wrong_key_in_the_configuration_is_named(cli: Cli) -> None:
    cli.config.write_text(cli.config.read_text().replace("[actors]", "[actorz]"))
    answer = cli("exceptions")
    assert answer.code == Exit.USAGE
    assert "actorz" in answer.err
    assert 'Did you mean "actors"?' in answer.err


def test_a_wrong_option_value_lists_the_right_ones(cli: Cli) -> None:
    answer = cli("list", "--status", "bogus")
    assert answer.code == Exit.USAGE
    assert "'parked'" in answer.err


def test_only_configured_names_can_be_acted_as(cli: Cli) -> None:
    answer = cli("exceptions", "--as", "mallory")
    assert answer.code == Exit.USAGE
    assert "anna, bert" in answer.err


def test_somebody_elses_name_stays_unverified(cli: Cli) -> None:
    session = Session(cli.config, actor="anna")
    assert session.actor.roles == ("finance",)
    assert str(session.actor) == "anna (unverified)"


def test_a_fault_of_ours_is_one_sentence_with_where_to_look(capsys: pytest.CaptureFixture[str]) -> None:
    async def body(session: Session) -> Report:
        raise ZeroDivisionError("division by zero")

    assert perform(body, {}, config=None, as_json=False, as_name=None) == Exit.FAILED
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "A fault of Trueup itself: ZeroDivisionError: division by zero",
        "Report it; TRUEUP_TRACE=1 shows where.",
    ]


def test_the_trace_is_there_for_those_who_ask(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(session: Session) -> Report:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setenv("TRUEUP_TRACE", "1")
    perform(body, {}, config=None, as_json=False, as_name=None)
    assert "Traceback" in capsys.readouterr().err


def test_a_vendors_failure_names_system_record_and_remedy() -> None:
    ref = RecordRef(system="ns", type="customer", id="7", url="https://erp.example/7")
    complaint = complaint_of(RateLimited("Too many calls.", system="ns", record=ref))
    assert complaint.message == "RATE_LIMITED (ns): Too many calls. Record https://erp.example/7."
    assert complaint.remedy == "It should pass by itself."
    assert complaint.code == Exit.FAILED


def test_all_configuration_problems_are_told_at_once() -> None:
    complaint = complaint_of(ConfigurationError(["first", "second"]))
    assert complaint.message == "first\nsecond"
    assert complaint.code == Exit.USAGE


def test_json_carries_exact_amounts_and_unicode(capsys: pytest.CaptureFixture[str]) -> None:
    async def body(session: Session) -> Report:
        return Report("Müller.", {"money": Money(amount="12.50", currency="EUR"), "cause": Cause.DEFECT})

    assert perform(body, {}, config=None, as_json=True, as_name=None) == Exit.DONE
    text = capsys.readouterr().out
    assert "Müller" in text
    found: dict[str, Any] = json.loads(text)
    assert found["money"]["amount"] == "12.50"
    assert found["cause"] == "DEFECT"
    assert list(found) == ["message", "exit_code", "money", "cause"]


def test_counts_hours_and_amounts_stand_below_one_another_by_their_last_digit() -> None:
    rows = [
        ["on a draft", "12", "88:00", "EUR 17,200.00"],
        ["held", "1", "", "EUR -600.00"],
        ["M1", "", "8:30", "-"],
    ]
    assert plain_table(Table(("reason", "items", "hours", "money"), rows)) == [
        "reason      items  hours          money",
        "on a draft     12  88:00  EUR 17,200.00",
        "held            1           EUR -600.00",
        "M1                  8:30              -",
    ]
    mixed = plain_table(Table(("day", "money"), [["2026-10-01", "EUR 1.00 + GBP 2.00"], ["x", "EUR 3.00"]]))
    assert mixed[2] == "x           EUR 3.00"


def test_a_plain_table_is_aligned_and_never_cut() -> None:
    long = "x" * 300
    table = Table(("a", "b"), [(long, Cell("job 5", "https://erp.example/5")), ("y", None)])
    lines = plain_table(table)
    assert lines[1] == f"{long}  job 5 <https://erp.example/5>"
    assert lines[0] == "a".ljust(300) + "  b"
    assert lines[2] == "y"


def test_a_quiet_cell_keeps_its_address_for_terminals() -> None:
    assert plain_table(Table(("a",), [(Cell("s", "https://x.example", quiet=True),)]))[1] == "s"


def test_a_clients_name_has_no_power_over_the_terminal() -> None:
    assert clean("Evil\x1b[2JCorp\nnext") == "Evil [2JCorp next"


def test_sums_never_cross_currencies() -> None:
    found = sums([euro("1.50"), None, Money(amount="700", currency="JPY"), euro("2.50")])
    assert [str(money) for money in found] == ["EUR 4.00", "JPY 700"]
    assert worth([None]) == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (7_260, "2 h 1 min"), (90_000, "1 d 1 h"), (-5, "0 s")],
)
def test_durations_are_said_in_two_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_moments_are_understood_as_people_type_them() -> None:
    now = moment("2026-11-21T12:00:00")
    assert moment("2d", now).isoformat() == "2026-11-19T12:00:00+00:00"
    assert moment("12h", now).isoformat() == "2026-11-21T00:00:00+00:00"
    assert moment("2026-11-01T08:00:00+01:00").utcoffset() is not None
    assert age(moment("2026-11-21T10:00:00"), now) == "2 h 0 min"
    with pytest.raises(Complaint) as refused:
        moment("yesterday")
    assert refused.value.code == Exit.USAGE
