"""The chaos table is complete: every pair of step and fault has a case, or a reason is stated against it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.cells import Cell, End, Fault, cells_of, faults_of
from tests.chaos.firm import ChaosFirm, Zygote
from tests.chaos.harness import reasons, whole
from tests.chaos.plays import Play, Subject
from tests.chaos.recording import UNDO_STEP, Call, Recording, Step


def call(path: str, method: str = "GET") -> Call:
    """A call to the ERP."""
    return Call("netsuite", method, path, 0, method != "GET")


DRAFT = (call("look"), call("invoice", "POST"))
BACK = (call("seek"), call("invoice/1", "DELETE"))
RECORDING = Recording(
    [
        Step("begin", "read", "billing.begin_run", (), 0, 1, stops=True),
        Step("post", "forward-only", "posting.post", (call("job", "POST"),), 1, 2, stops=True, under=True),
        Step("select", "compensatable", "billing.select", (), 2, 3, under=True),
        Step("draft", "compensatable", "invoicing.draft", DRAFT, 3, 4, under=True),
        Step("gate", "gate", "", under=True),
        Step("issue", "pivot", "invoicing.issue", (call("issue", "PATCH"),), 5, 6, under=True),
        Step("prove", "forward-only", "invoicing.prove", (call("read"),), 6, 7, under=True),
    ],
    undo={
        "draft": Step("draft", "undo", UNDO_STEP, BACK),
        "select": Step("select", "undo", UNDO_STEP),
    },
)


class Small(Subject):
    """A saga of which only the table is made."""

    name = "small"
    must = ("begin", "post", "select", "draft", "gate", "issue", "prove")

    def firm(self, folder: Path, zygote: Zygote, **options: Any) -> AbstractAsyncContextManager[ChaosFirm]:
        """Never opened."""
        raise NotImplementedError

    async def record(self, firm: ChaosFirm, seed: int) -> Recording:
        """As it stands above."""
        return RECORDING

    def play(self, firm: ChaosFirm, recording: Recording, cell: Cell, number: int) -> Play:
        """Never played."""
        raise NotImplementedError


@pytest.fixture
def cells() -> list[Cell]:
    """The whole table of one seed."""
    return list(cells_of(0, RECORDING))


def of(cells: list[Cell], step: str) -> Iterator[tuple[Fault, End]]:
    """What is tried on a step, and how it must end."""
    return ((one.fault, one.end) for one in cells if one.step == step)


def test_every_pair_has_a_case_or_a_reason(cells: list[Cell]) -> None:
    dashes, words = reasons([RECORDING], cells)
    assert len({(one.step, one.fault) for one in cells}) + dashes == len(RECORDING.steps) * len(Fault)
    assert "post x {" in words
    assert "a cancel stops this run" in words


def test_a_case_that_was_dropped_is_noticed(cells: list[Cell]) -> None:
    rest = [one for one in cells if (one.step, one.fault) != ("draft", Fault.LOST)]
    with pytest.raises(RuntimeError, match="neither a case nor a reason"):
        reasons([RECORDING], rest)


def test_a_step_that_no_recording_has_is_noticed(cells: list[Cell]) -> None:
    whole(Small(), cells)
    with pytest.raises(RuntimeError, match="seed 0 has no case for draft"):
        whole(Small(), [one for one in cells if one.step != "draft"])


def test_what_a_cancel_stops_has_no_undo_and_the_next_run_completes_it(cells: list[Cell]) -> None:
    tried = dict(of(cells, "post"))
    assert tried[Fault.CANCEL_DURING] is End.STOPPED
    assert tried[Fault.CANCEL_PARKED] is End.STOPPED
    assert tried[Fault.LOST] is End.COMPLETE
    assert not {Fault.CANCEL_UNDOING, Fault.UNDO_ERROR, Fault.UNDO_REFUSED} & set(tried)


def test_before_the_pivot_a_cancel_undoes_and_after_it_the_saga_goes_forward(cells: list[Cell]) -> None:
    draft = dict(of(list(cells_of(0, RECORDING, turn=1)), "draft"))
    assert draft[Fault.CANCEL_DURING] is End.UNDONE
    assert draft[Fault.UNDO_REFUSED] is End.UNDO_BLOCKED
    assert dict(of(cells, "prove"))[Fault.CANCEL_DURING] is End.COMPLETE


def test_seeds_cancel_a_step_s_own_run_and_the_run_that_started_it_in_turn(cells: list[Cell]) -> None:
    tops = {
        one.top: one.end
        for turn in (0, 1)
        for one in cells_of(0, RECORDING, turn=turn)
        if (one.step, one.fault) == ("draft", Fault.CANCEL_DURING)
    }
    assert tops == {True: End.STOPPED, False: End.UNDONE}


def test_the_ledgers_own_undo_is_killed_and_cancelled_though_no_vendor_is_called() -> None:
    select = next(one for one in RECORDING.steps if one.id == "select")
    assert {Fault.UNDO_KILL, Fault.CANCEL_UNDOING} <= set(faults_of(select, RECORDING))
    assert Fault.UNDO_ERROR not in faults_of(select, RECORDING)


def test_what_falls_away_with_another_record_has_no_undo_to_hit() -> None:
    gone = Recording(RECORDING.steps, undo={**RECORDING.undo, "draft": Step("draft", "undo", UNDO_STEP)})
    draft = next(one for one in gone.steps if one.id == "draft")
    assert not {Fault.UNDO_KILL, Fault.CANCEL_UNDOING, Fault.UNDO_ERROR} & set(faults_of(draft, gone))


def test_a_step_whose_undo_was_not_recorded_is_noticed() -> None:
    bare = Recording(RECORDING.steps)
    draft = next(one for one in bare.steps if one.id == "draft")
    with pytest.raises(RuntimeError, match="does not have its undo"):
        faults_of(draft, bare)
