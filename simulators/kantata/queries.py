"""Lists and reads by id: parameters, filters, order, pages.

Source: vendor documentation, "Base URL and conventions" and "Pagination": ``page``/``per_page`` (default
20, at most 200) or ``limit``/``offset``, which win when both are given.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from datetime import timedelta
from typing import Any, Final

from simulators.kantata import values
from simulators.kantata.envelope import Page, View, envelope, single
from simulators.kantata.filters import (
    derive_for_order,
    flag,
    id_set,
    moment,
    narrowed,
    shown_name,
    tests_of,
    visibility,
)
from simulators.kantata.problems import not_found, system
from simulators.kantata.schema import Resource
from simulators.kantata.world import World
from simulators.kit import Answer, Call, Record

_COMMON: Final = {"include", "optional_fields"}
_LISTING: Final = {"only", "order", "page", "per_page", "limit", "offset"}
MAX_PAGE: Final = 200
_INSTANTS: Final = ("created_at", "updated_at")
_KEEP: Final = 8
"""Lists whose order is remembered, so that paging through a big one sorts it once."""
_DEPENDS: Final[dict[str, tuple[str, ...]]] = {
    "time_entries": ("time_entries", "workspaces", "timesheet_submissions", "users"),
    "timesheet_submissions": ("timesheet_submissions",),
    "expenses": ("expenses", "workspaces", "expense_report_submissions", "users"),
}
"""Record types that a list's filters look at; other lists depend on everything."""


