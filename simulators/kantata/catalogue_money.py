"""Time, expenses, approvals and billing records.

Source: the vendor's SDK specification and the Swagger digest, as in ``catalogue_delivery``.
"""

from __future__ import annotations

from simulators.kantata.schema import declare

declare(
    "time_entries",
    "time_entry",
    verbs="list get create update delete",
    subject="TimeEntry",
    event="time_entry",
    create_update="workspace_id:>workspaces! date_performed:date! time_in_minutes:int!"
    " billable:bool notes:text"
    " rate_in_cents:int$ cost_rate_in_cents:int$ role_id:>roles story_id:>stories user_id:>users"
    " location:text",
    read="created_at:instant updated_at:instant taxable:bool active_submission_id:>timesheet_submissions"
    " recent_submission_id:>timesheet_submissions invoice_id:>invoices",
    hidden="currency_code:currency",
    derived="approved:bool is_invoiced:bool currency:text currency_symbol:text currency_base_unit:int",
    optional="location_id:int user_can_edit:bool",
    include="active_submission>timesheet_submissions invoice>invoices recent_submission>timesheet_submissions"
    " role>roles story>stories user>users workspace>workspaces",
    order="created_at date_performed updated_at",
    default_order="date_performed:desc",
    params="approved invoiced uninvoiced billable created_after created_before created_by"
    " date_performed_between"
    " from_archived_workspaces in_active_invoice_id in_active_submission on_my_account updated_after"
    " updated_before with_recent_timesheet_ids with_timesheet_id with_user_ids workspace_id workspace_ids",
)

declare(
    "expenses",
    "expense",
    verbs="list get create update delete",
    subject="Expense",
    event="expense",
    bulk=100,
    create_update="workspace_id:>workspaces! date:date! category:text! amount_in_cents:int! notes:text"
    " user_id:>users receipt_id:int story_id:>stories expense_category_id:int"
    " foreign_exchange_amount:decimal",
    create="reimbursable:bool vendor_id:int",
    create_update_only="billable:bool",
    read="is_billable:bool taxable:bool created_at:instant updated_at:instant"
    " active_submission_id:>expense_report_submissions recent_submission_id:>expense_report_submissions",
    hidden="currency_code:currency invoice_id:>invoices",
    derived="currency:text currency_symbol:text currency_base_unit:int user_can_edit:bool is_invoiced:bool",
    include="workspace>workspaces user>users story>stories active_submission>expense_report_submissions"
    " recent_submission>expense_report_submissions",
    order="amount category created_at date notes vendor_name",
    default_order="date:desc",
    params="approved invoiced uninvoiced submitted unsubmitted reimbursable mine created_after updated_after"
    " updated_before date_expensed_between from_archived_workspaces on_my_account with_expense_report_id"
    " with_recent_expense_report_ids workspace_id in_active_invoice_id",
)

for _name, _singular, _event, _lines in (
    (
        "timesheet_submissions",
        "timesheet_submission",
        "timesheet",
        "time_entries:time_entry_ids>>time_entries",
    ),
    ("expense_report_submissions", "expense_report_submission", None, "expenses:expense_ids>>expenses"),
):
    declare(
        _name,
        _singular,
        verbs="list get create",
        subject="Submission",
        event=_event,
        series="submissions",
        create="title:text! workspace_id:>workspaces! user_id:>users comment:text",
        create_only="line_item_ids:list!",
        read="start_date:date end_date:date status:=new|cancelled|rejected|approved created_at:instant"
        " updated_at:instant resolution_description:text current_resolution_description:text"
        " current_resolution_creator_id:>users current_resolution_created_at_date:instant",
        derived="type:text line_item_total_formatted:text line_item_total_in_cents:int currency:text"
        " currency_symbol:text currency_base_unit:int",
        include=f"user>users workspace>workspaces {_lines} resolutions:resolution_ids>>resolutions",
        order="date",
        default_order="date:desc",
        params="active not_cancelled statuses start_date end_date start_date_after created_after"
        " updated_after"
        " updated_before user_ids workspace_ids",
    )

