"""Doctor's checks of one account. Never raises."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from canonical.failures import SystemFailure
from canonical.operations import HealthCheck, HealthState
from connectors.kantata.client import KantataClient
from connectors.kantata.schemas import CustomField, Role, parse
from connectors.kantata.settings import AcceptanceFields, KantataSettings

_Result = tuple[HealthState, str, str | None]
_VALUE_TYPES = {"text": "string", "a date": "date"}
"""``value_type`` of a custom field (the vendor's Ruby SDK)."""


def _kind(name: str) -> str:
    return "a date" if name == "acceptance.date" else "text"


async def run(system: str, settings: KantataSettings, client: KantataClient) -> list[HealthCheck]:
    """All checks; the rest is left out when the first cannot pass."""

    async def reachable() -> _Result:
        await client.page("workspaces", what="Checking access", query={}, size=1)
        return HealthState.OK, f"{settings.base_url} accepts {settings.token.describe()}.", None

    async def administrator() -> _Result:
        # Only an account administrator with the add-on may read this; others miss rows silently.
        await client.page("subscribed_events", what="Checking permissions", query={}, size=1)
        return HealthState.OK, "The integration user reads account-wide events.", None

    async def fields() -> _Result:
        mapping = settings.mapping
        accepted = mapping.acceptance or AcceptanceFields()
        wanted = {
            "project_code_field": mapping.project_code_field,
            "saga_mark_field": mapping.saga_mark_field,
            "acceptance.date": accepted.date,
            "acceptance.by": accepted.by,
            "acceptance.document": accepted.document,
        }
        ids = {name: str(one) for name, one in wanted.items() if one is not None}
        envelope = await client.page(
            "custom_fields", what="Checking custom fields", query={"only": ",".join(ids.values())}
        )
        held = {one.id: one for one in (parse(CustomField, row, system) for row in envelope.rows)}
        problems = [
            f"{name} = {one}: there is no such custom field" for name, one in ids.items() if one not in held
        ]
        problems += [
            f"{name} = {one} ({held[one].name}) is {held[one].value_type}, not {_kind(name)}"
            for name, one in ids.items()
            if one in held and held[one].value_type not in (None, _VALUE_TYPES[_kind(name)])
        ]
        if problems:
            return HealthState.BROKEN, "; ".join(problems), "Correct the ids in this instance's mapping."
        return HealthState.OK, "Custom fields exist and are of the right type.", None

    async def roles() -> _Result:
        envelope = await client.list("roles", what="Checking roles", query={})
        held = {parse(Role, row, system).name.casefold() for row in envelope.rows}
        missing = [title for title in settings.mapping.role_titles.values() if title.casefold() not in held]
        if missing:
            return (
                HealthState.BROKEN,
                f"Mapped roles that do not exist: {', '.join(missing)}",
                "Create the roles in Kantata or correct role_titles.",
            )
        return HealthState.OK, f"{len(held)} roles, all mapped titles among them.", None

    first = await _check(system, "access", reachable, HealthState.BROKEN)
    if first.state is not HealthState.OK:
        return [first]
    return [
        first,
        # Where deletions come by the event feed, billing needs it; opening projects does not.
        await _check(
            system,
            "account administrator",
            administrator,
            HealthState.BROKEN if settings.subscribed_events else HealthState.WARNING,
        ),
        await _check(system, "custom fields", fields, HealthState.BROKEN),
        await _check(system, "roles", roles, HealthState.BROKEN),
    ]


async def _check(
    system: str, name: str, check: Callable[[], Awaitable[_Result]], when_failed: HealthState
) -> HealthCheck:
    try:
        state, detail, remedy = await check()
    except SystemFailure as error:
        state, detail = when_failed, error.failure.message
        remedy = error.failure.remedy or "Check the address, the network and the token."
    return HealthCheck(system=system, check=name, state=state, detail=detail, remedy=remedy)
