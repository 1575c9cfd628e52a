"""What goes wrong at the vendors while a month is closed: each kind of fault that the simulators know and
that passes by itself.
"""

from __future__ import annotations

from typing import Any

Rule = dict[str, Any]
RECORD = "/record/v1/"
NETSUITE: tuple[Rule, ...] = (
    {"kind": "drop_after", "method": "POST", "path": "/timeBill"},
    {"kind": "error_after", "method": "POST", "path": "/timeBill", "skip": 1},
    {"kind": "drop_after", "method": "PUT", "path": "/invoice/eid"},
    {"kind": "reset_mid_body", "method": "PUT", "path": "/invoice/eid", "skip": 2},
    {"kind": "slow_commit", "method": "PUT", "path": "/invoice/eid", "skip": 3, "delay_ms": 600},
    {"kind": "drop_after", "method": "PATCH", "path": "/invoice/", "skip": 1},
    {"kind": "error_before", "method": "PATCH", "path": "/invoice/", "skip": 2, "status": 503},
    {"kind": "drop_after", "method": "POST", "path": "/!transform/"},
    {"kind": "drop_before", "method": "POST", "path": "/!transform/", "skip": 1},
    {"kind": "rate_limit", "path": RECORD, "skip": 9, "times": 2},
    {"kind": "error_before", "path": "/suiteql", "skip": 3},
    {"kind": "expired_token", "path": RECORD, "skip": 15},
    {"kind": "stale_read", "path": "/suiteql", "skip": 5},
    {"kind": "delay", "path": RECORD, "skip": 6, "times": 2, "delay_ms": 250},
    {"kind": "delay_after", "method": "PUT", "path": "/invoice/eid", "skip": 4, "delay_ms": 250},
)
KANTATA: tuple[Rule, ...] = (
    {"kind": "rate_limit", "path": "/time_entries"},
    {"kind": "error_before", "path": "/timesheet_submissions", "status": 503},
    {"kind": "drop_after", "method": "POST", "path": "/external_references", "skip": 2},
    {"kind": "drop_before", "path": "/stories"},
    {"kind": "delay", "path": "/expenses", "delay_ms": 250},
)
BY_VENDOR = {"netsuite": NETSUITE, "kantata": KANTATA}
PER_RULE, APART = 14, 11
"""Contracts for which a rule holds once, and the calls between one time and the next."""


def rules(system: str, contracts: int) -> list[Rule]:
    """What goes wrong at a vendor while it serves so many contracts."""
    return [
        {**rule, "skip": rule.get("skip", 0) + APART * again}
        for again in range(max(1, contracts // PER_RULE))
        for rule in BY_VENDOR[system]
    ]
