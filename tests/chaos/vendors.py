"""What the vendors hold, as a graph of names: ids, numbers and instants that a vendor makes up are replaced
by what they stand for, so that two runs of one deal look the same. Shares nothing with the product.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

Row = dict[str, Any]
Records = dict[str, dict[str, dict[str, Row]]]
"""vendor -> record type -> id -> record."""

SALESFORCE, NETSUITE, KANTATA = "salesforce", "netsuite", "kantata"
NOT_RECORDS = frozenset({"subscribed_events"})
"""Kantata's feed about records is not a record."""
STAMPS = frozenset(
    {
        "lastModifiedDate",
        "LastModifiedDate",
        "LastModifiedById",
        "SystemModstamp",
        "updated_at",
        "last_synced_at",
    }
)
"""Instants that move whenever a record is touched, also by a touch that restores it."""


@dataclass(frozen=True)
class Node:
    """One live record: who it is (``name``), and everything that must be right about it (``facts``)."""

    kind: str
    name: str
    facts: str

    @property
    def identity(self) -> tuple[str, str]:
        """What two records must not share."""
        return self.kind, self.name


def node(kind: str, name: Iterable[Any], /, **facts: Any) -> Node:
    """A node whose facts are compared by value: numbers as decimals, sets without order."""
    return Node(kind, " / ".join(str(part) for part in name), json.dumps(plain(facts), sort_keys=True))


