"""Which kinds of webhooks there are, and one receiver per configured source."""

from __future__ import annotations

from importlib import import_module
from typing import TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from canonical.failures import ConfigurationError
from connectors.kit import webhooks as kit
from connectors.kit.secrets import Secret
from connectors.webhooks.sender import Sender
from runtime.gateway_sections import SourceSection
from runtime.settings import Settings

Receiver: TypeAlias = kit.Receiver
Delivery: TypeAlias = kit.Delivery
Hint: TypeAlias = kit.Hint
Taken: TypeAlias = kit.Taken
DeliveryRefused = kit.DeliveryRefused
Why = kit.Why

KINDS: dict[str, str] = {
    "salesforce-outbound-message": "connectors.salesforce.webhooks:OutboundMessageReceiver",
    "salesforce-flow": "connectors.salesforce.webhooks:FlowCalloutReceiver",
    "hubspot": "connectors.webhooks.hubspot:HubSpotReceiver",
    "jira": "connectors.webhooks.tickets:JiraReceiver",
    "asana": "connectors.webhooks.tickets:AsanaReceiver",
    "monday": "connectors.webhooks.tickets:MondayReceiver",
    "netsuite": "connectors.webhooks.standard:NetSuiteReceiver",
    "sage-intacct": "connectors.webhooks.finance:IntacctReceiver",
    "dynamics-sales": "connectors.webhooks.finance:DataverseReceiver",
    "dynamics-finance": "connectors.webhooks.finance:BusinessEventReceiver",
    "acumatica": "connectors.webhooks.finance:AcumaticaReceiver",
    "standard-webhooks": "connectors.webhooks.standard:StandardReceiver",
    "cloudevents": "connectors.webhooks.standard:CloudEventsReceiver",
}
"""``module:class`` by the name of the kind in the configuration."""


def receiver_class(kind: str) -> type[Receiver]:
    """The receiver of a kind.

    Raises:
        KeyError: there is no such kind.
    """
    module, _, name = KINDS[kind].partition(":")
    found: type[Receiver] = getattr(import_module(module), name)
    return found


def receivers(settings: Settings) -> dict[str, Receiver]:
    """A receiver for every configured source.

    Raises:
        ConfigurationError: unknown kinds, unknown keys, bad values; every one, with its key.
    """
    found: dict[str, Receiver] = {}
    problems: list[str] = []
    for name, section in settings.gateway.sources.items():
        try:
            found[name] = _receiver(name, section)
        except ConfigurationError as wrong:
            problems += wrong.problems
    if problems:
        raise ConfigurationError(problems)
    return found


class _Signing(BaseModel):
    """What a subscription's section holds beside what the settings know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    secrets: tuple[Secret, ...] = Field(min_length=1, max_length=2)


def senders(settings: Settings) -> dict[str, Sender]:
    """A sender for every configured subscription.

    Raises:
        ConfigurationError: unknown keys, bad values; every one, with its key.
    """
    found: dict[str, Sender] = {}
    problems: list[str] = []
    for name, section in settings.gateway.subscriptions.items():
        try:
            signing = _Signing.model_validate(section.options)
        except ValidationError as wrong:
            problems += _problems(f"gateway.subscriptions.{name}", wrong)
            continue
        found[name] = Sender(section.url, signing.secrets)
    if problems:
        raise ConfigurationError(problems)
    return found


def _problems(place: str, wrong: ValidationError) -> list[str]:
    return [
        f"{place}.{'.'.join(str(part) for part in error['loc'])}: {error['msg']}"
        for error in wrong.errors(include_url=False, include_input=False)
    ]


def _receiver(name: str, section: SourceSection) -> Receiver:
    if section.kind not in KINDS:
        known = ", ".join(sorted(KINDS))
        raise ConfigurationError(
            [f"gateway.sources.{name}.kind: {section.kind!r} is not known; known: {known}"]
        )
    try:
        return receiver_class(section.kind).model_validate(section.options)
    except ValidationError as wrong:
        raise ConfigurationError(_problems(f"gateway.sources.{name}", wrong)) from None
