"""What a command answers: a sentence, then tables, or one JSON object; for people, pipes and scripts."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any

from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from canonical.money import AmountRole, Money
from canonical.refs import RecordRef


class Exit(IntEnum):
    """Exit codes; a stable contract."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    PARKED = 3
    """Parked, or gated when waiting was asked for."""
    UNDONE = 4


@dataclass(frozen=True)
class Cell:
    """A table's cell that leads somewhere: a hyperlink on a terminal, text and address elsewhere."""

    text: str
    url: str | None = None
    quiet: bool = False
    """Show the address on a terminal only: every row of a list would repeat it."""


Value = Cell | str | None


@dataclass(frozen=True)
class Table:
    """Rows under a heading."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Value]]
    title: str = ""


@dataclass
class Report:
    """A command's answer."""

    sentence: str
    """What a manager understands."""
    data: dict[str, Any] = field(default_factory=dict)
    """What ``--json`` prints, beside ``message`` and ``exit_code``."""
    parts: list[Table | str] = field(default_factory=list)
    code: int = Exit.DONE


class Complaint(Exception):
    """What is wrong, in words for the person at the keyboard.

    Args:
        message: what happened, to which record.
        remedy: who acts and how.
        command: the exact next command.
        code: exit code.
        details: for ``--json``.
    """

    def __init__(
        self,
        message: str,
        *,
        remedy: str | None = None,
        command: str | None = None,
        code: int = Exit.FAILED,
        details: Any = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.command = command
        self.code = code
        self.details = details


# --- printing --------------------------------------------------------------------------------------


def print_report(report: Report, *, as_json: bool) -> None:
    """Print to standard output."""
    if report.sentence.startswith("no "):  # a count of nothing; a name keeps its own letters
        report.sentence = f"N{report.sentence[1:]}"
    if as_json:
        _print_json({"message": report.sentence, "exit_code": int(report.code), **report.data})
        return
    if sys.stdout.isatty():
        _print_rich(report)
    else:
        _print_plain(report)


def print_complaint(complaint: Complaint, *, as_json: bool) -> None:
    """Print to standard error; as JSON to standard output, which then holds nothing else."""
    if as_json:
        error = {"remedy": complaint.remedy, "command": complaint.command, "details": complaint.details}
        _print_json({"message": complaint.message, "exit_code": int(complaint.code), "error": error})
        return
    lines = [clean_lines(complaint.message)]
    if complaint.remedy:
        lines.append(clean_lines(complaint.remedy))
    if complaint.command:
        lines.append(f"  {complaint.command}")
    print("\n".join(lines), file=sys.stderr)


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(to_jsonable_python(value), ensure_ascii=False, indent=2))


def _print_rich(report: Report) -> None:
    console = Console(highlight=False)
    console.print(Text(clean_lines(report.sentence), style="bold"))
    for part in report.parts:
        console.print()
        if isinstance(part, str):
            console.print(Text(clean_lines(part)))
            continue
        table = RichTable(title=part.title or None, title_justify="left", box=None, pad_edge=False)
        for column, right in zip(part.columns, figures(part), strict=True):
            table.add_column(column, overflow="fold", justify="right" if right else "left")
        for row in part.rows:
            table.add_row(*(_rich(value) for value in row))
        console.print(table)


def _rich(value: Value) -> Text:
    if isinstance(value, Cell):
        return Text(clean(value.text), style=f"link {value.url}" if value.url else "")
    return Text(clean(value or ""))


def _print_plain(report: Report) -> None:
    lines = [clean_lines(report.sentence)]
    for part in report.parts:
        lines.append("")
        if isinstance(part, str):
            lines.append(clean_lines(part))
            continue
        if part.title:
            lines.append(part.title)
        lines += plain_table(part)
    print("\n".join(lines))


def plain_table(table: Table) -> list[str]:
    """Aligned columns without decoration or truncation, for pipes and files."""
    rows = [list(table.columns), *([_plain(value) for value in row] for row in table.rows)]
    widths = [max(len(row[index]) for row in rows) for index in range(len(table.columns))]
    layout = list(zip(widths, figures(table), strict=True))
    return [
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, (width, right) in zip(row, layout, strict=True)
        ).rstrip()
        for row in rows
    ]


_FIGURE = re.compile(r"-|(?:[A-Z]{3} )?-?\d[\d,]*(?:[.:]\d+)?")


def figures(table: Table) -> list[bool]:
    """By column: whether it holds nothing but counts, hours or amounts, which stand below one another by
    their last digit.
    """
    columns = [[_plain(row[index]) for row in table.rows] for index in range(len(table.columns))]
    return [any(column) and all(_FIGURE.fullmatch(cell) for cell in column if cell) for column in columns]


def _plain(value: Value) -> str:
    if isinstance(value, Cell):
        return clean(f"{value.text} <{value.url}>" if value.url and not value.quiet else value.text)
    return clean(value or "")


def clean(text: str) -> str:
    """A vendor's or client's words on one line, without power over the terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def clean_lines(text: str) -> str:
    """The same for text of several lines."""
    return "\n".join(clean(line) for line in text.split("\n"))


# --- words ------------------------------------------------------------------------------------------


def count(number: int, one: str, many: str | None = None) -> str:
    """``3 deals``, ``1 deal``, ``no deals``."""
    return f"{number or 'no'} {one if number == 1 else many or one + 's'}"


def age(since: datetime | None, now: datetime | None = None) -> str:
    """Time since a moment, in the two largest units that matter."""
    return "" if since is None else duration(((now or datetime.now(UTC)) - since).total_seconds())


def duration(seconds: float) -> str:
    """A duration as people say it."""
    whole = max(0, round(seconds))
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, secs = divmod(rest, 60)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {secs} s" if minutes else f"{secs} s"


def when(moment: datetime | None) -> str:
    """A moment in UTC, to the second."""
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def sums(amounts: Iterable[Money | None]) -> list[Money]:
    """One sum per currency and role; they are never added across (rule 4)."""
    found: dict[tuple[str, AmountRole], Money] = {}
    for money in amounts:
        if money is not None:
            key = (money.currency, money.role)
            found[key] = found[key] + money if key in found else money
    return [found[key] for key in sorted(found)]


def worth(amounts: Iterable[Money | None]) -> str:
    """The sums as text; empty without any amount."""
    return " + ".join(str(money) for money in sums(amounts))


def record(ref: RecordRef) -> Cell:
    """A record as a cell."""
    return Cell(f"{ref.type} {ref.id}", ref.url)


def moment(text: str, now: datetime | None = None) -> datetime:
    """A moment as typed: ``7d``, ``12h``, ``30m``, a date, or an ISO 8601 time; UTC where no zone is given.

    Raises:
        Complaint: not understood.
    """
    units = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}
    if text[:-1].isdigit() and text[-1] in units and len(text) < 8:
        return (now or datetime.now(UTC)) - int(text[:-1]) * units[text[-1]]
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Complaint(
            f"{text!r} is not a time.",
            remedy="Write for example 7d, 12h, 2026-11-01 or 2026-11-01T08:00:00+01:00.",
            code=Exit.USAGE,
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
