"""``trueup rates``: rates of contracts from a file, also for days that are past, after a preview (rule 7)."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from canonical.engagement import Contract
from canonical.invoicing import DocumentKind, DocumentState
from canonical.money import Money
from canonical.names import SagaName, saga_id
from canonical.rates import RateCard, RateLine
from cli import sagas
from cli.billing import runs
from cli.billing.arguments import EntityOption, the_entity, the_route
from cli.command import command
from cli.output import Complaint, Exit, Report, Table, Value, count, sums
from cli.reviewed import ReviewedContract, plain_decimal, read_rows
from cli.scan import harmless
from cli.session import Session
from ledger.billing_rows import DocumentRow
from ledger.store import Ledger
from rules.ratecards import WORKED, card_of, card_problems, known_roles, line_problems, same_rates
from wiring.rates import RateEffect, rate_effect

REQUIRED = ("contract", "role", "rate", "from")
COLUMNS = (*REQUIRED, "to", "currency")
"""Columns of the file; the currency is the contract's where none is given. Others are ignored."""


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    group = typer.Typer(help="Bill rates of contracts, also backdated ones.", no_args_is_help=True)
    command(group, "list")(list_rates)
    command(group, "import")(import_file)
    app.add_typer(group, name="rates")


@dataclass
class Line(ReviewedContract):
    """One line of the file: a rate of a role from a day on."""

    rate: RateLine | None = None

    def facts(self) -> dict[str, Any]:
        """For ``--json``."""
        return self.facts_with("rate", self.rate)


@dataclass
class Change:
    """The rates of one contract as a whole."""

    contract: Contract
    current: RateCard | None
    lines: list[Line]
    card: RateCard | None = None
    known: bool = False
    effect: RateEffect = field(default_factory=RateEffect)
    saga_id: str | None = None

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        effect = self.effect
        return not self.known or bool(effect.lines or effect.further_lines or effect.credits)


# --- import -----------------------------------------------------------------------------------------


async def import_file(
    session: Session,
    file: Annotated[Path, typer.Argument(help="CSV; `trueup rates list --out FILE` makes one to edit.")],
    apply: Annotated[
        bool, typer.Option("--apply", help="Put them in force; only a preview without it.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")] = "",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow until it needs nobody.")] = True,
    timeout: Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait at most.")] = 600,
) -> Report:
    """Preview new rates and what they change; --apply puts them in force, all or none. Needs --reason then.

    The file holds all rates of each contract that it names. A rate without an end holds until the next of its
    role begins. Unbilled work is repriced; the difference on billed work is asked for: `trueup approvals`.
    """
    if apply and not reason.strip():
        raise Complaint("New rates need --reason.", code=Exit.USAGE)
    lines = [Line(number, cells) for number, cells in read_rows(file, REQUIRED, COLUMNS)]
    with session.working(f"Checking {count(len(lines), 'line')}"):
        changes = await _changes(session, lines, file.name)
    refused = any(line.problems for line in lines)
    if not apply or refused:
        said = "Nothing was imported: correct or remove the refused lines first." if apply else None
        return _report(lines, changes, file, said)
    starts = await runs.starts(session)
    begun = []
    for change in changes:
        if change.card is None or not change.changes:
            continue
        contract = change.contract
        route = the_route(session, entity=contract.legal_entity, region=None, psa=None, erp=contract.erp)
        start = starts.rates(route.psa, route.erp, contract.key, change.card, reason)
        await runs.begin(session, start)
        change.saga_id = start.saga_id
        begun.append(start)
    for line in lines:
        line.written = not line.known
    report = _report(lines, changes, file, "Done." if begun else "Nothing is new.", applied=True)
    if wait:
        for start in begun:
            followed = await runs.followed(session, start, timeout)
            report.parts += [followed.sentence, *followed.parts]
            report.code = max(report.code, followed.code)
    elif begun:
        report.parts.append("\n".join(f"  trueup show {start.saga_id}" for start in begun))
    return report


async def _changes(session: Session, lines: Sequence[Line], source: str) -> list[Change]:
    ledger = await session.ledger()
    rows = await ledger.latest_contracts(line.key for line in lines if line.key)
    rates = await ledger.latest_rates(rows)
    drafted = await _drafted(ledger)
    changes: dict[str, Change] = {}
    for line in lines:
        row = rows.get(line.key)
        if row is None:
            known = "is empty" if not line.key else f"{line.key} is not known; `trueup rates list` shows them"
            line.problems.append(f"contract {known}")
            continue
        if line.key not in changes:
            contract = Contract.model_validate(row.terms)
            kept = rates.get(line.key)
            changes[line.key] = Change(contract, kept.card if kept else contract.rate_card, [])
        change = changes[line.key]
        change.lines.append(line)
        line.rate = _rate(line, change.contract)
        if line.rate is not None:
            roles = known_roles(session.settings.firm(), change.contract, change.current)
            line.problems += line_problems(line.rate, change.contract, roles)
    for change in changes.values():
        if all(line.rate is not None and not line.problems for line in change.lines):
            await _weigh(session, ledger, change, source, drafted.get(change.contract.key, []))
    return list(changes.values())


