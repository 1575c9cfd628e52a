"""All rows and all subjects."""

from __future__ import annotations

from tests.acceptance import (
    rows_access,
    rows_data,
    rows_failures,
    rows_writing,
)
from tests.acceptance.kantata import Subject as Kantata
from tests.acceptance.netsuite import Subject as NetSuite
from tests.acceptance.rows import ROWS, Row
from tests.acceptance.salesforce import Subject as Salesforce
from tests.acceptance.subject import Subject

SUBJECTS: dict[str, type[Subject]] = {one.name: one for one in (Salesforce, NetSuite, Kantata)}
_ORDER = {
    module.__name__: n for n, module in enumerate((rows_writing, rows_failures, rows_access, rows_data))
}
SUITE: list[Row] = sorted(ROWS, key=lambda row: _ORDER[row.check.__module__])
"""In the order of the page."""
