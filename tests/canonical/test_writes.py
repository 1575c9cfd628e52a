"""Symbols are structures: no text of a client can ever be taken for one."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.writes import (
    KeyStyle,
    VendorWrite,
    WriteKind,
    resolve,
    resolve_write,
    show,
    show_write,
    symbol,
    text,
)

VALUES = {"project:x.id": "77", "project:x.code": "P77", "client:001.id": "12"}
LOOKALIKES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["@project:x.code", "$symbol", "$text", "{id}", "project:x.id", '{"$symbol": "project:x.id"}', "${x}"]
    ),
)
KEYS = st.text(max_size=8).filter(lambda key: key not in ("$symbol", "$text"))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | LOOKALIKES,
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(PLAIN)
def test_plain_values_come_through_untouched(value: Any) -> None:
    assert resolve(value, VALUES) == value
    assert show(value, VALUES) == value


@given(LOOKALIKES)
def test_client_text_beside_a_symbol_is_never_replaced(name: str) -> None:
    composed = text(name, " / ", symbol("project:x", "code"))
    assert resolve(composed, VALUES) == f"{name} / P77"
    assert resolve({"name": name, "project": symbol("project:x")}, VALUES) == {"name": name, "project": "77"}


def test_symbols_are_replaced_wherever_they_stand() -> None:
    body = {"a": [symbol("project:x"), {"b": symbol("client:001")}], "c": (symbol("project:x", "code"),)}
    assert resolve(body, VALUES) == {"a": ["77", {"b": "12"}], "c": ["P77"]}


def test_a_symbol_without_a_value_is_an_error_that_names_it() -> None:
    with pytest.raises(KeyError, match=r"project:y\.id"):
        resolve({"a": [symbol("project:y")]}, VALUES)


def test_people_see_the_value_or_the_symbols_name() -> None:
    assert show(symbol("project:x", "code"), VALUES) == "P77"
    assert show(symbol("project:y", "code"), VALUES) == "@project:y.code"
    assert show(text("Code ", symbol("project:y", "code")), {}) == "Code @project:y.code"
    assert show([symbol("project:y")]) == ["@project:y.id"]


def write(**more: Any) -> VendorWrite:
    values: dict[str, Any] = {
        "system": "erp",
        "operation": "set_up",
        "title": "Create project",
        "record_type": "job",
        "kind": WriteKind.UPDATE,
        "key": "erp|set_up|x|g1|1",
        "step_key": "s",
        "stamp": "tu-x",
        "symbol": "project:x",
        "method": "PATCH",
        "path": "/job/{id}/lines/{line}",
        "path_values": {"id": symbol("project:x"), "line": "7"},
        "body": {"parent": symbol("client:001"), "name": "@project:x.code"},
        "target": symbol("project:x"),
        "expect": {"parent": symbol("client:001")},
        "options": {"parent": symbol("client:001")},
        "key_style": KeyStyle.STAMPED,
        **more,
    }
    return VendorWrite(**values)


def test_a_write_is_resolved_in_all_its_parts() -> None:
    ready = resolve_write(write(), VALUES)
    assert ready.path_values == {"id": "77", "line": "7"}
    assert ready.body == {"parent": "12", "name": "@project:x.code"}
    assert (ready.target, ready.expect, ready.options) == ("77", {"parent": "12"}, {"parent": "12"})


def test_resolving_twice_changes_nothing_more() -> None:
    once = resolve_write(write(), VALUES)
    assert resolve_write(once, VALUES) == once


def test_a_planned_write_is_shown_as_json_with_decimals_as_text() -> None:
    shown = show_write(write(body={"rate": Decimal("150.50"), "parent": symbol("client:001")}), {})
    assert shown["path"] == "/job/@project:x.id/lines/7"
    assert shown["body"] == {"rate": "150.50", "parent": "@client:001.id"}
    assert json.loads(json.dumps(shown)) == shown


def test_a_write_survives_json_with_its_symbols() -> None:
    assert VendorWrite.model_validate_json(write().model_dump_json()) == write()
