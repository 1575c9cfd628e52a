"""``trueup change-orders``: what was sent and what came of it, terms to build on, baselines (rule 43)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from temporalio.client import Client

from activities.contracts import SystemBaseline
from canonical.causes import Cause
from canonical.change_orders import ChangeOrder, ChangeOrderState, Judgement, Verdict
from canonical.engagement import Contract
from canonical.money import Money
from cli.command import command
from cli.output import Complaint, Exit, Report, Table, Value, count
from cli.session import Session
from ledger.rows import BaselineRow, ChangeOrderRow, ContractVersionRow
from ledger.store import Ledger
from rules.change_impact import impact_of
from wiring.start_changes import judged, parsed, submit, tell

ContractArg = Annotated[str, typer.Argument(help="Key of the contract.", metavar="CONTRACT")]
OrderArg = Annotated[str, typer.Argument(help="Key of the change order.", metavar="ORDER")]


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    group = typer.Typer(help="Change orders of contracts, and their baselines.", no_args_is_help=True)
    command(group, "list")(list_orders)
    command(group, "show")(show)
    command(group, "terms")(terms)
    command(group, "withdraw")(withdraw)
    command(group, "baseline")(baseline)
    app.add_typer(group, name="change-orders")


# --- looking --------------------------------------------------------------------------------------------


async def list_orders(
    session: Session,
    contract: Annotated[str | None, typer.Option("--contract", help="Only this contract.")] = None,
    state: Annotated[ChangeOrderState | None, typer.Option("--state", help="Only those.")] = None,
) -> Report:
    """List change orders, in the order in which they were received; without any, the contracts."""
    ledger = await session.ledger()
    rows = await ledger.change_orders(contract, states=None if state is None else [state])
    if not rows:
        return await _contracts(ledger, contract)
    open_ = sum(1 for row in rows if row.state.is_open)
    table: list[list[Value]] = [
        [
            row.order.contract_key,
            row.order.key,
            f"v{row.order.version} on v{row.order.base}",
            row.order.form,
            row.order.effective_on.isoformat(),
            row.state.value,
            row.reason or row.treatment or "",
        ]
        for row in rows
    ]
    columns = ("contract", "order", "makes", "form", "effective", "state", "why")
    said = f"{count(len(rows), 'change order')}, {open_} open."
    return Report(said, {"change_orders": [_facts(session, row) for row in rows]}, [Table(columns, table)])


async def _contracts(ledger: Ledger, contract: str | None) -> Report:
    keys = [contract] if contract is not None else await ledger.contract_keys()
    rows = await ledger.latest_contracts(keys)
    table: list[list[Value]] = [
        [key, f"v{row.version}", str(row.amount), Contract.model_validate(row.terms).name]
        for key, row in sorted(rows.items())
    ]
    said = f"No change orders. {count(len(rows), 'contract')}."
    data = {"change_orders": [], "contracts": [one[0] for one in table]}
    return Report(said, data, [Table(("contract", "version", "value", "name"), table)] if table else [])


async def show(session: Session, contract: ContractArg, order: OrderArg) -> Report:
    """Show a change order: what it asks for, what came of it, and what it changed or would change."""
    ledger = await session.ledger()
    row = await _known(ledger, contract, order)
    facts: list[list[Value]] = [
        ["makes", f"version {row.order.version}, on version {row.order.base} ({row.order.form})"],
        ["effective", row.order.effective_on.isoformat()],
        ["sent by", f"{row.actor}, {row.received_at:%Y-%m-%d %H:%M} UTC. {row.sent_because}".strip()],
        ["state", row.state.value],
    ]
    if row.reason:
        facts.append(["why", row.reason])
    if row.decider is not None:
        facts.append(["decided by", f"{row.decider}: {row.treatment}"])
    parts: list[Table | str] = [Table(("", ""), facts)]
    if row.findings:
        parts.append("\n".join(f"- {one.message}" for one in row.findings))
    if row.state is ChangeOrderState.APPLIED:
        parts += await _what_it_changed(ledger, row)
    elif row.state is ChangeOrderState.RECEIVED:
        parts += _what_it_would(await judged(session.settings, ledger, row.order))
    if row.saga_id is not None:
        parts.append(f"  trueup show {row.saga_id}")
    said = f"Change order {order} of contract {contract} is {row.state.value}."
    return Report(said, _facts(session, row), parts)


async def _what_it_changed(ledger: Ledger, row: ChangeOrderRow) -> list[Table | str]:
    versions = await ledger.contract_versions(row.order.contract_key)
    for before, after in pairwise(versions):
        if after.version == row.order.version:
            return [_differences(before, after, row.order.effective_on)]
    return []


def _differences(before: ContractVersionRow, after: ContractVersionRow, on: date) -> Table:
    old, new = Contract.model_validate(before.terms), Contract.model_validate(after.terms)
    impact = impact_of(old, new, (), on)
    rows: list[list[Value]] = [["value", str(impact.before), str(impact.after)]]
    for one in impact.lines:
        rows.append([f"line {one.key}", _line(one.before), _line(one.after)])
    for name in impact.fields:
        rows.append([name, _short(getattr(old, name)), _short(getattr(new, name))])
    if impact.rates:
        rows.append(["rates", _card(old), _card(new)])
    return Table(("", f"version {before.version}", f"version {after.version}"), rows)


def _line(line: Any) -> str:
    return f"{line.description}, {line.amount}" if line is not None else "none"


def _card(contract: Contract) -> str:
    return contract.rate_card.version if contract.rate_card is not None else "none"


def _short(value: Any) -> str:
    return str(value) if isinstance(value, (str, int, date, Money)) or value is None else "changed"


def _what_it_would(found: Judgement) -> list[Table | str]:
    if found.verdict is not Verdict.READY or found.impact is None:
        return [found.reason]
    impact = found.impact
    rows: list[list[Value]] = [["value", str(impact.before), str(impact.after)]]
    rows += [[f"line {one.key}", _line(one.before), _line(one.after)] for one in impact.lines]
    rows += [
        [f"budget {one.service_code} {one.region}", str(one.before), str(one.after)]
        for one in impact.deliveries
    ]
    return [Table(("", "in force", "would be"), rows)]


async def terms(
    session: Session,
    contract: ContractArg,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write a change order with these terms, to be edited.")
    ] = None,
) -> Report:
    """Show the terms in force, rates included; --out writes them as a change order to edit and send."""
    ledger = await session.ledger()
    row = await ledger.contract_version(contract)
    if row is None:
        raise _unknown(contract)
    rates = await ledger.rate_version(contract)
    found = Contract.model_validate(row.terms)
    if rates is not None:
        found = found.model_copy(update={"rate_card": rates.card})
    reached = await ledger.reached_version(contract)
    parts: list[Table | str] = [
        Table(
            ("line", "service", "billed by", "amount"),
            [[one.key, one.service_code, one.billing_method.value, str(one.amount)] for one in found.lines],
        )
    ]
    data = {"contract": contract, "version": row.version, "base": reached, "terms": found}
    if out is not None:
        today = datetime.now(UTC).date()
        order = {
            "key": f"CO-{reached}",
            "contract_key": contract,
            "base": reached,
            # Nothing is effective before the contract begins.
            "effective_on": max(today, found.start or today).isoformat(),
            "title": "",
            "terms": found.model_dump(mode="json"),
        }
        # Never over a file that somebody has edited.
        with out.open("x", encoding="utf-8") as stream:
            json.dump(order, stream, indent=2, ensure_ascii=False)
        parts.append(f"{out} holds them. Edit it, then:\n  trueup start change-order {out}")
    said = f"Contract {contract} is at version {row.version}, {row.amount}; build on version {reached}."
    return Report(said, data, parts)


# --- the baseline report --------------------------------------------------------------------------------


async def baseline(
    session: Session,
    contract: ContractArg,
    version: Annotated[int | None, typer.Option("--version", help="Of the terms; the latest.")] = None,
) -> Report:
    """Report a version against the one before: old, new, who, when, and what each system held."""
    ledger = await session.ledger()
    versions = await ledger.contract_versions(contract)
    if not versions:
        raise _unknown(contract)
    chosen = versions[-1] if version is None else next((v for v in versions if v.version == version), None)
    if chosen is None:
        known = ", ".join(str(one.version) for one in versions)
        raise Complaint(f"Contract {contract} has no version {version}; it has {known}.", code=Exit.USAGE)
    place = versions.index(chosen)
    before = versions[place - 1] if place else None
    held = {row.contract_version: row for row in await ledger.baselines(contract)}
    order = next(
        (
            row
            for row in await ledger.change_orders(contract, states=[ChangeOrderState.APPLIED])
            if row.order.version == chosen.version
        ),
        None,
    )
    parts: list[Table | str] = [Table(("", ""), await _who(ledger, chosen, order))]
    if before is not None:
        parts.append(_differences(before, chosen, chosen.effective_on or chosen.at.date()))
    parts.append(_systems(held.get(before.version) if before else None, held.get(chosen.version), contract))
    data = {
        "contract": contract,
        "version": chosen.version,
        "before": before.version if before else None,
        "change_order": _facts(session, order) if order else None,
        "old": before.terms if before else None,
        "new": chosen.terms,
        "systems": held[chosen.version].systems if chosen.version in held else {},
        "at": chosen.at,
    }
    said = f"Contract {contract}, version {chosen.version}: {chosen.amount}"
    said += f", {before.amount} before (version {before.version})." if before else ", as the deal was won."
    return Report(said, data, parts)


async def _who(
    ledger: Ledger, version: ContractVersionRow, order: ChangeOrderRow | None
) -> list[list[Value]]:
    rows: list[list[Value]] = [["agreed", f"{version.at:%Y-%m-%d %H:%M} UTC"], ["saga", version.saga_id]]
    if version.effective_on is not None:
        rows.append(["effective", version.effective_on.isoformat()])
    if order is None:
        saga = await ledger.saga(version.saga_id)
        return [*rows, ["begun by", str(saga.actor) if saga else "not known"]]
    rows += [["change order", order.order.key], ["sent by", str(order.actor)]]
    if order.decider is not None:
        rows.append(["decided by", f"{order.decider}: {order.treatment}"])
    return rows


def _systems(before: BaselineRow | None, after: BaselineRow | None, contract: str) -> Table:
    old, new = _state(before, contract), _state(after, contract)
    keys = dict.fromkeys([*new, *old])
    rows: list[list[Value]] = [
        [system, what, old.get((system, what), ""), new.get((system, what), "")] for system, what in keys
    ]
    return Table(("system", "what", "before", "now"), rows)


def _state(row: BaselineRow | None, contract: str) -> Mapping[tuple[str, str], str]:
    """What each system held, in words."""
    found: dict[tuple[str, str], str] = {}
    if row is None:
        return found
    for one in (SystemBaseline.model_validate(content) for content in row.systems.values()):
        for held in one.contracts:
            if held.contract_key == contract:
                found[one.system, "contract"] = str(held.amount)
                found[one.system, "project"] = held.project_code
        for project in one.deliveries:
            if project.delivery_key.startswith(f"{contract}."):
                found[one.system, f"budget of {project.title}"] = str(project.budget)
    return found


# --- sending --------------------------------------------------------------------------------------------


async def withdraw(
    session: Session,
    contract: ContractArg,
    order: OrderArg,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")] = "",
) -> Report:
    """Take back a change order that nobody carries yet. Needs --reason."""
    if not reason.strip():
        raise Complaint("Withdrawing needs --reason.", code=Exit.USAGE)
    ledger = await session.ledger()
    row = await _known(ledger, contract, order)
    row = await ledger.settle_change_order(
        contract, order, ChangeOrderState.WITHDRAWN, cause=Cause.CANCELLED, reason=reason, actor=session.actor
    )
    if row.state is not ChangeOrderState.WITHDRAWN:
        raise Complaint(f"Change order {order} was decided before: it is {row.state.value}.")
    version = await ledger.contract_version(contract)
    assert version is not None
    erp = Contract.model_validate(version.terms).erp
    await tell(
        session.settings,
        (await session.systems()).mapping_digests(),
        await session.client(),
        erp,
        contract,
        row.id,
        actor=session.actor,
        reason=reason,
    )
    return Report(f"Change order {order} of contract {contract} is withdrawn.", _facts(session, row), [])


def read_orders(names: Sequence[str]) -> list[ChangeOrder]:
    """Change orders from JSON files, one or a list of them each.

    Raises:
        Complaint: a file is missing, or holds something else; the first problem of each is named.
    """
    found: list[ChangeOrder] = []
    for name in names:
        try:
            content = parsed(Path(name).read_text(encoding="utf-8"))
        except ValueError as error:
            raise Complaint(f"{name} is no JSON: {error}.", code=Exit.USAGE) from None
        for one in content if isinstance(content, list) else [content]:
            try:
                found.append(ChangeOrder.model_validate(one))
            except ValidationError as wrong:
                first = wrong.errors()[0]
                field = ".".join(str(part) for part in first["loc"])
                raise Complaint(
                    f"{name} is no change order: {field + ': ' if field else ''}{first['msg']}.",
                    remedy="`trueup change-orders terms CONTRACT --out FILE` writes one to edit.",
                    code=Exit.USAGE,
                ) from None
    return found


async def start_orders(session: Session, names: Sequence[str], reason: str, *, plan: bool) -> Report:
    """Send change orders from files, or only say what would come of each."""
    orders = read_orders(names)
    ledger = await session.ledger()
    if plan:
        parts: list[Table | str] = []
        verdicts = []
        for order in orders:
            found = await judged(session.settings, ledger, order)
            verdicts.append({"order": order.key, "verdict": found.verdict, "reason": found.reason})
            parts += [f"{order.key}: {found.verdict.value}.", *_what_it_would(found)]
        said = f"{count(len(orders), 'change order')} looked at; nothing was sent."
        return Report(said, {"orders": verdicts}, parts)
    client: Client = await session.client()
    systems = await session.systems()
    await systems.store_mappings()
    rows = [
        await submit(
            session.settings,
            systems.mapping_digests(),
            ledger,
            client,
            order,
            actor=session.actor,
            reason=reason,
        )
        for order in orders
    ]
    table: list[list[Value]] = [
        [
            row.order.key,
            row.state.value,
            row.reason,
            f"trueup change-orders show {row.order.contract_key} {row.order.key}",
        ]
        for row in rows
    ]
    open_ = [row for row in rows if row.state.is_open]
    said = f"{count(len(open_), 'change order')} sent."
    if len(open_) < len(rows):
        said += f" {len(rows) - len(open_)} decided before."
    return Report(
        said,
        {"change_orders": [_facts(session, row) for row in rows]},
        [Table(("order", "state", "why", "look at it"), table)],
    )


async def _known(ledger: Ledger, contract: str, order: str) -> ChangeOrderRow:
    row = await ledger.change_order(contract, order)
    if row is None:
        raise Complaint(
            f"Contract {contract} has no change order {order}.",
            command=f"trueup change-orders list --contract {contract}",
            code=Exit.USAGE,
        )
    return row


def _unknown(contract: str) -> Complaint:
    return Complaint(
        f"No contract {contract} is known.", command="trueup change-orders list", code=Exit.USAGE
    )


def _facts(session: Session, row: ChangeOrderRow) -> dict[str, Any]:
    saga = row.saga_id
    return row.model_dump(mode="json") | {"web": session.web(saga) if saga is not None else None}
