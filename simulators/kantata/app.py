"""The simulator: authentication, routing, control calls."""

from __future__ import annotations

import re
from collections import deque
from datetime import datetime
from typing import Any, Final

from simulators.kantata import (
    approvals,
    billing,
    catalogue_account,
    catalogue_delivery,
    catalogue_money,
    feed,
    lines,
    references,
    seeding,
    staffing,
    submissions,
    tasks,
    templates,
)
from simulators.kantata.bodies import wrapped
from simulators.kantata.envelope import single
from simulators.kantata.filters import flag, id_set
from simulators.kantata.problems import Problem, Refused, not_found, problem, system, unauthorised
from simulators.kantata.projects import join
from simulators.kantata.queries import Queries
from simulators.kantata.rules import rules_of
from simulators.kantata.schema import RESOURCES, Resource
from simulators.kantata.settings import defaults
from simulators.kantata.world import World, request_id
from simulators.kantata.writes import Writes
from simulators.kit import Answer, Call, Record, Simulator

MODULES: Final = (
    billing,
    catalogue_account,
    catalogue_delivery,
    catalogue_money,
    lines,
    staffing,
    tasks,
)
"""Imported for what they register."""

ROOT: Final = "/api/v1/"
_BULK: Final = {
    "timesheet_approvals": "approval",
    "timesheet_rejections": "rejection",
    "timesheet_cancellations": "cancellation",
}
_NUMBER: Final = re.compile(r"\d+\Z")


