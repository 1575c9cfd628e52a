"""Settings of the account and of what the vendor leaves undocumented (``POST /_sim/settings``)."""

from __future__ import annotations

from typing import Any


def defaults() -> dict[str, Any]:
    """Every setting with its default; the package's README explains them."""
    return {
        "tokens": ["kantata-token"],
        "user_id": "1",
        "account_id": "42",
        "administrator": True,
        "financial_access": True,
        "hidden_workspace_ids": [],
        "currency": "USD",
        "utc_offset": "-08:00",
        "statuses": [
            {"key": 305, "message": "Not Started", "color": "grey"},
            {"key": 310, "message": "In Progress", "color": "green"},
            {"key": 320, "message": "On Hold", "color": "yellow"},
            {"key": 330, "message": "Completed", "color": "blue"},
            {"key": 340, "message": "Cancelled", "color": "red"},
        ],
        "story_states": ["not started", "started", "completed"],
        "story_title_max": 200,
        "story_description_max": 1000,
        "template_seconds": 0,
        "rate_limits": [],
        "unknown_attributes": "refuse",
        "unknown_parameters": "refuse",
        "extra_filters": {},
        "over_max_per_page": "clamp",
        "bulk_failure": "all",
        "after_is_inclusive": False,
        "stale_seconds": 60,
        "participations_need_workspace": True,
        "unbudgeted_estimates": "refuse",
        "delete_workspace_with_time": "refuse",
        "delete_story_with_time": "refuse",
        "archived_takes_time": "refuse",
        "resolve_invoiced": "refuse",
        "approval_touches_lines": False,
        "invoicing_touches_lines": False,
        "subscribed_events": True,
        "event_retention_days": 9,
    }
