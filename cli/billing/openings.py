"""``trueup opening``: what was billed before Trueup took over, from a file, findings per line (rule 36)."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from canonical.engagement import Contract
from canonical.failures import Conflict
from canonical.money import Money
from canonical.names import retainer_account
from canonical.opening import CapOpening, OpeningPosition
from cli.billing.arguments import EntityOption, the_day, the_entity
from cli.command import command
from cli.output import Complaint, Exit, Report, Table, Value, count, sums
from cli.reviewed import ReviewedContract, plain_decimal, read_rows
from cli.scan import harmless
from cli.session import Session
from ledger.store import Ledger
from rules.opening import named_limits, opening_problems, retainer_lines, schedule_keys

REQUIRED = ("contract", "billed_to_date")
COLUMNS = (
    *REQUIRED,
    "currency",
    "last_billed_work_date",
    "billed_keys",
    "caps",
    "retainer_balance",
)
"""Columns of the file; the currency is the contract's where none is given. Others are ignored."""


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    group = typer.Typer(
        help="Opening positions: what was billed before Trueup took over.", no_args_is_help=True
    )
    command(group, "list")(list_openings)
    command(group, "import")(import_file)
    app.add_typer(group, name="opening")


@dataclass
class Line(ReviewedContract):
    """One line of the file: a contract and its opening position."""

    position: OpeningPosition | None = None
    contract: Contract | None = None
    retainer: str | None = None
    """The account of its retainer."""
    limits: dict[str, Money] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """For ``--json``."""
        return self.facts_with("position", self.position)


# --- import -----------------------------------------------------------------------------------------


