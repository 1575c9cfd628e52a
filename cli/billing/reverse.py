"""``trueup reverse``: posted lines are taken back, by command, after a preview with their money (rule 23)."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from activities.contracts import ReversalScope
from canonical.erp_billing import Reversal
from canonical.names import SagaName, saga_parts
from canonical.refs import RecordRef
from canonical.saga import SagaView, Tally
from cli import sagas
from cli.ask import confirmed
from cli.billing import runs, words
from cli.billing.arguments import EntityOption, ErpOption, PsaOption, the_day, the_route
from cli.billing.held import preview
from cli.command import command
from cli.output import Complaint, Exit, Report, Table, count
from cli.session import Session, command_id
from workflows.figures import of_state

WORDS = {
    Reversal.DELETE.value: "to be removed from the ERP",
    Reversal.NEGATIVE_LINE.value: "to be reversed by a negative line",
    "absent": "not in the ERP any more: only recorded",
    "billed": "cannot be taken back: on an invoice, or in a closed period",
}
"""States of the preview as finance reads them."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "reverse")(reverse)


@dataclass(frozen=True)
class Scope:
    """What is meant, as typed."""

    items: list[str] | None
    project: str | None
    run: str | None
    first: str | None
    last: str | None

    async def read(self, session: Session) -> ReversalScope:
        """What the run is asked to take back.

        Raises:
            Complaint: nothing narrows it, or a part cannot be what it is said to be.
        """
        if not (self.items or self.project or self.run or self.first or self.last):
            raise Complaint(
                "What is to be taken back? Narrow it by --item, --project, --run, --from or --to.",
                code=Exit.USAGE,
            )
        for item in self.items or ():
            try:
                RecordRef.parse(item)
            except ValueError:
                raise Complaint(
                    f"{item!r} is no source record.",
                    remedy="Write system/type/id, for example kantata-main/time_entries/500001.",
                    code=Exit.USAGE,
                ) from None
        first = the_day(self.first, "day") if self.first else None
        last = the_day(self.last, "day") if self.last else None
        if first and last and first > last:
            raise Complaint(f"--from {first} is after --to {last}.", code=Exit.USAGE)
        run = await self._run(session)
        if run is None and not self.items:
            await self._known_project(session)
        return ReversalScope(
            items=tuple(self.items or ()), project_code=self.project, run=run, first_day=first, last_day=last
        )

    async def _run(self, session: Session) -> str | None:
        if self.run is None:
            return None
        name = await sagas.find(session, self.run)
        if saga_parts(name)[0] is not SagaName.POST_APPROVED_TIME:
            raise Complaint(
                f"{name} is not a posting run.",
                remedy="Name a run of post-approved-time:",
                command="trueup list",
                code=Exit.USAGE,
            )
        return name

    async def _known_project(self, session: Session) -> None:
        if self.project is None:
            return
        found = await (await session.ledger()).items(project_code=self.project, limit=1)
        if not found.rows:
            raise Complaint(f"The ledger has no item of project {self.project!r}.", code=Exit.USAGE)


async def reverse(
    session: Session,
    items: Annotated[
        list[str] | None, typer.Option("--item", metavar="SOURCE", help="A source record: system/type/id.")
    ] = None,
    project: Annotated[str | None, typer.Option("--project", help="All of this project code.")] = None,
    run: Annotated[str | None, typer.Option("--run", help="What one posting run posted.")] = None,
    first: Annotated[str | None, typer.Option("--from", metavar="DAY", help="Work date from.")] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="DAY", help="Work date to.")] = None,
    entity: EntityOption = None,
    psa: PsaOption = None,
    erp: ErpOption = None,
    repost: Annotated[
        bool, typer.Option("--repost", help="The next run posts them again; held by default.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Take back what the preview shows.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow until it needs nobody.")] = True,
    timeout: Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait at most.")] = 600,
) -> Report:
    """Take posted lines back in the ERP: shows what and how much, and does it only with --yes.

    Conditions narrow one another. Lines on an issued invoice are never taken back: they are credited.
    """
    scope = await Scope(items, project, run, first, last).read(session)
    route = the_route(session, entity=entity, region=None, psa=psa, erp=erp)
    if yes and not reason.strip():
        raise Complaint("Taking back needs --reason.", code=Exit.USAGE)
    starts, name = await runs.starts(session), command_id()
    plan = starts.reversal(route.psa, route.erp, scope, name, plan=True, hold=not repost, reason=reason)
    seen = await preview(session, plan, timeout)
    would = reversible(seen)
    said = words_of(seen)
    parts: list[Table | str] = _tables(seen)
    data: dict[str, Any] = {"scope": scope, "route": route, "preview": seen.tallies, "saga_id": None}
    if not would.items:
        return Report(f"{said} Nothing was taken back.", data, parts)
    if not yes and (session.as_json or not sys.stdin.isatty()):
        parts.append(f"Take them back:\n  {_again(reason)}")
        return Report(f"{said} Nothing was taken back yet.", data, parts)
    confirmed(session, said, yes)
    start = starts.reversal(route.psa, route.erp, scope, name, plan=False, hold=not repost, reason=reason)
    await runs.begin(session, start)
    data["saga_id"] = start.saga_id
    if not wait:
        return Report(f"{said} It is under way.", data, [*parts, f"  trueup show {start.saga_id}"])
    report = await runs.followed(session, start, timeout)
    return Report(report.sentence, {**data, **report.data}, [*parts, *report.parts], report.code)


def reversible(view: SagaView) -> Tally:
    """What of a preview would be taken back or recorded as gone."""
    states = (Reversal.DELETE.value, Reversal.NEGATIVE_LINE.value, "absent")
    return sum((of_state(view.tallies, state) for state in states), Tally(state="all"))


def words_of(view: SagaView) -> str:
    """The preview in a sentence."""
    would, stuck = reversible(view), of_state(view.tallies, "billed")
    if not would.items and not stuck.items:
        return "Nothing that is posted fits."
    rest = f"; {count(stuck.items, 'line')} cannot be" if stuck.items else ""
    return (
        f"{count(would.items, 'line')} would be taken back ({words.hours(would.minutes)} h, "
        f"{words.per_currency(would.amounts)}){rest}."
    )


def _tables(view: SagaView) -> list[Table | str]:
    told = [one.model_copy(update={"state": WORDS.get(one.state, one.state)}) for one in view.tallies]
    return [words.tally_table(told, "Preview")] if any(one.items for one in told) else []


def _again(reason: str) -> str:
    """The command as it was typed, with what makes it happen."""
    typed = [word for word in sys.argv[1:] if word not in ("--json",)]
    shown = shlex.join(["trueup", *typed]) if typed[:1] == ["reverse"] else "trueup reverse ..."
    return shown + ("" if reason else ' --reason "..."') + " --yes"
