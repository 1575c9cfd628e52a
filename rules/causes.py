"""The catalogue of causes: what each means, who acts, what to do. ``trueup explain CODE`` prints it."""

from __future__ import annotations

from canonical.base import Canonical
from canonical.causes import Cause, Queue


class CauseEntry(Canonical):
    """One cause, explained."""

    code: Cause
    queue: Queue
    meaning: str
    remedy: str


def _entries(queue: Queue, *rows: tuple[Cause, str, str]) -> dict[Cause, CauseEntry]:
    return {
        code: CauseEntry(code=code, queue=queue, meaning=meaning, remedy=remedy)
        for code, meaning, remedy in rows
    }


CATALOGUE: dict[Cause, CauseEntry] = {
    **_entries(
        Queue.SALES,
        (Cause.DEAL_NOT_FOUND, "The CRM has no such opportunity.", "Check the id and the CRM instance."),
        (Cause.DEAL_NOT_WON, "Only won deals are set up.", "Set the deal to closed-won, then start again."),
        (Cause.DEAL_LOST_MEANWHILE, "The deal stopped being won while it was set up; everything was undone.",
         "Nothing, unless the deal is won again: then start again."),
        (Cause.BAD_INPUT, "What the saga was started with cannot be used.", "Correct the input and start again."),
        (Cause.CANCELLED, "Somebody cancelled; everything was undone.", "Start again if it was a mistake."),
        (Cause.DEAL_CLASS_UNCLEAR, "The deal's type does not say whether it opens a project.",
         "Set the deal's type to one of the configured words, then retry."),
        (Cause.DEAL_IS_AMENDMENT, "An amendment changes a contract that exists; it opens no project.",
         "Enter it as a change order; undo this saga."),
        (Cause.DEAL_IS_RENEWAL, "A renewal extends a contract that exists; it opens no project.",
         "Extend the contract in the ERP; undo this saga."),
        (Cause.APPROVAL_MISSING, "The commercial approval is not there.",
         "Have the deal approved in the CRM, then retry."),
        (Cause.SOW_UNSIGNED, "The statement of work is not signed.", "Record the signature in the CRM."),
        (Cause.ENGAGEMENT_UNKNOWN, "The engagement this deal belongs to is not known.",
         "Name the engagement's code on the deal, then retry."),
        (Cause.CLIENT_MISSING, "The deal has no account.", "Link the deal to its account, then retry."),
        (Cause.NAME_TOO_LONG, "A name is longer than a connected system can hold; nothing is cut silently.",
         "Shorten the name in the CRM, then retry."),
        (Cause.AMOUNT_MISMATCH, "The deal's lines do not add up.",
         "Correct the lines or the amount in the CRM, then retry."),
        (Cause.LINES_MISSING, "The deal has no lines, so nothing says what was sold.",
         "Add the sold services to the deal, then retry."),
        (Cause.DEAL_CHANGED_AFTER_ACTIVATION, "The deal changed after its project became active.",
         "Agreed terms change through a change order only."),
    ),
    **_entries(
        Queue.MASTER_DATA,
        (Cause.LEGAL_ENTITY_MISSING, "Nothing says which legal entity sells.",
         "Set the selling entity on the deal or its line, then retry."),
        (Cause.LEGAL_ENTITY_UNKNOWN, "The selling entity is not one of the firm's, or not in the ERP.",
         "Correct the entity on the deal, or add it to the configuration and the ERP."),
        (Cause.ROUTE_MISSING, "No route says which systems serve this entity and region.",
         "Add a route to the configuration, then retry."),
        (Cause.ROUTE_AMBIGUOUS, "Several routes fit equally.", "Make one of the routes more specific."),
        (Cause.TAX_REGISTRATION_MISSING, "The client has no tax registration and the entity must show one.",
         "Enter the tax registration on the CRM account, then retry."),
        (Cause.CURRENCY_NOT_SOLD, "The entity does not sell in this currency.",
         "Correct the line's currency, or allow it for the entity."),
        (Cause.CURRENCY_UNKNOWN_IN_ERP, "The ERP does not have this currency.",
         "Set the currency up in the ERP and map it, then retry."),
        (Cause.CURRENCY_NOT_HELD_BY_CLIENT, "The ERP's customer cannot hold this currency.",
         "Add the currency to the customer in the ERP, then retry."),
        (Cause.PAYMENT_TERMS_UNKNOWN, "The ERP has no such payment terms.",
         "Correct the terms on the deal or map them, then retry."),
        (Cause.CLIENT_AMBIGUOUS, "Several ERP customers could be this client.",
         "Choose one, or say that it is a new client."),
        (Cause.CLIENT_INACTIVE, "The ERP's customer is inactive.",
         "Reactivate or merge the customer in the ERP, then retry."),
        (Cause.CLIENT_COUNTRY_MISSING, "The client's country is missing or not understood.",
         "Set the billing country on the CRM account, then retry."),
        (Cause.BILL_TO_MISSING, "The party to be invoiced is not known.", "Set the bill-to account on the deal."),
        (Cause.SERVICE_UNKNOWN, "The sold service is not in the catalogue.",
         "Correct the product on the line, or add the service to the configuration."),
        (Cause.SERVICE_ITEM_MISSING, "The ERP has no active item for the sold service.",
         "Map the service to an active item of that ERP, then retry."),
        (Cause.CREDIT_REJECTED, "Credit review said no; everything was undone.",
         "Agree other terms with the client and start again."),
        (Cause.PERIOD_CLOSED, "The accounting period is closed.", "Choose an open period, or have finance re-open it."),
        (Cause.VENDOR_REFUSED, "The system refused the content.",
         "Correct the record named in the system's message, then retry."),
        (Cause.READ_BACK_DIFFERS, "The system accepted the write and shows something else.",
         "Correct the record in that system, then retry."),
        (Cause.RECORD_VANISHED, "A record that must be there is gone.",
         "Restore or re-create it in that system, then retry."),
        (Cause.FIELD_NOT_OURS, "A write would set a field that another system owns.",
         "Correct the connector's plan or the authority table."),
    ),
    **_entries(
        Queue.DELIVERY,
        (Cause.TEMPLATE_MISSING, "The delivery system has no template for the sold service.",
         "Create the template or correct its title in the configuration, then retry."),
        (Cause.TEMPLATE_INCOMPLETE, "The template was not applied completely.",
         "Look at the project in the delivery system; retry, or undo all."),
        (Cause.ROLE_UNKNOWN_IN_HR, "HR knows no worker with this role.",
         "Correct the role in the service's configuration, or in HR."),
        (Cause.ROLE_UNKNOWN_IN_DELIVERY, "The delivery system has no such role.",
         "Create the role there or map it, then retry."),
        (Cause.RATE_MISSING, "No rate is in force for a role.", "Add a rate to the rate card, then retry."),
        (Cause.RATE_OVERLAP, "Two rates are in force for a role on the same day.",
         "End one of them before the other begins, then retry."),
        (Cause.PRICE_DIFFERS, "Two systems price the same work differently.",
         "Align them with the contract's pricing authority."),
        (Cause.DATES_MISSING, "Start and end are needed and missing, or the wrong way round.",
         "Set the service dates on the deal's line, then retry."),
    ),
    **_entries(
        Queue.BILLING,
        (Cause.BILLING_METHOD_MISSING, "Nothing says how the line is billed.",
         "Set the billing method on the line or the service, then retry."),
        (Cause.SCHEDULE_MISMATCH, "The billing schedule does not add up to the line.",
         "Correct the milestone shares of the service."),
        (Cause.BASELINE_DIFFERS, "Systems do not hold what was agreed.",
         "Correct the records named, then retry."),
        (Cause.PURCHASE_ORDER_MISSING, "The client's purchase order is required and missing.",
         "Enter the purchase order on the deal, then retry."),
    ),
    **_entries(
        Queue.INFRASTRUCTURE,
        (Cause.VERSION_CONFLICT, "Somebody else changed the record at the same time.",
         "Look at the record, then retry."),
        (Cause.CHANGED_BY_SOMEBODY, "The record was changed after we wrote it; undoing would lose that change.",
         "Decide with its owner: restore by hand and skip, or retry."),
        (Cause.VENDOR_UNAVAILABLE, "The system does not answer.", "Nothing: it goes on by itself."),
        (Cause.RATE_LIMITED, "The system asks us to slow down.", "Nothing: it goes on by itself."),
        (Cause.CREDENTIALS_REJECTED, "The system refuses our credentials or permissions.",
         "Renew them; `trueup doctor` checks. Then it goes on by itself."),
        (Cause.OUTCOME_UNKNOWN, "A write was sent and never answered, and reading back does not tell.",
         "Look in the system for the stamp named, then retry (it looks before it sends)."),
        (Cause.KEY_CLOSED, "This write was undone; its key is closed for good.",
         "Start the saga again: it gets a new generation."),
        (Cause.UNDO_BLOCKED, "Something could not be undone.", "Remove what blocks it, then retry the undo."),
        (Cause.LEDGER_UNAVAILABLE, "Our own ledger does not answer.", "Nothing: it goes on by itself."),
        (Cause.CONFIGURATION, "The installation is wrong.", "Correct the configuration named; run `trueup doctor`."),
        (Cause.DEFECT, "A fault of Trueup itself.", "See the worker's log; retry after the fix."),
    ),
}  # fmt: skip
"""Every ``Cause`` has an entry; a test checks it."""
