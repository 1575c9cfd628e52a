"""Planned writes to Salesforce. Pure.

Updates are PATCHes of one record by its own id with absolute values: sending one twice changes nothing
more, so the vendor honours the key for as long as the record exists (key style ``native``). Creates go
through the unique external id field, which holds the stamp (``native`` as well).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from canonical.change_orders import ContractScope
from canonical.feedback import Figure
from canonical.money import Money
from canonical.operations import DealOutcome, WriteContext
from canonical.project_closing import DealClosure, DealStatus
from canonical.refs import RecordRef
from canonical.writes import KeyStyle, VendorWrite, WriteKind, text
from connectors.salesforce.ids import record_id
from connectors.salesforce.settings import AccountFigureFields, FigureFields, SalesforceSettings

FIGURES = tuple(FigureFields.model_fields)
"""Finance's figures that sales may see."""
MARGIN = tuple(name for name in AccountFigureFields.model_fields if name not in FIGURES)
"""Those that only an account may show (rule 42)."""
CORPORATE = "corporate_"
"""Begins the names of amounts in the organisation's corporate currency."""
AGEING = ("current", "days_1_30", "days_31_60", "days_61_90", "days_over_90")
TEXT_LIMIT = 255
"""Characters of a text field; what does not fit a longer one would be refused."""


def write_back(
    system: str, settings: SalesforceSettings, context: WriteContext, outcome: DealOutcome
) -> list[VendorWrite]:
    """Project codes, engagement code, status and link onto the deal; nothing when no field is mapped."""
    fields = settings.mapping.opportunity
    values: dict[str, tuple[str, Any]] = {
        "project_code": (fields.project_code, joined(outcome.project_codes)),
        "engagement_code": (fields.engagement_code, outcome.engagement_code),
        "project_status": (fields.project_status, outcome.status),
    }
    if outcome.project_link is not None:
        # A missing link must not clear one that somebody entered.
        values["project_link"] = (fields.project_link, outcome.project_link)
    body = {field: value for field, value in values.values() if field}
    if not body:
        return []
    deal = _own_id(system, outcome.deal)
    return [
        _update(
            system,
            settings,
            context,
            operation="write_back",
            title=f"Tell deal {deal} its project codes and status",
            object_="Opportunity",
            id_=deal,
            identity=deal,
            symbol=f"deal:{deal}",
            body=body,
            sets={field: f"opportunity.{key}" for key, (field, _) in values.items() if field},
        )
    ]


def invoice_feedback(
    system: str,
    settings: SalesforceSettings,
    context: WriteContext,
    ref: RecordRef,
    figures: Mapping[str, Figure],
    *,
    revision: str = "",
) -> list[VendorWrite]:
    """Finance's figures onto an Opportunity or Account; nothing when no field is mapped.

    Args:
        system: instance name.
        settings: its settings.
        context: the saga's step.
        ref: the deal or account.
        figures: by name, of ``FIGURES``, on an account also of ``MARGIN``; amounts in the record's own
            currency. None clears a field.
        revision: of the invoice state they come from. It belongs to the key: a later state is another
            update (rule 10).

    Raises:
        ValueError: an unknown figure, a record of another type or system, or several currencies.
    """
    known = (*FIGURES, *MARGIN) if ref.type == "Account" else FIGURES
    unknown = sorted(set(figures) - set(known))
    if unknown:
        raise ValueError(f"unknown figures {unknown}; known: {list(known)}")
    if ref.type not in ("Opportunity", "Account"):
        raise ValueError(f"figures go to an Opportunity or an Account, not to {ref}")
    mapping = settings.mapping
    fields = mapping.opportunity_figures if ref.type == "Opportunity" else mapping.account_figures
    currencies = {
        figure.currency
        for key, figure in figures.items()
        if isinstance(figure, Money) and not key.startswith(CORPORATE)
    }
    if len(currencies) > 1:
        raise ValueError(f"figures in several currencies: {sorted(currencies)}")
    if mapping.default_currency and currencies - {mapping.default_currency}:
        raise ValueError(f"figures in {currencies.pop()}, but {system} only holds {mapping.default_currency}")
    named = {getattr(fields, key): (key, figure) for key, figure in figures.items() if getattr(fields, key)}
    if not named:
        return []
    body = {field: _told(figure) for field, (_, figure) in named.items()}
    expect: dict[str, Any] = _printed(body)
    if currencies and not mapping.default_currency:
        # The number alone would be right in the wrong currency.
        expect["CurrencyIsoCode"] = next(iter(currencies))
    id_ = _own_id(system, ref)
    return [
        _update(
            system,
            settings,
            context,
            operation="invoice_feedback",
            title=f"Show finance's figures on {ref.type} {id_}",
            object_=ref.type,
            id_=id_,
            identity=f"{id_}@{revision}" if revision else id_,
            symbol=f"{ref.type.lower()}:{id_}",
            body=body,
            sets={field: _field_of(key) for field, (key, _) in named.items()},
            expect=expect,
        )
    ]


