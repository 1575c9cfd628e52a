"""The account's data: records with the indexes that keep 100,000 time entries usable."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from simulators.kit import Clock, Record, Store
from simulators.netsuite import catalogue_entities, catalogue_lists, catalogue_transactions
from simulators.netsuite.schema import Field, RecordType, with_custom

CATALOGUE: dict[str, RecordType] = {
    t.name: t for t in (*catalogue_lists.TYPES, *catalogue_entities.TYPES, *catalogue_transactions.TYPES)
}
"""Every record type by name."""

Key = tuple[str, str]
"""Record type and internal id."""


def stamp(at: datetime) -> str:
    """An instant as records carry it: UTC, whole seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def fine(at: datetime) -> str:
    """An instant in UTC with microseconds, of fixed width, so that text order is time order."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def ref_id(value: Any) -> str | None:
    """The id inside a stored reference or enumeration."""
    return value.get("id") if isinstance(value, dict) else None


def dec(value: Any) -> Decimal:
    """A stored number, nothing counting as zero."""
    return value if isinstance(value, Decimal) else Decimal(str(value)) if value is not None else Decimal(0)


class Books:
    """Records of one account with lookups by external id, by name and by who refers to whom."""

    def __init__(self, store: Store, clock: Clock, settings: dict[str, Any]) -> None:
        self.store = store
        self.clock = clock
        self.settings = settings
        self.custom: dict[str, list[dict[str, Any]]] = {}
        self.types: dict[str, RecordType] = dict(CATALOGUE)
        self.at = clock.now()
        """The instant of the call being served; every change of one call carries it."""
        self.seeding = False
        """While seeding, period locks do not count, given names stay, orders generate no arrangements."""
        self.clear()

    def clear(self) -> None:
        """Forget the indexes (the store is cleared by its owner)."""
        self.external: dict[tuple[str, str], Key] = {}
        self.names: dict[tuple[str, str], Key] = {}
        self.referrers: dict[Key, dict[Key, int]] = {}
        self.applied: dict[str, dict[Key, Decimal]] = {}
        """Invoice id to the payments and credits applied to it; credit memo id to its refunds."""
        self.versions: dict[Key, int] = {}
        self.deleted_at: dict[Key, str] = {}
        self.last_change: str | None = None
        """The instant of the latest change of any record."""
        self.shared: dict[str, Record] = {}
        """One object per reference: an account of 100,000 lines has few different ones."""
        self.accepted: datetime | None = None
        """When the job was taken on whose work is being done; None for a direct call."""
        self.visible_from: dict[Key, str] = {}
        """Records that SuiteQL shows only from an instant on."""

    # --- types --------------------------------------------------------------------------------

    def define(self, custom: dict[str, list[dict[str, Any]]]) -> None:
        """Add custom fields (``POST /_sim/schema``).

        Raises:
            ValueError: unknown record type, or a field that cannot be.
        """
        unknown = set(custom) - set(CATALOGUE)
        if unknown:
            raise ValueError(f"unknown record types {sorted(unknown)}")
        merged = dict(self.custom)
        for type_, specs in custom.items():
            names = {s["name"] for s in specs}
            merged[type_] = [s for s in merged.get(type_, []) if s["name"] not in names] + list(specs)
        types = {name: with_custom(CATALOGUE[name], merged.get(name, [])) for name in CATALOGUE}
        self.custom, self.types = merged, types

    def type(self, name: str) -> RecordType:
        """The record type with its custom fields."""
        return self.types[name]

    def series(self, type_: str) -> str:
        """Where ids of a type come from: entities, transactions and items share one series each."""
        return self.types[type_].family

    def external_family(self, type_: str) -> str:
        """Within what an external id is unique."""
        family = self.types[type_].family
        if family == "entity" and not self.settings["entity_external_ids_shared"]:
            return type_
        return family

    # --- reading ------------------------------------------------------------------------------

    def get(self, type_: str, id_: str | None) -> Record | None:
        """The live record, or None."""
        return None if id_ is None else self.store.get(type_, id_)

    def need(self, type_: str, id_: str) -> Record:
        """The live record that must be there. Raises ``KeyError``."""
        found = self.store.get(type_, id_)
        if found is None:
            raise KeyError(f"{type_} {id_}")
        return found

    def by_external(self, type_: str, external: str) -> str | None:
        """The id of the record of this type with an external id."""
        key = self.external.get((self.external_family(type_), external))
        return key[1] if key is not None and key[0] == type_ else None

    def entity(self, id_: str | None) -> tuple[str, Record] | None:
        """A customer or job by its id: entities share their id space."""
        for type_ in ("customer", "job"):
            found = self.get(type_, id_)
            if found is not None:
                return type_, found
        return None

    def customer_of(self, id_: str | None) -> Record | None:
        """The customer behind an entity id: the customer itself, or the one above the job."""
        found = self.entity(id_)
        while found is not None and found[0] == "job":
            found = self.entity(ref_id(found[1].get("parent")))
        return None if found is None else found[1]

    def referring(self, type_: str, id_: str, *types: str) -> Iterator[Key]:
        """Who refers to a record, optionally only of some types."""
        for key in list(self.referrers.get((type_, id_), ())):
            if not types or key[0] in types:
                yield key

    def subsidiaries_of(self, customer_id: str) -> set[str]:
        """Legal entities a customer may trade with: its own and those of its relationships."""
        found = {
            ref_id(self.need(*key).get("subsidiary"))
            for key in self.referring("customer", customer_id, "customerSubsidiaryRelationship")
        }
        found.add(ref_id(self.need("customer", customer_id).get("subsidiary")))
        return {s for s in found if s is not None}

    def currencies_of(self, customer: Record) -> set[str]:
        """Currencies a customer may trade in: its primary one and its list."""
        found = {ref_id(line.get("currency")) for line in lines(customer, "currencyList")}
        found.add(ref_id(customer.get("currency")))
        return {c for c in found if c is not None}

    def precision(self, currency_id: str | None) -> int:
        """Decimals of a currency (2 unless the currency says otherwise)."""
        found = self.get("currency", currency_id)
        return int(found["currencyPrecision"]) if found and "currencyPrecision" in found else 2

    def today(self) -> date:
        """Today in the account's time zone."""
        return self.at.astimezone(ZoneInfo(self.settings["account_time_zone"])).date()

    # --- writing ------------------------------------------------------------------------------

    def new_id(self, type_: str) -> str:
        """The next internal id."""
        return str(self.store.number("id:" + self.series(type_)))

    def save(self, type_: str, id_: str, record: Record, *, touch: bool = True) -> None:
        """Store a record and bring the indexes up to date.

        Args:
            type_: record type.
            id_: internal id.
            record: the whole record.
            touch: whether ``lastModifiedDate`` moves.
        """
        key = (type_, id_)
        old = self.store.get(type_, id_)
        if old is not None:
            self._forget(key, old)
        if touch:
            record["lastModifiedDate"] = stamp(self.at)
        self._share(record)
        self.store.put(type_, id_, record, fine(self.at))
        self._learn(key, record)
        self.versions[key] = self.versions.get(key, 0) + 1
        self.last_change = fine(self.at)

    def _share(self, record: Record) -> None:
        for name, value in record.items():
            if isinstance(value, dict) and len(value) == 1 and isinstance(value.get("id"), str):
                record[name] = self.shared.setdefault(value["id"], value)

    def change(self, type_: str, id_: str, touch: bool = True, **fields: Any) -> None:
        """Set fields of a record as an effect of another one's change; None removes."""
        old = self.need(type_, id_)
        new = {k: v for k, v in {**old, **fields}.items() if v is not None}
        if new != old:
            self.save(type_, id_, new, touch=touch)

    def remove(self, type_: str, id_: str) -> None:
        """Delete a record."""
        key = (type_, id_)
        self._forget(key, self.need(type_, id_))
        self.store.delete(type_, id_, fine(self.at))
        self.deleted_at[key] = self.last_change = fine(self.at)
        self.versions[key] = self.versions.get(key, 0) + 1

    def reindex(self) -> None:
        """Find out anew who refers to whom (after seeding, where a reference may precede its target)."""
        self.referrers.clear()
        for type_ in self.types:
            for record in self.store.all(type_):
                for target in self._targets(type_, record):
                    counts = self.referrers.setdefault(target, {})
                    counts[type_, record["id"]] = counts.get((type_, record["id"]), 0) + 1

    def _learn(self, key: Key, record: Record) -> None:
        external = record.get("externalId")
        if external is not None:
            self.external[(self.external_family(key[0]), external)] = key
        name = record.get("entityId")
        if name is not None:
            self.names[(key[0], name.casefold())] = key
        for target in self._targets(key[0], record):
            counts = self.referrers.setdefault(target, {})
            counts[key] = counts.get(key, 0) + 1

    def _forget(self, key: Key, record: Record) -> None:
        external = record.get("externalId")
        if external is not None:
            self.external.pop((self.external_family(key[0]), external), None)
        name = record.get("entityId")
        if name is not None and self.names.get((key[0], name.casefold())) == key:
            del self.names[(key[0], name.casefold())]
        for target in self._targets(key[0], record):
            counts = self.referrers.get(target, {})
            left = counts.get(key, 0) - 1
            if left > 0:
                counts[key] = left
            else:
                counts.pop(key, None)

    def _targets(self, type_: str, record: Record) -> Iterator[Key]:
        yield from self._refs(self.types[type_].fields, record)

    def _refs(self, fields: dict[str, Field], record: Record) -> Iterator[Key]:
        for name, value in record.items():
            spec = fields.get(name)
            if spec is None:
                continue
            if spec.kind == "ref":
                target = self.resolve(spec, ref_id(value))
                if target is not None:
                    yield target
            elif spec.kind == "sublist" and spec.lines:
                for line in value.get("items", ()):
                    if line.get("apply", True):
                        yield from self._refs(spec.lines, line)

    def resolve(self, spec: Field, id_: str | None) -> Key | None:
        """The record that a reference's id means, or None (unknown, or a list without records)."""
        for target in spec.targets:
            if id_ is not None and target in self.types and self.store.get(target, id_) is not None:
                return target, id_
        return None


def lines(record: Record, name: str) -> list[Record]:
    """The lines of a sublist of a stored record."""
    found = record.get(name)
    return list(found.get("items", ())) if isinstance(found, dict) else []
