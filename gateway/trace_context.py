"""W3C Trace Context: the caller's trace goes on, or one begins; its id is in answers, ledger and sagas."""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar
from dataclasses import dataclass

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


@dataclass(frozen=True)
class TraceContext:
    """Where a request belongs."""

    trace_id: str
    span_id: str
    """This request's own."""
    flags: str = "00"

    def header(self) -> str:
        """As ``traceparent``."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


CURRENT: ContextVar[TraceContext | None] = ContextVar("trueup_gateway_trace", default=None)


def continued(traceparent: str | None) -> TraceContext:
    """The caller's trace with a span of ours; a new trace when the header is missing or malformed (as the
    standard asks: a bad header is no reason to refuse a request).
    """
    found = _PARENT.fullmatch(traceparent.strip()) if traceparent else None
    usable = (
        found is not None
        and found[1] != "ff"
        and not (found[1] == "00" and found[5])
        and set(found[2]) != {"0"}
        and set(found[3]) != {"0"}
    )
    if found is None or not usable:
        return TraceContext(secrets.token_hex(16), secrets.token_hex(8))
    return TraceContext(found[2], secrets.token_hex(8), found[4])


def trace_id() -> str:
    """The trace of the request that is being served."""
    current = CURRENT.get()
    return current.trace_id if current else secrets.token_hex(16)
