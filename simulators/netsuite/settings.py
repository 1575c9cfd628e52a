"""What describes the simulated account: ``POST /_sim/settings`` changes it, ``/_sim/reset`` keeps it."""

from __future__ import annotations

from typing import Any

DEFAULTS: dict[str, Any] = {
    # --- access -------------------------------------------------------------------------------
    "account_id": "1234567_SB1",
    "client_id": "sim-client",
    "certificates": {},
    "token_url": None,
    "token_seconds": 3600,
    "expires_in_as": "string",
    "auth": ["oauth2"],
    "tba": None,
    "tba_window_seconds": 300,
    # --- limits -------------------------------------------------------------------------------
    "concurrency_limit": 15,
    "over_limit_answer": "429",
    "over_limit_code": "SSS_REQUEST_LIMIT_EXCEEDED",
    "async_job_seconds": 0,
    "list_results": "tasks",
    "location_host": None,
    "async_location": "absolute",
    # --- account features ---------------------------------------------------------------------
    "oneworld": True,
    "tax_mode": "suitetax",
    "tax_rate": "0",
    "tax_rates": {},
    "tax_codes": {},
    "account_time_zone": "America/Los_Angeles",
    "auto_numbering": {"job": "PRJ-{n:05d}", "customer": None},
    "tran_numbering": {
        "salesOrder": "SO{n}",
        "invoice": "INV{n}",
        "creditMemo": "CM{n}",
        "customerPayment": "PYMT{n}",
        "customerRefund": "RFND{n}",
        "expenseReport": "EXP{n}",
        "revenueArrangement": "RA{n}",
    },
    "lists": {},
    "entity_external_ids_shared": True,
    "duplicate_error_code": "USER_ERROR",
    "read_only_fields": "refuse",
    "project_task_project_field": "project",
    # --- business preferences -----------------------------------------------------------------
    "order_default_status": "A",
    "revenue_management": True,
    "revenue_arrangement_seconds": 0,
    "invoice_approval": False,
    "deletion_reason_required": False,
    "credit_auto_apply": True,
    "payment_bumps_invoice": True,
    "time_default_approval": "1",
    "bill_unapproved_time": False,
    "negative_hours": False,
    "intercompany_time": True,
    "time_respects_periods": True,
    # --- SuiteQL ------------------------------------------------------------------------------
    "suiteql_lag_seconds": 0,
    "suiteql_timestamp_format": "%Y-%m-%d %H:%M:%S",
    "suiteql_date_format": "%Y-%m-%d",
    "suiteql_shuffle_unordered": True,
    "suiteql_credit_negative": False,
}
"""Every setting with its default. What each one means: README.md, section Settings."""
