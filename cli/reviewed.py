"""Files that are reviewed first, line by line, and written with ``--apply``."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, ClassVar

from cli.output import Complaint, Exit


@dataclass
class Reviewed:
    """What checking a line found."""

    DONE: ClassVar[str]
    """What has been done to a line that was written, as one word."""

    number: int
    problems: list[str] = field(default_factory=list, kw_only=True)
    notes: list[str] = field(default_factory=list, kw_only=True)
    known: bool = field(default=False, kw_only=True)
    """The ledger has the same already."""
    written: bool = field(default=False, kw_only=True)
    """Written just now."""

    @property
    def verdict(self) -> str:
        """One word for the review."""
        if self.problems:
            return "refused"
        if self.known:
            return f"{self.DONE} before"
        return self.DONE if self.written else f"to be {self.DONE}"


@dataclass
class ReviewedContract(Reviewed):
    """A line that says something of a contract, to be imported."""

    DONE = "imported"

    cells: Mapping[str, str]

    @property
    def key(self) -> str:
        """The contract."""
        return self.cells.get("contract", "")

    def facts_with(self, name: str, value: object) -> dict[str, Any]:
        """For ``--json``: what the line says, under its own name."""
        return {
            "line": self.number,
            "contract": self.key,
            "verdict": self.verdict,
            name: value,
            "problems": self.problems,
            "notes": self.notes,
        }


def read_rows(
    file: Path, required: Sequence[str], columns: Sequence[str]
) -> list[tuple[int, dict[str, str]]]:
    """The lines of a CSV with their numbers, cells by column; separators are commas or semicolons.

    Raises:
        Complaint: no such file, not a CSV in UTF-8, columns are missing, or it holds no lines.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            head = stream.readline()
            stream.seek(0)
            delimiter = ";" if head.count(";") > head.count(",") else ","
            reader = csv.DictReader(stream, delimiter=delimiter)
            names = [name.strip().lower() for name in reader.fieldnames or ()]
            missing = [name for name in required if name not in names]
            if missing:
                raise Complaint(
                    f"{file} lacks the columns {', '.join(missing)}.",
                    remedy=f"The first line names the columns: {','.join(columns)}.",
                    code=Exit.USAGE,
                )
            reader.fieldnames = names
            rows = [
                (
                    reader.line_num,
                    {name: (value or "").strip() for name, value in given.items() if isinstance(name, str)},
                )
                for given in reader
                if any(isinstance(value, str) and value.strip() for value in given.values())
            ]
    except UnicodeDecodeError:
        raise Complaint(
            f"{file} is not text in UTF-8.", remedy="Save it as CSV UTF-8.", code=Exit.USAGE
        ) from None
    except csv.Error as wrong:
        raise Complaint(f"{file} is no CSV: {wrong}.", code=Exit.USAGE) from None
    if not rows:
        raise Complaint(f"{file} holds no lines.", code=Exit.USAGE)
    return rows


def plain_decimal(text: str) -> Decimal | None:
    """A plain decimal. Anything with another separator is refused: 1.234 and 1,234 mean too many things."""
    if not text.lstrip("-").replace(".", "", 1).isdigit():
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None