declare(
    "resolutions",
    "resolution",
    verbs="",
    read="type:=approval|rejection|cancellation created_at:instant updated_at:instant description:text"
    " target_type:text target_id:id user_id:>users current:bool",
)

declare(
    "billing_milestones",
    "billing_milestone",
    verbs="list get create update delete",
    subject="BillingMilestone",
    create="workspace_id:>workspaces! story_id:>stories",
    create_update="title:text! date_to_invoice:date amount_in_cents:int!",
    read="created_at:instant updated_at:instant invoice_id:>invoices",
    derived="billing_type:text currency:text invoice_ids:>>invoices",
    include="workspace>workspaces invoices:invoice_ids>>invoices",
)

declare(
    "invoices",
    "invoice",
    verbs="list get create update delete",
    subject="Invoice",
    event="invoice",
    create="workspace_ids:>>workspaces",
    create_only="workspace_id:>workspaces fixed_fee_items:list additional_items:list suppress_emails:bool",
    create_update="payment_schedule:int! invoice_date:date user_invoice_number:int user_invoice_title:text"
    " draft:bool message:text purchase_order:text project_code:text tax_rate:decimal",
    create_update_only="time_entry_ids:>>time_entries expense_ids:>>expenses"
    " billing_milestone_ids:>>billing_milestones",
    read="created_at:instant updated_at:instant status:=new|accepted_payment|cancelled balance_in_cents:int"
    " currency:currency user_id:>users recipient_id:>users",
    derived="title:text due_date:date currency_symbol:text currency_base_unit:int",
    include="additional_items:additional_item_ids>>additional_items user>users recipient>users"
    " billing_milestones:billing_milestone_ids>>billing_milestones expenses:expense_ids>>expenses"
    " fixed_fee_items:fixed_fee_item_ids>>fixed_fee_items time_entries:time_entry_ids>>time_entries"
    " workspaces:workspace_ids>>workspaces",
    order="created_at id invoice_date updated_at",
    params="paid pending without_drafts user_invoice_number within_dates created_after"
    " updated_after workspace_id",
)

for _name, _singular in (("fixed_fee_items", "fixed_fee_item"), ("additional_items", "additional_item")):
    declare(
        _name,
        _singular,
        verbs="",
        read="created_at:instant notes:text amount_in_cents:int taxable:bool currency:currency"
        " story_id:>stories"
        " workspace_id:>workspaces",
        hidden="invoice_id:>invoices",
    )

declare(
    "external_payments",
    "external_payment",
    verbs="list get create",
    create="workspace_id:>workspaces! invoice_id:>invoices amount_in_cents:int message:text",
    read="user_id:>users created_at:instant updated_at:instant",
    include="user>users workspace>workspaces invoice>invoices",
    params="invoice_id workspace_id user_id created_after updated_after",
)

declare(
    "project_accounting_records",
    "project_accounting_record",
    verbs="list get create update delete",
    subject="ProjectAccountingRecord",
    bulk=100,
    create="workspace_id:>workspaces!",
    create_update="start_date:date! end_date:date! currency:currency!"
    " type:=Baseline|Earned_Value|Earned_Value_Forecasting|Forecasting|Recognition"
    " status:=Draft|Pending_Approval|Approved|Cancelled amount:decimal amount_to_date:decimal budget:decimal"
    " contract_date:date cost:decimal cost_eac:decimal description:text fees:decimal hours:decimal"
    " hours_eac:decimal hours_etc:decimal labor_type:text notes:text percent_complete:decimal"
    " role_id:>roles service_type:text story_id:>stories total_estimated_hours:decimal"
    " total_hours_to_date:decimal user_id:>users",
    read="created_at:instant updated_at:instant",
    include="user>users story>stories workspace>workspaces role>roles",
)

declare(
    "line_item_locks",
    "line_item_lock",
    verbs="list get create",
    create="locked_to:date!",
    read="created_at:instant updated_at:instant",
)
