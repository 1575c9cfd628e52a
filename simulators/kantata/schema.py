"""How a Kantata record type is described, and the registry of all of them.

Record types are declared in ``catalogue_*.py`` as tables of ``name:kind`` words. A kind is ``text int
decimal bool date instant currency any list``, ``=a|b`` for an enumeration (``_`` stands for a space),
``>type`` for an id of that type and ``>>type`` for a list of ids. ``!`` marks what a create must have,
``$`` what only somebody with financial access sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

RESOURCES: Final[dict[str, Resource]] = {}
"""Every record type by its plural name."""


@dataclass(frozen=True)
class Field:
    """One attribute of a record type."""

    name: str
    kind: str
    target: str | None = None
    """The record type an id points to."""
    choices: tuple[str, ...] = ()
    create: bool = False
    update: bool = False
    required: bool = False
    shown: bool = True
    """False for what can be written but is never answered under this name."""
    stored: bool = True
    """False for what is worked out when answering, and for what a write only acts upon."""
    optional: bool = False
    """Answered only when ``optional_fields`` names it."""
    financial: bool = False


@dataclass(frozen=True)
class Association:
    """Something ``include`` can side-load; its key is answered only then."""

    name: str
    key: str
    collection: str
    many: bool


@dataclass
class Resource:
    """One record type: path name, attributes, associations, what may be done with it."""

    name: str
    singular: str
    fields: dict[str, Field]
    associations: dict[str, Association]
    verbs: frozenset[str]
    """Of ``list get create update delete``."""
    subject: str | None = None
    """Class name in ``subject_type`` of references, custom field values and events."""
    event: str | None = None
    """Prefix of its subscribed events (``time_entry`` of ``time_entry:updated``)."""
    bulk: int = 0
    """Most rows of one bulk create; 0 when the plural key is not accepted."""
    order: tuple[str, ...] = ()
    default_order: str = "id:asc"
    params: frozenset[str] = frozenset()
    """Query parameters of the list beyond the common ones."""
    series: str = ""
    """Number series of the ids (timesheets and expense reports share one, being one class)."""
    first_id: int = 1
    hidden_keys: frozenset[str] = field(default_factory=frozenset)
    """Attributes that only appear with their association's include."""

    @cached_property
    def mandatory(self) -> tuple[str, ...]:
        """The attributes that every stored record has."""
        return tuple(f.name for f in self.fields.values() if f.required and f.create and f.stored)

    def writable(self, *, creating: bool) -> Iterator[Field]:
        """The attributes a create or an update may name."""
        return (f for f in self.fields.values() if (f.create if creating else f.update))


_ACCESS: Final[dict[str, dict[str, bool]]] = {
    "create_update": {"create": True, "update": True},
    "create": {"create": True},
    "update": {"update": True},
    "read": {},
    "derived": {"stored": False},
    "optional": {"optional": True, "stored": False},
    "create_update_optional": {"create": True, "update": True, "optional": True},
    "read_optional": {"optional": True},
    "create_update_derived": {"create": True, "update": True, "stored": False},
    "create_update_only": {"create": True, "update": True, "shown": False, "stored": False},
    "create_only": {"create": True, "shown": False, "stored": False},
    "update_only": {"update": True, "shown": False, "stored": False},
    "hidden": {"shown": False},
}


def _field(word: str, access: str) -> Field:
    name, _, kind = word.partition(":")
    flags = kind[len(kind.rstrip("!$")) :]
    kind = kind.rstrip("!$")
    target = choices = None
    if kind.startswith(">>"):
        kind, target = "ids", kind[2:]
    elif kind.startswith(">"):
        kind, target = "id", kind[1:]
    elif kind.startswith("="):
        kind, choices = "choice", tuple(c.replace("_", " ") for c in kind[1:].split("|"))
    options = {"shown": True, "stored": True, **_ACCESS[access]}
    return Field(
        name,
        kind,
        target,
        choices or (),
        required="!" in flags,
        financial="$" in flags,
        **options,
    )


def _association(word: str) -> Association:
    """``user>users`` (key ``user_id``), ``sub_stories:sub_story_ids>>stories`` or ``a:b_id>cs``."""
    left, many, collection = word.partition(">>")
    if not many:
        left, _, collection = word.partition(">")
    name, _, key = left.partition(":")
    return Association(name, key or f"{name}_id", collection, bool(many))


def declare(
    name: str,
    singular: str,
    *,
    verbs: str,
    include: str = "",
    subject: str | None = None,
    event: str | None = None,
    bulk: int = 0,
    order: str | None = None,
    default_order: str | None = None,
    params: str | None = None,
    series: str | None = None,
    **attributes: str,
) -> Resource:
    """Register a record type.

    Args:
        name: plural name, as in the path.
        singular: wrapper key of a write.
        verbs: words of ``list get create update delete``.
        include: associations.
        subject: class name in ``subject_type``; gives the type external references.
        event: prefix of its subscribed events.
        bulk: most rows of a bulk create.
        order: documented order values; None where the documentation at hand is silent, then the
            instants the type has.
        default_order: order of a list that names none.
        params: documented filters; None where silent, then what ``_assumed_params`` gives.
        series: number series of its ids.
        **attributes: access word (see ``_ACCESS``) to a table of ``name:kind`` words.
    """
    fields = {"id": Field("id", "own_id")}
    for access, table in attributes.items():
        for word in table.split():
            one = _field(word, access)
            fields[one.name] = one
    links = {a.name: a for a in map(_association, include.split())}
    if subject:
        links["external_references"] = Association(
            "external_references", "external_reference_ids", "external_references", True
        )
        if "create" in verbs or "update" in verbs:
            fields["external_reference"] = Field(
                "external_reference", "any", create=True, update=True, shown=False, stored=False
            )
    for link in links.values():
        fields.setdefault(link.key, Field(link.key, "any", stored=False))
    stamps = [s for s in ("created_at", "updated_at") if s in fields]
    orders = tuple(order.split()) if order is not None else tuple(stamps)
    resource = Resource(
        name,
        singular,
        fields,
        links,
        frozenset(verbs.split()),
        subject,
        event,
        bulk,
        orders,
        default_order or ("updated_at:desc" if "updated_at" in stamps else "id:asc"),
        frozenset((params if params is not None else _assumed_params(fields)).split())
        | (REFERENCE_PARAMS if subject else frozenset()),
        series or name,
        1000 * (len(RESOURCES) + 1) + 1,
        frozenset(link.key for link in links.values()),
    )
    RESOURCES[name] = resource
    return resource


REFERENCE_PARAMS: Final = frozenset(
    {
        "external_reference_service_name",
        "external_reference_service_model",
        "external_reference_service_model_ref",
        "external_reference_service_model_refs",
        "external_reference_status",
        "external_reference_external_status",
        "external_reference_external_message",
        "has_external_references",
        "without_external_reference_service_name",
    }
)
"""Filters that every type with external references has (vendor documentation, Swagger digest)."""


def _assumed_params(fields: dict[str, Field]) -> str:
    """Filters of a type whose list parameters the documentation at hand does not give."""
    names = [
        f"{s.removesuffix('_at')}_{w}"
        for s in ("created_at", "updated_at")
        if s in fields
        for w in ("after", "before")
    ]
    names += [n for n in ("workspace_id",) if n in fields]
    return " ".join(names)


def by_subject(subject_type: str) -> list[Resource]:
    """The record types of a ``subject_type`` (two for ``Submission``)."""
    return [r for r in RESOURCES.values() if r.subject == subject_type]
