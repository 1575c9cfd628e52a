"""``POST /services/rest/query/v1/suiteql``.

Sources: vendor documentation: Operations (SuiteQL answer); Traps.
"""

from __future__ import annotations

import json
import random
from typing import Any

from simulators.kit import Answer, Call
from simulators.netsuite import errors, render
from simulators.netsuite.state import Books
from simulators.netsuite.suiteql.evaluate import Plan
from simulators.netsuite.suiteql.parser import Query, SyntaxRefused, parse
from simulators.netsuite.suiteql.scalars import QueryRefused
from simulators.netsuite.suiteql.tables import TABLES, Tables, View, columns, lagging, shown

PATH = "/services/rest/query/v1/suiteql"
MAX_ROWS = 100_000
"""Rows that one query can reach, at most."""


class QueryService:
    """Answers queries."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.tables = Tables(books)
        self.asked = 0

    def clear(self) -> None:
        """Forget cached rows."""
        self.tables.clear()

    def serve(self, call: Call) -> Answer:
        """Answer one query."""
        if call.method != "POST":
            raise errors.refuse(
                405, errors.Detail(f"Method {call.method} is not allowed here.", "INVALID_PARAMETER")
            )
        if "transient" not in call.headers.get("prefer", "").lower():
            raise errors.invalid_parameter(
                "The required request header 'Prefer' is missing or invalid. Use 'Prefer: transient'.",
                header="Prefer",
            )
        if not call.headers.get("content-type", "").lower().startswith("application/json"):
            raise errors.refuse(415, errors.Detail("Use Content-Type application/json.", "INVALID_CONTENT"))
        try:
            body = json.loads(call.raw)
            text = body["q"]
        except (ValueError, KeyError, TypeError):
            raise errors.invalid_content('The request body must be {"q": "<query>"}.', "q") from None
        if not isinstance(text, str):
            raise errors.invalid_content("q must be a string.", "q")
        limit, offset = render.paging(call)
        if offset + limit > MAX_ROWS:
            raise errors.invalid_parameter(f"A query reaches at most {MAX_ROWS} rows.", query_param="offset")
        try:
            query = parse(text)
            rows = self._run(query, call)
        except SyntaxRefused as bad:
            raise self._refused(f"Invalid or unsupported search: {bad}") from None
        except QueryRefused as bad:
            raise self._refused(f"Search error occurred: {bad}") from None
        total = min(len(rows), MAX_ROWS)
        if not query.order and total > limit and self.books.settings["suiteql_shuffle_unordered"]:
            # Without ORDER BY pages overlap and rows get lost.
            self.asked += 1
            random.Random(self.asked).shuffle(rows)
        items = [self._item(row) for row in rows[offset : offset + limit]]
        return Answer(200, render.page(call, total, items, limit, offset))

    def _run(self, query: Query, call: Call) -> list[dict[str, Any]]:
        named = [(query.table, query.alias), *((j.table, j.alias) for j in query.joins)]
        known: dict[str, set[str]] = {}
        for table, alias in named:
            if table not in TABLES:
                raise QueryRefused(f"Record '{table}' was not found")
            if alias in known:
                raise QueryRefused(f"Table alias '{alias}' is used twice")
            known[alias] = columns(self.books, table)
        view = View(self.books, self._cutoff(call))
        return Plan(
            query,
            known,
            lambda table: self.tables.rows(table, view),
            lambda table, column, values: self.tables.keyed(table, column, values, view),
        ).run()

    def _cutoff(self, call: Call) -> str | None:
        if not call.stale:
            return lagging(self.books)
        # A stale read shows everything as it was before the latest change.
        latest = self.books.last_change
        return None if latest is None else latest[:-1]

    def _item(self, row: dict[str, Any]) -> dict[str, Any]:
        item: dict[str, Any] = {"links": []}
        for name, value in row.items():
            text = shown(value, self.books.settings)
            if text is not None:
                item[name] = text
        return item

    @staticmethod
    def _refused(text: str) -> Exception:
        return errors.refuse(
            400,
            errors.Detail(
                f"Invalid search query. Detailed unprocessed description follows. {text}.",
                "INVALID_PARAMETER",
            ),
        )
