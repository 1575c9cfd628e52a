"""From the JSON body of a write to the fields it changes, or to the vendor's refusal.

Source: vendor documentation, "Status Codes and Error Responses"; "Insert or Update (Upsert) a Record Using an
External ID" (a reference may be given as ``{"Account": {"ERP_Customer_Id__c": "C1"}}``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from simulators.salesforce import ids
from simulators.salesforce.errors import RowError
from simulators.salesforce.fields import Field, SObject
from simulators.salesforce.values import convert

if TYPE_CHECKING:
    from simulators.salesforce.records import Records

Mode = Literal["create", "update", "seed"]

_READ_ONLY = (
    "Unable to create/update fields: {names}. Please check the security settings of this field and verify "
    "that "
    "it is read/write for your profile or permission set."
)


def changes(
    world: Records, one: SObject, body: Any, mode: Mode, old: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The fields that a body sets, by canonical name, in stored form.

    Raises:
        RowError: unknown or read-only field, wrong type, value too long, bad reference.
    """
    if not isinstance(body, dict):
        raise RowError("JSON_PARSER_ERROR", "The HTTP entity body must be a JSON object")
    places = world.places(_currency(one, body, old))
    result: dict[str, Any] = {}
    refused: list[str] = []
    for name, value in body.items():
        if name == "attributes":
            continue
        made = one.field(name)
        keyed = made is None and isinstance(value, dict)
        if keyed:
            made = one.parent(name)
        if made is None:
            raise RowError("INVALID_FIELD", f"No such column '{name}' on sobject of type {one.name}")
        if mode != "seed" and made.type == "id":
            raise RowError("INVALID_FIELD", "The Id field should not be specified in the sobject data.")
        if mode != "seed" and not (made.createable if mode == "create" else made.updateable):
            refused.append(made.name)
        elif keyed:
            result[made.name] = _by_external_id(world, made, value)
        elif made.type == "reference":
            result[made.name] = reference(world, made, value, check=mode != "seed")
        elif made.type == "id":
            result[made.name] = value
        else:
            result[made.name] = convert(made, value, places=places)
    if refused:
        message = _READ_ONLY.format(names=", ".join(refused))
        raise RowError("INVALID_FIELD_FOR_INSERT_UPDATE", message, refused)
    return result


def _currency(one: SObject, body: Mapping[str, Any], old: Mapping[str, Any] | None) -> str | None:
    if "CurrencyIsoCode" not in one.fields:
        return None
    given = body.get("CurrencyIsoCode") or (old or {}).get("CurrencyIsoCode")
    return given if isinstance(given, str) else None


def reference(world: Records, made: Field, value: Any, *, check: bool = True) -> str | None:
    """The 18-character id that a reference field is set to.

    Raises:
        RowError: not an id, of another object, or of no live record (the last only with ``check``).
    """
    if value is None or value == "":
        return None
    id_ = ids.normal(value)
    target = world.view.by_prefix.get(id_[:3]) if id_ else None
    if id_ is None or target is None or target.name not in made.reference_to:
        message = f"{made.label} ID: id value of incorrect type: {value}"
        raise RowError("MALFORMED_ID", message, [made.name])
    if check and world.get(target.name, id_) is None:
        raise RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", [made.name])
    return id_


def _by_external_id(world: Records, made: Field, keys: Mapping[str, Any]) -> str:
    keys = {k: v for k, v in keys.items() if k != "attributes"}
    target = world.view.object(made.reference_to[0])
    key = target.field(next(iter(keys))) if target and len(keys) == 1 else None
    if target is None or key is None or not key.external_id:
        message = (
            f"A foreign key by external id needs exactly one External ID field of {made.reference_to[0]}"
        )
        raise RowError("INVALID_FIELD", message, [made.name])
    value = next(iter(keys.values()))
    found = world.match(target, key, value)
    if len(found) != 1:
        problem = "not found" if not found else "matches more than one record"
        message = f"Foreign key external ID: {value} {problem} for field {key.name} in entity {target.name}"
        raise RowError("INVALID_FIELD", message, [made.name])
    return found[0]
