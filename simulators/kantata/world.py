"""The account's records with the indexes that keep lookups fast, and the one place that changes them."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode

from simulators.kantata import values
from simulators.kantata.schema import RESOURCES
from simulators.kit import Call, FaultKind, Record, Simulator

Keys = Callable[[Record], Iterable[str | None]]


def _by(*names: str) -> dict[str, Keys]:
    """Indexes on plain attributes (one key each; a list attribute gives one key per element)."""

    def keys(name: str) -> Keys:
        def of(record: Record) -> Iterable[str | None]:
            value = record.get(name)
            return value if isinstance(value, list) else (value,)

        return of

    return {name: keys(name) for name in names}


_LINES = _by("workspace_id", "story_id", "invoice_id", "recent_submission_id")
_INDEXES: Final[dict[str, dict[str, Keys]]] = {
    "workspaces": _by("workspace_group_ids", "rate_card_id"),
    "stories": _by("workspace_id", "parent_id"),
    "assignments": _by("story_id", "resource_id"),
    "workspace_resources": _by("workspace_id"),
    "workspace_allocations": _by("workspace_id", "workspace_resource_id"),
    "resource_requests": _by("resource_id"),
    "participations": _by("workspace_id"),
    "status_reports": _by("workspace_id"),
    "project_template_assignments": _by("project_template_id"),
    "time_entries": _LINES,
    "expenses": _LINES,
    "timesheet_submissions": _by("workspace_id"),
    "expense_report_submissions": _by("workspace_id"),
    "resolutions": _by("target_id"),
    "billing_milestones": _by("workspace_id", "story_id", "invoice_id"),
    "project_accounting_records": _by("workspace_id"),
    "invoices": _by("workspace_ids"),
    "external_payments": _by("workspace_id"),
    "fixed_fee_items": _by("invoice_id"),
    "additional_items": _by("invoice_id"),
    "rate_cards": _by("rate_card_set_id"),
    "rate_card_set_versions": _by("rate_card_set_id"),
    "rate_card_versions": _by("rate_card_id", "rate_card_set_version_id"),
    "rate_card_roles": _by("rate_card_version_id"),
    "custom_fields": _by("custom_field_set_id"),
    "custom_field_choices": _by("custom_field_id"),
    "external_references": {
        "subject": lambda r: (f"{r['subject_type']}/{r['subject_id']}",),
        "ref": lambda r: (f"{r['subject_type']}/{r['service_name']}/{r['service_model_ref']}",),
    },
    "custom_field_values": {
        "subject": lambda r: (f"{r['subject_type']}/{r['subject_id']}",),
        **_by("custom_field_id"),
    },
}


class World:
    """Records of one account.

    Stored records are replaced, never edited in place, so what a reader holds does not change under it.
    """

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        simulator.store.frozen = True
        self.version = 0
        """Moves with every change; what was computed for a version may be reused while it stands."""
        self.versions: dict[str, int] = {}
        """The same by record type."""
        self.derived: dict[tuple[str, str], tuple[Record, Any, Record]] = {}
        """What was worked out about a record, and for which versions it holds (see ``rules.derived``)."""
        self.call: Call | None = None
        """The call being handled, None while seeding (then no events are made)."""
        self.recent: dict[tuple[str, str], str] = {}
        """When a record was last written or deleted through the API: what a lagging replica misses."""
        self.jobs: list[Any] = []
        """Templates being applied (see ``templates.Job``)."""
        self._index: dict[tuple[str, str], dict[str, dict[str, None]]] = {}
        self._held: list[Record] = []

    @property
    def settings(self) -> dict[str, Any]:
        """The account's settings."""
        return self.simulator.settings

    @property
    def me(self) -> str:
        """Id of the user whose token is used."""
        return str(self.settings["user_id"])

    def now(self) -> str:
        """The current instant as stored."""
        return values.stamp(self.simulator.clock.now())

    def today(self) -> str:
        """The current date (UTC)."""
        return self.now()[:10]

    # --- reading --------------------------------------------------------------------------------

    def get(self, type_: str, id_: str | None) -> Record | None:
        """The live record, or None."""
        return None if id_ is None else self.simulator.store.get(type_, id_)

    def must(self, type_: str, id_: str) -> Record:
        """The live record of an id that was checked before."""
        record = self.simulator.store.get(type_, id_)
        if record is None:
            raise KeyError(f"{type_} {id_}")
        return record

    def all(self, type_: str) -> Iterator[Record]:
        """Every live record of a type."""
        return self.simulator.store.all(type_)

    def find(self, type_: str, index: str, value: str) -> list[Record]:
        """Records whose indexed attribute has (or contains) ``value``, oldest first."""
        ids = self._index.get((type_, index), {}).get(value, {})
        return [self.must(type_, id_) for id_ in ids]

    def indexed(self, type_: str, index: str) -> bool:
        """Whether ``find`` may be used with that index."""
        return index in _INDEXES.get(type_, {})

    def has(self, type_: str, index: str, value: str) -> bool:
        """Whether ``find`` would find anything."""
        return bool(self._index.get((type_, index), {}).get(value))

    def references(self, type_: str, id_: str) -> list[Record]:
        """External references of a record."""
        return self.find("external_references", "subject", f"{RESOURCES[type_].subject}/{id_}")

    def field_values(self, type_: str, id_: str) -> list[Record]:
        """Custom field values of a record."""
        subject = RESOURCES[type_].subject or RESOURCES[type_].singular
        return self.find("custom_field_values", "subject", f"{subject}/{id_}")

    def as_seen(self, type_: str, id_: str, *, stale: bool) -> Record | None:
        """The record as a reader sees it; a stale reader misses what was written a moment ago."""
        record = self.get(type_, id_)
        if not stale or not self._lagging(type_, id_):
            return record
        if record is None:
            return self.simulator.store.deleted(type_, id_)
        return self.simulator.store.previous(type_, id_)

    def listed(self, type_: str, *, stale: bool) -> list[Record]:
        """Every record of a type as a reader sees it."""
        if not stale:
            return list(self.all(type_))
        ids = [r["id"] for r in self.all(type_)]
        ids += [i for t, i in self.recent if t == type_ and self.get(t, i) is None]
        seen = (self.as_seen(type_, id_, stale=True) for id_ in ids)
        return [r for r in seen if r is not None]

    def _lagging(self, type_: str, id_: str) -> bool:
        at = self.recent.get((type_, id_))
        lag = timedelta(seconds=self.settings["stale_seconds"])
        return at is not None and at > values.stamp(self.simulator.clock.now() - lag)

    # --- changing -------------------------------------------------------------------------------

    def insert(self, type_: str, fields: Record, id_: str | None = None) -> Record:
        """Store a new record with its id and stamps, and announce it."""
        resource, now = RESOURCES[type_], self.now()
        if id_ is None:
            id_ = str(self.simulator.store.number(resource.series, resource.first_id))
        else:
            self.simulator.store.keep_above(resource.series, int(id_))
        record: Record = {"id": id_}
        record.update({s: now for s in ("created_at", "updated_at") if s in resource.fields})
        record.update(fields)
        self._put(type_, record)
        self._announce(type_, "created", None, record)
        return record

    def change(self, type_: str, id_: str, fields: Record, *, touch: bool = True) -> Record:
        """Replace attributes of a record. ``touch`` moves ``updated_at`` and announces the change."""
        before = self.must(type_, id_)
        after = {**before, **fields}
        if touch and "updated_at" in RESOURCES[type_].fields:
            after["updated_at"] = self.now()
        self._put(type_, after)
        if touch:
            self._announce(type_, "updated", before, after)
        return after

    def remove(self, type_: str, id_: str) -> None:
        """Delete a record for good, with its references and custom field values."""
        resource = RESOURCES[type_]
        record = self.must(type_, id_)
        if resource.subject:
            for reference in self.references(type_, id_):
                self.remove("external_references", reference["id"])
        for value in self.field_values(type_, id_):
            self.remove("custom_field_values", value["id"])
        self._unindex(type_, record)
        self.simulator.store.delete(type_, id_, self.now())
        self.derived.pop((type_, id_), None)
        self._changed(type_, id_)
        self._announce(type_, "deleted", record, None)

    def forget(self) -> None:
        """Drop indexes and held events (the store was cleared)."""
        self._index.clear()
        self.derived.clear()
        self._held.clear()
        self.jobs.clear()
        self.recent.clear()
        self.version += 1

    def _put(self, type_: str, record: Record) -> None:
        id_ = record["id"]
        old = self.get(type_, id_)
        # A copy: the caller may go on working with the values it passed in.
        record = copy.copy(record)
        self.simulator.store.put(type_, id_, record, self.now())
        indexes = _INDEXES.get(type_)
        if indexes is not None:
            for name, of in indexes.items():
                before = [] if old is None else list(of(old))
                after = list(of(record))
                if before == after:
                    continue
                for key in before:
                    if key is not None:
                        self._index[type_, name][key].pop(id_, None)
                for key in after:
                    if key is not None:
                        self._index.setdefault((type_, name), {}).setdefault(key, {})[id_] = None
        self._changed(type_, id_)

    def _unindex(self, type_: str, record: Record) -> None:
        for name, of in _INDEXES.get(type_, {}).items():
            for key in of(record):
                if key is not None:
                    self._index[type_, name][key].pop(record["id"], None)

    def _changed(self, type_: str, id_: str) -> None:
        self.version += 1
        self.versions[type_] = self.versions.get(type_, 0) + 1
        if self.call is not None:
            self.recent[type_, id_] = self.now()

    # --- subscribed events ------------------------------------------------------------------------

    def _announce(self, type_: str, what: str, before: Record | None, after: Record | None) -> None:
        resource = RESOURCES[type_]
        record = after or before
        if resource.event is None or record is None or self.call is None:
            return
        before_, after_ = copy.deepcopy(before), copy.deepcopy(after)
        old, new = before_ or {}, after_ or {}
        now = self.now()
        event: Record = {
            "event_type": f"{resource.event}:{what}",
            "account_id": str(self.settings["account_id"]),
            "user_id": self.me,
            "subject_id": record["id"],
            "subject_type": resource.subject,
            "subject_changed_at": now,
            "previous_payload": before_,
            "current_payload": after_,
            "payload_changes": {
                k: [old.get(k), new.get(k)] for k in {**old, **new} if old.get(k) != new.get(k)
            },
        }
        if self._fault(FaultKind.REORDER_EVENT):
            # Held back: it appears, later than the change it reports, after the next event.
            self._held.append(event)
            return
        self._publish(event)
        held, self._held = self._held, []
        for late in held:
            self._publish(late)

    def _publish(self, event: Record) -> None:
        stored = self.insert("subscribed_events", event)
        if fault := self._duplicated():
            if fault.get("as_new"):
                self.insert("subscribed_events", event)
            else:
                self.change("subscribed_events", stored["id"], {"delivered": 2}, touch=False)

    def _target(self, call: Call) -> str:
        return call.raw_path + (f"?{urlencode(call.query)}" if call.query else "")

    def _fault(self, kind: FaultKind) -> bool:
        call = self.call
        if call is None or call.faults is None:
            return False
        return call.faults.take(call.method, self._target(call), call.raw, kind) is not None

    def _duplicated(self) -> dict[str, Any] | None:
        call = self.call
        if call is None or call.faults is None:
            return None
        kind = FaultKind.DUPLICATE_EVENT
        fault = call.faults.take(call.method, self._target(call), call.raw, kind)
        return None if fault is None else {"as_new": False, **fault.options}


def request_id() -> str:
    """A value for ``x-request-id`` (observed on the vendor's answers, undocumented)."""
    return str(uuid.uuid4())
