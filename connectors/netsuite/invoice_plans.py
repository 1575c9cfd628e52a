"""Planned writes of invoices: drafts, their issue, credits, and what is released to the billing run. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from canonical.causes import Cause, Queue
from canonical.erp_billing import BillingOwner, CreditDraft, InvoiceDraft, InvoiceLineDraft, InvoiceLineKind
from canonical.failures import Refused
from canonical.operations import WriteContext
from canonical.writes import Json, KeyStyle, VendorWrite, WriteKind, symbol
from connectors.netsuite import mapping as to
from connectors.netsuite import wire
from connectors.netsuite.billing_plans import ONE_LINE
from connectors.netsuite.client import RECORD, STRICT
from connectors.netsuite.mapping import Fields
from connectors.netsuite.plans import Planner

DRAFT_INVOICE = "draft_invoice"
ISSUE_INVOICE = "issue_invoice"
RELEASE_CHARGE = "release_charge"
CREDIT_INVOICE = "credit_invoice"


def invoice_symbol(key: str) -> str:
    """Symbol of an invoice's record."""
    return f"invoice:{key}"


def credit_symbol(key: str) -> str:
    """Symbol of a credit memo's record."""
    return f"credit:{key}"


class InvoicePlanner:
    """Builds the invoice writes of one account."""

    def __init__(self, planner: Planner) -> None:
        self._plan = planner
        self._mapping = planner.mapping
        self._rules = planner.mapping.billing

    # --- drafts -------------------------------------------------------------------------------------

    def invoice(self, context: WriteContext, draft: InvoiceDraft) -> list[VendorWrite]:
        """The draft with exactly these lines, or the release of them to the account's own run.

        Raises:
            Refused: NetSuite cannot make such an invoice.
        """
        if draft.owner is BillingOwner.DELIVERY:
            raise self._cannot(draft, "NetSuite does not take invoices from the delivery system")
        if draft.owner is BillingOwner.ERP_RUN:
            return [self._release(context, draft, line) for line in draft.lines if line.posting is None]
        if not draft.lines:
            raise self._cannot(draft, "an invoice needs a line")
        if any(line.amount.currency != draft.currency for line in draft.lines):
            raise self._cannot(draft, "its lines are not all in its currency")
        if draft.net.amount < 0:
            raise self._cannot(draft, f"its total is negative ({draft.net}); credit an earlier one instead")
        return [self._draft(context, draft)]

    def _draft(self, context: WriteContext, draft: InvoiceDraft) -> VendorWrite:
        key = context.key(self._plan.system, DRAFT_INVOICE, draft.key)
        out = self._head(draft)
        for name, lines in self._sublists(draft).items():
            out.put(name, {"items": lines}, "invoice.lines")
        out.constants(self._mapping, "invoice", "invoice.external_key")
        word = "Draft" if self._rules.invoice_approval else "Post"
        by_order = any(line.order_line is not None for line in draft.lines)
        common: dict[str, Any] = {
            "record_type": "invoice",
            "operation": DRAFT_INVOICE,
            "key": key,
            "name": invoice_symbol(draft.key),
            "title": f"{word} invoice {draft.key}: {draft.net}",
            "produces": ("id", "number"),
            "expect": {
                "client": draft.bill_to,
                "legal_entity": draft.seller,
                "currency": draft.currency,
                "amount": wire.number(draft.net.amount, draft.currency),
                "lines": len(draft.lines),
                "state": "drafted" if self._rules.invoice_approval else "posted",
            },
        }
        write = (
            self._from_order(context, draft, out, common)
            if by_order
            else self._plan.upsert(context, fields=out, **common)
        )
        # Without approval the invoice is posted at once: nothing takes that back but a credit.
        return write.model_copy(update={"forward_only": not self._rules.invoice_approval})

    def _head(self, draft: InvoiceDraft) -> Fields:
        out = Fields()
        out.put("entity", wire.ref(draft.bill_to), "invoice.bill_to")
        out.put("job", None if draft.project is None else wire.ref(draft.project), "project.external_key")
        subsidiary = to.subsidiary_id(self._mapping, draft.seller)
        out.put("subsidiary", wire.ref(subsidiary), "invoice.seller")
        out.put("currency", wire.ref(to.currency_id(self._mapping, draft.currency)), "contract.currency")
        out.put("tranDate", draft.on.isoformat(), "invoice.date")
        status = self._rules.pending if self._rules.invoice_approval else self._rules.approved
        out.put("approvalStatus", wire.ref(status), "invoice.approval")
        out.put(self._mapping.purchase_order_field, draft.purchase_order, "invoice.purchase_order")
        out.put("memo", draft.memo, "invoice.external_key")
        return out

    def _sublists(self, draft: InvoiceDraft) -> dict[str, list[Json]]:
        """Lines by the sublist that takes them. All are always sent: an empty ``item`` keeps a transform from
        adding its own, and a draft that is changed must lose the lines that are no longer on it.
        """
        found: dict[str, list[Json]] = {"item": [], "time": [], "expCost": []}
        for line in draft.lines:
            amount = wire.number(line.amount.amount, line.amount.currency)
            if line.posting is None or line.kind not in (InvoiceLineKind.TIME, InvoiceLineKind.EXPENSE):
                found["item"].append(self._item(draft, line, amount))
            elif line.kind is InvoiceLineKind.TIME:
                taken = {"doc": wire.ref(line.posting), "apply": True, "amount": amount}
                found["time"].append({**taken, "memo": line.description})
            else:
                taken = {"doc": wire.ref(line.posting), "line": ONE_LINE, "apply": True, "amount": amount}
                found["expCost"].append({**taken, "memo": line.description})
        return found

    def _item(self, draft: InvoiceDraft, line: InvoiceLineDraft, amount: str) -> dict[str, Json]:
        """A line that stands alone or bills a line of the contract. The amount is sent, never a rate."""
        body: dict[str, Json] = {
            **self._mapping.constants.get("invoice.item", {}),
            "item": wire.ref(line.item),
            "description": line.description,
            "quantity": "1" if line.order_quantity is None else wire.plain(line.order_quantity),
            "amount": amount,
        }
        if line.order_line is not None:
            body |= {"orderDoc": wire.ref(draft.contract), "orderLine": line.order_line}
        if line.project is not None:
            body["job"] = wire.ref(line.project)
        if self._mapping.custom.line_key is not None:
            body[self._mapping.custom.line_key] = line.key
        return body

    def _from_order(
        self, context: WriteContext, draft: InvoiceDraft, out: Fields, common: Mapping[str, Any]
    ) -> VendorWrite:
        """Lines that bill a sales order can only come by transforming it; the external id guards the call."""
        if draft.contract is None:
            raise self._cannot(draft, "it bills lines of a contract and names none")
        stamp = context.stamp(common["key"])
        out.put("externalId", stamp, "invoice.external_key")
        return self._create(
            context,
            path=f"{RECORD}/salesOrder/{{order}}/!transform/invoice",
            path_values={"order": draft.contract},
            fields=out,
            **common,
        )

    def issue(self, context: WriteContext, draft: InvoiceDraft) -> list[VendorWrite]:
        """Approve the draft: that posts it (the pivot, rule 15)."""
        if draft.owner is not BillingOwner.OURS or not self._rules.invoice_approval:
            return []
        write = self._plan.update(
            context,
            record_type="invoice",
            operation=ISSUE_INVOICE,
            key=context.key(self._plan.system, ISSUE_INVOICE, draft.key),
            name=invoice_symbol(draft.key),
            title=f"Issue invoice {draft.key}: {draft.net}",
            target=symbol(invoice_symbol(draft.key)),
            body={"approvalStatus": wire.ref(self._rules.approved)},
            sets={"approvalStatus": "invoice.approval"},
            expect={
                "state": "posted",
                "amount": wire.number(draft.net.amount, draft.currency),
                "lines": len(draft.lines),
            },
            restore=(),
        )
        return [write.model_copy(update={"forward_only": True})]

    def _release(self, context: WriteContext, draft: InvoiceDraft, line: InvoiceLineDraft) -> VendorWrite:
        """An amount as a charge that is ready: the account's run takes it. Posted lines are ready already."""
        out, project = Fields(), draft.project if line.project is None else line.project
        key = context.key(self._plan.system, RELEASE_CHARGE, f"{draft.key}.{line.key}")
        stamp = context.stamp(key)
        out.put("billTo", wire.ref(project), "project.external_key")
        out.put("stage", wire.ref("READY_FOR_BILLING"), "invoice.approval")
        out.put("use", wire.ref("Actual"), "invoice.approval")
        out.put("chargeType", wire.ref(self._rules.charge_type), "invoice.lines")
        out.put("billingItem", wire.ref(line.item), "invoice.lines")
        out.put("chargeDate", draft.on.isoformat(), "invoice.date")
        out.put("description", line.description, "invoice.lines")
        # Quantity one: NetSuite multiplies rate and quantity, and there must be nothing to round.
        amount = wire.number(line.amount.amount, line.amount.currency)
        out.put("rate", amount, "invoice.lines")
        out.put("quantity", "1", "invoice.lines")
        out.put("runId", stamp, "invoice.external_key")
        out.constants(self._mapping, "charge", "invoice.external_key")
        return self._create(
            context,
            record_type="charge",
            operation=RELEASE_CHARGE,
            key=key,
            name=f"charge:{draft.key}.{line.key}",
            title=f"Release {line.amount} to the billing run: {line.description}",
            path=f"{RECORD}/charge",
            path_values={},
            fields=out,
            expect={"amount": wire.plain(line.amount.amount), "project": project},
            options={"find_filter": f'runId IS "{stamp}"'},
        ).model_copy(update={"independent": True})

    # --- credits ------------------------------------------------------------------------------------

    def credit(self, context: WriteContext, draft: CreditDraft) -> list[VendorWrite]:
        """A credit memo from the invoice. REST has no void: crediting is the only correction (rule 39)."""
        key, currency = context.key(self._plan.system, CREDIT_INVOICE, draft.key), draft.net.currency
        out = Fields()
        out.put("externalId", context.stamp(key), "credit.external_key")
        out.put("tranDate", draft.on.isoformat(), "credit.date")
        out.put("memo", draft.reason, "credit.reason")
        if draft.exchange_rate is not None:
            out.put("exchangeRate", wire.plain(draft.exchange_rate), "credit.fx_rate")
        lines: list[Json] = []
        for line in draft.lines:
            body: dict[str, Json] = {
                **self._mapping.constants.get("creditMemo.item", {}),
                "item": wire.ref(line.item),
                "description": line.description,
                "quantity": "1",
                "amount": wire.number(line.amount.amount, currency),
            }
            if self._mapping.custom.line_key is not None:
                body[self._mapping.custom.line_key] = line.invoice_line
            lines.append(body)
        out.put("item", {"items": lines}, "credit.lines")
        if draft.apply:
            applied = [{"doc": wire.ref(draft.invoice), "apply": True}]
            out.put("apply", {"items": applied}, "credit.invoice")
        out.constants(self._mapping, "creditMemo", "credit.external_key")
        write = self._create(
            context,
            record_type="creditMemo",
            operation=CREDIT_INVOICE,
            key=key,
            name=credit_symbol(draft.key),
            title=f"Credit {draft.net} of invoice {draft.invoice}: {draft.reason}",
            path=f"{RECORD}/invoice/{{invoice}}/!transform/creditMemo",
            path_values={"invoice": draft.invoice},
            fields=out,
            produces=("id", "number"),
            expect={
                "invoice": draft.invoice,
                "currency": currency,
                "amount": wire.number(draft.net.amount, currency),
                "lines": len(draft.lines),
            },
        )
        return [write.model_copy(update={"forward_only": True})]

    def _create(
        self,
        context: WriteContext,
        *,
        record_type: str,
        operation: str,
        key: str,
        name: str,
        title: str,
        path: str,
        path_values: dict[str, Json],
        fields: Fields,
        produces: tuple[str, ...] = ("id",),
        expect: dict[str, Json] | None = None,
        options: dict[str, Json] | None = None,
    ) -> VendorWrite:
        return VendorWrite(
            system=self._plan.system,
            operation=operation,
            title=title,
            record_type=record_type,
            kind=WriteKind.CREATE,
            key=key,
            step_key=context.step_key,
            stamp=context.stamp(key),
            symbol=name,
            produces=produces,
            method="POST",
            path=path,
            path_values=path_values,
            headers=STRICT,
            body=fields.body,
            key_style=KeyStyle.STAMPED,
            expect=expect or {},
            settle_seconds=self._plan.settings.search_lag_seconds,
            sets=fields.sets,
            phase=context.phase,
            options={"saga": context.saga_id, **(options or {})},
        )

    def _cannot(self, draft: InvoiceDraft, why: str) -> Refused:
        return Refused(
            f"Invoice {draft.key} cannot be asked for: {why}.",
            cause=Cause.VENDOR_REFUSED,
            queue=Queue.BILLING,
            system=self._plan.system,
            remedy="Change the draft's lines or the contract's billing terms, then retry.",
        )
