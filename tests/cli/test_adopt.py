"""Adopting existing records: every line checked, nothing linked before ``--apply``, all or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from canonical.refs import RecordRef
from cli.output import Exit
from ledger.store import Ledger
from tests.cli.conftest import Cli

HEAD = "kind,key,system,type,id,evidence\n"


def file(folder: Path, *lines: str, head: str = HEAD) -> str:
    path = folder / "adopt.csv"
    path.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


async def all_links(ledger: Ledger) -> list[tuple[str, str, str, bool, bool]]:
    rows = (await ledger.links()).rows
    return [(row.kind, row.key, str(row.record), row.adopted, row.created_by_us) for row in rows]


def test_a_review_changes_nothing_and_names_the_next_command(cli: Cli, tmp_path: Path) -> None:
    given = file(tmp_path, "worker,w-7,hr-export,worker,7,on the list of October")
    answer = cli("adopt", given)
    assert answer.code == Exit.DONE
    assert answer.first == "1 line: 1 to be linked."
    assert f"trueup adopt {given} --apply" in answer.out
    assert cli.write(all_links) == []


def test_applied_links_are_adopted_ones_with_evidence_and_audit(cli: Cli, tmp_path: Path) -> None:
    given = file(tmp_path, "worker,w-7,hr-export,worker,7,on the list of October")
    answer = cli("adopt", given, "--apply", "--as", "anna")
    assert answer.code == Exit.DONE
    assert answer.first == "Done. 1 line: 1 linked."
    assert cli.write(all_links) == [("worker", "w-7", "hr-export/worker/7", True, False)]

    async def audited(ledger: Ledger) -> list[tuple[str, str, str]]:
        rows = (await ledger.audit_rows()).rows
        return [(row.action, row.actor.name, row.content["evidence"]) for row in rows]

    assert cli.write(audited) == [("adopted", "anna", "on the list of October")]


def test_applying_twice_links_once(cli: Cli, tmp_path: Path) -> None:
    given = file(tmp_path, "worker,w-7,hr-export,worker,7,")
    cli("adopt", given, "--apply")
    again = cli("adopt", given, "--apply", "--json")
    assert again.code == Exit.DONE
    assert again.json["applied"] == 0
    assert [row["verdict"] for row in again.json["rows"]] == ["linked before"]
    assert len(cli.write(all_links)) == 1


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("thing,w-7,hr-export,worker,7,", "kind 'thing' is not one of"),
        ("worker,w-7,nowhere,worker,7,", "system 'nowhere' is not configured"),
        ("contract,w-7,hr-export,worker,7,", "hr-export holds no contracts"),
        ("worker,,hr-export,worker,7,", "key is empty"),
        ("worker,w-7,hr-export,worker,,", "id is empty"),
    ],
)
def test_one_bad_line_stops_them_all(cli: Cli, tmp_path: Path, line: str, problem: str) -> None:
    given = file(tmp_path, "worker,w-8,hr-export,worker,8,", line)
    answer = cli("adopt", given, "--apply", "--json")
    assert answer.code == Exit.FAILED
    bad = [row for row in answer.json["rows"] if row["verdict"] == "refused"]
    assert len(bad) == 1
    assert problem in bad[0]["problems"][0]
    assert cli.write(all_links) == []


def test_two_records_for_one_key_are_refused(cli: Cli, tmp_path: Path) -> None:
    given = file(tmp_path, "worker,w-7,hr-export,worker,7,", "worker,w-7,hr-export,worker,8,")
    rows = cli("adopt", given, "--json").json["rows"]
    assert [row["verdict"] for row in rows] == ["refused", "refused"]
    assert "stands on line 3 too" in rows[0]["problems"][0]


def test_a_key_that_is_linked_elsewhere_is_refused(cli: Cli, tmp_path: Path) -> None:
    ref = RecordRef(system="hr-export", type="worker", id="1")
    cli.write(lambda ledger: ledger.link("worker", "w-7", ref, created_by_us=False))
    answer = cli("adopt", file(tmp_path, "worker,w-7,hr-export,worker,7,"))
    assert answer.code == Exit.FAILED
    assert "is linked to hr-export/worker/1 already" in answer.out


def test_proposals_nobody_confirmed_are_left_out(cli: Cli, tmp_path: Path) -> None:
    head = "kind,key,system,type,id,evidence,confirm\n"
    given = file(tmp_path, "worker,w-7,hr-export,worker,7,,yes", "worker,w-8,hr-export,worker,8,,", head=head)
    answer = cli("adopt", given, "--apply", "--json")
    assert (answer.json["applied"], answer.json["left_out"]) == (1, 1)
    assert [key for _, key, *_ in cli.write(all_links)] == ["w-7"]


def test_missing_columns_are_named(cli: Cli, tmp_path: Path) -> None:
    answer = cli("adopt", file(tmp_path, "worker,7", head="kind,id\n"))
    assert answer.code == Exit.USAGE
    assert "lacks the columns key, system, type" in answer.err


def test_a_record_in_an_unreachable_system_is_refused_not_believed(cli: Cli, tmp_path: Path) -> None:
    text = cli.config.read_text()
    erp = """
[systems.ns]
vendor = "netsuite"
roles = ["erp"]
base_url = "http://127.0.0.1:9"
[systems.ns.auth]
kind = "tba"
realm = "1"
consumer_key = "k"
consumer_secret = { env = "TRUEUP_TEST_SECRET" }
token_id = "t"
token_secret = { env = "TRUEUP_TEST_SECRET" }
[systems.ns.mapping]
subsidiaries = { DE01 = "3" }
currencies = { EUR = "1" }
"""
    cli.config.write_text(text.replace("[policies]", erp + "\n[policies]"))
    answer = cli("adopt", file(tmp_path, "client,001X,ns,customer,7,"), "--json")
    assert answer.code == Exit.FAILED
    assert answer.json["rows"][0]["problems"][0].startswith("could not be read: ")
    assert cli.write(all_links) == []
