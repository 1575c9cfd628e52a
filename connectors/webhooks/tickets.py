"""Webhooks of delivery and work management tools: Jira, Asana, monday.com. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from connectors.kit.webhooks import (
    HINT_LIMIT,
    Answer,
    Delivery,
    Hint,
    Receiver,
    Taken,
    digest,
    epoch_moment,
    hex_signature,
    moment,
    parse_object,
    plain,
    refuse_authenticity,
    refuse_form,
    token,
    words,
)

_JIRA_RECORDS = ("worklog", "issue", "project")
_SECRET_FORM = re.compile(r"[A-Za-z0-9_-]{1,256}")


class JiraReceiver(Receiver):
    """Jira's administrator webhooks with a secret: `X-Hub-Signature: sha256=...` over the body.

    The identifier header is not part of what is signed, so repetitions are recognised by the signed body.
    Webhooks of Connect and OAuth applications carry a token instead, about which sources disagree; they are
    refused.
    """

    def receive(self, delivery: Delivery) -> Taken:
        """Verify and read one delivery."""
        presented = delivery.headers.get("x-hub-signature", "")
        if not presented.startswith("sha256="):
            raise refuse_authenticity("The header X-Hub-Signature is missing or not sha256.")
        hex_signature(presented.removeprefix("sha256="), self.keys(), delivery.body)
        body = parse_object(delivery.body)
        type_ = plain(str(body.get("webhookEvent") or "").replace(":", "."), "webhookEvent")
        record_type, record = _jira_record(body)
        hint = Hint(digest(delivery.body), type_, record_type, record, epoch_moment(body.get("timestamp")))
        return Taken((hint,))


def _jira_record(body: Mapping[str, Any]) -> tuple[str, str]:
    for kind in _JIRA_RECORDS:
        record = body.get(kind)
        if isinstance(record, dict):
            return kind, plain(record.get("id"), f"{kind}.id")
    return "", ""


class AsanaReceiver(Receiver):
    """Asana: `X-Hook-Signature`, HMAC over the body; a handshake before the first delivery."""

    handshake: bool = False
    """Answer Asana's handshake. Switch it on while a webhook is being made, take the secret from the answer
    to whoever made it, and switch it off: a handshake is not signed."""

    def receive(self, delivery: Delivery) -> Taken:
        """Verify and read one delivery."""
        offered = delivery.headers.get("x-hook-secret")
        if offered is not None:
            if not self.handshake or not _SECRET_FORM.fullmatch(offered):
                raise refuse_authenticity("A handshake is not expected now.")
            return Taken((), Answer(200, headers={"X-Hook-Secret": offered}))
        hex_signature(delivery.headers.get("x-hook-signature"), self.keys(), delivery.body)
        events = parse_object(delivery.body).get("events")
        if not isinstance(events, list) or len(events) > HINT_LIMIT:
            raise refuse_form("events is missing or not a list.")
        return Taken(tuple(self._hint(delivery.body, i, one) for i, one in enumerate(events)))

    def _hint(self, body: bytes, number: int, event: Any) -> Hint:
        resource = event.get("resource") if isinstance(event, dict) else None
        if not isinstance(resource, dict):
            raise refuse_form("An event has no resource.")
        kind = plain(resource.get("resource_type"), "resource_type")
        change = event.get("change")
        field = words(change.get("field")) if isinstance(change, dict) else ""
        return Hint(
            digest(body, str(number)),
            f"{kind}.{plain(event.get('action'), 'action')}",
            kind,
            plain(resource.get("gid"), "gid"),
            moment(event.get("created_at")),
            {"field": field} if field else {},
        )


class MondayReceiver(Receiver):
    """monday.com: a JWT (HS256, the application's signing secret) in `Authorization`; a challenge at first.

    The token signs who sends, not the body, so a changed body is not noticed: the item is read again.
    Webhooks made with a personal token arrive unsigned and are refused.
    """

    audience: str
    """The token's `aud`: the URL that monday.com calls."""
    handshake: bool = False
    """Answer monday.com's challenge. Switch it on while a webhook is being made: a challenge need not be
    signed."""

    def receive(self, delivery: Delivery) -> Taken:
        """Verify and read one delivery."""
        presented = delivery.headers.get("authorization")
        if presented is None and self.handshake:
            return _challenge(delivery.body)
        token(presented, self.keys(), delivery.at, issuer=None, audience=self.audience,
              require=("aud", "exp"))  # fmt: skip
        body = parse_object(delivery.body)
        if "challenge" in body:
            return _challenge(delivery.body)
        event = body.get("event")
        if not isinstance(event, dict):
            raise refuse_form("event is missing.")
        fields = {"columnId": words(event.get("columnId")), "boardId": words(event.get("boardId"))}
        return Taken(
            (
                Hint(
                    plain(event.get("triggerUuid"), "triggerUuid"),
                    plain(event.get("type"), "type"),
                    "item",
                    plain(event.get("pulseId"), "pulseId"),
                    moment(event.get("triggerTime")),
                    fields,
                ),
            )
        )


def _challenge(raw: bytes) -> Taken:
    body = parse_object(raw)
    challenge = body.get("challenge")
    if set(body) != {"challenge"} or not isinstance(challenge, str) or len(challenge) > 256:
        raise refuse_authenticity("The signed token is missing.")
    return Taken((), Answer(body=json.dumps({"challenge": challenge}).encode()))
