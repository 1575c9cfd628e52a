"""Signed deliveries, made by independent implementations."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from standardwebhooks import Webhook

from tests.gateway.house import SECRET, WHSEC


def signed(
    id_: str, at: datetime, body: Mapping[str, Any] | bytes, *, secret: str = WHSEC
) -> tuple[bytes, dict[str, str]]:
    """(body, headers) by Standard Webhooks."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return raw, {
        "content-type": "application/json",
        "webhook-id": id_,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(id_, at, raw.decode()),
    }


def won(record: str) -> dict[str, Any]:
    """The body that tells of a won deal."""
    return {"type": "deal.won", "data": {"type": "Opportunity", "id": record}}


def jira(body: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    """(body, headers) by Jira's signature."""
    raw = json.dumps(body).encode()
    signature = hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest()
    return raw, {"content-type": "application/json", "x-hub-signature": f"sha256={signature}"}