class Queries:
    """Answers reads; remembers the ids of recent lists until anything changes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._lists: OrderedDict[tuple[Any, ...], tuple[list[str], list[str]]] = OrderedDict()
        """Ids in their order and, where the list can be entered by it, the column it is ordered by."""

    def view(self, call: Call, resource: Resource) -> View:
        """``include`` and ``optional_fields`` of a call.

        Raises:
            Refused: 400 for names the resource does not have, unless unknown parameters are ignored.
        """
        include = self._names(call, "include")
        optional = self._names(call, "optional_fields")
        known = set(resource.associations) | ({"subject"} if resource.name == "subscribed_events" else set())
        self._refuse_unknown("include", set(include) - known)
        self._refuse_unknown("optional_fields", {n for n in optional if n not in resource.fields})
        return View(tuple(n for n in include if n in known), tuple(optional), call.stale)

    def params(self, call: Call, resource: Resource, *, listing: bool) -> dict[str, str]:
        """The query with its last value per name.

        Raises:
            Refused: 400 for unknown parameters, unless they are ignored.
        """
        given = {k.removesuffix("[]"): v for k, v in call.query}
        extra = set(self.world.settings["extra_filters"].get(resource.name, []))
        known = _COMMON | (_LISTING if listing else set()) | resource.params | extra
        self._refuse_unknown("parameter", set(given) - known)
        return {k: v for k, v in given.items() if k in known}

    def _refuse_unknown(self, what: str, strangers: set[str]) -> None:
        if strangers and self.world.settings["unknown_parameters"] == "refuse":
            raise system(400, f"unknown {what}: {', '.join(sorted(strangers))}")

    @staticmethod
    def _names(call: Call, name: str) -> list[str]:
        return [n.strip() for n in (call.param(name) or "").split(",") if n.strip()]

    def one(self, call: Call, resource: Resource, id_: str) -> Answer:
        """``GET /things/{id}``: 404 also when a default filter hides the record."""
        view, params = self.view(call, resource), self.params(call, resource, listing=False)
        record = self.world.as_seen(resource.name, id_, stale=call.stale)
        if record is None or not all(t(record) for t in visibility(self.world, resource, params)):
            raise not_found(resource.singular.replace("_", " ").capitalize())
        return single(self.world, resource, [record], view)

    def many(self, call: Call, resource: Resource) -> Answer:
        """``GET /things``."""
        view, params = self.view(call, resource), self.params(call, resource, listing=True)
        offset, size, number = self._page(params)
        ids = self._ids(call, resource, params)
        seen = (self.world.as_seen(resource.name, i, stale=call.stale) for i in ids[offset : offset + size])
        hits = [r for r in seen if r is not None]
        return Answer(200, envelope(self.world, resource, hits, view, Page(number, size, len(ids))))

    def _page(self, params: dict[str, str]) -> tuple[int, int, int]:
        def number(name: str, default: int, least: int) -> int:
            if name not in params:
                return default
            try:
                value = values.integer(params[name])
            except values.BadValue as bad:
                raise system(400, f"{name} {bad}") from None
            if value < least:
                raise system(400, f"{name} must be at least {least}")
            return value

        by_limit = "limit" in params and "offset" in params
        name = "limit" if by_limit else "per_page"
        size = number(name, 20, 1)
        if size > MAX_PAGE:
            if self.world.settings["over_max_per_page"] == "refuse":
                raise system(400, f"{name} must be at most {MAX_PAGE}")
            size = MAX_PAGE
        if by_limit:
            offset = number("offset", 0, 0)
            return offset, size, offset // size + 1
        page = number("page", 1, 1)
        return (page - 1) * size, size, page

    def _ids(self, call: Call, resource: Resource, params: dict[str, str]) -> list[str]:
        world = self.world
        asked = {
            k: v for k, v in params.items() if k not in _COMMON | {"page", "per_page", "limit", "offset"}
        }
        if call.stale or resource.name == "subscribed_events":
            return self._listed(call, resource, asked)
        # Whoever follows changes asks again and again for what lies behind another instant: that is a place
        # in one list, not another list.
        column, _, way = (asked.get("order") or "").partition(":")
        name = f"{column.removesuffix('_at')}_after"
        if column not in _INSTANTS or column not in resource.order or way != "asc" or name not in asked:
            return self._remembered(call, resource, asked, None)[0]
        limit = moment(name, asked.pop(name))[:19]
        ids, instants = self._remembered(call, resource, asked, column)
        find = bisect_left if world.settings["after_is_inclusive"] else bisect_right
        return ids[find(instants, limit) :]

    def _remembered(
        self, call: Call, resource: Resource, asked: dict[str, str], column: str | None
    ) -> tuple[list[str], list[str]]:
        key = (self._state(resource, asked), resource.name, column, tuple(sorted(asked.items())))
        if key not in self._lists:
            ids = self._listed(call, resource, asked)
            places: list[str] = []
            if column is not None:
                rows = (self.world.must(resource.name, i) for i in ids)
                places = [str(row.get(column) or "")[:19] for row in rows]
            self._lists[key] = (ids, places)
            while len(self._lists) > _KEEP:
                self._lists.popitem(last=False)
        return self._lists[key]

    def _state(self, resource: Resource, asked: dict[str, str]) -> tuple[Any, ...]:
        """What a list depends on: while it stands, so does the list."""
        world, settings = self.world, repr(self.world.settings)
        types = _DEPENDS.get(resource.name)
        if types is None or any("external_reference" in name for name in asked):
            return world.version, settings
        return tuple(world.versions.get(name, 0) for name in types), settings

    def _listed(self, call: Call, resource: Resource, params: dict[str, str]) -> list[str]:
        world = self.world
        tests = tests_of(world, resource, params)
        records = None
        if "only" in params:
            wanted = sorted(id_set("only", params["only"]), key=int)
            found = (world.as_seen(resource.name, i, stale=call.stale) for i in wanted)
            records = [r for r in found if r is not None]
        elif not call.stale:
            records = narrowed(world, resource, params)
        if records is None:
            records = world.listed(resource.name, stale=call.stale)
        hits = [r for r in records if all(test(r) for test in tests)]
        self._sort(resource, hits, params.get("order") or resource.default_order, "order" in params)
        if resource.name == "subscribed_events":
            hits = self._events(hits, params)
        return [r["id"] for r in hits]

    def _sort(self, resource: Resource, hits: list[Record], order: str, asked: bool) -> None:
        name, _, way = order.partition(":")
        if asked and (name not in resource.order or way not in ("", "asc", "desc")):
            self._refuse_unknown("order", {order})
            name, _, way = resource.default_order.partition(":")
        hits.sort(key=lambda r: int(r["id"]))
        column = shown_name(resource, name)
        if column == "id":
            hits.sort(key=lambda r: int(r["id"]), reverse=way == "desc")
            return

        def key(record: Record) -> tuple[bool, Any]:
            value = derive_for_order(self.world, resource, record, column)
            return (value is not None, value if value is not None else "")

        hits.sort(key=key, reverse=way == "desc")

    def _events(self, hits: list[Record], params: dict[str, str]) -> list[Record]:
        """Retention, newest-only views, and duplicates of the event feed."""
        world = self.world
        days = timedelta(days=world.settings["event_retention_days"])
        oldest = values.stamp(world.simulator.clock.now() - days)
        hits = [e for e in hits if e["created_at"] >= oldest]
        for name in ("most_recent", "most_recent_by_event_type"):
            if flag(name, params.get(name, "false")):
                last: dict[tuple[str, ...], Record] = {}
                for event in sorted(hits, key=lambda e: int(e["id"])):
                    subject = (event["subject_type"], event["subject_id"])
                    last[(*subject, event["event_type"]) if name.endswith("type") else subject] = event
                kept = {e["id"] for e in last.values()}
                hits = [e for e in hits if e["id"] in kept]
        return [e for e in hits for _ in range(e.get("delivered", 1))]
