"""``trueup trace``: from any id to the whole line: what was written where, when, by whom."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import typer

from canonical.refs import RecordRef
from canonical.saga import Actor
from cli import sagas, trace_invoices
from cli.command import command
from cli.output import Report, Table, Value, count, record, when
from cli.session import Session
from ledger.rows import AuditRow, DecisionRow, EffectRow, EffectState, LinkRow, Page, SagaRow
from ledger.store import Ledger

R = TypeVar("R")

MOST = 20_000
"""Rows of one table read at most."""
AUDIT = "Audit trail"
"""Title of the trail's table."""
ORDER = ("group", "client", "contract", "project", "schedule", "delivery")
"""Kinds of the cross-reference in the order of the business; others come after."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "trace")(trace)


@dataclass
class Line:
    """Everything the ledger knows about one thing."""

    sagas: dict[str, SagaRow] = field(default_factory=dict)
    links: dict[int, LinkRow] = field(default_factory=dict)
    effects: dict[int, EffectRow] = field(default_factory=dict)
    audit: dict[int, AuditRow] = field(default_factory=dict)
    decisions: dict[int, DecisionRow] = field(default_factory=dict)
    invoices: trace_invoices.InvoiceLine = field(default_factory=trace_invoices.InvoiceLine)


async def trace(
    session: Session,
    any_id: Annotated[
        str,
        typer.Argument(metavar="ID", help="Deal, saga, project code, invoice, payment, system/type/id."),
    ],
) -> Report:
    """Trace anything: from the deal to the payment, every record it became, every write, by whom, when."""
    ledger = await session.ledger()
    line = Line()
    line.invoices = await trace_invoices.by_id(ledger, any_id)
    names = [] if line.invoices else await _sagas_of(session, ledger, any_id, line)
    for invoice in line.invoices.invoices.values():
        # Who made it, if it was us: the contract's billing.
        names += await _of_record(ledger, invoice.ref, line)
    for deal in line.invoices.deals:
        # An invoice's or payment's id: the line begins with the deals that it is part of.
        names += await sagas.find_all(session, deal.id)
    names = list(dict.fromkeys([*names, *line.invoices.sagas]))
    for name in names:
        await _collect(ledger, name, line)
    if not line.invoices:
        await trace_invoices.of_deals(ledger, line.invoices, names)
        more = list(line.invoices.sagas)
        for invoice in line.invoices.invoices.values():
            more += await _of_record(ledger, invoice.ref, line)
        for name in dict.fromkeys(more):
            await _collect(ledger, name, line)
    if not (line.sagas or line.links or line.effects or line.audit or line.invoices):
        if names:
            return _nothing_yet(names)
        raise sagas.unknown(any_id)
    return _report(session, any_id, line)


async def _sagas_of(session: Session, ledger: Ledger, text: str, line: Line) -> list[str]:
    """Sagas that the id leads to; links and writes found on the way are kept."""
    if (ref := _ref(text)) is not None:
        return await _of_record(ledger, ref, line)
    found = await sagas.find_all(session, text)
    if found:
        return found
    async for link in everything(lambda after: ledger.links(after=after, limit=500)):
        if text in (link.record.id, link.key):
            line.links[link.id] = link
    refs = {link.record for link in line.links.values()}
    async for effect in everything(lambda after: ledger.effects(after=after, limit=500)):
        landed = effect.landed
        if text in (effect.key, effect.write.stamp) or (
            landed is not None and text in (landed.id, *landed.values.values())
        ):
            line.effects[effect.id] = effect
            if effect.record is not None:
                refs.add(effect.record)
    names: dict[str, None] = dict.fromkeys(one.saga_id for one in line.effects.values())
    for ref in refs:
        names |= dict.fromkeys(await _of_record(ledger, ref, line))
    return list(names)


async def _of_record(ledger: Ledger, ref: RecordRef, line: Line) -> list[str]:
    for link in await ledger.links_to(ref):
        line.links[link.id] = link
    async for effect in everything(lambda after: ledger.effects(record=ref, after=after, limit=500)):
        line.effects[effect.id] = effect
    async for row in everything(lambda after: ledger.audit_rows(record=ref, after=after, limit=500)):
        line.audit[row.id] = row
    names = [one.saga_id for one in line.links.values()] + [one.saga_id for one in line.effects.values()]
    names += [one.saga_id for one in line.audit.values()]
    return [name for name in dict.fromkeys(names) if name]


async def _collect(ledger: Ledger, name: str, line: Line) -> None:
    row = await ledger.saga(name)
    if row is not None:
        line.sagas[name] = row
    keys = set()
    async for effect in everything(lambda after: ledger.effects(saga_id=name, after=after, limit=500)):
        line.effects[effect.id] = effect
        if effect.record is not None:
            keys.add(effect.record)
    for ref in keys:
        for link in await ledger.links_to(ref):
            line.links[link.id] = link
    async for audited in everything(lambda after: ledger.audit_rows(saga_id=name, after=after, limit=500)):
        line.audit[audited.id] = audited
    async for decision in everything(lambda after: ledger.decisions(saga_id=name, after=after, limit=500)):
        line.decisions[decision.id] = decision


async def everything(page: Callable[[int], Awaitable[Page[R]]]) -> AsyncIterator[R]:
    """All rows of a paged list, up to a bound that no single line of business reaches."""
    after, seen = 0, 0
    while seen < MOST:
        found = await page(after)
        for row in found.rows:
            yield row
        seen += len(found.rows)
        if found.cursor is None:
            return
        after = found.cursor


def _ref(text: str) -> RecordRef | None:
    try:
        return RecordRef.parse(text)
    except ValueError:
        return None


def _nothing_yet(names: list[str]) -> Report:
    return Report(
        f"{', '.join(names)} has written nothing yet.",
        {"sagas": [], "links": [], "writes": [], "audit": [], "decisions": []},
        [f"  trueup show {name}" for name in names],
    )


def _report(session: Session, text: str, line: Line) -> Report:
    effects = sorted(line.effects.values(), key=lambda one: (one.done_at or one.created_at, one.id))
    links = sorted(line.links.values(), key=_place)
    live = [one for one in effects if one.state is EffectState.DONE]
    systems = sorted({one.system for one in effects} | {one.record.system for one in links})
    open_ = len(effects) - len(live) - sum(one.state is EffectState.UNDONE for one in effects)
    said = f"{text}: {count(len(live), 'live write')} in {', '.join(systems) or 'no system'}"
    said += f", {count(len(line.sagas), 'saga')}, {count(len(line.decisions), 'decision')} of people"
    said += f", {count(len(line.invoices.invoices), 'invoice')}" if line.invoices else ""
    said += f"; {count(open_, 'write')} without a certain outcome." if open_ else "."
    parts: list[Table | str] = []
    if line.sagas:
        parts.append(_saga_table(session, line))
    if links:
        rows: list[list[Value]] = [
            [one.kind, one.key, one.record.system, record(one.record), _origin(one), when(one.at)]
            for one in links
        ]
        parts.append(Table(("what", "key", "system", "record", "how", "since"), rows, title="Records"))
    if line.invoices:
        parts += trace_invoices.tables(session, line.invoices)
    if effects:
        parts.append(_effect_table(effects, line))
    if line.decisions:
        rows = [
            [when(one.at), str(one.actor), one.kind, one.step, one.outcome, one.reason]
            for one in line.decisions.values()
        ]
        columns = ("when", "who", "kind", "step", "decision", "reason")
        parts.append(Table(columns, rows, title="Decisions"))
    if line.audit:
        parts.append(_audit_table(line))
    data: dict[str, Any] = {
        "sagas": list(line.sagas.values()),
        "links": links,
        **trace_invoices.facts(line.invoices),
        "writes": [_write_facts(one) for one in effects],
        "audit": list(line.audit.values()),
        "decisions": list(line.decisions.values()),
    }
    return Report(said, data, parts)


def _place(link: LinkRow) -> tuple[int, int]:
    return (ORDER.index(link.kind) if link.kind in ORDER else len(ORDER)), link.id


def _origin(link: LinkRow) -> str:
    if link.adopted:
        return "adopted"
    return "made by us" if link.created_by_us else "was there before"


def _saga_table(session: Session, line: Line) -> Table:
    rows: list[list[Value]] = [
        [
            sagas.cell(session, row.saga_id),
            row.status.value,
            ", ".join(row.view.codes.values()) if row.view else "",
            when(row.started_at),
            str(row.actor),
            row.reason,
        ]
        for row in line.sagas.values()
    ]
    return Table(("saga", "status", "project code", "started", "by", "reason"), rows, title="Sagas")


def _effect_table(effects: list[EffectRow], line: Line) -> Table:
    actors = _actors(line)
    rows: list[list[Value]] = [
        [
            when(one.done_at or one.created_at),
            one.system,
            one.title,
            record(one.record) if one.record else "",
            _state(one),
            str(actors.get(one.key, "")),
        ]
        for one in effects
    ]
    return Table(("when", "system", "what", "record", "state", "on whose behalf"), rows, title="Writes")


def _state(effect: EffectRow) -> str:
    if effect.state is EffectState.DONE and effect.created_by_us is False:
        return "linked"
    if effect.undo_outcome is not None:
        return f"{effect.state.value} ({effect.undo_outcome.result.value.replace('_', ' ')})"
    return effect.state.value


def _actors(line: Line) -> dict[str, Actor]:
    """Last actor per write, from the audit trail: the effect itself only holds a pseudonym."""
    return {row.effect_key: row.actor for row in line.audit.values() if row.effect_key}


def _audit_table(line: Line) -> Table:
    rows: list[list[Value]] = [
        [
            when(row.at),
            f"{row.chain} #{row.seq}",
            row.action,
            str(row.record or row.effect_key or ""),
            str(row.actor),
            row.row_hash[:12],
        ]
        for row in sorted(line.audit.values(), key=lambda one: one.id)
    ]
    return Table(("when", "chain", "action", "about", "who", "hash"), rows, title=AUDIT)


def _write_facts(effect: EffectRow) -> dict[str, Any]:
    return {
        "key": effect.key,
        "system": effect.system,
        "title": effect.title,
        "state": effect.state,
        "record": effect.record,
        "saga_id": effect.saga_id,
        "method": effect.write.method,
        "path": effect.write.path,
        "body": effect.write.body,
        "attempts": effect.attempts,
        "created_by_us": effect.created_by_us,
        "created_at": effect.created_at,
        "done_at": effect.done_at,
        "undone_at": effect.undone_at,
        "undo": effect.undo_outcome,
    }
