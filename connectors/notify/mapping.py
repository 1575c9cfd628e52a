"""A notice in the receivers' forms. Pure.

The same facts in each: subject, facts in order, link, key. The key lets people recognise a repetition, and a
correction names the message it corrects. Long texts are cut with an ellipsis: a chat message is a pointer to
the record, not the record.
"""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

from canonical.operations import Notice
from connectors.notify.settings import WebhookForm

SLACK_FIELDS = 10
"""Fields of one Slack section (vendor: Block Kit)."""
SLACK_BLOCKS = 50
"""Blocks of one Slack message."""
SLACK_FIELD_TEXT = 2_000
SLACK_TEXT = 3_000
"""Characters of a section's text."""
TEAMS_BYTES = 28_000
"""About what a Teams webhook takes (general knowledge in the fact sheet); more would vanish silently."""
FACT_TEXT = 1_000
"""Characters of one fact in a card."""


def cut(text: str, limit: int) -> str:
    """``text`` in at most ``limit`` characters, with an ellipsis where something is missing."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def subject(notice: Notice) -> str:
    """The subject in one line; a correction says so."""
    words = " ".join(notice.subject.split())
    if notice.correction_of and not words.upper().startswith("CORRECTION"):
        return f"CORRECTION: {words}"
    return words


def facts(notice: Notice) -> dict[str, str]:
    """The facts, with what a correction corrects."""
    corrected = {"Corrects": notice.correction_of} if notice.correction_of else {}
    return {**notice.facts, **corrected}


def plain(notice: Notice) -> str:
    """The notice as plain text."""
    lines = [subject(notice), "", *(f"{name}: {value}" for name, value in facts(notice).items())]
    if notice.link:
        lines += ["", notice.link]
    return "\n".join([*lines, "", f"Message {notice.key}"])


def generic(notice: Notice) -> dict[str, Any]:
    """Our own JSON: what a firm's middleware receives."""
    return {
        "key": notice.key,
        "channel": notice.channel,
        "subject": subject(notice),
        "facts": facts(notice),
        "link": notice.link,
        "correction_of": notice.correction_of,
        "text": plain(notice),
    }


def slack(notice: Notice) -> dict[str, Any]:
    """A Slack message: ``text`` is what notifications and old clients show."""
    title = f"*{_slack(subject(notice))}*"
    if notice.link:
        address = _slack(notice.link).replace("|", "%7C")
        title += f"\n<{address}|Open>"
    blocks: list[dict[str, Any]] = [_section(text=cut(title, SLACK_TEXT))]
    rows = [
        {"type": "mrkdwn", "text": cut(f"*{_slack(name)}*\n{_slack(value)}", SLACK_FIELD_TEXT)}
        for name, value in facts(notice).items()
    ]
    for start in range(0, len(rows), SLACK_FIELDS):
        blocks.append(_section(fields=rows[start : start + SLACK_FIELDS]))
    blocks = blocks[: SLACK_BLOCKS - 1]
    blocks.append(
        {"type": "context", "elements": [{"type": "mrkdwn", "text": f"Message {_slack(notice.key)}"}]}
    )
    return {"text": cut(_slack(subject(notice)), SLACK_TEXT), "blocks": blocks}


def teams(notice: Notice) -> dict[str, Any]:
    """A Teams message: one Adaptive Card in the form that Workflows webhooks take.

    Raises:
        ValueError: too large for the receiver, which would accept it and show nothing.
    """
    rows = [{"title": name, "value": cut(value, FACT_TEXT)} for name, value in facts(notice).items()]
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            {
                "type": "TextBlock",
                "size": "Medium",
                "weight": "Bolder",
                "wrap": True,
                "text": subject(notice),
            },
            {"type": "FactSet", "facts": rows},
            {"type": "TextBlock", "isSubtle": True, "wrap": True, "text": f"Message {notice.key}"},
        ],
    }
    if notice.link:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open", "url": notice.link}]
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    body = {"type": "message", "attachments": [attachment]}
    size = len(json.dumps(body, ensure_ascii=False).encode())
    if size > TEAMS_BYTES:
        raise ValueError(f"the card has {size} bytes; Teams shows at most {TEAMS_BYTES}")
    return body


PAYLOADS: dict[WebhookForm, Callable[[Notice], dict[str, Any]]] = {
    WebhookForm.GENERIC: generic,
    WebhookForm.SLACK: slack,
    WebhookForm.TEAMS: teams,
}


def message_id(key: str, domain: str) -> str:
    """The same for every repetition of a message, so that mailboxes can collapse them."""
    return f"<trueup.{hashlib.sha256(key.encode()).hexdigest()[:32]}@{domain}>"


def mail(notice: Notice, sender: str, recipients: tuple[str, ...], domain: str) -> EmailMessage:
    """The notice as mail, in plain text and HTML. A correction is threaded to what it corrects."""
    message = EmailMessage()
    message["Subject"] = subject(notice)
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Message-ID"] = message_id(notice.key, domain)
    message["X-Trueup-Key"] = " ".join(notice.key.split())
    message["Auto-Submitted"] = "auto-generated"
    if notice.correction_of:
        first = message_id(notice.correction_of, domain)
        message["In-Reply-To"] = first
        message["References"] = first
    message.set_content(plain(notice))
    rows = "".join(
        f"<tr><th align=left>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
        for name, value in facts(notice).items()
    )
    link = f'<p><a href="{html.escape(notice.link)}">Open</a></p>' if notice.link else ""
    message.add_alternative(
        f"<h3>{html.escape(subject(notice))}</h3><table>{rows}</table>{link}"
        f"<p><small>Message {html.escape(notice.key)}</small></p>",
        subtype="html",
    )
    return message


def _section(**content: Any) -> dict[str, Any]:
    if "text" in content:
        return {"type": "section", "text": {"type": "mrkdwn", "text": content["text"]}}
    return {"type": "section", **content}


def _slack(text: str) -> str:
    """Slack's three control characters escaped (vendor: formatting text)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