def plain(value: Any) -> Any:
    """JSON in which equal numbers look equal."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, (int, Decimal)):
        return format(Decimal(value).normalize() + 0, "f")
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(plain(part) for part in value)
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return str(value)


def parse(answers: Mapping[str, str]) -> Records:
    """Every live record of every vendor, from the JSON of ``GET /_sim/records``; numbers are exact."""
    found: Records = {}
    for vendor, text in answers.items():
        types = json.loads(text, parse_float=Decimal)
        found[vendor] = {
            kind: {str(row.get("id") or row.get("Id")): row for row in rows}
            for kind, rows in types.items()
            if kind not in NOT_RECORDS
        }
    return found


@dataclass
class Change:
    """What happened to the vendors between two readings."""

    new: Records
    now: Records
    changed: list[tuple[str, str, str, dict[str, tuple[Any, Any]]]] = field(default_factory=list)
    """vendor, type, id, field -> (before, after) of records that were there before."""
    gone: list[tuple[str, str, str]] = field(default_factory=list)


def change(before: Records, now: Records) -> Change:
    """Compare two readings."""
    found = Change(new={}, now=now)
    for vendor, types in now.items():
        fresh = found.new.setdefault(vendor, {})
        for kind, rows in types.items():
            old = before.get(vendor, {}).get(kind, {})
            fresh[kind] = {id_: row for id_, row in rows.items() if id_ not in old}
            for id_, row in rows.items():
                if id_ in old and row != old[id_]:
                    names = (set(row) | set(old[id_])) - STAMPS
                    moved = {n: (old[id_].get(n), row.get(n)) for n in names if old[id_].get(n) != row.get(n)}
                    if moved:
                        found.changed.append((vendor, kind, id_, moved))
    for vendor, types in before.items():
        for kind, rows in types.items():
            found.gone += [(vendor, kind, id_) for id_ in rows if id_ not in now[vendor].get(kind, {})]
    return found


def put_away(vendor: str, kind: str, row: Row, now: Records) -> bool:
    """Whether an undo took the record out of use and said so: all that is left where deletion is refused.

    What belongs to such a record goes with it: a customer's entities, an archived project's plan and group.
    """
    if vendor == NETSUITE:
        match kind:
            case "customer" | "job":
                marks = [str(value) for name, value in row.items() if name.startswith("custentity")]
                return row.get("isInactive") is True and any(one.startswith("undone by") for one in marks)
            case "billingSchedule":
                # It has no field for a mark; its name is our key, which says whose it was.
                return row.get("isInactive") is True and str(row["name"]).startswith("tu-")
            case "salesOrder":
                closed = all(line.get("isClosed") for line in row["item"]["items"])
                return closed and str(row.get("custbody_trueup_saga")).startswith("undone by")
            case "customerSubsidiaryRelationship":
                owner = now[NETSUITE]["customer"].get(str(row["entity"]["id"]))
                return owner is not None and put_away(NETSUITE, "customer", owner, now)
    if vendor == KANTATA:
        archived = _archived_projects(now[KANTATA])
        if kind == "workspace_groups":
            groups = [str(one) for project in archived.values() for one in project["workspace_group_ids"]]
            return str(row["id"]) in groups
        if kind == "external_references" or kind == "custom_field_values":
            subject = _SUBJECTS.get(str(row["subject_type"]), "")
            about = now[KANTATA].get(subject, {}).get(str(row["subject_id"]))
            return about is not None and put_away(KANTATA, subject, about, now)
        return str(row["id"] if kind == "workspaces" else row.get("workspace_id")) in archived
    return False


_SUBJECTS = {
    "Workspace": "workspaces",
    "WorkspaceGroup": "workspace_groups",
    "Story": "stories",
    "WorkspaceResource": "workspace_resources",
}


def _archived_projects(kantata: Mapping[str, Mapping[str, Row]]) -> dict[str, Row]:
    """Projects that are archived and whose reference says that they were undone."""
    undone = {
        str(row["subject_id"])
        for row in kantata.get("external_references", {}).values()
        if row["subject_type"] == "Workspace" and row["external_status"] == "undone"
    }
    return {
        id_: row for id_, row in kantata.get("workspaces", {}).items() if row["archived"] and id_ in undone
    }


def live(seen: Change) -> Records:
    """The new records without those that were properly put away."""
    return {
        vendor: {
            kind: {id_: row for id_, row in rows.items() if not put_away(vendor, kind, row, seen.now)}
            for kind, rows in types.items()
        }
        for vendor, types in seen.new.items()
    }


def graph(seen: Change) -> list[Node]:
    """All new live records as nodes, whatever they are: a record of an unforeseen type is a node too."""
    nodes: list[Node] = []
    fresh = live(seen)
    names = Names(seen.now)
    renderers = {**_NETSUITE, **_KANTATA}
    for vendor in (NETSUITE, KANTATA):
        for kind, rows in fresh.get(vendor, {}).items():
            for row in rows.values():
                render = renderers.get(kind)
                nodes.append(render(row, names) if render else node(kind, [row.get("id")], unforeseen=True))
    return nodes


class Names:
    """From vendor-made ids to the names that a deal's author would know."""

    def __init__(self, now: Records) -> None:
        self.netsuite = now[NETSUITE]
        self.kantata = now[KANTATA]
        jobs = self.netsuite.get("job", {}).values()
        self.codes = {str(row["entityId"]): f"code of {row['companyName']}" for row in jobs}
        self.schedule_lines: dict[str, list[str]] = {}
        for order in self.netsuite.get("salesOrder", {}).values():
            for line in order["item"]["items"]:
                schedule = (line.get("billingSchedule") or {}).get("id")
                if schedule:
                    spot = f"{self.job(order.get('job'))} / {line['line']}"
                    self.schedule_lines.setdefault(str(schedule), []).append(spot)

    def customer(self, ref: Any) -> str | None:
        """A customer's name."""
        return self._name("customer", ref, "companyName")

    def job(self, ref: Any) -> str | None:
        """A project's name."""
        return self._name("job", ref, "companyName")

    def order(self, ref: Any) -> str | None:
        """An order by its project."""
        row = self.netsuite.get("salesOrder", {}).get(_id(ref) or "")
        return self.job(row.get("job")) if row else f"missing {_id(ref)}"

    def group(self, id_: Any) -> str:
        """A client group's name."""
        row = self.kantata.get("workspace_groups", {}).get(str(id_))
        return str(row["name"]) if row else f"missing {id_}"

    def workspace(self, id_: Any) -> str:
        """A delivery project's title."""
        row = self.kantata.get("workspaces", {}).get(str(id_))
        return str(row["title"]) if row else f"missing {id_}"

    def story(self, id_: Any) -> str | None:
        """A task's title."""
        row = self.kantata.get("stories", {}).get(str(id_)) if id_ else None
        return None if not id_ else str(row["title"]) if row else f"missing {id_}"

    def subject(self, kind: str, id_: str) -> str:
        """What an external reference or custom value is about."""
        match kind:
            case "Workspace":
                return self.workspace(id_)
            case "WorkspaceGroup":
                return self.group(id_)
            case "Story":
                row = self.kantata.get("stories", {}).get(id_)
                return f"{self.workspace(row['workspace_id'])} / {row['title']}" if row else f"missing {id_}"
            case "WorkspaceResource":
                row = self.kantata.get("workspace_resources", {}).get(id_)
                where = self.workspace(row["workspace_id"]) if row else ""
                return f"{where} / role {row['role_id']}" if row else f"missing {id_}"
        return f"{kind} {id_}"

    def text(self, value: Any) -> Any:
        """A text in which project codes are named."""
        if not isinstance(value, str):
            return value
        return ", ".join(self.codes.get(part, part) for part in value.split(", "))

    def _name(self, kind: str, ref: Any, name: str) -> str | None:
        id_ = _id(ref)
        if id_ is None:
            return None
        row = self.netsuite.get(kind, {}).get(id_)
        return str(row[name]) if row else f"missing {id_}"