def _rate(line: Line, contract: Contract) -> RateLine | None:
    cells = line.cells
    amount = plain_decimal(cells["rate"])
    if not cells["role"]:
        line.problems.append("role is empty")
    if amount is None:
        line.problems.append(f"rate {cells['rate']!r} is not an amount; write for example 152.50")
    days: dict[str, date | None] = {"to": None}
    for name in ("from", "to"):
        text = cells.get(name, "")
        if not text and name == "to":
            continue
        try:
            days[name] = date.fromisoformat(text)
        except ValueError:
            line.problems.append(f"{name} {text!r} is not a date; write for example 2026-09-30")
    begins = days.get("from")
    if line.problems or amount is None or begins is None:
        return None
    try:
        return RateLine(
            role=cells["role"],
            amount=amount,
            currency=cells.get("currency") or contract.currency,
            effective_from=begins,
            effective_to=days["to"],
        )
    except ValidationError as wrong:
        line.problems.append(wrong.errors()[0]["msg"].removeprefix("Value error, "))
        return None


async def _weigh(
    session: Session, ledger: Ledger, change: Change, source: str, drafted: Sequence[DocumentRow]
) -> None:
    """The contract's rates as a whole: whether they can be, and what they would change."""
    contract = change.contract
    rates = [line.rate for line in change.lines if line.rate is not None]
    card = card_of(contract, change.current, rates, source)
    if same_rates(change.current, card):
        # What a run that was stopped left is still to be done.
        change.known, card = True, change.current or card
    problems = card_problems(contract, change.current, card)
    problems += await _in_the_way(session, ledger, contract, drafted)
    if not problems:
        change.card = card
        change.effect = await rate_effect(ledger, contract.key, card)
        unpriced = change.effect.unpriced
        if unpriced:
            problems.append(
                f"{count(len(unpriced), 'priced line')} would have no rate: {unpriced[0].message}"
            )
    for line in change.lines:
        line.problems += problems
        line.known = change.known
    retainer = contract.retainer
    if retainer is not None and retainer.rate_card is not None:
        change.lines[0].notes.append("its retainer has rates of its own, which stay")


async def _drafted(ledger: Ledger) -> dict[str, list[DocumentRow]]:
    """Invoices that are being drafted, by the contracts whose work is on them."""
    found: dict[str, list[DocumentRow]] = defaultdict(list)
    open_states = [state for state in DocumentState if state.is_open]
    for row in await ledger.documents(kind=DocumentKind.INVOICE, states=open_states):
        for key in {line.item.contract_key for line in await ledger.document_lines(row.key)}:
            found[key or ""].append(row)
    return found


async def _in_the_way(
    session: Session, ledger: Ledger, contract: Contract, drafted: Sequence[DocumentRow]
) -> list[str]:
    """What must be decided before the rates of a contract change."""
    found = [
        f"invoice {row.key} is being drafted with its work; decide it first: "
        f"`trueup approvals show {row.saga_id}`"
        for row in drafted
    ]
    saga = saga_id(SagaName.CHANGE_RATES, session.settings.about.region, contract.erp, contract.key)
    if await ledger.saga(saga) is not None:
        seen = await sagas.see(session, saga)
        if not seen.view.status.is_final:
            found.append(f"its last change of rates is not decided yet: `trueup show {saga}`")
    return found


def _report(
    lines: Sequence[Line],
    changes: Sequence[Change],
    file: Path,
    said: str | None,
    *,
    applied: bool = False,
) -> Report:
    verdicts = Counter(line.verdict for line in lines)
    summary = ", ".join(f"{number} {verdict}" for verdict, number in sorted(verdicts.items()))
    sentence = f"{count(len(lines), 'line')}: {summary}."
    effects = [one.effect for one in changes]
    repriced = sum(one.lines for one in effects)
    further, credited = sums(one.further for one in effects), sums(_credits(effects))
    if repriced:
        sentence += f" {count(repriced, 'unbilled line')} {'were' if applied else 'would be'} repriced."
    if further:
        sentence += f" {', '.join(str(one) for one in further)} more on billed work, to be decided."
    if credited:
        sentence += f" {', '.join(str(one) for one in credited)} billed too much, to be decided."
    rows: list[list[Value]] = [
        [
            str(line.number),
            line.verdict,
            line.key,
            line.cells.get("role", ""),
            f"{line.rate.currency} {line.rate.amount}" if line.rate else line.cells.get("rate", ""),
            line.cells.get("from", ""),
            line.cells.get("to", ""),
            "; ".join([*line.problems, *line.notes]),
        ]
        for line in lines
    ]
    columns = ("line", "verdict", "contract", "role", "rate", "from", "to", "findings")
    parts: list[Table | str] = [Table(columns, rows)]
    weighed = [one for one in changes if one.card is not None]
    if weighed:
        parts.append(_effects(weighed))
    if not applied and not verdicts["refused"] and any(one.changes for one in changes):
        parts.append(f'Put them in force:\n  trueup rates import {file} --apply --reason "..."')
    return Report(
        f"{said} {sentence}" if said else sentence,
        {
            "lines": [line.facts() for line in lines],
            "contracts": [_facts(one) for one in changes],
            "applied": applied,
        },
        parts,
        Exit.FAILED if verdicts["refused"] else Exit.DONE,
    )


