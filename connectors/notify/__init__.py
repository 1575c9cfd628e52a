"""Messages to people: JSON, Slack and Teams webhooks, and mail."""

from connectors.notify.mail import SmtpNotifier
from connectors.notify.webhook import WebhookNotifier

__all__ = ["SmtpNotifier", "WebhookNotifier"]