def _id(ref: Any) -> str | None:
    return str(ref["id"]) if isinstance(ref, Mapping) and "id" in ref else None


def _customer(row: Row, names: Names) -> Node:
    book = (row.get("addressBook") or {}).get("items", [])
    address = book[0]["addressBookAddress"] if book else {}
    return node(
        "customer",
        [row["companyName"]],
        parent=names.customer(row.get("parent")),
        subsidiary=_id(row["subsidiary"]),
        currency=_id(row["currency"]),
        currencies={_id(one["currency"]) for one in row["currencyList"]["items"]},
        terms=_id(row.get("terms")),
        tax=row.get("defaultTaxReg"),
        email=row.get("email"),
        addresses=len(book),
        street=address.get("addr1"),
        city=address.get("city"),
        zip=address.get("zip"),
        country=_id(address.get("country")),
        inactive=row["isInactive"],
    )


def _relationship(row: Row, names: Names) -> Node:
    return node(
        "customerSubsidiaryRelationship",
        [names.customer(row["entity"]), _id(row["subsidiary"])],
        primary=row["isPrimarySub"],
    )


def _job(row: Row, names: Names) -> Node:
    return node(
        "job",
        [row["companyName"]],
        client=names.customer(row.get("parent")),
        subsidiary=_id(row["subsidiary"]),
        currency=_id(row["currency"]),
        billing=_id(row["jobBillingType"]),
        start=row.get("startDate"),
        end=row.get("projectedEndDate"),
        status=_id(row["entityStatus"]),
        inactive=row["isInactive"],
    )


def _schedule(row: Row, names: Names) -> Node:
    used = names.schedule_lines.get(str(row["id"]), [])
    return node(
        "billingSchedule",
        [", ".join(used) or "unused"],
        frequency=_id(row["frequency"]),
        remaining=row["numberRemaining"],
        initial=row["initialAmount"],
        inactive=row["isInactive"],
    )


def _order(row: Row, names: Names) -> Node:
    return node(
        "salesOrder",
        [names.job(row.get("job"))],
        client=names.customer(row["entity"]),
        subsidiary=_id(row["subsidiary"]),
        currency=_id(row["currency"]),
        status=_id(row["orderStatus"]),
        terms=_id(row.get("terms")),
        memo=row.get("memo"),
        total=row["total"],
        lines=[
            {
                "item": _id(line["item"]),
                "description": line.get("description"),
                "quantity": line["quantity"],
                "amount": line["amount"],
                "method": line.get("custcol_trueup_method"),
                "scheduled": line.get("billingSchedule") is not None,
                "closed": bool(line.get("isClosed")),
            }
            for line in row["item"]["items"]
        ],
    )


def _arrangement(row: Row, names: Names) -> Node:
    return node("revenueArrangement", [names.order(row["createdFrom"])], total=row["total"])


def _plan(row: Row, names: Names) -> Node:
    return node("revenuePlan", [names.order(row["createdFrom"]), row["sourceLine"]], amount=row["amount"])


