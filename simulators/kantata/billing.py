"""Invoices, billing milestones, payments made elsewhere, and accounting records.

Source: vendor documentation, "Invoices", "Billing milestones", "External payments", "Project accounting
records". A draft can be deleted; an issued invoice can only be cancelled, which frees its lines; a payment
always covers the whole invoice.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, Final

from simulators.kantata import values
from simulators.kantata.problems import system
from simulators.kantata.rules import REGISTRY, Draft, Rules, ids, money_attributes
from simulators.kantata.world import World
from simulators.kit import Record

LINE_TYPES: Final = {
    "time_entry_ids": "time_entries",
    "expense_ids": "expenses",
    "billing_milestone_ids": "billing_milestones",
}
ITEM_TYPES: Final = ("fixed_fee_items", "additional_items")
_ITEM_KEYS: Final = {
    "fixed_fee_items": {"amount", "notes", "taxable", "story_id", "workspace_id"},
    "additional_items": {"amount", "amount_in_cents", "notes", "taxable", "workspace_id"},
}


def next_number(world: World) -> int:
    """The number an invoice gets that names none."""
    used = (i.get("user_invoice_number") or 0 for i in world.all("invoices"))
    return int(max(used, default=0)) + 1


class _Invoices(Rules):
    def check(self, world: World, draft: Draft) -> None:
        if draft.current is not None and draft.current["status"] != "new":
            draft.problems.add("base", f"Invoice is {draft.current['status']} and cannot be changed")
            return
        self._workspaces(world, draft)
        self._lines(world, draft)
        self._items(world, draft)
        workspaces = [world.must("workspaces", w) for w in draft.get("workspace_ids") or []]
        preferences = (workspaces[0].get("preferences") or {}) if workspaces else {}
        draft.default(
            draft=False,
            status="new",
            invoice_date=world.today(),
            user_id=world.me,
            currency=workspaces[0]["currency"] if workspaces else None,
            purchase_order=preferences.get("purchase_order"),
            project_code=preferences.get("project_code"),
            user_invoice_number=next_number(world),
        )
        days = draft.get("payment_schedule")
        if days is not None and days < 0:
            draft.problems.add("payment_schedule", "Payment schedule must be greater than or equal to 0")
        if draft.current and not draft.current["draft"] and draft.get("draft"):
            draft.problems.add("draft", "An issued invoice cannot become a draft again")

    def _workspaces(self, world: World, draft: Draft) -> None:
        if draft.current is not None:
            return
        one = draft.extra.get("workspace_id")
        many = draft.fields.get("workspace_ids") or []
        draft.fields["workspace_ids"] = list(dict.fromkeys(([one] if one else []) + many))
        rows = [world.must("workspaces", w) for w in draft.fields["workspace_ids"]]
        if not rows:
            draft.problems.add("workspace_id", "Workspace can't be blank")
        if len({w["currency"] for w in rows}) > 1:
            draft.problems.add("workspace_ids", "Projects of one invoice must have the same currency")

    def _lines(self, world: World, draft: Draft) -> None:
        mine = draft.current["id"] if draft.current else None
        for name, type_ in LINE_TYPES.items():
            for id_ in draft.extra.get(name) or []:
                line = world.must(type_, id_)
                if line["workspace_id"] not in (draft.get("workspace_ids") or []):
                    draft.problems.add(name, f"{id_} is not in the invoice's projects")
                elif line.get("invoice_id") not in (None, mine):
                    draft.problems.add(name, f"{id_} is already on an invoice")
        if draft.current is None:
            sent = [*LINE_TYPES, *ITEM_TYPES]
            if not any(draft.extra.get(n) for n in sent):
                draft.problems.add("base", "Invoice must have at least one line item")
        else:
            kept = sum(
                len(draft.extra[n] or []) if n in draft.extra else len(world.find(t, "invoice_id", str(mine)))
                for n, t in LINE_TYPES.items()
            )
            if not kept and not any(world.has(t, "invoice_id", str(mine)) for t in ITEM_TYPES):
                draft.problems.add("base", "Invoice must have at least one line item")

    def _items(self, world: World, draft: Draft) -> None:
        code = draft.get("currency") or self._currency(world, draft)
        for type_ in ITEM_TYPES:
            read: list[Record] = []
            for n, row in enumerate(draft.extra.get(type_) or []):
                where = f"{type_}[{n}]"
                if not isinstance(row, dict) or set(row) - _ITEM_KEYS[type_]:
                    draft.problems.add(where, "has unknown attributes")
                    continue
                try:
                    read.append(self._item(row, code))
                except (values.BadValue, InvalidOperation) as bad:
                    draft.problems.add(f"{where}.amount", f"Amount {bad}")
            draft.extra[type_] = read

    def _currency(self, world: World, draft: Draft) -> str:
        first = world.get("workspaces", next(iter(draft.get("workspace_ids") or []), None))
        return str((first or world.settings)["currency"])

    def _item(self, row: Record, code: str) -> Record:
        """A nested item; its ``amount`` is in whole currency units."""
        if row.get("amount_in_cents") is not None:
            cents = values.integer(row["amount_in_cents"])
        else:
            exact = Decimal(values.decimal(row.get("amount"))) * values.base_unit(code)
            if exact != exact.to_integral_value():
                raise values.BadValue(f"has more decimals than {code}")
            cents = int(exact)
        story = row.get("story_id")
        return {
            "amount_in_cents": cents,
            "currency": code,
            "notes": row.get("notes"),
            "taxable": bool(row.get("taxable", False)),
            "story_id": None if story is None else values.identifier(story),
        }

    def after(self, world: World, draft: Draft, record: Record) -> None:
        touch = bool(world.settings["invoicing_touches_lines"])
        for name, type_ in LINE_TYPES.items():
            if name not in draft.extra:
                continue
            wanted = set(draft.extra[name] or [])
            for line in world.find(type_, "invoice_id", record["id"]):
                if line["id"] not in wanted:
                    world.change(type_, line["id"], {"invoice_id": None}, touch=touch)
            for id_ in draft.extra[name] or []:
                if world.must(type_, id_).get("invoice_id") != record["id"]:
                    world.change(type_, id_, {"invoice_id": record["id"]}, touch=touch)
        for type_ in ITEM_TYPES:
            for item in draft.extra.get(type_) or []:
                fields = {**item, "invoice_id": record["id"], "workspace_id": record["workspace_ids"][0]}
                world.insert(type_, fields)
        balance = total(world, record)
        world.change("invoices", record["id"], {"balance_in_cents": balance}, touch=False)

    def refuse_delete(self, world: World, record: Record) -> str | None:
        return None if record["draft"] else "Only draft invoices can be deleted"

    def before_delete(self, world: World, record: Record) -> None:
        free(world, record["id"])
        for type_ in ITEM_TYPES:
            for item in world.find(type_, "invoice_id", record["id"]):
                world.remove(type_, item["id"])

    def derive(self, world: World, record: Record) -> Record:
        due = date.fromisoformat(record["invoice_date"]) + timedelta(days=record["payment_schedule"])
        number = record["user_invoice_number"]
        return {
            **money_attributes(record["currency"]),
            "title": f"{'Draft ' if record['draft'] else ''}Invoice #{number}",
            "due_date": due.isoformat(),
        }

    def links(self, world: World, record: Record, name: str) -> list[str] | None:
        if name in (*LINE_TYPES.values(), *ITEM_TYPES):
            return ids(world.find(name, "invoice_id", record["id"]))
        return None


def total(world: World, invoice: Record) -> int:
    """What an invoice amounts to with tax, smallest units; each time line rounded by itself."""
    id_ = invoice["id"]
    net = sum(
        values.line_amount(e.get("rate_in_cents") or 0, e["time_in_minutes"])
        for e in world.find("time_entries", "invoice_id", id_)
        if e.get("billable")
    )
    for type_ in ("expenses", "billing_milestones", *ITEM_TYPES):
        net += sum(r["amount_in_cents"] or 0 for r in world.find(type_, "invoice_id", id_))
    rate = Decimal(invoice.get("tax_rate") or "0")
    return net + int((net * rate / 100).to_integral_value(ROUND_HALF_UP))


def free(world: World, invoice: str) -> None:
    """Take every line off an invoice."""
    touch = bool(world.settings["invoicing_touches_lines"])
    for type_ in LINE_TYPES.values():
        for line in world.find(type_, "invoice_id", invoice):
            world.change(type_, line["id"], {"invoice_id": None}, touch=touch)


def cancel(world: World, record: Record) -> Record:
    """``PUT /invoices/{id}/cancel``: active invoices only; frees the lines."""
    if record["status"] != "new" or record["draft"]:
        raise system(422, "Only active invoices can be cancelled")
    free(world, record["id"])
    return world.change("invoices", record["id"], {"status": "cancelled", "balance_in_cents": 0})


class _Milestones(Rules):
    def check(self, world: World, draft: Draft) -> None:
        story = world.get("stories", draft.get("story_id"))
        if story and story["workspace_id"] != draft.get("workspace_id"):
            draft.problems.add("story_id", "Story is not in this project")
        if draft.current is not None and draft.current.get("invoice_id"):
            draft.problems.add("base", "Billing milestone is on an invoice")

    def refuse_delete(self, world: World, record: Record) -> str | None:
        return "Billing milestone is on an invoice" if record.get("invoice_id") else None

    def derive(self, world: World, record: Record) -> Record:
        code = world.must("workspaces", record["workspace_id"])["currency"]
        invoice = record.get("invoice_id")
        return {"currency": code, "billing_type": "fixed_fee", "invoice_ids": [invoice] if invoice else []}

    def links(self, world: World, record: Record, name: str) -> list[str] | None:
        if name == "invoices":
            return [record["invoice_id"]] if record.get("invoice_id") else []
        return None


class _Payments(Rules):
    def check(self, world: World, draft: Draft) -> None:
        draft.default(user_id=world.me)
        if len(draft.get("message") or "") > 255:
            draft.problems.add("message", "Message is too long (maximum is 255 characters)")
        invoice = world.get("invoices", draft.get("invoice_id"))
        if invoice is None:
            if draft.get("amount_in_cents") is None and draft.row.get("invoice_id") is None:
                draft.problems.add("amount_in_cents", "Amount in cents can't be blank without an invoice")
            return
        if invoice["draft"] or invoice["status"] != "new":
            draft.problems.add("invoice_id", "Invoice is not pending")
        elif len(invoice["workspace_ids"]) != 1:
            draft.problems.add("invoice_id", "Invoice covers several projects")
        elif invoice["workspace_ids"] != [draft.get("workspace_id")]:
            draft.problems.add("invoice_id", "Invoice is not of this project")
        # Whatever amount is sent, the invoice is paid in full.
        draft.fields["amount_in_cents"] = total(world, invoice)

    def after(self, world: World, draft: Draft, record: Record) -> None:
        if record.get("invoice_id") and world.call is not None:
            paid: dict[str, Any] = {"status": "accepted payment", "balance_in_cents": 0}
            world.change("invoices", record["invoice_id"], paid)


class _Accounting(Rules):
    def check(self, world: World, draft: Draft) -> None:
        draft.default(type="Recognition", status="Draft")
        start, end = draft.get("start_date"), draft.get("end_date")
        if start and end and end < start:
            draft.problems.add("end_date", "End date must be on or after the start date")


REGISTRY["invoices"] = _Invoices()
REGISTRY["billing_milestones"] = _Milestones()
REGISTRY["external_payments"] = _Payments()
REGISTRY["project_accounting_records"] = _Accounting()
