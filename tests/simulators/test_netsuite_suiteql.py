"""NetSuite simulator: SuiteQL: its form, its answers, what it refuses, paging, lag, time zones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from simulators.netsuite.suiteql.parser import SyntaxRefused, parse
from simulators.netsuite.suiteql.tables import TABLES
from tests.simulators.test_netsuite_account import QUERY, Account, account


@pytest.fixture(scope="module")
def site() -> Iterator[Account]:
    with account() as found:
        for number in range(1, 8):
            found.make(
                f"/timeBill/eid:te-{number}",
                {
                    "employee": {"id": "14"},
                    "customer": {"id": "60"},
                    "item": {"id": "31"},
                    "hours": f"{number}:30",
                    "tranDate": f"2026-11-{number:02d}",
                    "isBillable": number % 2 == 0,
                    **({"memo": f"Week_{number}%"} if number < 3 else {}),
                },
                "PUT",
            )
        yield found


def test_the_answer_has_the_documented_form(site: Account) -> None:
    answer = site.ask("SELECT id, externalId, memo FROM timebill ORDER BY id", limit=2, offset=2).json()
    assert (answer["count"], answer["offset"], answer["totalResults"], answer["hasMore"]) == (2, 2, 7, True)
    assert [link["rel"] for link in answer["links"]] == ["self", "next"]
    first = answer["items"][0]
    assert first["links"] == []
    assert first["externalid"] == "te-3"
    assert "memo" not in first
    assert all(isinstance(v, str) for k, v in first.items() if k != "links")


def test_transient_is_required_and_the_body_is_checked(site: Account) -> None:
    missing = site.ask("SELECT id FROM job", Prefer="")
    assert (missing.status_code, missing.json()["o:errorDetails"][0]["o:errorHeader"]) == (400, "Prefer")
    for content in (b"{", b"[]", b"{}", b'{"q": 5}'):
        answer = site.http.post(
            QUERY, content=content, headers={"Prefer": "transient", "Content-Type": "application/json"}
        )
        assert answer.status_code == 400
    assert site.ask("SELECT id FROM job", limit=1001).status_code == 400
    assert site.ask("SELECT id FROM timebill", limit=1000, offset=99_001).status_code == 400


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("hours = 1.5", "1"),
        ("hours <> 1.5 AND hours < 4", "2 3"),
        ("hours != 1.5 AND hours <= 3.5", "2 3"),
        ("hours > 5 AND hours >= 6.5", "6 7"),
        ("externalid IN ('te-2', 'te-5', 'nobody')", "2 5"),
        ("externalid NOT IN ('te-1', 'te-2', 'te-3', 'te-4', 'te-5')", "6 7"),
        ("memo LIKE 'Week%'", "1 2"),
        ("memo LIKE 'Week_1%'", "1"),
        ("memo NOT LIKE '%1%'", "2"),
        ("NOT (memo = 'x' AND isbillable = 'T') AND memo IS NULL", "3 5 7"),
        ("memo = 'x' OR hours = 1.5", "1"),
        ("UPPER(memo) LIKE 'WEEK%' AND LOWER(memo) = 'week_2%'", "2"),
        ("memo IS NULL AND isbillable = 'T'", "4 6"),
        ("memo IS NOT NULL", "1 2"),
        ("trandate >= TO_DATE('2026-11-05', 'YYYY-MM-DD') AND NOT isbillable = 'T'", "5 7"),
        ("trandate = '2026-11-03'", "3"),
        ("trandate BETWEEN TO_DATE('2026-11-02') AND TO_DATE('2026-11-03')", "2 3"),
        ("(hours = 1.5 OR hours = 2.5) AND isbillable = 'F'", "1"),
        ("hours = 1.5 OR hours = 2.5 AND isbillable = 'F'", "1"),
        ("employee = 14 AND employee = '14' AND hours = 7.5", "7"),
        ("memo = NULL", ""),
        ("memo = 'it''s'", ""),
    ],
)
def test_conditions(site: Account, where: str, found: str) -> None:
    rows = site.rows(f"SELECT externalid AS key FROM timebill WHERE {where} ORDER BY trandate")
    assert " ".join(r["key"].removeprefix("te-") for r in rows) == found


def test_joins_aliases_aggregates_and_ordering(site: Account) -> None:
    joined = site.rows(
        "SELECT t.externalid, j.entityid code, c.companyname FROM timebill t JOIN job j ON t.customer = j.id "
        "INNER JOIN customer AS c ON c.id = j.parent WHERE t.hours > 6 ORDER BY t.hours DESC, t.id"
    )
    assert joined == [
        {"externalid": "te-7", "code": "PRJ-00001", "companyname": "Acme GmbH"},
        {"externalid": "te-6", "code": "PRJ-00001", "companyname": "Acme GmbH"},
    ]
    outer = site.rows(
        "SELECT j.id, p.id task FROM job j LEFT JOIN projecttask p ON p.project = j.id AND p.title = 'x'"
    )
    assert outer == [{"id": "60"}]
    assert site.rows("SELECT COUNT(*) AS n, SUM(hours) AS h, COUNT(memo) AS m FROM timebill") == [
        {"n": "7", "h": "31.5", "m": "2"}
    ]
    grouped = site.rows(
        "SELECT isbillable, SUM(hours) h, MAX(trandate) d FROM timebill "
        "GROUP BY isbillable ORDER BY isbillable"
    )
    assert grouped == [
        {"isbillable": "F", "h": "18", "d": "2026-11-07"},
        {"isbillable": "T", "h": "13.5", "d": "2026-11-06"},
    ]
    assert site.rows("SELECT DISTINCT employee FROM timebill") == [{"employee": "14"}]
    assert site.rows("SELECT COUNT(*) n FROM charge") == [{"n": "0"}]
    nulls = site.rows("SELECT memo FROM timebill ORDER BY memo DESC")
    assert nulls[0] == {}
    assert site.rows(
        "SELECT TO_CHAR(trandate, 'DD.MM.YYYY') d, NVL(memo, '-') m FROM timebill WHERE id = 5"
    ) == [{"d": "05.11.2026", "m": "-"}]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT id FROM nonsense",
        "SELECT nonsense FROM customer",
        "SELECT x.id FROM customer c",
        "SELECT c.nonsense FROM customer c",
        "SELECT id FROM customer c JOIN job j ON j.parent = c.id",
        "SELECT id, COUNT(*) FROM customer",
        "SELECT vatregnumber FROM customer",
        "SELECT id FROM customer WHERE",
        "SELECT id FROM customer WHERE id",
        "SELECT id FROM customer WHERE companyname = 'x",
        "SELECT id FROM customer WHERE lastmodifieddate > 'yesterday'",
        "SELECT id FROM customer WHERE lastmodifieddate > TO_TIMESTAMP('x', 'YYYY-MM-DD')",
        "SELECT id FROM customer WHERE lastmodifieddate > TO_TIMESTAMP('2026-11-01', 'MONTH')",
        "SELECT FOO(id) FROM customer",
        "SELECT id FROM customer LIMIT 5",
        "DELETE FROM customer",
        "",
    ],
)
def test_what_cannot_be_answered_is_refused(site: Account, query: str) -> None:
    answer = site.ask(query)
    assert answer.status_code == 400, answer.text
    assert answer.json()["o:errorDetails"][0]["o:errorCode"] == "INVALID_PARAMETER"


def test_paging_without_order_by_loses_rows_and_with_it_does_not(site: Account) -> None:
    def pages(q: str) -> list[str]:
        return [i["id"] for o in range(0, 7, 2) for i in site.ask(q, limit=2, offset=o).json()["items"]]

    assert pages("SELECT id FROM timebill ORDER BY id") == [str(n) for n in range(1, 8)]
    assert any(len(set(pages("SELECT id FROM timebill"))) < 7 for _ in range(5))


def test_timestamps_are_in_the_accounts_zone_and_records_in_utc() -> None:
    with account(account_time_zone="Asia/Tokyo") as one:
        one.make("/customer/55", {"phone": "1"}, "PATCH")
        utc = one.get("/customer/55")["lastModifiedDate"]
        (row,) = one.rows("SELECT lastmodifieddate AS at FROM customer WHERE id = 55")
        assert utc.endswith("Z")
        local = datetime.fromisoformat(utc.removesuffix("Z")) + timedelta(hours=9)
        assert row["at"] == local.strftime("%Y-%m-%d %H:%M:%S")
        q = "SELECT id FROM customer WHERE lastmodifieddate {} TO_TIMESTAMP('{}', 'YYYY-MM-DD HH24:MI:SS')"
        assert one.rows(q.format(">=", row["at"])) == [{"id": "55"}]
        assert one.rows(q.format(">", row["at"])) == []
        one.settings(suiteql_timestamp_format="%d/%m/%Y")
        assert one.rows("SELECT lastmodifieddate at FROM customer")[0]["at"] == local.strftime("%d/%m/%Y")


def test_suiteql_can_lag_behind_the_record_service() -> None:
    with account() as one:
        one.settings(suiteql_lag_seconds=30)
        assert one.rows("SELECT id FROM customer") == []
        one.control("clock", {"offset_seconds": 31})
        assert one.rows("SELECT phone FROM customer") == [{}]
        one.make("/customer/55", {"phone": "1"}, "PATCH")
        assert one.get("/customer/55")["phone"] == "1"
        assert one.rows("SELECT phone FROM customer") == [{}]
        task = "SELECT id FROM projecttask"
        assert one.call("DELETE", "/projectTask/70").status_code == 204
        assert one.rows(task) == [{"id": "70"}]
        one.control("clock", {"offset_seconds": 62})
        assert one.rows("SELECT phone FROM customer") == [{"phone": "1"}]
        assert one.rows(task) == []


def test_every_listed_table_can_be_read(site: Account) -> None:
    for table in TABLES:
        rows: list[dict[str, Any]] = site.rows(f"SELECT * FROM {table}")
        assert isinstance(rows, list)
    assert site.rows("SELECT itemtype, itemid FROM item WHERE id = 31") == [
        {"itemtype": "Service", "itemid": "Consulting"}
    ]
    assert site.rows("SELECT name FROM billingratecard WHERE id = 2") == [{"name": "Standard"}]
    assert site.rows("SELECT arlocked FROM accountingperiod WHERE periodname = 'Dec 2026'") == [
        {"arlocked": "T"}
    ]


def test_credits_may_be_shown_negative() -> None:
    with account() as one:
        body = {
            "entity": {"id": "55"},
            "tranDate": "2026-11-20",
            "item": {"items": [{"item": {"id": "31"}, "amount": 5}]},
        }
        one.make("/creditMemo", body)
        q = "SELECT foreigntotal FROM transaction WHERE type = 'CustCred'"
        assert one.rows(q) == [{"foreigntotal": "5"}]
        one.settings(suiteql_credit_negative=True)
        assert one.rows(q) == [{"foreigntotal": "-5"}]


def test_the_parser_says_what_it_expected() -> None:
    with pytest.raises(SyntaxRefused, match="expected FROM"):
        parse("SELECT id")
    with pytest.raises(SyntaxRefused, match="unexpected"):
        parse("SELECT id FROM job ORDER BY id id2 id3")
