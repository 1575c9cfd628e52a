"""What is particular to a record type, hooked into the common pipeline of reads and writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from simulators.kantata import values
from simulators.kantata.problems import Problems
from simulators.kantata.schema import RESOURCES, Field, Resource
from simulators.kantata.world import World
from simulators.kit import Record


@dataclass
class Draft:
    """One row of a write, checked but not yet stored."""

    resource: Resource
    row: Record
    """As sent."""
    current: Record | None
    """The stored record that an update changes."""
    fields: Record = field(default_factory=dict)
    """What will be stored."""
    extra: Record = field(default_factory=dict)
    """What is acted upon but not stored: template keys, nested records."""
    problems: Problems = field(default_factory=Problems)

    def get(self, name: str) -> Any:
        """The attribute as it will be: from this row, else as stored."""
        if name in self.fields:
            return self.fields[name]
        return (self.current or {}).get(name)

    def default(self, **fields: Any) -> None:
        """Values of a create for attributes that were not sent (or sent empty)."""
        if self.current is None:
            for name, value in fields.items():
                if self.fields.get(name) is None:
                    self.fields[name] = value


class Rules:
    """Hooks of a record type; the defaults do nothing."""

    depends: tuple[str, ...] = ()
    """Record types that a costly ``derive`` looks at: while they and the record stand, its result does."""

    def check(self, world: World, draft: Draft) -> None:
        """Look for problems and complete the draft. Must not write."""

    def after(self, world: World, draft: Draft, record: Record) -> None:
        """Side effects of an accepted write."""

    def refuse_delete(self, world: World, record: Record) -> str | None:
        """Why the record cannot be deleted, or None."""
        return None

    def before_delete(self, world: World, record: Record) -> None:
        """Delete or detach what depends on the record."""

    def derive(self, world: World, record: Record) -> Record:
        """Attributes worked out when answering."""
        return {}

    def links(self, world: World, record: Record, name: str) -> list[str] | None:
        """Ids of a to-many association, or None to use the stored list."""
        return None


REGISTRY: Final[dict[str, Rules]] = {}


def rules_of(type_: str) -> Rules:
    """The hooks of a record type."""
    return REGISTRY.get(type_, _DEFAULT)


_DEFAULT: Final = Rules()


def derived(world: World, type_: str, record: Record) -> Record:
    """Attributes worked out when answering, remembered where that is costly."""
    rules = rules_of(type_)
    if not rules.depends:
        return rules.derive(world, record)
    state = (tuple(world.versions.get(name, 0) for name in rules.depends), repr(world.settings))
    held = world.derived.get((type_, record["id"]))
    if held is None or held[0] is not record or held[1] != state:
        held = (record, state, rules.derive(world, record))
        world.derived[type_, record["id"]] = held
    return held[2]


def ids(records: list[Record]) -> list[str]:
    """Ids of records."""
    return [r["id"] for r in records]


def plain(value: Any) -> Any:
    """A nested value with decimals as text, so that it can be answered as JSON."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value


_READERS: Final = {
    "own_id": values.identifier,
    "id": values.identifier,
    "text": values.text,
    "int": values.integer,
    "decimal": values.decimal,
    "bool": values.boolean,
    "date": values.day,
    "instant": values.instant,
    "currency": values.currency,
}


def read_value(one: Field, value: Any) -> Any:
    """A sent value as it is stored.

    Raises:
        BadValue: it is not of the attribute's type.
    """
    if one.kind == "any":
        return plain(value)
    if one.kind == "list":
        if not isinstance(value, list):
            raise values.BadValue("is not a list")
        return plain(value)
    if one.kind == "ids":
        if not isinstance(value, list):
            raise values.BadValue("is not a list of ids")
        return list(dict.fromkeys(values.identifier(v) for v in value))
    if one.kind == "choice":
        if value not in one.choices:
            raise values.BadValue(f"is not included in the list: {', '.join(one.choices)}")
        return value
    return _READERS[one.kind](value)


def clean(world: World, draft: Draft) -> None:
    """Read every attribute of the row into the draft, noting unknown, missing and malformed ones."""
    creating = draft.current is None
    writable = {f.name: f for f in draft.resource.writable(creating=creating)}
    for name, value in draft.row.items():
        one = writable.get(name)
        if one is None:
            if world.settings["unknown_attributes"] == "refuse":
                draft.problems.add(name, f"{name} is not an attribute that can be set")
            continue
        blank = value is None or value == ""
        if blank and one.required:
            continue
        try:
            read = None if blank else read_value(one, value)
        except values.BadValue as bad:
            draft.problems.add(name, f"{label(name)} {bad}")
            continue
        if missing := unknown_references(world, one, read):
            draft.problems.add(name, f"{label(name)} does not exist: {', '.join(missing)}")
            continue
        (draft.fields if one.stored else draft.extra)[name] = read
    for one in writable.values():
        absent = draft.row.get(one.name) in (None, "", [])
        if one.required and absent and (creating or one.name in draft.row or not one.create):
            draft.problems.add(one.name, f"{label(one.name)} can't be blank")


def unknown_references(world: World, one: Field, read: Any) -> list[str]:
    """The ids in a value that point to no live record."""
    if one.target is None or read is None:
        return []
    wanted = read if isinstance(read, list) else [read]
    return [id_ for id_ in wanted if world.get(one.target, id_) is None]


def label(name: str) -> str:
    """An attribute's name as messages print it."""
    return name.removesuffix("_id").replace("_", " ").capitalize()


def money_attributes(code: str) -> Record:
    """The derived attributes that say how to read amounts in ``code``."""
    return {
        "currency": code,
        "currency_symbol": values.symbol(code),
        "currency_base_unit": values.base_unit(code),
    }


def subject_exists(world: World, subject_type: str, subject_id: str) -> bool:
    """Whether a reference or custom field value points to a live record."""
    return any(
        world.get(r.name, subject_id) is not None for r in RESOURCES.values() if r.subject == subject_type
    )
