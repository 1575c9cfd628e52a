"""``trueup adopt --scan``: which of an ERP's customers are the clients of our won deals, for review."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from canonical.parties import Client, ClientCandidate
from canonical.refs import SystemRole
from cli.deals import won_since
from cli.output import Cell, Complaint, Exit, Report, Table, Value, count, moment
from cli.session import Session
from rules.matching import candidates, decisive

BEGINNING = "2000-01-01"
FIELDS = ("kind", "key", "system", "type", "id", "evidence", "confirm", "client", "record", "match", "score")


async def scan(session: Session, system: str, out: Path) -> Report:
    """Look every client of a won deal up in an ERP, and write what it could be to a file for review.

    Raises:
        Complaint: the system is no ERP, or the file is there already.
    """
    erps = session.settings.systems_with(SystemRole.ERP)
    if system not in erps:
        raise Complaint(
            f"{system!r} is not a configured ERP; configured: {', '.join(erps) or 'none'}.", code=Exit.USAGE
        )
    if _taken(out):
        raise Complaint(f"{out} is there already.", remedy="Name another file with --out.", code=Exit.USAGE)
    clients = await _clients(session)
    systems, ledger = await session.systems(), await session.ledger()
    erp = await systems.erp(system)
    similarity = session.settings.policies.name_similarity
    proposals: list[tuple[Client, ClientCandidate, bool]] = []
    linked, missing = 0, 0
    with session.working(f"Looking {count(len(clients), 'client')} up in {system}") as progress:
        for client in clients:
            progress.tell(f"{system}: {client.name}")
            if await ledger.links_of("client", client.key, system=system):
                linked += 1
                continue
            options = candidates(
                client, await erp.search_clients(client), system=system, similarity=similarity
            )
            missing += not options
            best = decisive(options)
            proposals += [(client, option, option is best) for option in options]
    _write(out, proposals, system)
    return _report(out, clients, proposals, linked, missing)


def _taken(out: Path) -> bool:
    return out.exists()


async def _clients(session: Session) -> list[Client]:
    """Clients of all won deals with their hierarchy, each once, by name."""
    systems = await session.systems()
    found: dict[str, Client] = {}
    with session.working("Reading won deals") as progress:
        for crm in session.settings.systems_with(SystemRole.CRM):
            port = await systems.crm(crm)
            changes = await won_since(port, moment(BEGINNING))
            for number, change in enumerate(changes, 1):
                progress.tell(f"{crm}: deal {number} of {len(changes)}")
                deal = await port.read_deal(change.ref.id)
                if deal is not None:
                    parties = (*deal.hierarchy, deal.client, deal.bill_to)
                    found |= {client.key: client for client in parties if client is not None}
    return sorted(found.values(), key=lambda client: client.name)


def _write(out: Path, proposals: Sequence[tuple[Client, ClientCandidate, bool]], system: str) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("x", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(FIELDS)
        for client, option, best in proposals:
            row = (
                "client",
                client.key,
                system,
                option.ref.type,
                option.ref.id,
                "; ".join(option.evidence),
                "yes" if best else "",
                client.name,
                option.name,
                option.match.value,
                str(option.score),
            )
            writer.writerow([harmless(cell) for cell in row])


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def _report(
    out: Path,
    clients: Sequence[Client],
    proposals: Sequence[tuple[Client, ClientCandidate, bool]],
    linked: int,
    missing: int,
) -> Report:
    sure = sum(best for _, _, best in proposals)
    unsure = len({client.key for client, _, _ in proposals}) - sure
    said = (
        f"{count(len(clients), 'client')} of won deals: {sure} found by exact evidence, {unsure} for a "
        f"person to choose, {missing} not there, {linked} linked before. Nothing was linked."
    )
    rows: list[list[Value]] = [
        [
            client.name,
            Cell(f"{option.name} ({option.ref.id})", option.ref.url),
            option.match.value,
            str(option.score),
            "yes" if best else "",
            "; ".join(option.evidence),
        ]
        for client, option, best in proposals
    ]
    parts: list[Table | str] = []
    if rows:
        parts.append(Table(("client", "could be", "match", "score", "confirm", "evidence"), rows))
    parts.append(
        f"The proposals are in {out}. Put yes into the column confirm where they are right, then:\n"
        f"  trueup adopt {out}"
    )
    facts = [{"client": client, "candidate": option, "confirmed": best} for client, option, best in proposals]
    return Report(said, {"file": out, "proposals": facts, "linked": linked, "missing": missing}, parts)
