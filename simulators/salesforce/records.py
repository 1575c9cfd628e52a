"""The organisation's records: validated writes, look-ups, deletion rules, stale views, the write log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from simulators.kit import Clock, Store
from simulators.salesforce import bodies, derive, geography, ids
from simulators.salesforce.catalogue import Catalogue, View
from simulators.salesforce.errors import Ambiguous, RowError
from simulators.salesforce.fields import Field, SObject
from simulators.salesforce.index import Index
from simulators.salesforce.values import convert, stamp

Row = dict[str, Any]


@dataclass(frozen=True)
class Origin:
    """The call that a write comes from, for the write log."""

    method: str
    path: str
    allow_save: bool = False
    """``Sforce-Duplicate-Rule-Header: allowSave=true``: save despite an alerting duplicate rule."""


class Records:
    """Everything that reads or writes records goes through here."""

    def __init__(self, store: Store, clock: Clock, settings: dict[str, Any], catalogue: Catalogue) -> None:
        self.store = store
        self.clock = clock
        self.settings = settings
        self.catalogue = catalogue
        self._index = Index()
        self._indexed_for: View | None = None
        self._gone: dict[str, dict[str, None]] = {}

    # --- looking ----------------------------------------------------------------------------------

    @property
    def view(self) -> View:
        """The schema as it is now; the index follows it."""
        view = self.catalogue.view(self.settings)
        if view is not self._indexed_for:
            self._indexed_for = view
            self.reindex()
        return view

    def reindex(self) -> None:
        """Rebuild the index from the store."""
        self._index.clear()
        view = self.catalogue.view(self.settings)
        for type_, fields in view.indexed.items():
            for record in self.store.all(type_):
                self._index.add(type_, fields, record)

    def get(self, type_: str, id_: str) -> Row | None:
        """A live record, not to be changed in place."""
        return self.store.get(type_, id_)

    def find(self, type_: str, field: str, value: Any) -> list[str]:
        """Ids of live records by an indexed field, in order of creation."""
        made = self.catalogue.objects[type_].fields[field]
        return self._index.find(type_, made, value) if self.view else []

    def match(self, one: SObject, made: Field, value: Any) -> list[str]:
        """Ids of live records whose External ID field has a value sent as text or number.

        Raises:
            RowError: the value is not one of the field's type.
        """
        wanted = convert(made, value)
        return [] if wanted is None else self.find(one.name, made.name, wanted)

    def rows(self, type_: str, *, stale: bool = False, deleted: bool = False) -> Iterator[Row]:
        """Records of an object.

        Args:
            type_: canonical object name.
            stale: the version before the current one; records without an earlier version are not seen.
            deleted: the recycle bin as well.
        """
        for record in self.store.all(type_):
            if not stale:
                yield record
            elif (earlier := self.store.previous(type_, record["Id"])) is not None:
                yield earlier
        if deleted:
            for id_ in list(self._gone.get(type_, {})):
                gone = self.store.deleted(type_, id_)
                if gone is not None and self.get(type_, id_) is None:
                    yield gone

    def stamp(self) -> str:
        """Now, as the platform prints it."""
        return stamp(self.clock.now(), self.settings["stamp_precision"])

    def places(self, iso: str | None) -> int | None:
        """Decimal places of a currency; None in single-currency organisations or for an unknown one."""
        if not self.settings["multi_currency"]:
            return None
        iso = iso or self.settings["corporate_currency"]
        return next(
            (int(c["DecimalPlaces"]) for c in self.store.all("CurrencyType") if c["IsoCode"] == iso), None
        )

    # --- writing ----------------------------------------------------------------------------------

    def create(self, one: SObject, body: Any, origin: Origin, *, key: tuple[Field, Any] | None = None) -> str:
        """Insert a record; ``key`` is the External ID of an upsert. Answers the new id.

        Raises:
            RowError: refused.
        """
        self._writable(one)
        changed = bodies.changes(self, one, body, "create", None)
        if key is not None:
            changed[key[0].name] = convert(key[0], key[1])
        new = self.save(one, None, changed, allow_save=origin.allow_save)
        self._log(one, new, origin, body, "create", key)
        return str(new["Id"])

    def update(
        self, one: SObject, id_: str, body: Any, origin: Origin, *, key: tuple[Field, Any] | None = None
    ) -> None:
        """Change a live record.

        Raises:
            RowError: refused, or there is no such live record (404).
        """
        self._writable(one)
        old = self.existing(one, id_)
        changed = bodies.changes(self, one, body, "update", old)
        new = self.save(one, old, changed, allow_save=origin.allow_save)
        self._log(one, new, origin, body, "update", key)

    def upsert(
        self, one: SObject, made: Field, value: Any, body: Any, origin: Origin, *, update_only: bool = False
    ) -> tuple[str, bool]:
        """Update the record with this External ID or create it. Answers its id and whether it is new.

        Raises:
            Ambiguous: several records match; nothing is written.
            RowError: refused, or nothing to update with ``update_only`` (404).
        """
        if isinstance(body, dict) and any(k.lower() == made.name.lower() for k in body):
            message = f"The {made.name} field should not be specified in the sobject data."
            raise RowError("INVALID_FIELD", message, [made.name])
        found = self.match(one, made, value)
        if len(found) > 1:
            raise Ambiguous(found)
        if found:
            self.update(one, found[0], body, origin, key=(made, value))
            return found[0], False
        if update_only:
            raise RowError("NOT_FOUND", "The requested resource does not exist", status=404)
        return self.create(one, body, origin, key=(made, value)), True

    def delete(self, one: SObject, id_: str, origin: Origin) -> None:
        """Move a record and what it owns to the recycle bin.

        Raises:
            RowError: gone already (404 ENTITY_IS_DELETED), unknown (404), or something forbids it.
        """
        self._writable(one)
        record = self.existing(one, id_)
        self._check_lock(record["Id"])
        doomed: dict[tuple[str, str], Row] = {}
        self._collect(one.name, record, doomed)
        self._log(one, record, origin, None, "delete", None)
        for (type_, gone_id), gone in doomed.items():
            self._release(type_, gone_id, doomed)
            self.bury(type_, gone)
        for (type_, _), gone in doomed.items():
            derive.after(self, type_, gone)

    def existing(self, one: SObject, id_: str) -> Row:
        """The live record of an id in either form.

        Raises:
            RowError: 404, saying whether it was deleted or never existed.
        """
        full = ids.normal(id_)
        record = self.get(one.name, full) if full else None
        if record is not None:
            return record
        if full and self.store.deleted(one.name, full) is not None:
            raise RowError("ENTITY_IS_DELETED", "entity is deleted", status=404)
        raise RowError("NOT_FOUND", "The requested resource does not exist", status=404)

    def save(
        self, one: SObject, old: Row | None, changed: Row, *, seed: bool = False, allow_save: bool = True
    ) -> Row:
        """Complete, check and store one record (no log entry).

        Raises:
            RowError: refused.
        """
        # Hidden fields exist all the same: completeness is judged by the whole object.
        whole = self.view.whole[one.name]
        now = self.stamp()
        user = self.settings["run_as"]["Id"]
        if old is not None:
            self._check_lock(old["Id"])
            new = {**old, **changed}
        else:
            new = {name: made.default for name, made in whole.fields.items()}
            new.update({"CreatedDate": now, "CreatedById": user, **changed})
            new["Id"] = changed.get("Id") or self._new_id(whole)
            if "OwnerId" in whole.fields and new["OwnerId"] is None:
                new["OwnerId"] = user
        if "CurrencyIsoCode" in whole.fields:
            self._currency(new, changed)
        self._required(whole, new, changed if old is not None else None)
        derive.before(self, one.name, new, old, set(changed), seed=seed)
        if self.settings["state_country_picklists"]:
            geography.settle(whole, new, set(changed), self.settings)
        self._unique(one, new, changed)
        if not seed:
            self._validation_rules(one, new)
            if not allow_save or self._rule(one).get("action") == "block":
                self._duplicates(one, new, changed)
        stamps = {"LastModifiedDate": now, "LastModifiedById": user, "SystemModstamp": now}
        new.update({k: v for k, v in stamps.items() if not (seed and changed.get(k))})
        self.put(one.name, new, old)
        if not seed:
            derive.after(self, one.name, new)
        return new

    def touch(self, type_: str, new: Row, old: Row, *, system_only: bool = False) -> None:
        """Store a change made by the platform itself: no API write, stamps move.

        Args:
            type_: canonical object name.
            new: the record after the change.
            old: the record before it.
            system_only: only ``SystemModstamp`` moves, as for some system updates.
        """
        now = self.stamp()
        moved = {"SystemModstamp": now} if system_only else {"SystemModstamp": now, "LastModifiedDate": now}
        self.put(type_, {**new, **moved}, old)

    def put(self, type_: str, new: Row, old: Row | None) -> None:
        """Store a version and keep the index right."""
        fields = self.view.indexed.get(type_, ())
        if old is not None:
            self._index.remove(type_, fields, old)
        self._index.add(type_, fields, new)
        self.store.put(type_, new["Id"], new, self.clock.now().isoformat())

    def bury(self, type_: str, record: Row) -> None:
        """Move one record to the recycle bin, whatever refers to it."""
        self._index.remove(type_, self.view.indexed.get(type_, ()), record)
        gone = {**record, "IsDeleted": True, "SystemModstamp": self.stamp()}
        self.store.put(type_, record["Id"], gone, self.clock.now().isoformat())
        self.store.delete(type_, record["Id"])
        self._gone.setdefault(type_, {})[record["Id"]] = None

    def forget(self, type_: str, record: Row) -> None:
        """Take a record out of the index because a seed is about to replace it."""
        self._index.remove(type_, self.view.indexed.get(type_, ()), record)

    def snapshot(self) -> Any:
        """What ``restore`` returns to."""
        return self.store.snapshot()

    def restore(self, snapshot: Any) -> None:
        """Undo everything since the snapshot, write log included."""
        self.store.restore(snapshot)
        self.reindex()

    def clear(self) -> None:
        """Forget all records."""
        self._gone.clear()
        self._index.clear()

    # --- rules ------------------------------------------------------------------------------------

    def _writable(self, one: SObject) -> None:
        if not one.writable or one.name in self.settings["read_only_objects"]:
            message = "insufficient access rights on object id"
            raise RowError("INSUFFICIENT_ACCESS_OR_READONLY", message, status=403)

    def _check_lock(self, id_: str) -> None:
        left = self.settings["locked_rows"].get(id_, self.settings["locked_rows"].get(id_[:15], 0))
        if left > 0:
            self.settings["locked_rows"][id_ if id_ in self.settings["locked_rows"] else id_[:15]] = left - 1
            message = f"unable to obtain exclusive access to this record or 1 records: {id_}"
            raise RowError("UNABLE_TO_LOCK_ROW", message)

    def _new_id(self, one: SObject) -> str:
        while True:
            id_ = ids.make(one.prefix, self.store.number("id:" + one.name))
            if self.get(one.name, id_) is None and self.store.deleted(one.name, id_) is None:
                return id_

    def _currency(self, new: Row, changed: Mapping[str, Any]) -> None:
        new["CurrencyIsoCode"] = new.get("CurrencyIsoCode") or self.settings["corporate_currency"]
        if changed.get("CurrencyIsoCode") and self.places(new["CurrencyIsoCode"]) is None:
            message = f"Currency ISO Code: bad value for restricted picklist field: {new['CurrencyIsoCode']}"
            raise RowError("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, ["CurrencyIsoCode"])

    @staticmethod
    def _required(one: SObject, new: Mapping[str, Any], among: Mapping[str, Any] | None) -> None:
        names = one.fields if among is None else among
        missing = sorted(
            n for n in names if n in one.fields and one.fields[n].required and new.get(n) is None
        )
        if missing:
            message = f"Required fields are missing: [{', '.join(missing)}]"
            raise RowError("REQUIRED_FIELD_MISSING", message, missing)

    def _unique(self, one: SObject, new: Row, changed: Mapping[str, Any]) -> None:
        for made in self.view.indexed[one.name]:
            value = new.get(made.name)
            if not made.unique or value is None or made.name not in changed:
                continue
            others = [i for i in self.find(one.name, made.name, value) if i != new["Id"]]
            if others:
                message = (
                    f"duplicate value found: {made.name} duplicates value on record with id: {others[0]}"
                )
                raise RowError("DUPLICATE_VALUE", message, [made.name])

    def _validation_rules(self, one: SObject, new: Mapping[str, Any]) -> None:
        for rule in self.settings["validation_rules"]:
            if rule["object"] == one.name and all(new.get(f) == v for f, v in rule["when"].items()):
                raise RowError("FIELD_CUSTOM_VALIDATION_EXCEPTION", rule["message"], rule.get("fields", ()))

    def _rule(self, one: SObject) -> Mapping[str, Any]:
        rule: Mapping[str, Any] = self.settings["duplicate_rules"].get(one.name, {})
        return rule

    def _duplicates(self, one: SObject, new: Row, changed: Mapping[str, Any]) -> None:
        fields = self._rule(one).get("fields", ())
        if not fields or not any(f in changed for f in fields) or any(new.get(f) is None for f in fields):
            return
        found: set[str] | None = None
        for name in fields:
            same = set(self.find(one.name, name, new[name])) - {new["Id"]}
            found = same if found is None else found & same
        if found:
            raise RowError("DUPLICATES_DETECTED", "Use one of these records?")

    def _collect(self, type_: str, record: Row, doomed: dict[tuple[str, str], Row]) -> None:
        """What deleting a record takes with it."""
        doomed[type_, record["Id"]] = record
        for child, made in self.view.references.get(type_, ()):
            if made.on_delete == "clear":
                continue
            for id_ in self.find(child.name, made.name, record["Id"]):
                row = self.get(child.name, id_)
                if row is None or (child.name, id_) in doomed:
                    continue
                won = type_ == "Account" and child.name == "Opportunity" and row["IsWon"]
                if won or made.on_delete == "restrict":
                    what = "closed won opportunities" if won else child.plural.lower()
                    message = (
                        f"Your attempt to delete {record.get('Name') or record['Id']} could not be completed "
                        f"because it is associated with the following {what}.: {row.get('Name') or id_}"
                    )
                    raise RowError("DELETE_FAILED", message)
                self._collect(child.name, row, doomed)

    def _release(self, type_: str, id_: str, doomed: Mapping[tuple[str, str], Row]) -> None:
        """Clear look-ups to a record that is about to go."""
        for child, made in self.view.references.get(type_, ()):
            for child_id in self.find(child.name, made.name, id_):
                row = self.get(child.name, child_id)
                if row is not None and (child.name, child_id) not in doomed:
                    self.touch(child.name, {**row, made.name: None}, row, system_only=True)

    def _log(
        self, one: SObject, new: Row, origin: Origin, body: Any, operation: str, key: tuple[Field, Any] | None
    ) -> None:
        keys = [
            new.get(f.name)
            for f in self.view.indexed[one.name]
            if f.external_id and new.get(f.name) is not None
        ]
        value = key[1] if key is not None else (keys[0] if keys else None)
        self.store.log(
            at=self.clock.now().isoformat(),
            method=origin.method,
            path=origin.path,
            type=one.name,
            id=new["Id"],
            key=None if value is None else str(value),
            body=body,
            operation=operation,
        )
