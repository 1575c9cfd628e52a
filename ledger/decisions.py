"""Human decisions: repairs and gates, with who, in which role, why, before and after (rules 13, 14)."""

from __future__ import annotations

from typing import Any

from sqlmodel import col, select

from canonical.saga import Actor
from ledger.audit import DECISIONS_CHAIN, AuditTrail
from ledger.core import unbroken
from ledger.people import actor_facts, actor_of
from ledger.rows import AuditEntry, DecisionRow, Page
from ledger.tables.decision import Decision


class Decisions(AuditTrail):
    """Recording decisions. Rows are never changed; the database refuses it."""

    @unbroken
    async def decide(
        self,
        *,
        command_id: str,
        kind: str,
        saga_id: str,
        step: str,
        outcome: str,
        actor: Actor,
        reason: str = "",
        case_id: str | None = None,
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
    ) -> bool:
        """Record a decision and its audit row in one transaction.

        Args:
            command_id: Identifies the command; the second time nothing is written.
            kind: ``repair``, ``gate``, ``cancel``, ...
            saga_id: Workflow id.
            step: The step decided about.
            outcome: A ``RepairAction`` or ``GateOutcome`` value.
            actor: Who.
            reason: Why. No personal values: it is kept in the clear for good.
            case_id: The exception case, if any.
            before: What was there, or the figures that were shown.
            after: What it was changed to.

        Returns:
            False when this command was recorded before.
        """
        async with self.transaction() as session:
            await self.lock(session, f"decision:{command_id}")
            query = select(Decision.id).where(col(Decision.command_id) == command_id)
            if (await session.exec(query)).first() is not None:
                return False
            actor_id = await self._put_person(session, actor.name)
            facts: dict[str, Any] = {"kind": kind, "step": step, "outcome": outcome, "reason": reason}
            session.add(
                Decision(
                    command_id=command_id,
                    saga_id=saga_id,
                    case_id=case_id,
                    actor_id=actor_id,
                    actor=actor_facts(actor),
                    before=before,
                    after=after,
                    at=self.now(),
                    **facts,
                )
            )
            await session.flush()
            entry = AuditEntry(
                chain=DECISIONS_CHAIN,
                action="decided",
                actor=actor,
                saga_id=saga_id,
                content={
                    **facts,
                    "command_id": command_id,
                    "case": case_id,
                    "before": before,
                    "after": after,
                },
            )
            await self._append(session, entry, actor_id)
            return True

    @unbroken
    async def decisions(
        self,
        *,
        saga_id: str | None = None,
        case_id: str | None = None,
        kind: str | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> Page[DecisionRow]:
        """Decisions, oldest first."""
        query = select(Decision).where(col(Decision.id) > after).order_by(col(Decision.id)).limit(limit + 1)
        for column, value in (
            (col(Decision.saga_id), saga_id),
            (col(Decision.case_id), case_id),
            (col(Decision.kind), kind),
        ):
            if value is not None:
                query = query.where(column == value)
        async with self.reading() as session:
            found = list(await session.exec(query))
            names = await self._names(session, (row.actor_id for row in found))
        rows = tuple(_decision_row(row, names[row.actor_id]) for row in found[:limit])
        return Page(rows=rows, cursor=rows[-1].id if len(found) > limit else None)


def _decision_row(row: Decision, name: str) -> DecisionRow:
    return DecisionRow(
        id=row.id or 0,
        command_id=row.command_id,
        kind=row.kind,
        saga_id=row.saga_id,
        step=row.step,
        case_id=row.case_id,
        outcome=row.outcome,
        actor=actor_of(name, row.actor),
        reason=row.reason,
        before=row.before,
        after=row.after,
        at=row.at,
    )
