"""A write to a connected system as data: planned before it is sent, so it can be shown, sent, found again.

Values that only the vendor can make (an internal id, a project code) are *symbols*: structures, never
text, so that a client's name can never be mistaken for one. ``resolve`` puts the real values in.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from canonical.authority import Phase
from canonical.base import Canonical
from canonical.refs import RecordRef

Json = Any
"""A JSON value; pydantic's own recursive type costs more than it gives at every payload."""

_SYMBOL = "$symbol"
_TEXT = "$text"


class KeyStyle(StrEnum):
    """How a vendor lets us recognise a write that may already have landed."""

    NATIVE = "native"
    """Upsert by external id or an idempotency header that the vendor honours."""
    STAMPED = "stamped"
    """We write the key into a searchable field and look before we leap."""
    GUARDED = "guarded"
    """Neither: the ledger records the intent, an unknown outcome is read back or asked."""


class WriteKind(StrEnum):
    """Whether a write makes a record or changes one."""

    CREATE = "create"
    UPDATE = "update"


class VendorWrite(Canonical):
    """One call that changes a connected system, with all that is needed to repeat, check and undo it."""

    system: str
    operation: str
    """The port's capability it belongs to, for example ``ensure_client``."""
    title: str
    """For people: what it does to which record."""
    record_type: str
    """The vendor's record type."""
    kind: WriteKind
    key: str
    """Effect key: business identity only (rule 10)."""
    step_key: str
    """Key of the saga step this write belongs to; a tombstone on it forbids late sends."""
    stamp: str
    """What the vendor's record carries so that it can be found by ``key``."""
    symbol: str
    """Name under which other writes refer to this record's values: ``client:001xx``."""
    produces: tuple[str, ...] = ("id",)
    """Which values only the vendor can make."""
    method: str
    path: str
    """Relative to the instance; ``{name}`` stands for an entry of ``path_values``."""
    path_values: dict[str, Json] = {}
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    body: Json = None
    key_style: KeyStyle
    target: Json = None
    """For an update: the record's id, possibly a symbol."""
    expect: dict[str, Json] = {}
    """What a read-back must show; a 200 is not proof. Keys are canonical or vendor names as the
    connector's ``read_back`` returns them."""
    restore: tuple[str, ...] = ()
    """For an update: vendor fields whose values an undo puts back; kept as before-image before the write is
    sent, unless it is ``forward_only``."""
    shared: str | None = None
    """Business key of a record that several sagas may rely on (rule 12)."""
    found_by_stamp: bool = True
    """A look needs nothing but the stamp: it can be made before the write's symbols have values."""
    settle_seconds: float = 0
    """After an unknown outcome: how long the vendor's search may lag behind its writes."""
    independent: bool = False
    """May be sent beside its neighbours in the plan, as soon as its symbols have values."""
    forward_only: bool = False
    """Past the pivot: never undone by unwinding."""
    sets: dict[str, str] = {}
    """Vendor field of the body -> canonical ``object.field`` it sets. The authority table is checked
    against it on every write; a body field that is not listed is refused."""
    body_root: str | None = None
    """Key that wraps the fields in the body, for vendors that want one."""
    phase: Phase = Phase.BEFORE_APPROVAL
    """Which column of the authority table applies."""
    options: dict[str, Json] = {}
    """What the connector needs besides, for example how to undo."""


class Landed(Canonical):
    """A record that exists in a connected system, as the vendor answered or a look-up found it."""

    id: str
    values: dict[str, str] = {}
    """The values named by ``VendorWrite.produces`` (``id`` is implied)."""
    version: str | None = None
    """The vendor's version mark, for optimistic checks."""
    url: str | None = None


class Shown(Canonical):
    """What a reading of a landed record shows: the proof of a write."""

    landed: Landed
    """With every value that only the vendor makes."""
    values: dict[str, Json] = {}
    """Current values of exactly the fields named in ``VendorWrite.expect``."""


class UndoResult(StrEnum):
    """How a record was undone (rule 16)."""

    NOTHING_THERE = "nothing_there"
    DELETED = "deleted"
    INACTIVATED = "inactivated"
    RESTORED = "restored"
    RELEASED = "released"
    """We only let go of it: it was there before us or others rely on it."""


class UndoOutcome(Canonical):
    """What an undo did; ``gap`` is a number that stays used up (rule 16)."""

    result: UndoResult
    ref: RecordRef | None = None
    gap: str | None = None


def symbol(name: str, field: str = "id") -> dict[str, str]:
    """A placeholder for a value of the record known as ``name``."""
    return {_SYMBOL: f"{name}.{field}"}


def text(*parts: Json) -> dict[str, list[Json]]:
    """Text composed of plain strings and symbols."""
    return {_TEXT: list(parts)}


def resolve(value: Json, values: Mapping[str, str]) -> Json:
    """``value`` with every symbol replaced.

    Raises:
        KeyError: a symbol has no value yet; the message is its name.
    """
    if isinstance(value, dict):
        if _SYMBOL in value:
            return values[value[_SYMBOL]]
        if _TEXT in value:
            return "".join(str(resolve(part, values)) for part in value[_TEXT])
        return {key: resolve(item, values) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [resolve(item, values) for item in value]
    return value


def symbols_in(value: Json) -> set[str]:
    """Names of all symbols in ``value``, as ``name.field``."""
    if isinstance(value, dict):
        if _SYMBOL in value:
            return {value[_SYMBOL]}
        return set().union(*(symbols_in(item) for item in value.values()))
    if isinstance(value, (list, tuple)):
        return set().union(*(symbols_in(item) for item in value))
    return set()


def needs(write: VendorWrite) -> set[str]:
    """Symbols that must have values before ``write`` can be sent."""
    return symbols_in([write.path_values, write.body, write.target, write.expect, write.options])


def values_of(write: VendorWrite) -> set[str]:
    """Symbol values that ``write`` brings, as ``name.field``."""
    return {f"{write.symbol}.{name}" for name in ("id", *write.produces)}


def resolve_write(write: VendorWrite, values: Mapping[str, str]) -> VendorWrite:
    """``write`` ready to be sent: symbols in path, body, target and expectations replaced.

    Raises:
        KeyError: a symbol has no value yet.
    """
    return write.model_copy(
        update={
            "path_values": resolve(write.path_values, values),
            "body": resolve(write.body, values),
            "target": resolve(write.target, values),
            "expect": resolve(write.expect, values),
            "options": resolve(write.options, values),
        }
    )


def show(value: Json, values: Mapping[str, str] | None = None) -> Json:
    """``value`` for people and files: symbols without a value become ``@name.field``."""
    if isinstance(value, dict):
        if _SYMBOL in value:
            return (values or {}).get(value[_SYMBOL], "@" + value[_SYMBOL])
        if _TEXT in value:
            return "".join(str(show(part, values)) for part in value[_TEXT])
        return {key: show(item, values) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [show(item, values) for item in value]
    return value


def show_write(write: VendorWrite, values: Mapping[str, str]) -> dict[str, Json]:
    """A planned write as JSON for people and files. Decimals are text, as in every canonical JSON."""
    parts = {name: str(show(part, values)) for name, part in write.path_values.items()}
    shown = write.model_copy(update={"body": show(write.body, values)}).model_dump(mode="json")
    return {
        "system": write.system,
        "operation": write.operation,
        "title": write.title,
        "kind": write.kind.value,
        "type": write.record_type,
        "symbol": write.symbol,
        "key": write.key,
        "stamp": write.stamp,
        "method": write.method,
        "path": write.path.format(**parts),
        "query": write.query,
        "body": shown["body"],
    }
