"""The judge of effects: an open row vouches for one record of its type, and for no second one."""

from __future__ import annotations

from typing import Any

from tests.chaos.invariants import judge_effects
from tests.chaos.vendors import Change


def row(state: str, landed: str | None = None) -> dict[str, Any]:
    found = f'{{"id": "{landed}"}}' if landed else None
    return {
        "key": "kantata-main|add_placeholder|1|g1|1",
        "record_type": "workspace_resources",
        "kind": "create",
        "state": state,
        "landed": found,
        "created_by_us": True,
        "undo_outcome": None,
    }


def writes(*ids: str) -> dict[str, list[dict[str, Any]]]:
    log = [{"operation": "create", "type": "workspace_resources", "id": id_} for id_ in ids]
    return {"kantata": log}


NOTHING = Change(new={}, now={"kantata": {"workspace_resources": {"1": {}, "2": {}}}})


def test_a_write_without_a_row_is_noticed() -> None:
    assert list(judge_effects([row("done", "1")], NOTHING, writes("1", "2"))) == [
        "kantata: create of workspace_resources 2 has no effect row"
    ]


def test_a_row_that_is_not_read_back_yet_stands_for_one_record_however_often_it_was_written() -> None:
    assert list(judge_effects([row("intended")], NOTHING, writes("1", "1"))) == []
    assert list(judge_effects([row("unknown")], NOTHING, writes("1", "2"))) == [
        "kantata: create of workspace_resources 2 has no effect row"
    ]


def test_an_undone_row_vouches_for_nothing_but_its_own_record() -> None:
    assert list(judge_effects([row("undone", "1")], NOTHING, writes("1", "2"))) == [
        "kantata: create of workspace_resources 2 has no effect row"
    ]
