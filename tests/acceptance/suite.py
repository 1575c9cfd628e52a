"""All rows and all subjects."""

from __future__ import annotations

from tests.acceptance import (
    rows_access,
    rows_data,
    rows_failures,
    rows_operations,
    rows_writing,
)
from tests.acceptance.kantata import Subject as Kantata
from tests.acceptance.netsuite import Subject as NetSuite
from tests.acceptance.rows import ROWS, Row
from tests.acceptance.salesforce import Subject as Salesforce
from tests.acceptance.subject import Subject

SUBJECTS: dict[str, type[Subject]] = {one.name: one for one in (Salesforce, NetSuite, Kantata)}
_PARTS = (rows_writing, rows_failures, rows_access, rows_data, rows_operations)
SUITE: list[Row] = [row for part in _PARTS for row in ROWS if row.part == part.__name__]
"""In the order of the page."""
