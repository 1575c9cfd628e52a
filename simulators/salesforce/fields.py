"""What a field and an object are, and how an administrator's custom field becomes one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

TEXT = frozenset({"string", "textarea", "picklist", "multipicklist", "combobox", "email", "url", "phone"})
NUMBERS = frozenset({"currency", "double", "percent", "int"})


@dataclass(frozen=True)
class Field:
    """One field as ``describe`` shows it."""

    name: str
    type: str
    """The describe type: string, textarea, picklist, reference, id, currency, double, percent, int, ..."""
    length: int = 0
    """Characters, for text."""
    precision: int = 18
    """Digits in all, for numbers."""
    scale: int = 2
    """Digits after the point, for numbers."""
    required: bool = False
    createable: bool = True
    updateable: bool = True
    unique: bool = False
    external_id: bool = False
    case_sensitive: bool = False
    values: tuple[str, ...] = ()
    restricted: bool = False
    """A picklist that refuses values outside ``values``."""
    reference_to: tuple[str, ...] = ()
    relationship: str | None = None
    """Name of the parent relationship (``Account`` for ``AccountId``)."""
    children: str | None = None
    """Name of the child relationship on the parent (``Contacts`` for ``Contact.AccountId``)."""
    on_delete: str = "clear"
    """What deleting the parent does: clear the field, cascade, or restrict the deletion."""
    default: Any = None
    feature: str | None = None
    """The setting that must be on for the field to exist."""
    label: str = ""
    custom: bool = False

    @property
    def long_text(self) -> bool:
        """Long text can be neither filtered nor sorted."""
        return self.type == "textarea" and self.length > 255

    @property
    def indexed(self) -> bool:
        """Whether look-ups by this field are answered from an index."""
        return self.external_id or self.unique or self.type == "reference"


@dataclass(frozen=True)
class SObject:
    """One object of the organisation."""

    name: str
    prefix: str
    fields: Mapping[str, Field]
    """By canonical name, ``Id`` first."""
    label: str = ""
    plural: str = ""
    writable: bool = True
    """False: the integration user may only read it."""
    feature: str | None = None
    custom: bool = False
    by_name: Mapping[str, Field] = field(default_factory=dict)
    """By lower-case name: names are not case-sensitive in SOQL or in bodies."""

    def field(self, name: str) -> Field | None:
        """The field of this name in any case, or None."""
        return self.by_name.get(name.lower())

    def parent(self, relationship: str) -> Field | None:
        """The reference field with this parent relationship name, or None."""
        wanted = relationship.lower()
        return next(
            (f for f in self.fields.values() if f.relationship and f.relationship.lower() == wanted), None
        )


def words(name: str) -> str:
    """A label from an API name: ``BillingCity`` becomes ``Billing City``."""
    bare = name.removesuffix("__c").split("__")[-1]
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", bare).replace("_", " ").removesuffix(" Id")


def system_fields(*, owned: bool) -> list[Field]:
    """Fields that every record carries and nobody writes; ``OwnerId`` is the exception."""

    def stamp(name: str) -> Field:
        return Field(name, "datetime", createable=False, updateable=False)

    def who(name: str, relationship: str) -> Field:
        return Field(
            name,
            "reference",
            reference_to=("User",),
            relationship=relationship,
            createable=False,
            updateable=False,
        )

    owner = [Field("OwnerId", "reference", reference_to=("User",), relationship="Owner")] if owned else []
    return [
        *owner,
        Field("IsDeleted", "boolean", createable=False, updateable=False, default=False),
        stamp("CreatedDate"),
        who("CreatedById", "CreatedBy"),
        stamp("LastModifiedDate"),
        who("LastModifiedById", "LastModifiedBy"),
        stamp("SystemModstamp"),
    ]


def sobject(
    name: str,
    prefix: str,
    fields: Iterable[Field],
    *,
    owned: bool = True,
    writable: bool = True,
    feature: str | None = None,
    custom: bool = False,
    label: str = "",
    plural: str = "",
) -> SObject:
    """An object with ``Id`` and the system fields added to its own."""
    every = [
        Field("Id", "id", length=18, createable=False, updateable=False),
        *fields,
        *system_fields(owned=owned),
    ]
    table = {f.name: replace(f, label=f.label or words(f.name)) for f in every}
    label = label or words(name)
    plural = plural or label + "s"
    by_name = {f.lower(): table[f] for f in table}
    return SObject(name, prefix, table, label, plural, writable, feature, custom, by_name)


_TYPES = {
    "text": "string",
    "number": "double",
    "checkbox": "boolean",
    "lookup": "reference",
    "masterdetail": "reference",
    "longtextarea": "textarea",
    "multiselectpicklist": "multipicklist",
}
_KNOWN = TEXT | NUMBERS | {"date", "datetime", "boolean", "reference"}
_KEYS = {
    "name", "type", "length", "precision", "scale", "required", "unique", "externalId", "caseSensitive",
    "values", "restricted", "referenceTo", "relationshipName", "defaultValue", "label", "readOnly",
}  # fmt: skip


def custom_field(spec: Mapping[str, Any]) -> Field:
    """A custom field from ``POST /_sim/schema``.

    ``type`` is the describe type or the administrator's word (Text, Number, Checkbox, Lookup, ...).

    Raises:
        ValueError: unknown key or type, a name without ``__c``, or a lookup without ``referenceTo``.
    """
    name = spec.get("name")
    unknown = set(spec) - _KEYS
    if unknown:
        raise ValueError(f"custom field {name}: unknown keys {sorted(unknown)}; known: {sorted(_KEYS)}")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*__c", name):
        raise ValueError(f"custom field name must end in __c: {name!r}")
    wanted = str(spec.get("type", "")).replace(" ", "").replace("-", "").lower()
    type_ = _TYPES.get(wanted, wanted)
    if type_ not in _KNOWN:
        raise ValueError(f"custom field {name}: unknown type {spec.get('type')!r}; known: {sorted(_KNOWN)}")
    target = spec.get("referenceTo")
    if type_ == "reference" and not target:
        raise ValueError(f"custom field {name}: a lookup needs referenceTo")
    if spec.get("externalId") and type_ not in ("string", "email", "double", "int"):
        raise ValueError(f"custom field {name}: a field of type {type_} cannot be an External ID")
    children = spec.get("relationshipName")
    writable = not spec.get("readOnly", False)
    lengths = {
        "string": 255,
        "textarea": 32768 if wanted == "longtextarea" else 255,
        "email": 80,
        "phone": 40,
    }
    return Field(
        name=name,
        type=type_,
        length=int(spec.get("length", lengths.get(type_, 255))),
        precision=int(spec.get("precision", 18)),
        scale=int(spec.get("scale", 0 if type_ == "int" else 2)),
        required=bool(spec.get("required", False)),
        createable=writable,
        updateable=writable,
        unique=bool(spec.get("unique", False)),
        external_id=bool(spec.get("externalId", False)),
        case_sensitive=bool(spec.get("caseSensitive", False)),
        values=tuple(spec.get("values", ())),
        restricted=bool(spec.get("restricted", type_ == "picklist")),
        reference_to=(target,) if isinstance(target, str) else tuple(target or ()),
        relationship=name.removesuffix("__c") + "__r" if type_ == "reference" else None,
        children=f"{children}__r" if children else None,
        default=False if type_ == "boolean" and "defaultValue" not in spec else spec.get("defaultValue"),
        label=str(spec.get("label") or words(name)),
        custom=True,
    )