def _told(figure: Figure) -> Any:
    """A figure as a field takes it."""
    if isinstance(figure, Money):
        return figure.amount
    if isinstance(figure, date):
        return figure.isoformat()
    return figure[:TEXT_LIMIT] if isinstance(figure, str) else figure


def _field_of(key: str) -> str:
    """The canonical field of a figure, for the authority table."""
    if key in MARGIN:
        return f"account.{key}"
    if key in AGEING:
        return "opportunity.ageing"
    return "opportunity.corporate_amount" if key.startswith(CORPORATE) else f"opportunity.{key}"


def scope(
    system: str, settings: SalesforceSettings, context: WriteContext, shown: ContractScope, *, agreed: bool
) -> list[VendorWrite]:
    """What change orders made of a deal, onto the Opportunity; nothing when no field is mapped.

    Proposed scope is put back by an undo; agreed scope goes forward only.

    Raises:
        ValueError: the value is in a currency that this organisation cannot show.
    """
    mapping = settings.mapping
    if mapping.default_currency and shown.value.currency != mapping.default_currency:
        raise ValueError(
            f"scope in {shown.value.currency}, but {system} only holds {mapping.default_currency}"
        )
    values: dict[str, tuple[str, Any]] = {
        "amount": (mapping.opportunity_scope.value, shown.value.amount),
        "name": (mapping.opportunity_scope.versions, shown.versions),
        "lines": (mapping.opportunity_scope.lines, shown.lines),
        "status": (mapping.opportunity_scope.status, shown.status),
    }
    body = {field: value for field, value in values.values() if field}
    if not body:
        return []
    deal = _own_id(system, shown.deal)
    return [
        _update(
            system,
            settings,
            context,
            operation="agree_scope" if agreed else "propose_scope",
            title=f"Show the {'agreed' if agreed else 'proposed'} scope on deal {deal}",
            object_="Opportunity",
            id_=deal,
            identity=f"{shown.contract_key}@v{shown.version}",
            symbol=f"deal:{deal}",
            body=body,
            sets={field: f"contract.{key}" for key, (field, _) in values.items() if field},
            forward_only=agreed,
        )
    ]


def project_status(
    system: str, settings: SalesforceSettings, context: WriteContext, closure: DealClosure
) -> list[VendorWrite]:
    """That projects are closed, onto the Opportunity; or what it showed before. Nothing without a field."""
    field, words = settings.mapping.opportunity.project_status, settings.mapping.project_words
    deal = _own_id(system, closure.deal)
    if closure.status is None:
        body = dict(closure.former)
        title, part = f"Put back the project status of deal {deal}", "former"
    else:
        word = words.closed if closure.status is DealStatus.CLOSED else words.partly_closed
        body = {field: word} if field else {}
        title, part = f"Tell deal {deal} that its project is {word.lower()}", closure.status.value
    if not body:
        return []
    return [
        _update(
            system,
            settings,
            context,
            operation="project_status",
            title=title,
            object_="Opportunity",
            id_=deal,
            identity=f"{closure.contract_key}@c{closure.number}.{part}",
            symbol=f"deal:{deal}",
            body=body,
            sets=dict.fromkeys(body, "opportunity.project_status"),
        )
    ]


