"""The oracle itself: it knows the demo's deals to the cent; no planted mistake escapes it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli import simulators
from cli.local import deals
from cli.local.config import Places, render
from tests.chaos import deals as hard
from tests.chaos.nodes import Node
from tests.chaos.oracle import Oracle
from tests.chaos.terms import split
from tests.chaos.vendors import Change, Records, change, parse, put_away
from tests.chaos.verdict import compare


@pytest.fixture(scope="module")
def firm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Records]]:
    """The firm's configuration and what its vendors hold before any deal."""
    folder = tmp_path_factory.mktemp("oracle")
    running = simulators.start(folder)
    places = Places(
        temporal="127.0.0.1:7233",
        salesforce=running.salesforce.base_url,
        netsuite=running.netsuite.base_url,
        kantata=running.kantata.base_url,
        folder=folder,
    )
    config = folder / "trueup.toml"
    config.write_text(render(places, "tester"))
    try:
        found = {one.simulator.name: httpx.get(f"{one.base_url}/_sim/records").text for one in running}
        yield config, parse(found)
    finally:
        running.stop()


def oracle(firm: tuple[Path, Records], deal: deals.Deal) -> Oracle:
    """The oracle of a deal."""
    return Oracle(firm[0], firm[1], deal.seed())


def of(nodes: list[Node], kind: str) -> list[Node]:
    """Nodes of one type."""
    return [one for one in nodes if one.kind == kind]


def test_one_contract_per_entity_and_currency(firm: tuple[Path, Records]) -> None:
    wanted = oracle(firm, deals.ATLAS).expected()
    assert {one.name for one in of(wanted, "salesOrder")} == {
        "Atlas global rollout (NL01 EUR)",
        "Atlas global rollout (UK01 GBP)",
        "Atlas global rollout (JP01 JPY)",
    }
    assert len(of(wanted, "workspaces")) == 4
    # 95,000.55 EUR at 0.8612 and 74,999.45 EUR at 162.35, rounded once, half up.
    assert any('"total": "81814.47"' in one.facts for one in of(wanted, "salesOrder"))
    assert any('"total": "12176161"' in one.facts for one in of(wanted, "salesOrder"))


def test_a_known_client_is_not_made_again(firm: tuple[Path, Records]) -> None:
    wanted = oracle(firm, deals.LUMEN).expected()
    assert not of(wanted, "customer")
    assert all('"client": "Lumen Optics B.V."' in one.facts for one in of(wanted, "job"))


def test_milestones_add_up_without_decimals(firm: tuple[Path, Records]) -> None:
    wanted = oracle(firm, hard.YEN).expected()
    stones = [one for one in of(wanted, "stories") if '"fee": true' in one.facts]
    assert len(stones) == 3
    amounts = [int(one.facts.split('"amount": "')[1].split('"')[0]) for one in stones]
    assert sum(amounts) == 12176161


def test_split_gives_the_odd_units_to_the_largest_remainders() -> None:
    assert split(Decimal("100.00"), "EUR", [Decimal(1)] * 3) == [
        Decimal("33.34"),
        Decimal("33.33"),
        Decimal("33.33"),
    ]
    assert split(Decimal(10), "JPY", [Decimal("0.3"), Decimal("0.5"), Decimal("0.2")]) == [
        Decimal(3),
        Decimal(5),
        Decimal(2),
    ]


@pytest.mark.parametrize("deal", hard.SEEDS, ids=lambda deal: str(deal.number))
def test_every_planted_mistake_is_found(firm: tuple[Path, Records], deal: deals.Deal) -> None:
    wanted = oracle(firm, deal).expected()
    assert compare(wanted, wanted).problems == []
    for place, one in enumerate(wanted):
        rest = wanted[:place] + wanted[place + 1 :]
        assert compare(wanted, rest).missing, one
        assert compare(wanted, [*wanted, one]).duplicates, one
        if one.facts != "{}":
            altered = Node(one.kind, one.name, one.facts.replace(":", ": 0", 1))
            assert compare(wanted, [*rest, altered]).wrong, one
        foreign = Node(one.kind, f"{one.name} of nobody", one.facts)
        assert compare(wanted, [*wanted, foreign]).orphans, one
        assert compare([], [one]).orphans, one


