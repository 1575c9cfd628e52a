"""The judge of plans: it finds every way in which writes can differ from their plan."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.support.plan_diff import Written, compare

Json = dict[str, Any]


def planned(symbol: str, path: str, body: Json, *, type_: str = "customer", kind: str = "create") -> Json:
    return {
        "system": "erp",
        "title": symbol,
        "kind": kind,
        "type": type_,
        "symbol": symbol,
        "method": "POST" if kind == "create" else "PATCH",
        "path": path,
        "query": {},
        "body": body,
    }


def written(
    id_: str, path: str, body: Json, *, type_: str = "customer", kind: str = "create", at: str
) -> Written:
    method = "POST" if kind == "create" else "PATCH"
    return Written("erp", method, path, type_, id_, kind, body, at)


PLAN = [
    planned("client:a", "/customer", {"name": "A", "credit": "10.50"}),
    planned("client:b", "/customer", {"name": "B", "parent": "@client:a.id"}),
    planned("job:x", "/job", {"client": {"id": "@client:b.id"}, "seats": "3"}, type_="job"),
    planned("job:x", "/job/@job:x.id", {"note": "@job:x.code, of @client:a.id"}, type_="job", kind="update"),
]
WRITTEN = [
    written("7", "/customer", {"name": "A", "credit": 10.5}, at="1"),
    written("8", "/customer", {"name": "B", "parent": 7}, at="2"),
    written("1", "/job", {"client": {"id": "8"}, "seats": 3}, type_="job", at="3"),
    written("1", "/job/1", {"note": "PRJ-1, of 7"}, type_="job", kind="update", at="4"),
]


def test_equal() -> None:
    result = compare(PLAN, WRITTEN)
    assert result.differences == []
    assert result.values == {
        "@client:a.id": "7",
        "@client:b.id": "8",
        "@job:x.id": "1",
        "@job:x.code": "PRJ-1",
    }


def test_the_order_of_independent_writes_is_free() -> None:
    assert compare(PLAN, list(reversed(WRITTEN))).differences == []


def change(number: int, **fields: Any) -> list[Written]:
    rows = copy.deepcopy(WRITTEN)
    rows[number] = Written(**{**vars(rows[number]), **fields})
    return rows


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (WRITTEN[:3], "planned and not written: job:x"),
        ([*WRITTEN, written("9", "/customer", {"name": "C"}, at="5")], "not planned"),
        ([*WRITTEN, written("9", "/customer", {"name": "A", "credit": 10.5}, at="5")], "4 writes planned, 5"),
        (change(0, body={"name": "A", "credit": 10.51}), "credit: planned '10.50', written 10.51"),
        (change(0, body={"name": "A", "credit": "10.5"}), "credit: planned '10.50', written '10.5'"),
        (change(0, body={"name": "A", "credit": 10.5, "more": 1}), "fields ['more'] on one side only"),
        (change(0, body={"name": "A", "credit": True}), "written True"),
        (change(1, body={"name": "B", "parent": 9}), "no values of the placeholders fit all"),
        (change(3, body={"note": "PRJ-1, of 8"}), "no values of the placeholders fit all"),
        (change(3, path="/job/2"), "no values of the placeholders fit all"),
        (change(2, operation="update"), "planned and not written: job:x"),
        (change(1, at="0"), "came before"),
        (change(1, at="1"), "came before"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_difference_is_found(rows: list[Written], says: str) -> None:
    (first, *_) = compare(PLAN, rows).differences
    assert says in first


def test_two_records_of_one_type_cannot_be_the_same_one() -> None:
    rows = [*change(1, id="7")]
    rows[2] = Written(**{**vars(rows[2]), "body": {"client": {"id": "7"}, "seats": 3}})
    (difference,) = compare(PLAN, rows).differences
    assert "@client:a.id and @client:b.id are both 7" in difference


def test_a_plan_must_make_what_it_uses_and_before_it_uses_it() -> None:
    stranger = [planned("job:y", "/job/@client:zz.id", {"n": 1}, type_="job", kind="update")]
    assert "nothing in the plan makes @client:zz.id" in compare(stranger, []).differences[0]
    turned = [PLAN[1], PLAN[0], *PLAN[2:]]
    assert "before it is made" in compare(turned, WRITTEN).differences[0]


def test_a_clients_text_that_looks_like_a_placeholder_is_text() -> None:
    plan = [planned("client:a", "/customer", {"name": "Mail @client:unknown.id please"})]
    rows = [written("1", "/customer", {"name": "Mail @client:unknown.id please"}, at="1")]
    assert compare(plan, rows).differences == []
    rows = [written("1", "/customer", {"name": "Mail 77 please"}, at="1")]
    assert "planned and not written" in compare(plan, rows).differences[0]
