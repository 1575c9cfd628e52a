"""Who owns which field, in which state: data, enforced on every write and rendered into the docs.

The CRM owns the commercial context until the contract is approved; the ERP owns legal entity, tax
registration, payment terms, billing account, invoices and postings; delivery owns project structure,
assignments and approved time; HR owns workers and cost rates (rule 8).
"""

from __future__ import annotations

from enum import StrEnum

from canonical.base import Canonical
from canonical.refs import SystemRole


class Phase(StrEnum):
    """The states in which authority differs."""

    BEFORE_APPROVAL = "before_approval"
    AFTER_APPROVAL = "after_approval"


class UpdateRule(StrEnum):
    """How a field that already has a value changes."""

    SET_ONCE = "set_once"
    OWNER_WINS = "owner_wins"
    NEWEST_WINS = "newest_wins"
    ASK = "ask"
    CHANGE_ORDER = "change_order"
    """Only through a change order (rules 8, 43)."""


class Authority(Canonical):
    """One row: the owner of a canonical field in a phase, and what merging clients keeps."""

    object: str
    field: str
    phase: Phase
    owner: SystemRole
    update: UpdateRule
    survivorship: str
    reason: str
    propagates_to: tuple[SystemRole, ...] = ()
    """Systems that Trueup may write this field to, on the owner's authority."""


_B, _A = Phase.BEFORE_APPROVAL, Phase.AFTER_APPROVAL
_CRM, _ERP, _PSA, _HR = SystemRole.CRM, SystemRole.ERP, SystemRole.PSA, SystemRole.HR
_KEEP, _ASK = "the surviving record's", "ask"


def _rows(
    object_: str,
    fields: str,
    owner: SystemRole,
    update: UpdateRule,
    reason: str,
    to: tuple[SystemRole, ...],
    *,
    phases: tuple[Phase, ...] = (_B, _A),
    survivorship: str = _KEEP,
) -> list[Authority]:
    return [
        Authority(
            object=object_,
            field=field,
            phase=phase,
            owner=owner,
            update=update,
            survivorship=survivorship,
            reason=reason,
            propagates_to=to,
        )
        for field in fields.split()
        for phase in phases
    ]


_ONCE, _OWNER, _CHANGE = UpdateRule.SET_ONCE, UpdateRule.OWNER_WINS, UpdateRule.CHANGE_ORDER

