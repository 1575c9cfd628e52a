"""The export's text to workers. Pure.

A bad row is never skipped: a worker left out would look like a role that nobody holds. All problems are
reported together, by line and column; pay and personal values are not repeated in the message.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise

from canonical.delivery import RoleSupply, Worker
from canonical.failures import ConfigurationError
from canonical.money import exponent
from connectors.hr_file.settings import REQUIRED, HrFileSettings

SHOWN = 20
"""Problems listed one by one; a wrong delimiter would otherwise fill the screen."""


def read_workers(text: str, settings: HrFileSettings) -> list[Worker]:
    """All rows of the export, whatever day they hold on.

    Raises:
        ConfigurationError: rows or headers that cannot be read, with line and column of each.
    """
    reading = _Reading(settings)
    workers = reading.rows(text)
    if reading.problems:
        more = len(reading.problems) - SHOWN
        raise ConfigurationError(
            [f"{settings.path}: {problem}" for problem in reading.problems[:SHOWN]]
            + ([f"{settings.path}: and {more} more problems"] if more > 0 else [])
        )
    return workers


def in_force(workers: Iterable[Worker], on: date, through: date | None = None) -> list[Worker]:
    """The rows that hold on a day, or on any day through another one."""
    last = through or on
    return [
        worker
        for worker in workers
        if (worker.effective_from is None or worker.effective_from <= last)
        and (worker.effective_to is None or on <= worker.effective_to)
    ]


def role_supply(workers: Iterable[Worker]) -> list[RoleSupply]:
    """How many people hold each role in each region: neither names nor pay."""
    people = {(worker.role, worker.region, worker.id) for worker in workers}
    counts = Counter((role, region) for role, region, _ in people)
    ordered = sorted(counts.items(), key=lambda item: (item[0][0], item[0][1] or ""))
    return [RoleSupply(role=role, region=region, workers=count) for (role, region), count in ordered]


class _Reading:
    def __init__(self, settings: HrFileSettings) -> None:
        self._settings = settings
        self._columns: dict[str, str] = {
            key: header for key, header in settings.columns.model_dump().items() if header
        }
        self.problems: list[str] = []

    def rows(self, text: str) -> list[Worker]:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=self._settings.delimiter, strict=True)
        workers: list[tuple[int, Worker]] = []
        positions: dict[str, int] | None = None
        width = 0
        try:
            for row in reader:
                if not any(cell.strip() for cell in row):
                    continue
                if positions is None:
                    positions, width = self._header(row), len(row)
                    if self.problems:
                        return []
                elif len(row) != width:
                    self.problems.append(
                        f"line {reader.line_num}: {len(row)} columns where the header has {width}"
                    )
                else:
                    cells = {key: row[index].strip() for key, index in positions.items()}
                    worker = self._worker(reader.line_num, cells)
                    if worker is not None:
                        workers.append((reader.line_num, worker))
        except csv.Error as error:
            self.problems.append(f"line {reader.line_num}: not readable as delimited text ({error})")
        if positions is None and not self.problems:
            self.problems.append("line 1: the file is empty; expected a header and one row per worker")
        self._overlaps(workers)
        return [worker for _, worker in workers]

    def _header(self, row: Sequence[str]) -> dict[str, int]:
        headers = [cell.strip() for cell in row]
        found: dict[str, int] = {}
        for key, header in self._columns.items():
            if headers.count(header) == 1:
                found[key] = headers.index(header)
            elif header in headers:
                self.problems.append(f"line 1, column {header!r}: the header is there twice")
            else:
                self.problems.append(
                    f"line 1, column {header!r}: no such header; there are {', '.join(map(repr, headers))}. "
                    f'Correct columns.{key}, or set it to "" if the export does not have it'
                )
        return found

    def _worker(self, line: int, cells: dict[str, str]) -> Worker | None:
        before = len(self.problems)
        for key in REQUIRED:
            if not cells[key]:
                self._problem(line, key, "is empty")
        start, end = self._date(line, cells, "effective_from"), self._date(line, cells, "effective_to")
        if start and end and end < start:
            self._problem(line, "effective_to", "is before the first day")
        rate = self._rate(line, cells)
        currency = self._currency(line, cells)
        if rate is not None and currency is None and len(self.problems) == before:
            self._problem(line, "cost_rate", "has no currency; name it in the row or set default_currency")
        if len(self.problems) > before:
            return None
        return Worker(
            id=cells["worker_id"],
            name=cells["name"],
            email=cells.get("email") or None,
            role=cells["role"],
            practice=cells.get("practice") or None,
            region=cells.get("region") or None,
            legal_entity=cells.get("legal_entity") or None,
            cost_rate=rate,
            cost_currency=currency if rate is not None else None,
            effective_from=start,
            effective_to=end,
        )

    def _date(self, line: int, cells: dict[str, str], key: str) -> date | None:
        value = cells.get(key)
        if not value:
            return None
        try:
            # A calendar date: the zone of the parsed instant plays no part.
            return datetime.strptime(value, self._settings.date_format).date()  # noqa: DTZ007
        except ValueError:
            self._problem(line, key, f"{value!r} is not a date of the form {self._settings.date_format}")
            return None

    def _rate(self, line: int, cells: dict[str, str]) -> Decimal | None:
        value = cells.get("cost_rate")
        if not value:
            return None
        digits = value.replace(",", ".", 1) if self._settings.decimal_comma else value
        if not re.fullmatch(r"\d+(\.\d+)?", digits):
            self._problem(line, "cost_rate", "is not a plain non-negative number")
            return None
        return Decimal(digits)

    def _currency(self, line: int, cells: dict[str, str]) -> str | None:
        value = cells.get("cost_currency") or self._settings.default_currency
        if not value:
            return None
        try:
            exponent(value)
        except ValueError as unknown:
            self._problem(line, "cost_currency", str(unknown))
            return None
        return value

    def _overlaps(self, workers: Sequence[tuple[int, Worker]]) -> None:
        """One worker may have several rows, one after another: never two on the same day."""
        by_id: dict[str, list[tuple[int, Worker]]] = {}
        for line, worker in workers:
            by_id.setdefault(worker.id, []).append((line, worker))
        for rows in by_id.values():
            rows.sort(key=lambda item: (item[1].effective_from or date.min, item[0]))
            for (first_line, first), (line, second) in pairwise(rows):
                if (first.effective_to or date.max) >= (second.effective_from or date.min):
                    self._problem(
                        max(line, first_line), "worker_id",
                        f"holds on the same days as line {min(line, first_line)} for the same worker",
                    )  # fmt: skip

    def _problem(self, line: int, key: str, words: str) -> None:
        self.problems.append(f"line {line}, column {self._columns.get(key, key)!r}: {words}")