def new_record(
    system: str,
    settings: SalesforceSettings,
    context: WriteContext,
    *,
    operation: str,
    object_: str,
    identity: str,
    body: Mapping[str, Any],
    sets: Mapping[str, str],
    symbol: str,
    title: str,
    inactivate: Mapping[str, Any] | None = None,
    mark: str | None = None,
) -> VendorWrite:
    """A record of ours, created through its unique external id (``mapping.saga_key``).

    For objects that a firm keeps beside the deal, for example one record per project.

    Args:
        system: instance name.
        settings: its settings.
        context: the saga's step.
        operation: capability it belongs to.
        object_: API name; must have the saga key field.
        identity: business identity for the key.
        body: fields without the saga key (the vendor refuses it in the body).
        sets: body field -> canonical ``object.field``.
        symbol: name under which others refer to it.
        title: for people.
        inactivate: field values that retire the record where it cannot be deleted.
        mark: text field that then takes the saga id.

    Raises:
        ValueError: this organisation has no saga key field.
    """
    if not settings.mapping.saga_key:
        raise ValueError(f"{system} has no saga key field: records cannot be created without duplicates")
    key = context.key(system, operation, identity)
    return VendorWrite(
        system=system,
        operation=operation,
        title=title,
        record_type=object_,
        kind=WriteKind.CREATE,
        key=key,
        step_key=context.step_key,
        stamp=context.stamp(key),
        symbol=symbol,
        method="PATCH",
        path=f"{settings.data_path}/sobjects/{{object}}/{{field}}/{{value}}",
        path_values={"object": object_, "field": settings.mapping.saga_key, "value": context.stamp(key)},
        body=dict(body),
        key_style=KeyStyle.NATIVE,
        expect=_printed(body),
        sets=dict(sets),
        phase=context.phase,
        options={
            "numbers": _numbers(body),
            "saga": context.saga_id,
            **({"inactivate": dict(inactivate)} if inactivate else {}),
            **({"mark": mark} if mark else {}),
        },
    )


def joined(codes: Any) -> Any:
    """Several project codes as one text; a single one stays what it is, possibly a symbol."""
    if not isinstance(codes, Sequence) or isinstance(codes, str):
        return codes
    parts: list[Any] = []
    for code in codes:
        parts += [", ", code] if parts else [code]
    if all(isinstance(part, str) for part in parts):
        return "".join(parts)
    return text(*parts) if len(parts) > 1 else parts[0]


def with_numbers(body: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """``body`` with the decimals back that a stored plan carries as text."""
    numbers = options.get("numbers") or ()
    return {
        field: Decimal(value) if field in numbers and isinstance(value, str) else value
        for field, value in body.items()
    }


def storable(value: Any) -> Any:
    """A read value in a form that JSON storage keeps: decimals as plain digits."""
    return format(value, "f") if isinstance(value, Decimal) else value


def _update(
    system: str,
    settings: SalesforceSettings,
    context: WriteContext,
    *,
    operation: str,
    title: str,
    object_: str,
    id_: str,
    identity: str,
    symbol: str,
    body: dict[str, Any],
    sets: dict[str, str],
    expect: dict[str, Any] | None = None,
    forward_only: bool = True,
) -> VendorWrite:
    key = context.key(system, operation, identity)
    return VendorWrite(
        system=system,
        operation=operation,
        title=title,
        record_type=object_,
        kind=WriteKind.UPDATE,
        key=key,
        step_key=context.step_key,
        stamp=context.stamp(key),
        symbol=symbol,
        method="PATCH",
        path=f"{settings.data_path}/sobjects/{{object}}/{{id}}",
        path_values={"object": object_, "id": id_},
        body=body,
        key_style=KeyStyle.NATIVE,
        target=id_,
        expect=_printed(body) if expect is None else expect,
        restore=tuple(body),
        forward_only=forward_only,
        sets=sets,
        phase=context.phase,
        options={"numbers": _numbers(body)},
    )


def _numbers(body: Mapping[str, Any]) -> list[str]:
    """Fields that must travel as JSON numbers: a stored plan carries decimals as text."""
    return [field for field, value in body.items() if isinstance(value, Decimal)]


def _printed(body: Mapping[str, Any]) -> dict[str, Any]:
    return {field: storable(value) for field, value in body.items()}


def _own_id(system: str, ref: RecordRef) -> str:
    if ref.system != system:
        raise ValueError(f"{ref} is not a record of {system}")
    id_ = record_id(ref.id)
    if id_ is None:
        raise ValueError(f"{ref} does not carry a Salesforce id")
    return id_
