"""Tables that come out of the code are as the code has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.tables import BLOCK, ROOT, TABLES, pages, render

REMEDY = "python -m tests.docs.write"


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_generated_tables_are_up_to_date(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert render(text) == text, f"{page.relative_to(ROOT)} differs from the code. Run: {REMEDY}"


def test_every_table_stands_on_a_page() -> None:
    used = {block[2] for page in pages() for block in BLOCK.finditer(page.read_text(encoding="utf-8"))}
    assert used == set(TABLES)


def test_a_mark_without_an_end_is_noticed() -> None:
    for page in pages():
        text = page.read_text(encoding="utf-8")
        assert text.count("<!-- table: ") == len(BLOCK.findall(text)), page.name


def test_rendering_twice_changes_nothing() -> None:
    text = "before\n<!-- table: statuses -->\nold\n<!-- end -->\nafter\n"
    once = render(text)
    assert "old" not in once
    assert "undo-blocked" in once
    assert render(once) == once
