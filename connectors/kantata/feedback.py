"""Finance's figures on a project. Pure.

Kantata holds no amounts of an invoice that was made elsewhere: an external payment always pays a whole
Kantata invoice, a part payment, a withholding or a credit cannot be expressed, and custom fields take a call
each. So the figures stand in one external reference of the project, beside the one that names it: status and
message are the vendor's own fields for what another system says, and its documented upsert is one call.
"""

from __future__ import annotations

from collections.abc import Mapping

from canonical.feedback import Figure
from canonical.operations import WriteContext
from canonical.refs import RecordRef
from canonical.writes import Json, VendorWrite
from connectors.kantata.references import plan_reference
from connectors.kantata.settings import KantataSettings

SHOW_FIGURES = "invoice_feedback"
MESSAGE_LIMIT = 255
"""Characters of a message (not published; that of an external payment is)."""
_FIELDS = {
    "subject_type": "opportunity.summary",
    "subject_id": "opportunity.summary",
    "service_name": "opportunity.summary",
    "service_model": "opportunity.summary",
    "service_model_ref": "opportunity.summary",
    "status": "opportunity.collection_status",
    "external_status": "opportunity.invoice_status",
    "external_message": "opportunity.summary",
}


def plan_figures(
    system: str,
    settings: KantataSettings,
    context: WriteContext,
    ref: RecordRef,
    figures: Mapping[str, Figure],
    *,
    revision: str = "",
) -> list[VendorWrite]:
    """The figures in one line on a project; nothing where the account is not configured to show any.

    Args:
        system: instance name.
        settings: of the instance.
        context: the saga's step.
        ref: the project.
        figures: by name; the summary and the states are what Kantata has room for.
        revision: of the figures: a later state is another write (rule 10). It is what the reference refers
            to, so that an earlier state is never taken for this one.

    Raises:
        ValueError: a record of another type or system.
    """
    if ref.system != system or ref.type != "workspaces":
        raise ValueError(f"figures go to a project of {system}, not to {ref}")
    service = settings.mapping.finance_service
    if service is None:
        return []
    status = figures.get("invoice_status")
    body: dict[str, Json] = {
        "subject_type": "Workspace",
        "subject_id": ref.id,
        "service_name": service,
        "service_model": SHOW_FIGURES,
        "service_model_ref": revision or "0",
        # Whether what finance says is good news: Kantata has three words for it.
        "status": _STATUS.get(str(figures.get("collection_status")), "pending"),
        "external_status": str(status or "nothing invoiced"),
        "external_message": _message(figures),
    }
    return [
        plan_reference(
            system,
            context,
            operation=SHOW_FIGURES,
            identity=f"{ref.id}@{revision}" if revision else ref.id,
            title=f"Show finance's figures on project {ref.id}",
            name=f"figures:{ref.id}",
            body=body,
            expect=("service_model_ref", "external_status", "external_message"),
            sets=_FIELDS,
            forward_only=True,
        )
    ]


def _message(figures: Mapping[str, Figure]) -> str:
    """The figures in one line; margin first, so that a long line does not lose it."""
    words = str(figures.get("summary") or "")
    if figures.get("margin") is not None:
        percent = figures.get("margin_percent")
        words = f"margin {figures['margin']}{'' if percent is None else f' ({percent} %)'}; {words}"
    return words[:MESSAGE_LIMIT]


_STATUS = {
    "nothing due": "successful",
    "current": "successful",
    "overdue": "failed",
    "disputed": "failed",
}
"""How collecting stands -> ``status`` of the reference."""