def _credits(effects: Sequence[RateEffect]) -> list[Money]:
    return [money for one in effects for money in one.credits.values()]


def _effects(changes: Sequence[Change]) -> Table:
    rows: list[list[Value]] = [
        [
            one.contract.key,
            f"{one.effect.lines:,}",
            str(one.effect.before or "-"),
            str(one.effect.after or "-"),
            str(one.effect.further or "-"),
            ", ".join(str(money) for money in sums(one.effect.credits.values())) or "-",
            f"{one.effect.busy:,}" if one.effect.busy else "",
        ]
        for one in changes
    ]
    columns = (
        "contract",
        "unbilled lines",
        "worth now",
        "worth then",
        "to bill",
        "to credit",
        "being issued",
    )
    return Table(columns, rows, title="What they change")


def _facts(change: Change) -> dict[str, Any]:
    effect = change.effect
    return {
        "contract": change.contract.key,
        "known": change.known,
        "unbilled_lines": effect.lines,
        "before": effect.before,
        "after": effect.after,
        "to_bill": effect.further,
        "to_credit": effect.credits,
        "saga_id": change.saga_id,
    }


# --- list -------------------------------------------------------------------------------------------


async def list_rates(
    session: Session,
    contract: Annotated[str | None, typer.Option("--contract", help="Only this contract.")] = None,
    entity: EntityOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write them to this CSV, to be edited.")] = None,
) -> Report:
    """List the rates in force per contract and role; --out writes them to a file to edit and import."""
    if entity is not None:
        the_entity(session, entity)
    ledger = await session.ledger()
    keys = [contract] if contract is not None else await ledger.contract_keys()
    rows = await ledger.latest_contracts(keys)
    if contract is not None and not rows:
        raise Complaint(f"No contract {contract} is known.", command="trueup rates list", code=Exit.USAGE)
    rates = await ledger.latest_rates(rows)
    found: list[tuple[Contract, RateCard | None, int]] = []
    for key, row in sorted(rows.items()):
        terms = Contract.model_validate(row.terms)
        by_hour = any(line.billing_method in WORKED for line in terms.lines)
        if by_hour and entity in (None, terms.legal_entity):
            kept = rates.get(key)
            found.append((terms, kept.card if kept else terms.rate_card, kept.number if kept else 1))
    if out is not None:
        _write(out, found)
    table: list[list[Value]] = [
        [
            terms.key,
            line.role,
            f"{line.currency} {line.amount}",
            line.effective_from.isoformat(),
            line.effective_to.isoformat() if line.effective_to else "",
            f"{card.code} {card.version}",
            str(number),
        ]
        for terms, card, number in found
        if card is not None
        for line in sorted(card.lines, key=lambda line: (line.role, line.effective_from))
    ]
    columns = ("contract", "role", "rate", "from", "to", "card", "version")
    without = [terms.key for terms, card, _ in found if card is None]
    said = f"{count(len(found), 'contract')} billed by the hour, {count(len(table), 'rate')}"
    said += f"; without rates: {', '.join(without)}." if without else "."
    parts: list[Table | str] = [Table(columns, table)] if table else []
    if out is not None:
        parts.append(f"{out} holds them. Edit it, then:\n  trueup rates import {out}")
    data = {
        "contracts": [
            {"contract": terms.key, "version": number, "card": card} for terms, card, number in found
        ]
    }
    return Report(said, data, parts)


def _write(out: Path, found: Sequence[tuple[Contract, RateCard | None, int]]) -> None:
    # Never over a file that somebody has edited.
    with out.open("x", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow((*COLUMNS, "name"))
        for terms, card, _ in found:
            for line in card.lines if card is not None else ():
                writer.writerow(
                    (
                        terms.key,
                        harmless(line.role),
                        line.amount,
                        line.effective_from,
                        line.effective_to or "",
                        line.currency,
                        harmless(terms.name),
                    )
                )
