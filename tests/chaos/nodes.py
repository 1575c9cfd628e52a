"""The vendors' records as a graph of names: ids, numbers and instants that a vendor makes up are replaced by
what they stand for, so that two runs of one deal look the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tests.chaos.vendors import KANTATA, NETSUITE, Change, Records, Row, live


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
