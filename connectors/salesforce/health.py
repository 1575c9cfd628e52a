"""What ``trueup doctor`` checks of a Salesforce organisation, each with what to fix."""

from __future__ import annotations

from canonical.failures import SystemFailure
from canonical.operations import HealthCheck, HealthState
from connectors.salesforce.client import SalesforceClient
from connectors.salesforce.fields import WRITE_BACK, field_plan
from connectors.salesforce.schemas import ObjectDescribe

_OBJECTS = ("Opportunity", "Account", "OpportunityLineItem")


async def check(client: SalesforceClient) -> list[HealthCheck]:
    """All checks; a broken login ends them early, because everything else would only repeat it."""
    checks = _Checks(client.system)
    try:
        token = await client.tokens.auth.token()
    except SystemFailure as failure:
        checks.broken("login", str(failure), failure.failure.remedy)
        return checks.results
    checks.ok("login", "the organisation accepts the integration user")
    if token.base_url and token.base_url.rstrip("/") != client.settings.base_url:
        checks.warn(
            "address",
            f"the login names {token.base_url} as its address, the settings {client.settings.base_url}",
            "Use the organisation's own My Domain as base_url; after a sandbox refresh check it again.",
        )
    described: list[ObjectDescribe] = []
    for object_ in _OBJECTS:
        try:
            described.append(await client.describe(object_))
        except SystemFailure as failure:
            checks.broken(
                f"fields of {object_}",
                str(failure),
                failure.failure.remedy
                or f"Give the integration user read access to {object_} and check api_version.",
            )
    if len(described) == len(_OBJECTS):
        _fields(client, checks, *described)
    _settings(client, checks)
    _usage(client, checks)
    return checks.results


def _fields(
    client: SalesforceClient,
    checks: _Checks,
    opportunity: ObjectDescribe,
    account: ObjectDescribe,
    line: ObjectDescribe,
) -> None:
    mapping = client.settings.mapping
    plan = field_plan(mapping, opportunity, account, line)
    for sentence in plan.missing:
        checks.broken(
            "field map",
            sentence,
            'Create the field, give the integration user read access, or set the mapping\'s entry to "".',
        )
    if not plan.missing:
        checks.ok("field map", "every mapped field is there")
    written = [(opportunity, key, getattr(mapping.opportunity, key)) for key in WRITE_BACK]
    for described, figures in (
        (opportunity, mapping.opportunity_figures),
        (opportunity, mapping.opportunity_scope),
        (account, mapping.account_figures),
    ):
        written += [(described, key, field) for key, field in figures.model_dump().items()]
    problems = 0
    for described, key, field in written:
        known = described.get(field) if field else None
        if field and (known is None or not known.updateable):
            problems += 1
            checks.broken(
                "write-back",
                f"{described.name}.{field} ({key}) cannot be written by the integration user",
                'Give it edit access to the field, or set the mapping\'s entry to "".',
            )
    if not problems:
        checks.ok("write-back", "every field we write is editable")
    if opportunity.get("CurrencyIsoCode") is None and mapping.default_currency is None:
        checks.broken(
            "currency",
            "this organisation has one currency and the settings do not say which",
            "Set mapping.default_currency.",
        )
    if opportunity.get("CurrencyIsoCode") is not None and mapping.default_currency is not None:
        checks.warn(
            "currency",
            "this organisation has several currencies; default_currency restricts figures to one",
            "Remove mapping.default_currency.",
        )


def _settings(client: SalesforceClient, checks: _Checks) -> None:
    settings = client.settings
    if settings.first_poll_from is None:
        checks.warn(
            "polling",
            "the first poll will report every deal ever won",
            "Set first_poll_from to the day of going live.",
        )
    if settings.mapping.account.erp_id and not settings.mapping.account.by_system():
        checks.warn(
            "ERP ids",
            f"Account.{settings.mapping.account.erp_id} is not read: no ERP instance is named",
            "Set mapping.account.erp_system to the ERP instance that these ids belong to.",
        )


def _usage(client: SalesforceClient, checks: _Checks) -> None:
    usage = client.usage
    if usage is None:
        return
    detail = f"{usage.used} of {usage.limit} calls used in 24 hours"
    if usage.percent >= client.settings.usage_ceiling_percent:
        checks.warn("daily calls", detail, "Buy API calls, or find the integration that uses them up.")
    else:
        checks.ok("daily calls", detail)


class _Checks:
    def __init__(self, system: str) -> None:
        self._system = system
        self.results: list[HealthCheck] = []

    def ok(self, check: str, detail: str) -> None:
        self._add(check, HealthState.OK, detail, None)

    def warn(self, check: str, detail: str, remedy: str) -> None:
        self._add(check, HealthState.WARNING, detail, remedy)

    def broken(self, check: str, detail: str, remedy: str | None) -> None:
        self._add(check, HealthState.BROKEN, detail, remedy)

    def _add(self, check: str, state: HealthState, detail: str, remedy: str | None) -> None:
        self.results.append(
            HealthCheck(system=self._system, check=check, state=state, detail=detail, remedy=remedy)
        )