def test_a_half_built_deal_may_lack_records_and_never_repeat_them(firm: tuple[Path, Records]) -> None:
    wanted = oracle(firm, deals.NORTHWIND).expected()
    assert compare(wanted, wanted[:5], partly=True).problems == []
    assert compare(wanted, [*wanted[:5], wanted[0]], partly=True).duplicates
    unused = Node("billingSchedule", "unused", of(wanted, "billingSchedule")[0].facts)
    assert compare(wanted, [unused], partly=True).problems == []
    assert compare(wanted, [unused, unused], partly=True).duplicates


def touched(firm: tuple[Path, Records], vendor: str, kind: str, **fields: Any) -> Change:
    """The vendors with one record that was there before changed."""
    now = copy.deepcopy(firm[1])
    next(iter(now[vendor][kind].values())).update(fields)
    return change(firm[1], now)


def test_records_that_were_there_before_must_not_change_or_go(firm: tuple[Path, Records]) -> None:
    judge = oracle(firm, deals.NORTHWIND)
    assert judge.judge_undone(change(firm[1], firm[1])).problems == []
    assert judge.judge_undone(touched(firm, "netsuite", "customer", email="other@x.example")).wrong
    # A touch that changes nothing but the instant of the touch is none.
    assert not judge.judge_undone(touched(firm, "netsuite", "customer", lastModifiedDate="2030")).problems
    now = copy.deepcopy(firm[1])
    now["kantata"]["roles"].popitem()
    assert judge.judge_undone(change(firm[1], now)).missing


def test_a_record_of_an_unforeseen_type_is_an_orphan(firm: tuple[Path, Records]) -> None:
    now = copy.deepcopy(firm[1])
    now["netsuite"]["invoice"] = {"9": {"id": "9"}}
    assert oracle(firm, deals.NORTHWIND).judge_undone(change(firm[1], now)).orphans


def test_only_a_marked_record_counts_as_put_away(firm: tuple[Path, Records]) -> None:
    def gone(**row: Any) -> bool:
        return put_away("netsuite", "customer", row, firm[1])

    assert gone(isInactive=True, custentity_x="undone by o2p:1")
    assert not gone(isInactive=True, custentity_x="o2p:1")
    assert not gone(isInactive=False, custentity_x="undone by o2p:1")


def test_an_archived_project_takes_its_plan_along_only_when_it_is_marked(firm: tuple[Path, Records]) -> None:
    now = copy.deepcopy(firm[1])
    project = {"id": "7", "archived": True, "workspace_group_ids": ["3"]}
    task = {"id": "8", "workspace_id": "7"}
    reference = {"subject_type": "Workspace", "subject_id": "7", "external_status": "undone"}
    now["kantata"] |= {"workspaces": {"7": project}, "external_references": {"9": reference}}
    assert put_away("kantata", "workspaces", project, now)
    assert put_away("kantata", "stories", task, now)
    assert put_away("kantata", "workspace_groups", {"id": "3"}, now)
    assert not put_away("kantata", "stories", {"id": "8", "workspace_id": "6"}, now)
    reference["external_status"] = None  # type: ignore[assignment]
    assert not put_away("kantata", "stories", task, now)


def test_copies_of_a_deal_share_nothing() -> None:
    for pattern in hard.SEEDS:
        copies = [hard.copy(pattern, number) for number in range(20, 60)]
        assert len({one.name for one in copies}) == len(copies)
        if pattern.tax_number not in hard.EXISTING:
            assert len({one.account for one in copies}) == len(copies)
            assert len({one.tax_number for one in copies}) == len(copies)
