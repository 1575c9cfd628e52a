"""Judging many deals at once: what they share is wanted once, whoever came first; nothing wrong escapes."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli import simulators
from cli.local.config import Places, render
from tests.chaos.nodes import Node
from tests.chaos.oracle import Oracle
from tests.chaos.portfolio import CUSTOMER, RELATIONSHIP, Family, Portfolio, family, judge_nothing
from tests.chaos.race import PATTERNS
from tests.chaos.vendors import Records, change, parse
from tests.chaos.verdict import Verdict, compare


@dataclass
class Place:
    """A family in the CRM of a firm that has not begun."""

    family: Family
    config: Path
    before: Records

    def oracles(self, *places: int) -> list[Oracle]:
        """The oracles of some deals."""
        return [Oracle(self.config, self.before, self.family.deals[place].seed()) for place in places]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Six deals of three clients under two parents: the first deals are Dutch, the second British."""
    folder = tmp_path_factory.mktemp("portfolio")
    running = simulators.start(folder)
    urls = [one.base_url for one in running]
    config = folder / "trueup.toml"
    salesforce, netsuite, kantata = urls
    config.write_text(render(Places("127.0.0.1:7233", salesforce, netsuite, kantata, folder), "tester"))
    try:
        won = family(PATTERNS, 20, parents=2, clients=3, deals=6)
        simulators.control(urls[0], "POST", "seed", won.seed())
        found = {one.simulator.name: httpx.get(f"{one.base_url}/_sim/records").text for one in running}
        yield Place(won, config, parse(found))
    finally:
        running.stop()


def all_of(place: Place) -> Portfolio:
    """The portfolio of all six."""
    return Portfolio(place.oracles(*range(6)))


def kinds(nodes: list[Node], kind: str) -> list[Node]:
    """Nodes of one type."""
    return [one for one in nodes if one.kind == kind]


def judged(portfolio: Portfolio, found: list[Node]) -> Verdict:
    """What is wrong with the records of deals that are complete."""
    return compare([*portfolio.shared(found), *portfolio.own()], found)


def test_shared_records_are_wanted_once_and_fit_for_every_deal(place: Place) -> None:
    wanted = all_of(place).shared([])
    customers = kinds(wanted, CUSTOMER)
    assert len(customers) == 5
    assert sum(json.loads(one.facts)["parent"] is None for one in customers) == 2
    assert all(json.loads(one.facts)["currencies"] == ["1", "2"] for one in customers)
    assert len(kinds(wanted, RELATIONSHIP)) == 10
    assert len(kinds(wanted, "workspace_groups")) == 3
    assert len(kinds(all_of(place).own(), "salesOrder")) == 6


def test_whoever_comes_first_decides_where_a_client_stands(place: Place) -> None:
    portfolio = all_of(place)
    (british,) = [
        one
        for one in kinds(Portfolio(place.oracles(3)).shared([]), CUSTOMER)
        if one.name == place.family.deals[0].account
    ]
    found = portfolio.shared([british])
    stands = {one.name: json.loads(one.facts)["subsidiary"] for one in kinds(found, CUSTOMER)}
    assert stands.pop(british.name) == "5"
    assert set(stands.values()) == {"3"}


def test_nothing_wrong_escapes(place: Place) -> None:
    portfolio = all_of(place)
    right = [*portfolio.shared([]), *portfolio.own()]
    assert judged(portfolio, right).problems == []
    for position, one in enumerate(right):
        assert judged(portfolio, right[:position] + right[position + 1 :]).missing, one
        assert judged(portfolio, [*right, one]).duplicates, one


def test_a_client_that_lacks_what_a_second_deal_needs_is_found(place: Place) -> None:
    portfolio = all_of(place)
    right = [*portfolio.shared([]), *portfolio.own()]
    poor = [
        Node(one.kind, one.name, one.facts.replace('["1", "2"]', '["1"]')) if one.kind == CUSTOMER else one
        for one in right
    ]
    assert len(judged(portfolio, poor).wrong) == 5
    homeless = Node(CUSTOMER, "x", '{"subsidiary": "9", "currency": "1"}')
    astray = [replace(homeless, name=one.name) if one.kind == CUSTOMER else one for one in right]
    assert len(judged(portfolio, astray).wrong) == 5


def raw(place: Place, **rows: dict[str, dict[str, Any]]) -> Records:
    """The vendors with more NetSuite records."""
    now = copy.deepcopy(place.before)
    for kind, more in rows.items():
        now["netsuite"].setdefault(kind, {}).update(more)
    return now


def test_of_deals_that_are_given_up_not_even_a_retired_record_may_stay(place: Place) -> None:
    assert judge_nothing(change(place.before, place.before)).problems == []
    retired = {
        "900": {
            "id": "900",
            "companyName": "Gone",
            "isInactive": True,
            "custentity_trueup_saga": "undone by x",
        }
    }
    assert judge_nothing(change(place.before, raw(place, customer=retired))).orphans


def test_a_told_deal_among_those_not_active_is_found(place: Place) -> None:
    now = copy.deepcopy(place.before)
    next(iter(now["salesforce"]["Opportunity"].values()))["Project_Status__c"] = "Active"
    assert judge_nothing(change(place.before, now)).wrong
    assert Portfolio([]).judge_built(change(place.before, now), []).wrong