async def import_file(
    session: Session,
    file: Annotated[Path, typer.Argument(help="CSV; `trueup opening list --out FILE` makes one to fill in.")],
    on: Annotated[
        str | None, typer.Option("--on", metavar="DAY", help="Day of the take-over; today by default.")
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Import; without it only a preview.")] = False,
) -> Report:
    """Preview a file of opening positions, findings per line; import it with --apply, all or none."""
    today = datetime.now(UTC).date()
    day = the_day(on, "day") if on is not None else today
    ledger = await session.ledger()
    lines = read_lines(file)
    with session.working(f"Checking {count(len(lines), 'line')}"):
        for line in lines:
            await _check(ledger, line, file.name, today)
        _check_twice(lines)
        await _check_known(ledger, lines)
    refused = [line for line in lines if line.problems]
    if apply and refused:
        return _report(lines, file, "Nothing was imported: correct or remove the refused lines first.")
    if apply:
        await _import(session, ledger, lines, day)
        for line in lines:
            line.written = not line.known
    return _report(lines, file, "Done." if apply else None, applied=apply)


def read_lines(file: Path) -> list[Line]:
    """The file's lines as they are.

    Raises:
        Complaint: it cannot be read as one.
    """
    return [Line(number, cells) for number, cells in read_rows(file, REQUIRED, COLUMNS)]


async def _check(ledger: Ledger, line: Line, source: str, today: date) -> None:
    if not line.key:
        line.problems.append("contract is empty")
        return
    row = await ledger.contract_version(line.key)
    if row is None:
        line.problems.append(f"no contract {line.key} is known; `trueup opening list` shows them")
        return
    line.contract = contract = Contract.model_validate(row.terms)
    currency = line.cells.get("currency") or contract.currency
    billed = _money(line, "billed_to_date", currency)
    last = _day(line, "last_billed_work_date")
    caps = _caps(line, contract)
    retainer = _money(line, "retainer_balance", currency)
    if line.problems or billed is None:
        if billed is None and not line.problems:
            line.problems.append("billed_to_date is empty; write 0 where nothing was billed")
        return
    try:
        position = OpeningPosition(
            contract_key=line.key,
            billed_to_date=billed,
            last_billed_work_date=last,
            billed_keys=tuple(key.strip() for key in _list(line.cells.get("billed_keys", ""))),
            caps=caps,
            retainer_balance=retainer,
            source=source,
        )
    except ValidationError as wrong:
        line.problems.append(wrong.errors()[0]["msg"].removeprefix("Value error, "))
        return
    line.position = position
    line.problems += opening_problems(position, contract, today)
    if retainer is not None and len(retainers := retainer_lines(contract)) == 1:
        line.retainer = retainer_account(contract.key, retainers[0])


def _list(text: str) -> list[str]:
    return [part for part in (one.strip() for one in text.replace("|", ";").split(";")) if part]


def _money(line: Line, name: str, currency: str) -> Money | None:
    text = line.cells.get(name, "")
    if not text:
        return None
    amount = plain_decimal(text)
    if amount is None:
        line.problems.append(f"{name} {text!r} is not an amount; write for example 12000.50")
        return None
    try:
        return Money(amount=amount, currency=currency)
    except ValidationError as wrong:
        line.problems.append(f"{name}: {wrong.errors()[0]['msg'].removeprefix('Value error, ')}")
        return None


def _day(line: Line, name: str) -> date | None:
    text = line.cells.get(name, "")
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        line.problems.append(f"{name} {text!r} is not a date; write for example 2026-09-30")
        return None


def _caps(line: Line, contract: Contract) -> tuple[CapOpening, ...]:
    known = named_limits(contract)
    found = []
    for part in _list(line.cells.get("caps", "")):
        name, _, text = (piece.strip() for piece in part.partition("="))
        amount = plain_decimal(text)
        if name not in known:
            listing = ", ".join(known) or "none"
            line.problems.append(f"caps: the contract has no limit {name!r}; it has {listing}")
        elif amount is None:
            line.problems.append(f"caps: {part!r} is not NAME=AMOUNT")
        else:
            key, agreed = known[name]
            try:
                used = Money(amount=amount, currency=contract.currency)
            except ValidationError as wrong:
                line.problems.append(f"caps: {wrong.errors()[0]['msg'].removeprefix('Value error, ')}")
                continue
            if agreed is not None:
                line.limits[key] = agreed
                if used.amount > agreed.amount:
                    line.notes.append(f"{name}: {used} used, {agreed} agreed; it counts in full")
            found.append(CapOpening(cap_key=key, used=used))
    return tuple(found)


def _check_twice(lines: Sequence[Line]) -> None:
    first: dict[str, int] = {}
    for line in lines:
        if line.key in first:
            line.problems.append(f"contract {line.key} stands on line {first[line.key]} too")
        elif line.key:
            first[line.key] = line.number


async def _check_known(ledger: Ledger, lines: Sequence[Line]) -> None:
    known = await ledger.openings(line.key for line in lines if line.key)
    used = await ledger.opened_and_used(known)
    for line in lines:
        before = known.get(line.key)
        if before is None or line.position is None:
            continue
        if before.model_copy(update={"source": line.position.source}) == line.position:
            line.known, line.position = True, before
        elif line.key in used:
            line.problems.append(
                "another position is there, and something was billed or held since: it can only be corrected "
                "by a credit or an adjustment"
            )
        else:
            line.notes.append(f"replaces {before.billed_to_date} of {before.source or 'before'}")


async def _import(session: Session, ledger: Ledger, lines: Sequence[Line], day: date) -> None:
    new = [line for line in lines if not line.known and line.position is not None]
    try:
        await ledger.import_openings(
            [line.position for line in new if line.position is not None],
            actor=session.actor,
            on=day,
            retainers={line.key: line.retainer for line in new if line.retainer is not None},
            limits={key: money for line in new for key, money in line.limits.items()},
        )
    except Conflict as taken:
        raise Complaint(f"Nothing was imported: {taken}", remedy=taken.failure.remedy) from None


def _report(lines: Sequence[Line], file: Path, said: str | None, *, applied: bool = False) -> Report:
    verdicts = Counter(line.verdict for line in lines)
    summary = ", ".join(f"{number} {verdict}" for verdict, number in sorted(verdicts.items()))
    good = [line.position for line in lines if line.position is not None and not line.problems]
    money = ", ".join(str(one) for one in sums(position.billed_to_date for position in good))
    sentence = f"{count(len(lines), 'line')}: {summary}"
    sentence += f"; {money} billed before." if money else "."
    rows: list[list[Value]] = [
        [
            str(line.number),
            line.verdict,
            line.key,
            str(line.position.billed_to_date) if line.position else "",
            str(line.position.last_billed_work_date or "") if line.position else "",
            "; ".join([*line.problems, *line.notes]),
        ]
        for line in lines
    ]
    parts: list[Table | str] = [
        Table(("line", "verdict", "contract", "billed to date", "work billed to", "findings"), rows)
    ]
    if not applied and not verdicts["refused"] and verdicts["to be imported"]:
        parts.append(f"Import them:\n  trueup opening import {file} --apply")
    data = {"lines": [line.facts() for line in lines], "applied": applied and not verdicts["refused"]}
    return Report(
        f"{said} {sentence}" if said else sentence,
        data,
        parts,
        Exit.FAILED if verdicts["refused"] else Exit.DONE,
    )


# --- list -------------------------------------------------------------------------------------------


async def list_openings(
    session: Session,
    entity: EntityOption = None,
    missing: Annotated[bool, typer.Option("--missing", help="Only contracts that have none.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write those without one to this CSV, to be filled in.")
    ] = None,
) -> Report:
    """List contracts with their opening positions; a contract without one does not bill."""
    if entity is not None:
        the_entity(session, entity)
    ledger = await session.ledger()
    keys = await ledger.contract_keys()
    positions = await ledger.openings(keys)
    contracts = []
    for key in keys:
        row = await ledger.contract_version(key)
        contract = Contract.model_validate(row.terms) if row is not None else None
        if contract is not None and entity in (None, contract.legal_entity):
            contracts.append(contract)
    without = [one for one in contracts if one.key not in positions]
    shown = without if missing else contracts
    if out is not None:
        _write(out, without)
    said = f"{count(len(contracts), 'contract')}, {len(without)} without an opening position"
    said += ": they do not bill." if without else "."
    rows: list[list[Value]] = [
        [
            one.key,
            one.name,
            one.legal_entity,
            str(positions[one.key].billed_to_date) if one.key in positions else "none",
            str(positions[one.key].last_billed_work_date or "") if one.key in positions else "",
            positions[one.key].source if one.key in positions else "",
        ]
        for one in shown
    ]
    columns = ("contract", "name", "entity", "billed to date", "work billed to", "from")
    parts: list[Table | str] = [Table(columns, rows)] if rows else []
    if out is not None:
        parts.append(f"{out} lists those without one. Fill it in, then:\n  trueup opening import {out}")
    elif without:
        parts.append("Make a file to fill in:\n  trueup opening list --out openings.csv")
    data = {
        "contracts": [
            {
                "contract": one.key,
                "name": one.name,
                "entity": one.legal_entity,
                "position": positions.get(one.key),
            }
            for one in shown
        ],
        "without": [one.key for one in without],
    }
    return Report(said, data, parts)


def _write(out: Path, contracts: Sequence[Contract]) -> None:
    # Never over a file that somebody has filled in.
    with out.open("x", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow((*COLUMNS, "name", "keys", "limits"))
        for one in contracts:
            keys, limits = ";".join(schedule_keys(one)), ";".join(named_limits(one))
            writer.writerow((one.key, "", one.currency, "", "", "", "", harmless(one.name), keys, limits))
