"""Routes: the most specific one in force; equal ones are never chosen between (rule 46)."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.firm import Firm, Route
from rules.routing import find_route

DAY = date(2026, 11, 20)


def route(erp: str, **more: Any) -> Route:
    return Route(crm="sf", erp=erp, psa="ka", **more)


def find(*routes: Route, on: date | None = DAY, unit: str | None = "cloud") -> Route | None:
    firm = Firm(name="f", region="emea", routes=routes)
    return find_route(firm, business_unit=unit, legal_entity="NL01", region="emea", on=on)


def chosen(*routes: Route, **more: Any) -> str | None:
    found = find(*routes, **more)
    return found.erp if found else None


def test_empty_conditions_match_everything() -> None:
    assert chosen(route("any")) == "any"
    assert chosen(route("any"), unit=None) == "any"


def test_a_condition_that_differs_excludes() -> None:
    assert chosen(route("other", legal_entity="UK01")) is None
    assert chosen(route("other", business_unit="data"), unit=None) is None


def test_more_conditions_win() -> None:
    routes = [
        route("any"),
        route("entity", legal_entity="NL01"),
        route("both", legal_entity="NL01", region="emea"),
    ]
    assert chosen(*routes) == chosen(*reversed(routes)) == "both"


def test_which_condition_it_is_does_not_matter_so_equal_counts_are_ambiguous() -> None:
    with pytest.raises(ValueError, match="several routes fit equally"):
        find(route("entity", legal_entity="NL01"), route("region", region="emea"))


def test_equal_routes_to_the_same_systems_are_no_contradiction() -> None:
    assert chosen(route("same", legal_entity="NL01"), route("same", region="emea")) == "same"


def test_equal_routes_that_differ_in_hr_only_are_a_contradiction() -> None:
    """Which HR answers decides which roles exist."""
    with pytest.raises(ValueError, match="several routes fit equally"):
        find(route("same", hr="hr-a", legal_entity="NL01"), route("same", hr="hr-b", region="emea"))


@pytest.mark.parametrize(("offset", "expected"), [(-1, "old"), (0, "old"), (1, "new"), (2, "new")])
def test_a_cutover_day_belongs_to_one_route(offset: int, expected: str) -> None:
    routes = [route("old", effective_to=DAY), route("new", effective_from=DAY + timedelta(days=1))]
    assert chosen(*routes, on=DAY + timedelta(days=offset)) == expected


def test_a_gap_between_routes_has_none() -> None:
    assert chosen(route("old", effective_to=DAY - timedelta(days=1))) is None


def test_a_specific_route_that_is_not_in_force_yields_to_a_general_one() -> None:
    assert chosen(route("any"), route("new", legal_entity="NL01", effective_from=date(2030, 1, 1))) == "any"


def test_without_a_date_routes_of_different_times_are_ambiguous() -> None:
    with pytest.raises(ValueError, match="several routes fit equally"):
        find(route("old", effective_to=DAY), route("new", effective_from=DAY + timedelta(days=1)), on=None)


CONDITION = st.sampled_from([None, "a", "b"])
ROUTES = st.lists(
    st.builds(
        Route,
        business_unit=CONDITION,
        legal_entity=CONDITION,
        region=CONDITION,
        crm=st.just("sf"),
        erp=st.sampled_from(["x", "y"]),
        psa=st.just("ka"),
    ),
    max_size=6,
)


@given(routes=ROUTES, order=st.randoms())
def test_the_order_of_the_configuration_never_matters(routes: list[Route], order: Any) -> None:
    def outcome(rows: list[Route]) -> str | None:
        firm = Firm(name="f", region="a", routes=tuple(rows))
        try:
            found = find_route(firm, business_unit="a", legal_entity="a", region="a", on=DAY)
        except ValueError:
            return "ambiguous"
        return found.erp if found else None

    shuffled = list(routes)
    order.shuffle(shuffled)
    assert outcome(shuffled) == outcome(routes)
