"""Faults to inject, matched on method and path, each a number of times."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class FaultKind(StrEnum):
    """What goes wrong. Kinds marked (vendor) are handled inside the vendor's simulator."""

    ERROR_BEFORE = "error_before"
    """Answer ``status``/``body`` (default: the vendor's 500) without doing anything."""
    DROP_BEFORE = "drop_before"
    """Close the connection without doing anything."""
    DROP_AFTER = "drop_after"
    """Do it, then close the connection instead of answering: the lost answer."""
    ERROR_AFTER = "error_after"
    """Do it, then answer ``status``/``body`` (default 502) as a gateway in between would."""
    RESET_MID_BODY = "reset_mid_body"
    """Do it, send half of the answer, reset the connection."""
    DELAY = "delay"
    """Wait ``delay_ms`` before doing it."""
    DELAY_AFTER = "delay_after"
    """Do it, wait ``delay_ms``, then answer."""
    RATE_LIMIT = "rate_limit"
    """The vendor's 429; with ``retry_after`` seconds as a Retry-After header when given."""
    BUSINESS = "business"
    """The vendor's refusal of the content; ``message`` says why."""
    STALE_READ = "stale_read"
    """(vendor) Reads answer the version before the current one, or nothing for a new record."""
    EXPIRED_TOKEN = "expired_token"
    """(vendor) The token is treated as expired from this call on."""
    DUPLICATE_EVENT = "duplicate_event"
    """(vendor) An outgoing event is delivered twice."""
    REORDER_EVENT = "reorder_event"
    """(vendor) An outgoing event is held back until after the next one."""
    SLOW_COMMIT = "slow_commit"
    """Answer as a dropped connection now and do it only after ``delay_ms``: the late commit."""


@dataclass
class Fault:
    """One rule. ``path`` is a regular expression searched in the path with its query."""

    kind: FaultKind
    method: str = "*"
    path: str = ""
    times: int = 1
    skip: int = 0
    """Matching calls to let through first."""
    status: int | None = None
    body: Any = None
    message: str | None = None
    delay_ms: int = 0
    retry_after: float | None = None
    note: str | None = None
    """Match only calls whose ``x-sim-note`` header fits this regular expression."""
    body_contains: str | None = None
    """Match only requests whose raw body contains this text."""
    id: int = 0
    fired: int = 0
    """How often it fired: a fault that never fired proves nothing."""
    options: dict[str, Any] = field(default_factory=dict)

    def matches(self, method: str, target: str, raw: bytes = b"", note: str = "") -> bool:
        """Whether this rule applies to a call (ignoring counters)."""
        if self.note is not None and not re.search(self.note, note):
            return False
        if self.body_contains is not None and self.body_contains.encode() not in raw:
            return False
        return self.method in ("*", method) and re.search(self.path, target) is not None

    def as_json(self) -> dict[str, Any]:
        """The rule with its counters."""
        return dict(vars(self))


class Faults:
    """The rules in force."""

    def __init__(self) -> None:
        self.rules: list[Fault] = []
        self.spent: list[Fault] = []
        self._ids = 0

    def clear(self) -> None:
        """Drop all rules and counters."""
        self.rules.clear()
        self.spent.clear()

    def add(self, data: dict[str, Any]) -> Fault:
        """Add a rule from its JSON form.

        Raises:
            ValueError: unknown kind or field, with the offending name.
        """
        unknown = set(data) - set(Fault.__dataclass_fields__)
        if unknown:
            raise ValueError(f"unknown fault fields: {sorted(unknown)}")
        fault = Fault(**{**data, "kind": FaultKind(data["kind"])})
        re.compile(fault.path)
        re.compile(fault.note or "")
        self._ids += 1
        fault.id = self._ids
        self.rules.append(fault)
        return fault

    def take(self, method: str, target: str, raw: bytes, *kinds: FaultKind, note: str = "") -> Fault | None:
        """The first applicable rule of the given kinds; its counters move."""
        for fault in self.rules:
            if fault.kind not in kinds or not fault.matches(method, target, raw, note):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            fault.fired += 1
            if fault.fired >= fault.times:
                self.rules.remove(fault)
                self.spent.append(fault)
            return fault
        return None

    def as_json(self) -> list[dict[str, Any]]:
        """All rules, pending first."""
        return [f.as_json() for f in [*self.rules, *self.spent]]
