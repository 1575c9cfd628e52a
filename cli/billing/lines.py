"""The lines of an invoice for people: named as shortly as is clear, with hours, rate and amount."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cli.billing import words
from cli.output import Table, Value, sums
from ledger.billing_rows import DocumentLine

SHOWN = 200
"""Lines shown to people; `--json` has them all."""


def line_parts(lines: Sequence[DocumentLine]) -> list[Table | str]:
    """A document's lines as a table, with what they are together."""
    rows: list[list[Value]] = [
        [
            name,
            line.item.work_date.isoformat(),
            line.item.project_code or "",
            line.item.title,
            words.effort(line.allocation.minutes),
            f"{line.item.rate.currency} {line.item.rate.amount}" if line.item.rate is not None else "",
            str(line.billed),
        ]
        for line, name in named(lines)[:SHOWN]
    ]
    if not rows:
        return []
    columns = ("line", "day", "project", "what", "hours", "rate", "amount")
    parts: list[Table | str] = [Table(columns, rows, title="Lines")]
    if len(lines) > SHOWN:
        parts.append(f"Only the first {SHOWN} of {len(lines):,} lines; --json has all.")
    parts.append("Together: " + ", ".join(str(money) for money in sums(line.billed for line in lines)))
    return parts


def line_facts(line: DocumentLine, name: str) -> dict[str, Any]:
    """A line of a draft for ``--json``."""
    item = line.item
    return {
        "line": name,
        "allocation_key": line.allocation.key,
        "item_key": item.key,
        "day": item.work_date,
        "project_code": item.project_code,
        "what": item.title,
        "minutes": line.allocation.minutes,
        "rate": item.rate,
        "amount": line.allocation.amount,
        "billed": line.billed,
    }


def named(lines: Sequence[DocumentLine]) -> list[tuple[DocumentLine, str]]:
    """Lines with the shortest name that means only them: the source's id, else the whole key."""
    short = [line.item.source.rsplit("/", 1)[-1] for line in lines]
    return [
        (line, name if short.count(name) == 1 else line.allocation.key)
        for line, name in zip(lines, short, strict=True)
    ]
