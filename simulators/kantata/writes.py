"""Creates, updates and deletes: everything is checked before anything is stored.

Bulk creates are all or nothing by default: every row is checked first, and nothing after that can fail,
so no copy of the account has to be kept to return to. The vendor does not document partial failure.
"""

from __future__ import annotations

from typing import Any

from simulators.kantata.bodies import rows_of, wrapped
from simulators.kantata.custom import check_inline, set_values
from simulators.kantata.envelope import View, single
from simulators.kantata.problems import Problem, Refused, not_found, problem, system
from simulators.kantata.queries import Queries
from simulators.kantata.references import check_nested, key_of, upsert
from simulators.kantata.rules import Draft, clean, plain, rules_of
from simulators.kantata.schema import Resource
from simulators.kantata.world import World
from simulators.kit import Answer, Call, Record


class Writes:
    """The write side of one account."""

    def __init__(self, world: World, queries: Queries) -> None:
        self.world = world
        self.queries = queries

    def prepare(self, resource: Resource, row: Record, current: Record | None) -> Draft:
        """Check one row. Raises ``Refused`` (422) with everything that is wrong with it."""
        draft = Draft(resource, row, current)
        clean(self.world, draft)
        check_nested(draft)
        if resource.name == "workspaces":
            check_inline(self.world, draft)
        rules_of(resource.name).check(self.world, draft)
        draft.problems.refuse()
        return draft

    def commit(self, draft: Draft) -> Record:
        """Store a checked row with all that comes with it."""
        world, resource = self.world, draft.resource
        if draft.current is None:
            record = world.insert(resource.name, draft.fields)
        else:
            record = world.change(resource.name, draft.current["id"], draft.fields)
        id_ = record["id"]
        nested = draft.extra.get("external_reference")
        if nested is not None and resource.subject:
            upsert(world, resource.subject, id_, nested)
        if resource.name == "workspaces":
            set_values(world, resource.name, id_, draft.extra.get("custom_fields") or [])
        rules_of(resource.name).after(world, draft, record)
        return world.must(resource.name, id_)

    def log(
        self, call: Call, type_: str, id_: str, body: Any, operation: str, key: str | None = None
    ) -> None:
        """Log one accepted write."""
        row = plain(body)
        known = row if isinstance(row, dict) else None
        self.world.simulator.store.log(
            at=self.world.now(),
            method=call.method,
            path=call.path,
            type=type_,
            id=id_,
            key=key or key_of(self.world, type_, id_, known),
            body=row,
            operation=operation,
        )

    def create(self, call: Call, resource: Resource) -> Answer:
        """``POST /things``, one row or many."""
        view = self.view(call, resource)
        rows, bulk = rows_of(call, resource)
        drafts: list[Draft] = []
        problems: list[Problem] = []
        for n, row in enumerate(rows):
            try:
                drafts.append(self.prepare(resource, row, None))
            except Refused as refused:
                problems += [{**p, "index": n} for p in refused.problems] if bulk else refused.problems
        if bulk:
            problems += _twice(self.world, drafts)
        by_row = bulk and self.world.settings["bulk_failure"] == "rows"
        if problems and not (by_row and drafts):
            raise Refused(422, [{k: v for k, v in p.items() if k != "index"} for p in problems])
        made: list[Record] = []
        for draft in drafts:
            record = self.commit(draft)
            self.log(call, resource.name, record["id"], draft.row, "create")
            made.append(record)
        # What a later row changed in an earlier record is in the answer, too.
        made = [self.world.must(resource.name, r["id"]) for r in made]
        answer = single(self.world, resource, made, view)
        if problems:
            answer.body["errors"] = problems
        return answer

    def update(self, call: Call, resource: Resource, id_: str) -> Answer:
        """``PUT /things/{id}``."""
        view = self.view(call, resource)
        current = self.reachable(resource, id_)
        row = wrapped(call, resource.singular)
        record = self.commit(self.prepare(resource, row, current))
        self.log(call, resource.name, id_, row, "update")
        return single(self.world, resource, [record], view)

    def delete(self, call: Call, resource: Resource, id_: str) -> Answer:
        """``DELETE /things/{id}``: for good, 204."""
        record = self.reachable(resource, id_)
        if why := rules_of(resource.name).refuse_delete(self.world, record):
            raise system(422, why)
        self.drop(call, resource, record)
        return Answer(204)

    def drop(self, call: Call, resource: Resource, record: Record) -> None:
        """Delete a record that may be deleted, and log it."""
        key = record.get("service_model_ref") or key_of(self.world, resource.name, record["id"], None)
        rules_of(resource.name).before_delete(self.world, record)
        self.world.remove(resource.name, record["id"])
        self.log(call, resource.name, record["id"], None, "delete", key)

    def reachable(self, resource: Resource, id_: str) -> Record:
        """The record a write names; archived projects can be written to, hidden ones not."""
        record = self.world.get(resource.name, id_)
        hidden = {str(w) for w in self.world.settings["hidden_workspace_ids"]}
        place = id_ if resource.name == "workspaces" else (record or {}).get("workspace_id")
        if record is None or place in hidden:
            raise not_found(resource.singular.replace("_", " ").capitalize())
        return record

    def view(self, call: Call, resource: Resource) -> View:
        """What the answer to a write shows."""
        self.queries.params(call, resource, listing=False)
        return self.queries.view(call, resource)


def _twice(world: World, drafts: list[Draft]) -> list[Problem]:
    """Values of unique custom fields that occur twice in one bulk call."""
    found: list[Problem] = []
    seen: set[tuple[str, str]] = set()
    for draft in list(drafts):
        for field_id, value in draft.extra.get("custom_fields") or []:
            unique = world.must("custom_fields", field_id).get("unique_constraint")
            if unique and (field_id, str(value)) in seen:
                found.append(problem(f"custom field {field_id} has already been taken", "custom_fields"))
                if draft in drafts:
                    drafts.remove(draft)
            seen.add((field_id, str(value)))
    return found
