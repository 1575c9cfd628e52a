"""Every row of the acceptance suite with every vendor, and the page that is written from it.

All in one module on purpose: its tests run in one process and in order, so that the last ones know what
all others found.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.acceptance.bench import Bench, NotApplicable
from tests.acceptance.report import COMMAND, PAGE, WRITE, Cell, complete, line, render
from tests.acceptance.rows import Row
from tests.acceptance.subject import Site
from tests.acceptance.suite import SUBJECTS, SUITE
from tests.contracts.drives import DRIVES
from tests.contracts.exchanges import Recording
from tests.contracts.judge import WRITE as WRITE_CONTRACTS
from tests.contracts.judge import judge, listed, missing, write
from wiring.vendors import VENDORS

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("vendor", list(SUBJECTS))
@pytest.mark.parametrize("row", SUITE, ids=[row.id for row in SUITE])
async def test_row(
    row: Row, vendor: str, bench: Bench, record_property: Callable[[str, object], None]
) -> None:
    record_property("row", row.id)
    record_property("vendor", vendor)
    try:
        record_property("found", await row.check(bench))
    except NotApplicable as reason:
        record_property("n/a", str(reason))
        pytest.skip(f"n/a: {reason}")


@pytest.mark.parametrize("vendor", list(SUBJECTS))
async def test_every_exchange_keeps_the_vendors_contract(
    vendor: str,
    recording: Recording,
    found: dict[tuple[str, str], Cell],
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    """All that the rows above sent and were answered, and the life of a deal beside them."""
    if (reason := missing(vendor)) is not None:
        pytest.skip(reason)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    await DRIVES[vendor](Site(around=recording.around))
    verdict = judge(vendor, recording.exchanges)
    record_property("requests checked", verdict.requests)
    record_property("answers checked", verdict.answers)
    print(f"{vendor}: {verdict.requests} requests and {verdict.answers} answers checked")
    assert verdict.violations == []
    assert min(verdict.requests, verdict.answers) > 0
    whole_run = all((row.id, vendor) in found for row in SUITE)
    if whole_run:
        write(vendor, verdict)
    new = verdict.uncovered - listed(vendor)
    assert new == set(), f"not covered by the contract and not listed; if it must be so: {WRITE_CONTRACTS}=1"
    if whole_run:
        assert listed(vendor) == verdict.uncovered, f"covered now; take it off the list: {WRITE_CONTRACTS}=1"


def test_every_vendor_that_is_written_to_has_a_subject() -> None:
    writers = {name for name, vendor in VENDORS.items() if _writes(vendor.load()[1])}
    assert writers == set(SUBJECTS)


def _writes(connector: object) -> bool:
    return all(hasattr(connector, move) for move in ("send", "find", "read_back", "undo"))


def test_the_page_shows_what_this_run_found(found: dict[tuple[str, str], Cell]) -> None:
    if complete(found) and os.environ.get(WRITE):
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(render(found))
    page = PAGE.read_text()
    stale = f"{PAGE.name} differs from what this run found; write it anew: {COMMAND}"
    if complete(found):
        assert page == render(found), stale
        return
    # Part of the suite was asked for: what ran must be on the page, and every row must have its line.
    lines = page.splitlines()
    for row in SUITE:
        assert any(one.startswith(f"| {row.title} |") for one in lines), stale
        if all((row.id, vendor) in found for vendor in SUBJECTS):
            assert line(row.id, found) in lines, stale


def test_the_page_has_no_empty_cell_and_no_failure() -> None:
    rows = [one for one in PAGE.read_text().splitlines() if one.startswith("| ")][1:]
    assert len(rows) == len(SUITE)
    for one in rows:
        cells = [cell.strip() for cell in one.strip("|").split(" | ")]
        assert len(cells) == len(SUBJECTS) + 1
        assert all(cells)
        assert "**failed**" not in one