def _group(row: Row, names: Names) -> Node:
    return node("workspace_groups", [row["name"]], company=row["company"])


def _workspace(row: Row, names: Names) -> Node:
    return node(
        "workspaces",
        [row["title"]],
        groups=[names.group(one) for one in row["workspace_group_ids"]],
        primary=names.group(row["primary_workspace_group_id"]),
        currency=row["currency"],
        price=row["price_in_cents"],
        start=row["start_date"],
        due=row["due_date"],
        status=row["status_key"],
        archived=row["archived"],
    )


def _story(row: Row, names: Names) -> Node:
    return node(
        "stories",
        [names.workspace(row["workspace_id"]), names.story(row.get("parent_id")) or "-", row["title"]],
        type=row["story_type"],
        due=row.get("due_date"),
        fee=row.get("fixed_fee"),
        amount=row.get("budget_estimate_in_cents"),
        archived=row["archived"],
    )


def _resource(row: Row, names: Names) -> Node:
    return node(
        "workspace_resources",
        [names.workspace(row["workspace_id"]), f"role {row['role_id']}"],
        rate=row.get("resource_bill_rate"),
        person=row.get("user_id"),
    )


def _value(row: Row, names: Names) -> Node:
    return node(
        "custom_field_values",
        [names.subject(row["subject_type"], str(row["subject_id"])), row["custom_field_id"]],
        value=names.text(row["value"]),
    )


def _participation(row: Row, names: Names) -> Node:
    return node("participations", [names.workspace(row["workspace_id"]), row["user_id"]])


def _reference(row: Row, names: Names) -> Node:
    return node(
        "external_references",
        [names.subject(row["subject_type"], str(row["subject_id"])), row["service_model"]],
        service=row["service_name"],
        status=row["external_status"],
    )


_NETSUITE = {
    "customer": _customer,
    "customerSubsidiaryRelationship": _relationship,
    "job": _job,
    "billingSchedule": _schedule,
    "salesOrder": _order,
    "revenueArrangement": _arrangement,
    "revenuePlan": _plan,
}
_KANTATA = {
    "workspace_groups": _group,
    "workspaces": _workspace,
    "stories": _story,
    "workspace_resources": _resource,
    "custom_field_values": _value,
    "participations": _participation,
    "external_references": _reference,
}


@dataclass
class Verdict:
    """What is wrong with the vendors' records; nothing is, when all lists are empty."""

    duplicates: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """Everything, in words."""
        return [
            *(f"duplicate: {one}" for one in self.duplicates),
            *(f"orphan: {one}" for one in self.orphans),
            *(f"missing: {one}" for one in self.missing),
            *(f"wrong: {one}" for one in self.wrong),
        ]


def compare(wanted: Iterable[Node], found: Iterable[Node], *, partly: bool = False) -> Verdict:
    """Compare two graphs, record by record.

    Args:
        wanted: what must be there.
        found: what is.
        partly: the saga stopped on its way: what is there must be wanted, in whatever state, no more often.
    """
    verdict = Verdict()
    want, have = Counter(wanted), Counter(found)
    wanted_names = Counter(one.identity for one in want.elements())
    found_names = Counter(one.identity for one in have.elements())
    if partly:
        # A schedule that no order uses yet has no name of its own: they are counted together.
        for names in (wanted_names, found_names):
            for identity in [one for one in names if one[0] == "billingSchedule"]:
                names["billingSchedule", "any"] += names.pop(identity)
    for identity, times in found_names.items():
        if times > wanted_names[identity]:
            what = f"{identity[0]} {identity[1]!r}: {times} live, {wanted_names[identity]} expected"
            (verdict.duplicates if times > 1 else verdict.orphans).append(what)
    if partly:
        return verdict
    for identity, times in wanted_names.items():
        if times > found_names[identity]:
            verdict.missing.append(
                f"{identity[0]} {identity[1]!r}: {found_names[identity]} live, {times} expected"
            )
    for one in (want - have).elements():
        others = [other.facts for other in (have - want).elements() if other.identity == one.identity]
        if others:
            verdict.wrong.append(f"{one.kind} {one.name!r}: shows {others[0]}, expected {one.facts}")
    return verdict