class Kantata(Simulator):
    """Kantata OX with one account (see the package's README for what it knows)."""

    name = "kantata"

    def __init__(self) -> None:
        super().__init__()
        self.settings.update(defaults())
        self.world = World(self)
        self.queries = Queries(self.world)
        self.writes = Writes(self.world, self.queries)
        self.schema: dict[str, list[Record]] = {}
        self._revoked: set[str] = set()
        self._hits: dict[int, deque[datetime]] = {}
        self._first_user()

    # --- calls ------------------------------------------------------------------------------------

    def handle(self, call: Call) -> Answer:
        """Serve one call of ``/api/v1/``."""
        self.world.call = call
        try:
            answer = self._handle(call)
        except Refused as refused:
            answer = refused.answer
        finally:
            self.world.call = None
        answer.headers.setdefault("X-Request-Id", request_id())
        return answer

    def _handle(self, call: Call) -> Answer:
        if not call.path.startswith(ROOT):
            raise not_found("Page")
        self._authenticate(call)
        self._within_limits(call)
        templates.advance(self.world)
        parts = call.path.removeprefix(ROOT).removesuffix(".json").strip("/").split("/")
        if len(parts) == 1 and parts[0] in _BULK and call.method == "POST":
            return self._resolve_many(call, _BULK[parts[0]])
        resource = RESOURCES.get(parts[0])
        if resource is None or len(parts) > 3:
            raise not_found("Page")
        if resource.name == "subscribed_events":
            feed.allowed(self.world)
        if len(parts) == 1:
            return self._collection(call, resource)
        if not _NUMBER.match(parts[1]):
            return self._named(call, resource, parts[1:])
        id_ = str(int(parts[1]))
        return (
            self._member(call, resource, id_)
            if len(parts) == 2
            else self._action(call, resource, id_, parts[2])
        )

    def _authenticate(self, call: Call) -> None:
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        if call.expired:
            self._revoked.add(token)
        known = {str(t) for t in self.settings["tokens"]}
        if scheme.lower() != "bearer" or token not in known or token in self._revoked:
            raise unauthorised()

    def _within_limits(self, call: Call) -> None:
        now = self.clock.now()
        for n, limit in enumerate(self.settings["rate_limits"]):
            method = limit.get("method", "*")
            if method not in ("*", call.method) or not re.search(limit.get("path", ""), call.path):
                continue
            hits = self._hits.setdefault(n, deque())
            while hits and (now - hits[0]).total_seconds() >= limit["seconds"]:
                hits.popleft()
            if len(hits) >= limit["count"]:
                raise system(429, "Rate limit exceeded. Retry after a small delay.")
            hits.append(now)

    def _collection(self, call: Call, resource: Resource) -> Answer:
        if call.method == "GET" and "list" in resource.verbs:
            return self.queries.many(call, resource)
        if call.method == "POST" and "create" in resource.verbs:
            return self.writes.create(call, resource)
        if call.method == "DELETE" and resource.name == "time_entries":
            return self._delete_time(call, resource)
        raise not_found("Page")

    def _member(self, call: Call, resource: Resource, id_: str) -> Answer:
        if call.method == "GET" and "get" in resource.verbs:
            return self.queries.one(call, resource, id_)
        if call.method == "PUT" and "update" in resource.verbs:
            return self.writes.update(call, resource, id_)
        if call.method == "DELETE" and "delete" in resource.verbs:
            return self.writes.delete(call, resource, id_)
        raise not_found("Page")

    def _named(self, call: Call, resource: Resource, rest: list[str]) -> Answer:
        match call.method, resource.name, rest:
            case "POST", "external_references", ["create_or_update"]:
                record, row, created = references.create_or_update(self.world, call)
                key = record["service_model_ref"]
                operation = "create" if created else "update"
                self.writes.log(call, resource.name, record["id"], row, operation, key)
                return single(self.world, resource, [record], self.writes.view(call, resource))
            case "GET", "invoices", ["next_invoice_number"]:
                return Answer(200, {"next_invoice_number": str(billing.next_number(self.world))})
            case "GET", "subscribed_events", ["event_types"]:
                return Answer(200, feed.event_types())
        raise not_found("Page")

    # --- actions ------------------------------------------------------------------------------------

    def _action(self, call: Call, resource: Resource, id_: str, action: str) -> Answer:
        if call.method != "PUT":
            raise not_found("Page")
        view = self.writes.view(call, resource) if resource.name != "workspaces" else None
        if resource.name in submissions.LINES and action in submissions.ACTIONS:
            record, row = submissions.resolve_one(self.world, call, resource.name, id_, action)
            self.writes.log(call, resource.name, id_, row, action)
            return single(self.world, resource, [record], view or self.writes.view(call, resource))
        if resource.name == "invoices" and action == "cancel":
            record = billing.cancel(self.world, self.writes.reachable(resource, id_))
            self.writes.log(call, resource.name, id_, None, "cancel")
            return single(self.world, resource, [record], view or self.writes.view(call, resource))
        if resource.name == "workspaces" and action == "apply_template":
            return self._apply_template(call, resource, id_)
        raise not_found("Page")

    def _apply_template(self, call: Call, resource: Resource, id_: str) -> Answer:
        dry = flag("edit_stories", call.param("edit_stories") or "false")
        view = self.queries.view(call, resource)
        current = self.writes.reachable(resource, id_)
        row = wrapped(call, resource.singular)
        template_keys = {n for n in row if n.startswith("project_")} | {"participations"}
        if strangers := sorted(set(row) - template_keys):
            raise Refused(422, [problem(f"{n} is not a template attribute", n) for n in strangers])
        draft = self.writes.prepare(resource, row, current)
        if not draft.extra.get("project_tracker_template_id"):
            raise Refused(422, [problem("Template can't be blank", "project_tracker_template_id")])
        for person in draft.extra.get("participations") or []:
            join(self.world, id_, person["user_id"], role=person.get("role") or "maven")
        found = templates.start(self.world, draft, current, stories=not dry)
        self.writes.log(call, resource.name, id_, row, "apply_template")
        answer = single(self.world, resource, [self.world.must(resource.name, id_)], view)
        if dry:
            answer.body["template_stories_json"] = found
        return answer

    def _resolve_many(self, call: Call, kind: str) -> Answer:
        made, row = submissions.resolve_many(self.world, call, kind)
        word = next(w for w, k in submissions.ACTIONS.items() if k == kind)
        for one in made:
            self.writes.log(call, "timesheet_submissions", one["target_id"], row, word)
        shown = [
            {
                "id": int(r["id"]),
                "type": r["type"],
                "target_type": r["target_type"],
                "target_id": int(r["target_id"]),
                "user_id": int(r["user_id"]),
                "description": r["description"],
                "current": r["current"],
            }
            for r in made
        ]
        return Answer(200, {"resolutions": shown})

    def _delete_time(self, call: Call, resource: Resource) -> Answer:
        """``DELETE /time_entries?ids=1,2``: at most 100, all or nothing, a message per refused id."""
        wanted = sorted(id_set("ids", call.param("ids") or ""), key=int)
        if not wanted:
            raise system(400, "param is missing or the value is empty: ids")
        if len(wanted) > 100:
            raise system(422, "Cannot delete more than 100 time entries at once")
        problems: list[Problem] = []
        for id_ in wanted:
            record = self.world.get(resource.name, id_)
            why = rules_of(resource.name).refuse_delete(self.world, record) if record else None
            if record is None:
                problems.append(problem(f"Time entries {id_} not found", "ids"))
            elif why:
                problems.append(problem(why, "ids"))
        if problems:
            raise Refused(422, problems)
        for id_ in wanted:
            self.writes.drop(call, resource, self.world.must(resource.name, id_))
        return Answer(204)

    # --- bodies of injected faults ----------------------------------------------------------------

    def error(self, status: int, message: str, call: Call) -> Answer:
        """An injected server error in the vendor's shape."""
        return Answer(status, {"errors": [problem(message)]}, {"X-Request-Id": request_id()})

    def rate_limited(self, call: Call) -> Answer:
        """429, without Retry-After: the vendor documents none."""
        return self.error(429, "Rate limit exceeded. Retry after a small delay.", call)

    def refused(self, message: str, call: Call) -> Answer:
        """An injected business refusal."""
        return Answer(422, {"errors": [problem(message, "base")]}, {"X-Request-Id": request_id()})

    # --- control ------------------------------------------------------------------------------------

    def seed(self, records: dict[str, list[dict[str, Any]]]) -> None:
        """See ``seeding.seed``."""
        seeding.seed(self.world, records)

    def control(self, call: Call) -> Answer | None:
        """``GET``/``POST``/``DELETE /_sim/schema``: custom fields of the account. ``GET /_sim/approvals``:
        see there. ``DELETE /_sim/revoked``: the administrator lets the tokens in again that an
        ``expired_token`` fault has revoked.
        """
        if call.method == "GET" and call.path.rstrip("/") == f"{self.CONTROL}approvals":
            return self._approvals(call)
        if call.method == "DELETE" and call.path.rstrip("/") == f"{self.CONTROL}revoked":
            self._revoked.clear()
            return Answer(204)
        if call.path.rstrip("/") != f"{self.CONTROL}schema":
            return None
        if call.method == "POST":
            for type_, rows in seeding.declare_fields(self.world, call.json()).items():
                self.schema.setdefault(type_, []).extend(rows)
        elif call.method == "DELETE":
            # The fields that exist go with the next reset.
            self.schema.clear()
        return Answer(200, self.schema) if call.method in ("GET", "POST", "DELETE") else None

    def _approvals(self, call: Call) -> Answer:
        """Approval over time of the lines in ``ids``, of all lines without; ``type`` as in the API."""
        type_ = call.param("type") or "time_entries"
        if type_ not in lines.SUBMISSIONS:
            raise ValueError(f"approvals are known of {', '.join(lines.SUBMISSIONS)}")
        named = call.param("ids")
        wanted = self.store.ids(type_) if named is None else [i for i in named.split(",") if i]
        return Answer(200, approvals.over_time(self.world, type_, wanted))

    def _control(self, call: Call) -> Answer:
        templates.advance(self.world)
        return super()._control(call)

    def reset(self) -> None:
        """Forget records, writes and faults; settings and declared custom fields stay."""
        super().reset()
        self.world.forget()
        self._revoked.clear()
        self._hits.clear()
        self._first_user()
        seeding.declare_fields(self.world, self.schema)

    def _first_user(self) -> None:
        fields = {
            "full_name": "Integration User",
            "email_address": "integration@example.com",
            "account_id": str(self.settings["account_id"]),
            "account_permission": "Account Administrator",
            "disabled": False,
        }
        self.world.insert("users", fields, str(self.settings["user_id"]))
