"""Pure plans of updates: negotiated rates and the activation, and the names of positions."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from canonical.causes import Cause, Queue
from canonical.failures import Refused
from canonical.money import exponent
from canonical.operations import DeliverySetup, WriteContext, delivery_symbol
from canonical.writes import Json, KeyStyle, VendorWrite, WriteKind, symbol
from connectors.kantata.client import API
from connectors.kantata.mapping import plain, slug
from connectors.kantata.settings import KantataSettings

SET_RATE = "set_rate"
ACTIVATE_PROJECT = "activate_project"


def placeholder_field(role: str, number: int) -> str:
    """Symbol field of a role's n-th unnamed position (from 1), for example ``placeholder.architect.1``."""
    return f"placeholder.{slug(role)}.{number}"


def position_symbol(setup: DeliverySetup, role: str, number: int) -> str:
    """Symbol of a position that we make ourselves."""
    return f"position:{setup.project.key}.{slug(role)}.{number}"


def rate_figure(
    system: str, settings: KantataSettings, setup: DeliverySetup, role: str, rate: Decimal
) -> str:
    """A bill rate per hour as Kantata's number, in the configured unit.

    Raises:
        Refused: it is finer than Kantata can hold; nothing is rounded here.
    """
    return exact_rate(system, settings, setup.project.currency, role, rate)


def exact_rate(system: str, settings: KantataSettings, currency: str, role: str, rate: Decimal) -> str:
    """A bill rate per hour in ``currency`` as Kantata's number; see ``rate_figure``."""
    if settings.mapping.bill_rate_unit == "units":
        return plain(rate)
    cents = rate.scaleb(exponent(currency))
    if cents != cents.to_integral_value():
        # A contract rate may be finer than its currency (rule 5), a Kantata rate may not: never rounded here.
        raise Refused(
            f"The rate of {role}, {plain(rate)} {currency}, is finer than Kantata can hold.",
            cause=Cause.PRICE_DIFFERS,
            queue=Queue.BILLING,
            system=system,
            field="bill_rate",
            remedy="Agree on a rate without fractions of a cent, or leave this position without a rate.",
        )
    return plain(cents)


def plan_rate(
    system: str,
    context: WriteContext,
    setup: DeliverySetup,
    role: str,
    number: int,
    rate: str,
    brought: int,
) -> VendorWrite:
    """The negotiated rate of a role\'s n-th position; the template brings the first ``brought`` ones."""
    delivery, field = delivery_symbol(setup.project.key), placeholder_field(role, number)
    target = symbol(delivery, field) if number <= brought else symbol(position_symbol(setup, role, number))
    return update(
        system,
        context,
        operation=SET_RATE,
        identity=f"{setup.project.key}.{field}",
        kind="workspace_resources",
        root="workspace_resource",
        target=target,
        fields={"bill_rate": (rate, "contract.rate_card")},
        name=f"{delivery}.rate.{slug(role)}.{number}",
        title=f"Rate of position {role} {number} an hour",
        # The position stands in a project of ours and goes with it: there is nothing to be put back.
        restore=False,
    )


def plan_activation(
    system: str, settings: KantataSettings, context: WriteContext, setup: DeliverySetup
) -> list[VendorWrite]:
    """Open the project for work: its status, and its stage where configured."""
    mapping, fields = settings.mapping, dict[str, tuple[Json, str]]()
    if mapping.status_keys.active is not None:
        fields["status_key"] = (mapping.status_keys.active, "project.status")
    if mapping.active_stage is not None:
        fields["stage"] = (mapping.active_stage, "project.status")
    delivery = delivery_symbol(setup.project.key)
    return [
        update(
            system,
            context,
            operation=ACTIVATE_PROJECT,
            identity=setup.project.key,
            kind="workspaces",
            root="workspace",
            target=symbol(delivery),
            fields=fields,
            name=f"{delivery}.activation",
            title=f"Open project {setup.project.title} for work",
            forward_only=True,
        )
    ]


def update(
    system: str,
    context: WriteContext,
    *,
    operation: str,
    identity: str,
    kind: str,
    root: str,
    target: Json,
    fields: Mapping[str, tuple[Json, str]],
    name: str,
    title: str,
    restore: bool = True,
    forward_only: bool = False,
) -> VendorWrite:
    """An update of a known record: repeating it changes nothing, so looking is comparing values."""
    key = context.key(system, operation, identity)
    values = {field: value for field, (value, _) in fields.items()}
    return VendorWrite(
        system=system,
        operation=operation,
        title=title,
        record_type=kind,
        kind=WriteKind.UPDATE,
        key=key,
        step_key=context.step_key,
        stamp=context.stamp(key),
        symbol=name,
        method="PUT",
        path=f"{API}/{kind}/{{id}}",
        path_values={"id": target},
        target=target,
        body={root: values},
        body_root=root,
        # A PUT of given values to a given record is repeatable by nature.
        key_style=KeyStyle.NATIVE,
        expect=values,
        restore=tuple(values) if restore else (),
        forward_only=forward_only,
        sets={field: canonical for field, (_, canonical) in fields.items()},
        phase=context.phase,
    )
