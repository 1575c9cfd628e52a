"""Records put in place by a test or a demonstration, and those that every organisation starts with."""

from __future__ import annotations

from typing import Any

from simulators.salesforce import bodies, derive, ids
from simulators.salesforce.errors import RowError
from simulators.salesforce.fields import SObject
from simulators.salesforce.records import Records
from simulators.salesforce.schema import LINE_PARENTS

STANDARD_PRICEBOOK = ids.make("01s", 1)
"""Id of the standard price book that every organisation has."""


def ensure_defaults(world: Records) -> None:
    """Create what an organisation cannot be without, where it is missing.

    That is the organisation's own row, the integration user, the standard price book and, with multiple
    currencies, a ``CurrencyType`` for each currency in the settings.
    """
    settings = world.settings
    wanted: list[tuple[str, dict[str, Any]]] = [
        (
            "Organization",
            {"Id": settings["organization_id"], "Name": "Acme", "IsSandbox": settings["sandbox"]},
        ),
        ("User", dict(settings["run_as"])),
        (
            "Pricebook2",
            {"Id": STANDARD_PRICEBOOK, "Name": "Standard Price Book", "IsActive": True, "IsStandard": True},
        ),
    ]
    for type_, body in wanted:
        if world.get(type_, ids.normal(body["Id"]) or "") is None:
            _place(world, world.view.whole[type_], body)
    if settings["multi_currency"]:
        present = {row["IsoCode"] for row in world.rows("CurrencyType")}
        for iso, given in settings["currencies"].items():
            if iso not in present:
                corporate = iso == settings["corporate_currency"]
                _place(
                    world,
                    world.view.whole["CurrencyType"],
                    {"IsoCode": iso, "IsCorporate": corporate, **given},
                )


def seed(world: Records, records: dict[str, list[dict[str, Any]]]) -> None:
    """Take records in the vendor's own JSON; what ``/_sim/records`` prints can be put back.

    Read-only fields may be given and ids are kept; references are checked for shape and object, not
    existence. Records marked ``_deleted`` go to the recycle bin.

    Raises:
        ValueError: the object, record and reason. Nothing is kept of a refused seed.
    """
    before = world.snapshot()
    try:
        for type_, rows in records.items():
            one = world.view.object(type_)
            if one is None:
                raise ValueError(
                    f"unknown object {type_}; known: {sorted(o.name for o in world.view.objects.values())}"
                )
            for number, row in enumerate(rows):
                try:
                    _place(world, world.view.whole[one.name], row)
                except RowError as refused:
                    raise ValueError(f"{one.name}[{number}]: {refused} {refused.fields}") from None
        for type_, (_, parent) in LINE_PARENTS.items():
            _settle(world, records, type_, parent)
    except ValueError:
        world.restore(before)
        raise


def _place(world: Records, one: SObject, row: dict[str, Any]) -> None:
    body = {k: v for k, v in row.items() if k != "_deleted"}
    changed = bodies.changes(world, one, body, "seed", None)
    if "Id" in changed:
        id_ = ids.normal(changed["Id"])
        if id_ is None or id_[:3] != one.prefix:
            raise RowError(
                "MALFORMED_ID", f"{changed['Id']!r} is not an id of {one.name} (prefix {one.prefix})"
            )
        changed["Id"] = id_
        old = world.get(one.name, id_)
        if old is not None:
            world.forget(one.name, old)
    made = world.save(one, None, changed, seed=True)
    if row.get("_deleted"):
        world.bury(one.name, made)


def _settle(world: Records, records: dict[str, list[dict[str, Any]]], type_: str, parent: str) -> None:
    """Bring lines and their documents in step once all are there, whatever order they came in."""
    if type_ not in records and parent not in records:
        return
    touched = {row[LINE_PARENTS[type_][0]] for row in world.rows(type_)}
    for row in list(world.rows(type_)):
        new = dict(row)
        derive.before(world, type_, new, row, set(), seed=True)
        if new != row:
            world.put(type_, new, row)
    for id_ in touched:
        document = world.get(parent, id_)
        if document is None:
            continue
        derive.roll_up(world, type_, parent, id_)
        current = world.get(parent, id_)
        if current is not None and current is not document:
            # Seeding must not move the stamps that a test gave.
            stamps = {k: document[k] for k in ("LastModifiedDate", "SystemModstamp")}
            world.put(parent, {**current, **stamps}, current)
