"""Kantata: pure mapping. Envelope, wire bodies, templates, structure, settings, time."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from canonical.failures import (
    Defect,
)
from canonical.writes import resolve_write, show
from connectors.kantata import plans
from connectors.kantata.client import Envelope
from connectors.kantata.mapping import (
    base_unit,
    carries,
    same,
    slug,
    to_money,
    to_structure,
    to_template,
    to_wire,
)
from connectors.kantata.schemas import Resource, Story, Template, parse
from connectors.kantata.settings import KantataMapping, KantataSettings, StatusKeys
from connectors.kit.http import encode
from connectors.kit.secrets import Secret
from tests.acceptance.kantata import TREE, Subject

MAPPING = Subject.mapping()
SETTINGS = KantataSettings(token=Secret(env="KANTATA_TEST_TOKEN"), mapping=MAPPING)
SETUP = Subject.setup()
CONTEXT = Subject.context()
SYSTEM = "kantata-main"


# --- envelope and wire -------------------------------------------------------------------------------


def test_only_results_say_what_was_asked_for() -> None:
    body = {
        "count": 1,
        "results": [{"key": "stories", "id": "2"}],
        "stories": {"1": {"id": "1", "title": "parent"}, "2": {"id": "2", "title": "asked"}},
        "meta": {"count": 1, "page_count": 1},
    }
    envelope = Envelope.read(body, "stories")
    assert [row["title"] for row in envelope.rows] == ["asked"]
    assert (envelope.side("stories", "1") or {})["title"] == "parent"


@pytest.mark.parametrize("body", [None, [], {}, {"results": [{"key": "stories", "id": "2"}], "stories": {}}])
def test_what_is_not_an_envelope_is_refused(body: Any) -> None:
    with pytest.raises(ValueError, match=r"no results|named but not"):
        Envelope.read(body, "stories")


def test_ids_travel_as_integers_and_amounts_as_exact_numbers() -> None:
    body = {
        "workspace": {
            "workspace_group_ids": ["12"],
            "primary_workspace_group_id": "12",
            "price": "1234.50",
            "status_key": "305",
            "title": "2026",
            "custom_fields": [{"custom_field_id": 9, "value": "0042"}],
            "external_reference": {"service_model_ref": "7", "service_name": "x"},
        }
    }
    sent = json.loads(encode(to_wire(body)), parse_float=Decimal)["workspace"]
    assert sent["workspace_group_ids"] == [12]
    assert sent["primary_workspace_group_id"] == 12
    assert sent["price"] == Decimal("1234.50")
    assert sent["status_key"] == 305
    assert sent["title"] == "2026"
    assert sent["custom_fields"] == [{"custom_field_id": 9, "value": "0042"}]
    assert sent["external_reference"]["service_model_ref"] == "7"
    assert encode(to_wire({"price": "120000.00"})) == b'{"price":120000}'


@pytest.mark.parametrize(
    ("ours", "theirs", "equal"),
    [
        ("150", Decimal("150.00"), True),
        ("310", 310, True),
        (True, True, True),
        (True, None, False),
        (None, None, True),
        ("0042", "42", False),
        ("a", "A", False),
    ],
)
def test_values_compare_by_meaning(ours: Any, theirs: Any, equal: bool) -> None:
    assert same(ours, theirs) is equal


@pytest.mark.parametrize(
    ("cents", "unit", "currency", "amount"),
    [(123450, 100, "EUR", "1234.5"), (5000, 1, "JPY", "5000"), (1234567, 1000, "KWD", "1234.567")],
)
def test_money_goes_by_the_currencys_base_unit(cents: int, unit: int, currency: str, amount: str) -> None:
    assert to_money(cents, unit, currency).amount == Decimal(amount)
    assert base_unit(currency) == str(unit)


def test_money_finer_than_the_currency_is_a_defect_not_a_rounding() -> None:
    with pytest.raises(Defect, match="not representable"):
        to_money(505, 100, "JPY")


def test_a_reference_must_be_ours_whatever_the_filter_returned() -> None:
    reference = {
        "id": "1",
        "service_name": "trueup",
        "service_model": "open_project",
        "service_model_ref": "s",
    }
    row = {"id": "9", "external_reference_ids": ["1"]}
    envelope = Envelope([row], {"external_references": {"1": reference}})
    assert carries(row, envelope, "trueup", "open_project", "s")
    assert not carries(row, envelope, "trueup", "open_project", "other")
    assert not carries({"id": "8"}, envelope, "trueup", "open_project", "s")


# --- templates and structure -------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [TREE, json.dumps(TREE), TREE["stories"]])
def test_a_template_is_counted_from_its_tree_and_its_positions(raw: Any) -> None:
    names = {"1": "Solution Architect", "2": "Consultant 1", "3": "Consultant #2", "4": "QA seat"}
    row = {
        "id": "300",
        "title": "Implementation",
        "raw_json": raw,
        "project_template_assignment_ids": list(names),
    }
    sides = {"project_template_assignments": {i: {"id": i, "name": name} for i, name in names.items()}}
    mapping = Subject.mapping(seat_roles={"QA seat": "tester"})
    template = to_template(row, Envelope([row], sides), mapping, SYSTEM)
    assert (template.tasks, template.milestones, template.placeholders) == (2, 2, 4)
    assert template.roles == {"Consultant": 2, "architect": 1, "tester": 1}


def test_structure_names_unnamed_positions_oldest_first_and_its_fingerprint_follows_additions() -> None:
    stories = [Story(id="1", title="a", story_type="task"), Story(id="2", title="b", story_type="milestone")]
    resources = [
        Resource(id="12", role_id="6"),
        Resource(id="9", role_id="6"),
        Resource(id="10", role_id="5"),
        Resource(id="11", role_id="6", user_id="77"),
    ]
    titles = {"5": "Solution Architect", "6": "Consultant"}
    structure = to_structure(stories, resources, titles, MAPPING)
    assert (structure.tasks, structure.milestones, structure.placeholders) == (1, 1, 3)
    assert structure.unnamed == {"Consultant": ("9", "12"), "architect": ("10",)}
    fewer = to_structure(stories[:1], resources, titles, MAPPING)
    assert fewer.fingerprint != structure.fingerprint
    assert to_structure(stories[::-1], resources[::-1], titles, MAPPING).fingerprint == structure.fingerprint


def test_roles_are_told_in_hr_s_spelling() -> None:
    assert MAPPING.role_word("SOLUTION ARCHITECT") == "architect"
    assert MAPPING.role_word("Consultant", ["consultant"]) == "consultant"
    assert MAPPING.seat_role("Consultant (2)", ["consultant"]) == "consultant"
    resources = [Resource(id="1", role_id="6"), Resource(id="2", label="Consultant 2")]
    structure = to_structure([], resources, {"6": "Consultant"}, MAPPING, {"consultant": "6"})
    assert structure.unnamed == {"consultant": ("1", "2")}


def test_slugs_keep_scripts_and_keep_different_roles_apart() -> None:
    assert slug("Solution Architect") == "solution-architect"
    assert slug("コンサルタント") == "コンサルタント"
    assert len({slug("C"), slug("C++"), slug("C#"), slug("c ")}) == 3
    assert "." not in slug("Sr. Consultant")


def test_an_answer_against_the_reference_is_a_defect_that_names_the_field() -> None:
    with pytest.raises(Defect, match="title"):
        parse(Template, {"id": "1"}, SYSTEM)


# --- settings ----------------------------------------------------------------------------------------


def test_settings_refuse_an_activation_that_changes_nothing() -> None:
    with pytest.raises(ValidationError, match="activation would change nothing"):
        KantataMapping(project_code_field=9)
    with pytest.raises(ValidationError, match="must differ"):
        KantataMapping(project_code_field=9, status_keys=StatusKeys(prepared="1", active="1"))
    with pytest.raises(ValidationError, match="one to one"):
        Subject.mapping(role_titles={"a": "Lead", "b": "lead"})
    assert KantataMapping(project_code_field=9, create_stage="estimate", active_stage="project")


def test_the_digest_follows_the_mapping_only() -> None:
    digest = SETTINGS.mapping_digest()
    assert SETTINGS.model_copy(update={"concurrency": 4}).mapping_digest() == digest
    ordered = [Subject.mapping(role_titles=titles) for titles in ({"a": "A", "b": "B"}, {"b": "B", "a": "A"})]
    digests = {SETTINGS.model_copy(update={"mapping": one}).mapping_digest() for one in ordered}
    assert len(digests) == 1
    other = SETTINGS.model_copy(update={"mapping": Subject.mapping(project_code_field=8)})
    assert other.mapping_digest() != digest


def test_titles_with_codes_leave_room_for_them() -> None:
    mapping = Subject.mapping(title_with_code=True)
    assert mapping.limits_in_force()["project.title"] == 255 - 32
    settings = SETTINGS.model_copy(update={"mapping": mapping})
    write = plans.plan_project(SYSTEM, settings, CONTEXT, SETUP)[0]
    assert show(write.body)["workspace"]["title"].startswith(f"@{SETUP.code_symbol}.code - ")
    resolved = resolve_write(write, {f"{SETUP.code_symbol}.code": "P1", "group:001XX.id": "3"})
    assert resolved.body["workspace"]["title"] == resolved.expect["title"] == "P1 - Größe 東京 🚀 rollout"
