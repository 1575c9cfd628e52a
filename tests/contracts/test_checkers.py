"""The checkers themselves: each finds what is planted, and the YAML reader reads what it must and no more."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from connectors.kit.http import USER_AGENT
from tests.contracts.exchanges import SPECS, Exchange, Verdict
from tests.contracts.judge import CONTRACTS, judge, missing
from tests.contracts.yaml_subset import load

DOCUMENT = """
# a comment
base: &common {limit: integer, "quoted key": 'it''s'}
list:
- one   # said
- two: {nested: [1, 2.5, true, null, a:b]}
  three: "first \\
    second\\u00e9"
folded: plain text
  over two lines

  and a paragraph
literal: |
  kept
'200':
  again: *common
"""


def test_yaml_as_the_specifications_use_it() -> None:
    common = {"limit": "integer", "quoted key": "it's"}
    assert load(DOCUMENT) == {
        "base": common,
        "list": ["one", {"two": {"nested": [1, 2.5, True, None, "a:b"]}, "three": "first secondé"}],
        "folded": "plain text over two lines\nand a paragraph",
        "literal": "kept\n",
        "200": {"again": common},
    }


@pytest.mark.parametrize(
    "text", ["a: !tag b", "a: 1\na: 2", "a: [1", "a: 'x", "a: 1\n  b: 2\n c: 3", "a: {b c}"]
)
def test_yaml_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        load(text)


def exchange(method: str, path: str, status: int, sent: Any = None, got: Any = None, **more: Any) -> Exchange:
    body = b"" if sent is None else json.dumps(sent).encode()
    one = Exchange(
        method, path, [], {"user-agent": USER_AGENT, "content-type": "application/json"}, body, status,
        answer=b"" if got is None else json.dumps(got).encode(), whole=True,
    )  # fmt: skip
    return replace(one, **more)


def verdict(vendor: str, one: Exchange) -> Verdict:
    if (reason := missing(vendor)) is not None:
        pytest.skip(reason)
    return judge(vendor, [one])


SF, NS, KA = "/services/data/v64.0", "/services/rest/record/v1", "/api/v1"
GROUP = {"key": "workspaces", "id": "1"}
META = {"count": 1, "page_count": 1, "page_number": 1, "page_size": 20}


@pytest.mark.parametrize(
    ("vendor", "one", "why"),
    [
        ("salesforce", exchange("GET", f"{SF}/query", 400), "parameter q is missing"),
        ("salesforce", exchange("PATCH", f"{SF}/composite/sobjects", 400, {"records": []}), "allOrNone"),
        ("salesforce", exchange("PATCH", f"{SF}/composite/sobjects", 200, {"allOrNone": True, "records": []},
                                [{"success": "yes", "errors": []}]), "success is str"),
        ("salesforce", exchange("DELETE", f"{SF}/sobjects/Account/1", 204, {"a": 1}), "has a body"),
        ("netsuite", exchange("PUT", f"{NS}/customer/12", 204), "eid:"),
        ("netsuite", exchange("PATCH", f"{NS}/customer/12", 204, {"isInactive": "T"}), "isInactive"),
        ("netsuite", exchange("PATCH", f"{NS}/job/12", 204, {"entityStatus": {"id": "9"}}), "enum 1..5"),
        ("netsuite", exchange("PUT", f"{NS}/timeBill", 202, {"items": []}), "respond-async"),
        ("netsuite", exchange("GET", f"{NS}/job/12", 400, None, {"error": "no"}), "an error has"),
        ("netsuite", exchange("GET", f"{NS}/job/12", 200, query=[("expand", "1")], got={}), "expand"),
        ("netsuite", exchange("POST", f"{NS}/customer", 204, {}), "Location"),
        ("kantata", exchange("GET", f"{KA}/workspaces", 200, got={"results": []}), "envelope"),
        ("kantata", exchange("GET", f"{KA}/workspaces", 200, query=[("per_page", "500")],
                             got={"count": 0, "meta": META, "results": []}), "longer page"),
        ("kantata", exchange("GET", f"{KA}/workspaces", 200,
                             got={"count": 1, "meta": META, "results": [GROUP]}), "key and id"),
        ("kantata", exchange("POST", f"{KA}/workspaces", 422, {"workspace": {}},
                             {"errors": [{"type": "x", "message": "m"}]}), "title is missing"),
        ("kantata", exchange("POST", f"{KA}/workspaces", 422, {"project": {"title": "x"}},
                             {"errors": []}), "wrapped in project"),
        ("kantata", exchange("DELETE", f"{KA}/time_entries/1", 200), "204"),
    ],
)  # fmt: skip
def test_a_planted_violation_is_found(vendor: str, one: Exchange, why: str) -> None:
    found = verdict(vendor, one)
    assert any(why in violation for violation in found.violations), found


@pytest.mark.parametrize(
    ("vendor", "one", "what"),
    [
        ("salesforce", exchange("GET", f"{SF}/unheard", 200), "/data/v64.0/unheard"),
        ("netsuite", exchange("PATCH", f"{NS}/customer/1", 204, {"shoeSize": 44}), "customer.shoeSize"),
        ("kantata", exchange("PUT", f"{KA}/workspaces/1", 403, {"workspace": {"mood": 1}},
                             {"errors": []}), "mood"),
    ],
)  # fmt: skip
def test_what_the_contract_does_not_say_is_told(vendor: str, one: Exchange, what: str) -> None:
    found = verdict(vendor, one)
    assert any(what in words for words in found.uncovered), found
    assert found.violations == []


def test_all_specifications_are_there_or_none() -> None:
    """Where specifications are, there are all of them: a moved folder must not switch the checks off."""
    there = {vendor for vendor in CONTRACTS if missing(vendor) is None}
    if not SPECS.is_dir():
        pytest.skip("no specifications in TRUEUP_SPECS")
    assert there == set(CONTRACTS)
