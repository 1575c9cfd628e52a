"""Runs SOQL over the records and pages the result.

Source: vendor documentation, "Query", "QueryAll", "Query Options Header". A result set is fixed when the
query runs: later pages show the rows as they were then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from simulators.salesforce import ids
from simulators.salesforce.errors import refusal
from simulators.salesforce.fields import Field, SObject
from simulators.salesforce.filters import ANY, Filter, comparable, fetch, keyed, resolve, target_of
from simulators.salesforce.records import Records, Row
from simulators.salesforce.soql import Comparison, Condition, Group, Order, Path, Query, SoqlError, parse

MAX_OFFSET = 2000


@dataclass
class _Node:
    """What to show of a record: own fields, parents (by reference field) and child sets, in SELECT order."""

    items: dict[str, Field | tuple[Field, _Node] | tuple[SObject, Field, Query, _Node]] = field(
        default_factory=dict
    )


@dataclass
class _Cursor:
    rows: list[Row]
    at: datetime
    size: int


class Engine:
    """Answers ``/query`` and ``/queryAll`` and keeps the query locators."""

    def __init__(self, world: Records) -> None:
        self.world = world
        self.cursors: dict[str, _Cursor] = {}
        self._made = 0

    def run(self, text: str, base: str, *, stale: bool, deleted: bool, size: int) -> dict[str, Any]:
        """The first page of a query.

        Args:
            text: SOQL.
            base: ``/services/data/vNN.0``, for record URLs and the next page's URL.
            stale: show each record's version before the current one.
            deleted: the recycle bin as well (``queryAll``).
            size: rows a page.

        Raises:
            VendorError: the query is refused (400).
        """
        try:
            return self._run(text, base, stale, deleted, size)
        except SoqlError as bad:
            raise refusal(400, bad.code, bad.text(text)) from None

    def _run(self, text: str, base: str, stale: bool, deleted: bool, size: int) -> dict[str, Any]:
        query = parse(text)
        run = _Run(self.world, base, stale, deleted)
        one = run.object(query)
        rows = run.rows(one, query)
        if query.count:
            return {"totalSize": len(rows), "done": True, "records": []}
        tree = run.tree(one, query)
        shown = [run.show(one, row, tree) for row in rows]
        if len(shown) <= size:
            return {"totalSize": len(shown), "done": True, "records": shown}
        self._made += 1
        locator = ids.make("01g", self._made)
        self.cursors[locator] = _Cursor(shown, self.world.clock.now(), size)
        return self._page(locator, 0, base)

    def more(self, locator: str, base: str) -> dict[str, Any]:
        """A later page, by ``<locator>-<offset>``.

        Raises:
            VendorError: 400 INVALID_QUERY_LOCATOR, unknown or expired.
        """
        match = re.fullmatch(r"(01g\w{15})-(\d+)", locator)
        cursor = self.cursors.get(match[1]) if match else None
        lifetime = timedelta(seconds=self.world.settings["query_locator_seconds"])
        if match is None or cursor is None or self.world.clock.now() - cursor.at > lifetime:
            raise refusal(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._page(match[1], int(match[2]), base)

    def _page(self, locator: str, start: int, base: str) -> dict[str, Any]:
        cursor = self.cursors[locator]
        end = start + cursor.size
        result: dict[str, Any] = {"totalSize": len(cursor.rows), "done": end >= len(cursor.rows)}
        if not result["done"]:
            result["nextRecordsUrl"] = f"{base}/query/{locator}-{end}"
        result["records"] = cursor.rows[start:end]
        return result


class _Run:
    """One query's look at the records."""

    def __init__(self, world: Records, base: str, stale: bool, deleted: bool) -> None:
        self.world = world
        self.base = base
        self.stale = stale
        self.deleted = deleted
        self.filter = Filter(world, self.semi_join, stale=stale)

    def object(self, query: Query) -> SObject:
        one = self.world.view.object(query.source)
        if one is None:
            message = (
                f"sObject type '{query.source}' is not supported. If you are attempting to use a custom "
                "object, be sure "
                "to append the '__c' after the entity name. Please reference your WSDL or the describe call "
                "for the "
                "appropriate names."
            )
            raise SoqlError("INVALID_TYPE", message, query.source_at)
        return one

    def rows(self, one: SObject, query: Query, among: list[str] | None = None) -> list[Row]:
        """Matching records in order, after OFFSET and LIMIT."""
        if query.offset > MAX_OFFSET:
            raise SoqlError("NUMBER_OUTSIDE_VALID_RANGE", f"Maximum SOQL offset allowed is {MAX_OFFSET}")
        if one.name == "ContentDocumentLink" and among is None and not _anchored(query.where):
            message = (
                "Implementation restriction: ContentDocumentLink requires a filter by a single Id on "
                "ContentDocumentId "
                "or LinkedEntityId using the equals operator or multiple Id's using the IN operator."
            )
            raise SoqlError("MALFORMED_QUERY", message)
        wanted = self.filter.compile(one, query.where)
        rows = [row for row in self._candidates(one, query.where, among) if wanted(row)]
        for item in reversed(query.order):
            rows = self._sorted(one, rows, item)
        rows = rows[query.offset :]
        return rows if query.limit is None else rows[: query.limit]

    def _candidates(self, one: SObject, where: Condition | None, among: list[str] | None) -> Iterator[Row]:
        if among is None and not self.stale and not self.deleted:
            among = keyed(self.world, one, where)
        if among is None:
            yield from self.world.rows(one.name, stale=self.stale, deleted=self.deleted)
            return
        for id_ in dict.fromkeys(among):
            row = self.world.store.previous(one.name, id_) if self.stale else self.world.get(one.name, id_)
            if row is not None:
                yield row

    def _sorted(self, one: SObject, rows: list[Row], item: Order) -> list[Row]:
        found = resolve(self.world, one, item.path)
        if found.field.long_text or found.field.type == "multipicklist":
            message = f"field '{found.field.name}' can not be sorted in a query call"
            raise SoqlError("INVALID_FIELD", message, item.path.at)
        keyed_rows = [
            (comparable(found.field, fetch(self.world, r, found, stale=self.stale)), r) for r in rows
        ]
        empty = [row for value, row in keyed_rows if value is None]
        full = [pair for pair in keyed_rows if pair[0] is not None]
        full.sort(key=lambda pair: pair[0], reverse=item.descending)
        ordered = [row for _, row in full]
        return ordered + empty if item.nulls_last else empty + ordered

    def semi_join(self, query: Query) -> set[Any]:
        """The values that the inner query of ``IN (SELECT ...)`` selects."""
        one = self.object(query)
        if len(query.select) != 1 or not isinstance(query.select[0], Path):
            raise SoqlError(
                "MALFORMED_QUERY", "semi join sub-selects must select exactly one field", query.source_at
            )
        found = resolve(self.world, one, query.select[0])
        if found.field.type not in ("id", "reference"):
            message = f"semi join sub-selects must select an id or reference field, not {found.field.name}"
            raise SoqlError("MALFORMED_QUERY", message, query.source_at)
        values = {fetch(self.world, row, found, stale=self.stale) for row in self.rows(one, query)}
        return values - {None}

    # --- what is shown ----------------------------------------------------------------------------

    def tree(self, one: SObject, query: Query) -> _Node:
        """What the SELECT list shows."""
        root = _Node()
        for item in query.select:
            if isinstance(item, Query):
                self._child(one, item, root)
                continue
            found = resolve(self.world, one, item)
            node = root
            for hop in found.hops:
                inner = node.items.setdefault(str(hop.relationship), (hop, _Node()))
                assert isinstance(inner, tuple)
                assert isinstance(inner[1], _Node)
                node = inner[1]
            if found.field.name in node.items:
                raise SoqlError("INVALID_FIELD", f"duplicate field selected: {item}", item.at)
            node.items[found.field.name] = found.field
        return root

    def _child(self, one: SObject, query: Query, root: _Node) -> None:
        child = self.world.view.child(one, query.source)
        if child is None:
            message = (
                f"Didn't understand relationship '{query.source}' in FROM part of query call. If you are "
                "attempting to "
                "use a custom relationship, be sure to append the '__r' after the custom relationship name. "
                "Please "
                "reference your WSDL or the describe call for the appropriate names."
            )
            raise SoqlError("INVALID_TYPE", message, query.source_at)
        seen, made = child
        self.filter.compile(seen, query.where)
        for item in query.order:
            resolve(self.world, seen, item.path)
        root.items[str(made.children)] = (seen, made, query, self.tree(seen, query))

    def show(self, one: SObject, row: Row, node: _Node) -> Row:
        """A record as the answer carries it."""
        shown: Row = {"attributes": attributes(one, row["Id"], self.base)}
        for name, item in node.items.items():
            if isinstance(item, Field):
                shown[name] = one.name if item is ANY.fields["Type"] else row.get(name)
            elif len(item) == 2:
                hop, inner = item
                id_ = row.get(hop.name)
                target = target_of(self.world, id_, stale=self.stale) if id_ else None
                shown[name] = None if target is None else self.show(target[0], target[1], inner)
            else:
                child, made, query, inner = item
                among = self.world.find(child.name, made.name, row["Id"])
                found = [self.show(child, r, inner) for r in self.rows(child, query, among)]
                # A set without rows is null, not an empty object.
                shown[name] = {"totalSize": len(found), "done": True, "records": found} if found else None
        return shown


def attributes(one: SObject, id_: str, base: str) -> dict[str, str]:
    """The ``attributes`` member of a record."""
    return {"type": one.name, "url": f"{base}/sobjects/{one.name}/{id_}"}


def _anchored(condition: Condition | None) -> bool:
    if isinstance(condition, Group):
        return condition.word == "AND" and any(_anchored(item) for item in condition.items)
    names = ("contentdocumentid", "linkedentityid")
    return (
        isinstance(condition, Comparison)
        and str(condition.path).lower() in names
        and condition.operator in ("=", "IN")
    )


def page_size(header: str | None, settings: dict[str, Any]) -> int:
    """Rows a page: the header's ``batchSize`` kept within the platform's bounds, else the default."""
    match = re.search(r"batchSize\s*=\s*(\d+)", header or "")
    if match is None:
        return int(settings["page_size"])
    return max(int(settings["page_size_min"]), min(int(settings["page_size_max"]), int(match[1])))
