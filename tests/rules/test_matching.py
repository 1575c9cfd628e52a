"""Matching: exact evidence decides, similarity only suggests, two exact ones are a person's choice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.names import effect_key, stamp
from canonical.operations import ErpClient
from canonical.parties import Client, ClientCandidate, ClientMatch, TaxRegistration
from canonical.refs import RecordRef
from rules.matching import candidates, decisive, fold, tax_digits
from tests.rules.examples import ERP
from tests.rules.examples import client as account

NORTHWIND = account()


def row(id_: str = "12", name: str = "Something Else", **more: Any) -> ErpClient:
    return ErpClient(ref=RecordRef(system=ERP, type="customer", id=id_), name=name, **more)


def match(*rows: ErpClient, client: Client = NORTHWIND, similarity: int = 86) -> list[ClientCandidate]:
    return candidates(client, rows, system=ERP, similarity=similarity)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Northwind Trading B.V.", "NORTHWIND TRADING BV"),
        ("Müller & Söhne GmbH", "Muller  Sohne"),
        ("Straße AG", "STRASSE"),
        ("Café Corp.", "cafe corporation"),
        ("Ｎｏｒｔｈｗｉｎｄ", "Northwind"),
        ("Société Générale S.A.", "Societe Generale"),
        ("Atlas\u00a0Shipping   N.V.", "atlas shipping"),
    ],
)
def test_the_same_company_folds_to_the_same_name(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize("name", ["Group Holding", "AG", "Co", "株式会社ノースゲート", "Ооо Ромашка", "!!!"])
def test_a_name_never_folds_to_less_than_it_has(name: str) -> None:
    assert fold(name) or not any(char.isalnum() for char in name)


def test_a_legal_form_inside_a_word_stays() -> None:
    assert fold("Magnolia") == "magnolia"
    assert fold("Incorporate Design") == "incorporate design"


@given(st.text(max_size=40))
def test_folding_twice_changes_nothing_and_never_fails(name: str) -> None:
    assert fold(fold(name)) == fold(name)


def test_tax_numbers_are_compared_without_what_people_put_between() -> None:
    assert tax_digits("nl 8123.456-78/B01") == tax_digits("NL812345678B01") == "NL812345678B01"


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (row(linked=True), ClientMatch.LINK),
        (row(external_id=stamp(effect_key(ERP, "ensure_client", "001N", 1))), ClientMatch.EXTERNAL_ID),
        (row(external_id="001N"), ClientMatch.EXTERNAL_ID),
        (row(tax_numbers=("NL 8123 45678 B01",)), ClientMatch.TAX_ID),
    ],
)
def test_exact_evidence_decides_whatever_the_name(found: ErpClient, kind: ClientMatch) -> None:
    options = match(found, row("13", NORTHWIND.name))
    assert (options[0].ref.id, options[0].match, options[0].score) == ("12", kind, 100)
    assert options[0].evidence
    best = decisive(options)
    assert best is not None
    assert best.ref.id == "12"


def test_the_id_that_the_crm_holds_is_exact_evidence_in_that_system_only() -> None:
    known = account(erp_ids={ERP: "12", "netsuite-apac": "13"})
    options = match(row("12"), row("13"), client=known)
    assert [(one.ref.id, one.match) for one in options] == [("12", ClientMatch.EXTERNAL_ID)]


def test_stronger_evidence_wins_over_weaker() -> None:
    options = match(row("1", tax_numbers=("NL812345678B01",)), row("2", linked=True))
    assert [one.ref.id for one in options] == ["2", "1"]
    best = decisive(options)
    assert best is not None
    assert best.ref.id == "2"


@pytest.mark.parametrize(
    "twins",
    [
        (row("1", tax_numbers=("NL812345678B01",)), row("2", tax_numbers=("NL812345678B01",))),
        (row("1", linked=True), row("2", linked=True)),
    ],
)
def test_two_with_the_same_exact_evidence_are_for_a_person(twins: tuple[ErpClient, ...]) -> None:
    options = match(*twins)
    assert len(options) == 2
    assert decisive(options) is None


def test_a_similar_name_suggests_and_never_decides() -> None:
    options = match(row("1", "Northwind Trading", city="Utrecht", country="NL"))
    assert [(one.match, one.score) for one in options] == [(ClientMatch.NAME, 100)]
    assert options[0].evidence == ("name is 100 % similar", "same city, Utrecht")
    assert decisive(options) is None


def test_below_the_configured_similarity_nothing_is_suggested() -> None:
    assert match(row("1", "Northgate Mining")) == []
    assert match(row("1", "Northwind Tradeing"), similarity=100) == []


def test_what_speaks_against_a_candidate_is_said() -> None:
    options = match(row("1", "Northwind Trading", city="Gent", country="BE", inactive=True))
    assert options[0].evidence == (
        "name is 100 % similar",
        "other city: Gent",
        "other country: BE",
        "inactive",
    )
    assert options[0].inactive


def test_a_key_that_only_begins_like_ours_is_no_evidence() -> None:
    """Keys of other customer systems are short: C1 must not be found in C12."""
    short = account("C1", tax_registrations=())
    for foreign in (stamp(effect_key(ERP, "ensure_client", "C12", 1)), "C12", "ABC1"):
        assert match(row("1", external_id=foreign), client=short) == []
    own = match(row("1", external_id=stamp(effect_key(ERP, "ensure_client", "C1", 1))), client=short)
    assert [one.match for one in own] == [ClientMatch.EXTERNAL_ID]


@pytest.mark.parametrize("number", ["", "-", "n/a", "none", "unknown", "exempt"])
def test_the_lack_of_a_tax_number_is_no_evidence(number: str) -> None:
    """Placeholders are typed on both sides; equal ones say nothing about the company."""
    nobody = account(tax_registrations=(TaxRegistration(country="NL", number=number),))
    assert match(row("1", tax_numbers=(number,)), client=nobody) == []


def test_the_best_suggestion_comes_first() -> None:
    options = match(row("9", "Northwind Tradings"), row("5", "Northwind Trading BV"))
    assert [one.ref.id for one in options] == ["5", "9"]