AUTHORITY: tuple[Authority, ...] = (
    *_rows("client", "name parent address currency billing_email", _CRM, _OWNER,
           "commercial context until the contract is approved", (_ERP, _PSA), phases=(_B,)),
    *_rows("client", "name parent address currency billing_email", _ERP, _OWNER,
           "the billing account is finance's once a contract stands on it", (_PSA,), phases=(_A,)),
    *_rows("client", "tax_registration payment_terms", _CRM, _ONCE,
           "handed over once, when the client is created", (_ERP,), phases=(_B,), survivorship=_ASK),
    *_rows("client", "tax_registration payment_terms legal_entity", _ERP, _OWNER,
           "tax and terms are legal facts that finance answers for", (), phases=(_A,), survivorship=_ASK),
    *_rows("client", "legal_entity", _CRM, _ONCE, "who sells is decided with the deal", (_ERP,), phases=(_B,)),
    *_rows("client", "external_key", _CRM, _ONCE, "our own cross-reference", (_ERP, _PSA)),
    *_rows("contract", "name lines amount billing_method revenue_method currency legal_entity schedule "
           "rate_card caps purchase_order start end", _CRM, _OWNER,
           "the deal states the terms until the contract is approved", (_ERP, _PSA), phases=(_B,)),
    *_rows("contract", "name lines amount billing_method revenue_method currency legal_entity rate_card caps "
           "purchase_order start end", _ERP, _CHANGE,
           "approved terms change only through a change order (rule 8)", (_ERP, _PSA, _CRM), phases=(_A,)),
    *_rows("contract", "schedule", _PSA, UpdateRule.NEWEST_WINS,
           "delivery moves dates, never amounts (rule 8)", (_ERP,), phases=(_A,)),
    *_rows("contract", "schedule_terms", _ERP, _CHANGE,
           "which amounts are due for what belongs to the contract (rule 8)", (_ERP, _PSA), phases=(_A,)),
    *_rows("contract", "status project", _ERP, _OWNER, "the ERP reports its own lifecycle", (_ERP, _PSA, _CRM)),
    *_rows("contract", "external_key", _CRM, _ONCE, "our own cross-reference", (_ERP, _PSA)),
    *_rows("project", "code", _ERP, _ONCE, "the ERP generates the shared identifier (rule 3)",
           (_PSA, _CRM, SystemRole.NOTIFICATION)),
    *_rows("project", "title start end budget currency template client legal_entity manager", _CRM, _OWNER,
           "seeded from the deal", (_ERP, _PSA), phases=(_B,)),
    *_rows("project", "structure tasks milestones placeholders assignments", _CRM, _OWNER,
           "seeded from the sold service's template", (_PSA,), phases=(_B,)),
    *_rows("project", "structure tasks milestones placeholders assignments title start end manager", _PSA, _OWNER,
           "delivery owns how the work is done", (_ERP,), phases=(_A,)),
    *_rows("project", "progress", _PSA, _OWNER,
           "what is done and accepted; the ERP computes revenue from it (rule 2)", (_ERP,), phases=(_A,)),
    *_rows("project", "budget currency", _ERP, _CHANGE, "follows the contract", (_PSA,), phases=(_A,)),
    *_rows("project", "status", _ERP, _OWNER, "opened and closed with the contract", (_ERP, _PSA, _CRM)),
    *_rows("project", "external_key", _CRM, _ONCE, "our own cross-reference", (_ERP, _PSA)),
    *_rows("opportunity", "project_code project_status project_link engagement_code", _ERP, _OWNER,
           "told back to sales", (_CRM,)),
    *_rows("opportunity", "invoiced invoiced_net paid credited withheld written_off refunded balance overdue "
           "ageing recognised_revenue deferred_revenue budget budget_consumed budget_used_percent open_invoices "
           "invoice_number invoice_status invoice_due collection_status corporate_amount summary", _ERP, _OWNER,
           "finance's figures, told back to sales and delivery", (_CRM, _PSA), phases=(_A,)),
    *_rows("account", "margin margin_percent", _ERP, _OWNER,
           "a sum over at least three workers, where configured (rule 42)", (_CRM,), phases=(_A,)),
    *_rows("time_entry", "minutes work_date worker role approval task billable note source", _PSA, _OWNER,
           "approved time belongs to delivery", (_ERP,), phases=(_A,)),
    *_rows("time_entry", "bill_rate", _ERP, _OWNER,
           "the contract's rate, as its pricing authority gives it (rule 7)", (_ERP,), phases=(_A,)),
    *_rows("expense", "amount incurred_on worker category approval billable note payable source", _PSA, _OWNER,
           "approved expenses belong to delivery", (_ERP,), phases=(_A,)),
    *_rows("time_entry", "exported", _ERP, _OWNER, "marks what the ERP has taken", (_PSA,), phases=(_A,)),
    *_rows("invoice", "seller bill_to lines date purchase_order external_key approval", _ERP, _OWNER,
           "asked for by us where the route says so (rule 26)", (_ERP,), phases=(_A,)),
    *_rows("credit", "invoice lines date reason fx_rate external_key", _ERP, _OWNER,
           "asked for by us, approved at a gate (rule 39)", (_ERP,), phases=(_A,)),
    *_rows("invoice", "number status tax due_date fx_rate posting_period", _ERP, _OWNER,
           "legal document of the ERP", (_CRM, _PSA), phases=(_A,)),
    *_rows("worker", "name email role practice region cost_rate", _HR, _OWNER, "HR owns people and pay", ()),
)  # fmt: skip


def may_write(object_: str, field: str, phase: Phase, target: SystemRole) -> Authority | None:
    """The row that allows writing ``field`` to a system of role ``target``, or None."""
    return next(
        (
            row
            for row in AUTHORITY
            if row.object == object_
            and row.field == field
            and row.phase is phase
            and target in row.propagates_to
        ),
        None,
    )
