"""A short race inside ``make test``; ``make chaos-race`` runs twenty deals on both databases."""

from __future__ import annotations

import asyncio

import pytest

from tests.chaos.firm import Zygote
from tests.chaos.race import Round, Size, race

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(400)]
SIZE = Size(deals=4, clients=2, parents=1)


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Round]:
    """All rounds, run once."""
    zygote = Zygote()
    try:
        found = asyncio.run(race(tmp_path_factory.mktemp("race") / "firm", zygote, SIZE))
    finally:
        zygote.stop()
    return {one.name: one for one in found}


def test_two_triggers_for_every_deal_make_one_engagement_each(rounds: dict[str, Round]) -> None:
    found = rounds["all go through"]
    assert found.problems == []
    assert (found.figures["raced"], found.figures["engagements"]) == (4, 4)
    assert (found.figures["clients"], found.figures["parents"], found.figures["client_groups"]) == (2, 1, 2)


def test_clients_stay_while_a_deal_uses_them(rounds: dict[str, Round]) -> None:
    found = rounds["half given up"]
    assert found.problems == []
    assert (found.figures["undone"], found.figures["engagements"], found.figures["clients"]) == (2, 2, 1)


def test_nothing_stays_of_deals_that_are_all_given_up(rounds: dict[str, Round]) -> None:
    found = rounds["all given up"]
    assert found.problems == []
    assert found.figures["records_left"] == 0


def test_deals_that_were_given_up_can_be_started_once_more(rounds: dict[str, Round]) -> None:
    found = rounds["once more"]
    assert found.problems == []
    assert (found.figures["engagements"], found.figures["clients"]) == (4, 2)
