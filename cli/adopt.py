"""``trueup adopt``: link records that were there before the first saga, with evidence and review."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from canonical.failures import Conflict, SystemFailure
from canonical.refs import RecordRef, SystemRole
from cli import scan as scanning
from cli.command import command
from cli.output import Cell, Complaint, Exit, Report, Table, Value, count
from cli.reviewed import Reviewed
from cli.session import Session
from ledger.audit import DECISIONS_CHAIN
from ledger.links import NewLink
from ledger.rows import AuditEntry
from ledger.store import Ledger

ROLES_BY_KIND = {
    "client": (SystemRole.ERP, SystemRole.PSA, SystemRole.CRM),
    "contract": (SystemRole.ERP,),
    "project": (SystemRole.ERP, SystemRole.PSA),
    "worker": (SystemRole.PSA, SystemRole.HR, SystemRole.ERP),
}
"""What can be adopted, and in which systems it can stand."""
COLUMNS = ("kind", "key", "system", "type", "id", "evidence")
CONFIRMED = ("yes", "y", "ja", "oui", "1", "true")


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "adopt")(adopt)


@dataclass
class Row(Reviewed):
    """One line of the file: a record and what it is linked to."""

    DONE = "linked"

    kind: str
    key: str
    record: RecordRef
    evidence: str

    def facts(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "line": self.number,
            "kind": self.kind,
            "key": self.key,
            "record": self.record,
            "evidence": self.evidence,
            "verdict": self.verdict,
            "problems": self.problems,
            "notes": self.notes,
        }


async def adopt(
    session: Session,
    file: Annotated[Path | None, typer.Argument(help="CSV with kind,key,system,type,id[,evidence].")] = None,
    system: Annotated[str | None, typer.Option("--system", help="For lines without a system.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Write the links; without it only review.")] = False,
    scan: Annotated[
        str | None, typer.Option("--scan", metavar="SYSTEM", help="Propose links to this ERP's customers.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="For --scan: the file to write (adopt-SYSTEM.csv).")
    ] = None,
) -> Report:
    """Link existing records (rule 22): review a file, write it with --apply, or propose one with --scan."""
    if (file is None) == (scan is None):
        raise Complaint("Give a FILE to review, or --scan SYSTEM to propose links.", code=Exit.USAGE)
    if scan is not None:
        if apply:
            raise Complaint("--scan only proposes: review the file, then adopt it.", code=Exit.USAGE)
        return await scanning.scan(session, scan, out or Path(f"adopt-{scan}.csv"))
    assert file is not None
    rows, left_out = read_rows(file, system)
    with session.working(f"Checking {count(len(rows), 'line')}") as progress:
        for row in rows:
            progress.tell(f"line {row.number}: {row.record}")
            await _check(session, row, rows)
    refused = [row for row in rows if row.problems]
    if apply and refused:
        return _report(rows, left_out, file, "Nothing was linked: correct or remove the refused lines first.")
    if not apply:
        return _report(rows, left_out, file, None)
    done = await _link(session, await session.ledger(), rows, file)
    for row in rows:
        row.written = not row.known
    return _report(rows, left_out, file, "Done.", applied=done)


# --- reading ----------------------------------------------------------------------------------------


def read_rows(file: Path, system: str | None) -> tuple[list[Row], int]:
    """The file's lines, and how many were left out because their ``confirm`` does not say yes.

    Raises:
        Complaint: no such file, or columns are missing.
    """
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        names = [name.strip().lower() for name in reader.fieldnames or ()]
        missing = [
            name
            for name in COLUMNS[:5]
            if name not in names and not (name == "system" and system is not None)
        ]
        if missing:
            raise Complaint(
                f"{file} lacks the columns {', '.join(missing)}.",
                remedy=f"The first line names the columns: {','.join(COLUMNS)}.",
                code=Exit.USAGE,
            )
        reader.fieldnames = names
        rows, left_out = [], 0
        for given in reader:
            line = {name: (value or "").strip() for name, value in given.items() if isinstance(name, str)}
            if not any(line.values()):
                continue
            if "confirm" in names and line["confirm"].lower() not in CONFIRMED:
                left_out += 1
                continue
            rows.append(
                Row(
                    number=reader.line_num,
                    kind=line["kind"].lower(),
                    key=line["key"],
                    record=RecordRef(
                        system=line.get("system") or system or "", type=line["type"], id=line["id"]
                    ),
                    evidence=line.get("evidence", ""),
                )
            )
    if not rows and not left_out:
        raise Complaint(f"{file} holds no lines.", code=Exit.USAGE)
    return rows, left_out


# --- checking ---------------------------------------------------------------------------------------


async def _check(session: Session, row: Row, rows: Sequence[Row]) -> None:
    for name, value in (("key", row.key), ("type", row.record.type), ("id", row.record.id)):
        if not value:
            row.problems.append(f"{name} is empty")
    if row.kind not in ROLES_BY_KIND:
        row.problems.append(f"kind {row.kind!r} is not one of {', '.join(ROLES_BY_KIND)}")
        return
    section = session.settings.systems.get(row.record.system)
    if section is None:
        known = ", ".join(session.settings.systems)
        row.problems.append(f"system {row.record.system!r} is not configured; configured: {known}")
        return
    if not set(section.roles) & set(ROLES_BY_KIND[row.kind]):
        row.problems.append(f"{row.record.system} holds no {row.kind}s")
        return
    _check_twice(row, rows)
    if not row.problems:
        await _check_links(await session.ledger(), row)
    if not row.problems:
        await _check_record(session, row, section.roles)


def _check_twice(row: Row, rows: Sequence[Row]) -> None:
    same = (row.kind, row.key, row.record.system, row.record.type)
    others = [
        other.number
        for other in rows
        if other is not row and (other.kind, other.key, other.record.system, other.record.type) == same
    ]
    if others:
        row.problems.append(f"{row.kind} {row.key} stands on line {others[0]} too: keep the right one")
    twin = next((o for o in rows if o is not row and o.record == row.record and o.kind == row.kind), None)
    if twin is not None and twin.key != row.key:
        row.notes.append(f"line {twin.number} links the same record to {twin.key}")


async def _check_links(ledger: Ledger, row: Row) -> None:
    for link in await ledger.links_of(row.kind, row.key, system=row.record.system):
        if link.record.type != row.record.type:
            continue
        if link.record.id == row.record.id:
            row.known = True
        else:
            row.problems.append(f"{row.kind} {row.key} is linked to {link.record} already")
    for link in await ledger.links_to(row.record):
        if link.kind == row.kind and link.key != row.key:
            row.notes.append(f"the record also stands for {link.kind} {link.key}")


async def _check_record(session: Session, row: Row, roles: Sequence[SystemRole]) -> None:
    """Read the record where the system can show one of that kind."""
    if row.kind != "client" or SystemRole.ERP not in roles:
        row.notes.append("not read: compare it by hand")
        return
    systems = await session.systems()
    try:
        erp = await systems.erp(row.record.system)
        found = await erp.read_client(row.record.id)
    except SystemFailure as failure:
        row.problems.append(f"could not be read: {failure}")
        return
    if found is None:
        row.problems.append(f"{row.record.system} has no {row.record.type} {row.record.id}")
        return
    if found.ref.type != row.record.type:
        row.problems.append(f"{row.record.system} calls it {found.ref.type}, not {row.record.type}")
        return
    row.record = found.ref
    row.notes.append(f"is {found.name}" + (f", {found.city}" if found.city else ""))
    if found.inactive:
        row.notes.append("inactive")


# --- linking ----------------------------------------------------------------------------------------


async def _link(session: Session, ledger: Ledger, rows: Sequence[Row], file: Path) -> int:
    """Write the links and who decided it, all or none."""
    new = [row for row in rows if not row.known]
    at = datetime.now(UTC).isoformat()
    links = [
        NewLink(
            kind=row.kind,
            key=row.key,
            record=row.record,
            evidence={
                "adopted from": file.name,
                "line": row.number,
                "evidence": row.evidence,
                "notes": row.notes,
                "at": at,
            },
            created_by_us=False,
            adopted=True,
        )
        for row in new
    ]
    entries = [
        AuditEntry(
            chain=DECISIONS_CHAIN,
            action="adopted",
            actor=session.actor,
            content={"kind": row.kind, "key": row.key, "evidence": row.evidence, "file": file.name},
            record=row.record,
        )
        for row in new
    ]

    async def both() -> None:
        await ledger.link_many(links)
        if entries:
            await ledger.audit(*entries)

    try:
        await ledger.together(both)
    except Conflict as taken:
        raise Complaint(f"Nothing was linked: {taken}", remedy=taken.failure.remedy) from None
    return len(new)


def _report(
    rows: list[Row], left_out: int, file: Path, said: str | None, *, applied: int | None = None
) -> Report:
    verdicts = Counter(row.verdict for row in rows)
    summary = (
        ", ".join(f"{number} {verdict}" for verdict, number in sorted(verdicts.items())) or "nothing to do"
    )
    sentence = f"{count(len(rows), 'line')}: {summary}"
    sentence += f"; {left_out} left out, not confirmed." if left_out else "."
    table: list[list[Value]] = [
        [
            str(row.number),
            row.verdict,
            row.kind,
            row.key,
            Cell(str(row.record), row.record.url),
            "; ".join([*row.problems, *row.notes]),
            row.evidence,
        ]
        for row in rows
    ]
    parts: list[Table | str] = []
    if table:
        parts.append(Table(("line", "verdict", "kind", "key", "record", "found", "evidence"), table))
    refused = verdicts["refused"]
    if applied is None and not refused and verdicts["to be linked"]:
        parts.append(f"Write the links:\n  trueup adopt {file} --apply")
    data = {"rows": [row.facts() for row in rows], "left_out": left_out, "applied": applied or 0}
    return Report(
        f"{said} {sentence}" if said else sentence, data, parts, Exit.FAILED if refused else Exit.DONE
    )
