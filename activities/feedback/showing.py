"""Bringing a target to what is known of it: worked out from the ledger, held by one writer, one write."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pydantic import TypeAdapter
from temporalio import activity

from activities.contracts import FiguresActivities, FiguresShown, ShowFigures
from activities.effects import Effects
from activities.failures import guarded
from activities.feedback.margins import PATIENCE, Margins
from activities.systems import Systems
from activities.writing import Writing, attempt_under_way, planned
from canonical.authority import Phase
from canonical.causes import Cause, Queue
from canonical.failures import Conflict, FailureKind, SystemFailure, Transient
from canonical.feedback import Facts, Figure, Held
from canonical.margin import Margin
from canonical.writes import VendorWrite
from connectors.ports.feedback import FiguresPort
from ledger.feedback_targets import Hold, HoldState
from rules.feedback import today_in
from rules.figures import figures_digest, figures_of

LEASE_MARGIN = 5.0
"""Seconds that a hold outlives the calls it covers."""
LONGEST_POLL = 1.0
_JSON: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])


class FiguresActivitiesOver(Writing, FiguresActivities):
    """Shows figures on records of any system that has room for them."""

    def __init__(
        self,
        systems: Systems,
        effects: Effects,
        *,
        margin: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Show figures; margin among them only where ``margin`` says so and a record has room for it."""
        super().__init__(systems, effects)
        self._margins = Margins(systems, effects.ledger) if margin else None
        self._sleep = sleep

    @activity.defn(name="feedback.show")
    @guarded
    async def show(self, command: ShowFigures) -> FiguresShown:
        """Bring a target to what is known of it now.

        Whoever holds the target works its figures out after it was given the hold, so they contain all that
        others noted before; those find nothing left to do. What it shows already is not written again.
        """
        system = command.target.ref.system
        port = await self.systems.figures(system, self.digest(command.saga, system))
        if command.saga.plan:
            figures = await self._figures(port, command, command.overlay)
            plan = planned(self._plan(port, command, figures, "plan"), {})
            return FiguresShown(writes=plan.writes)
        key, attempt = command.target.key, attempt_under_way().id
        hold = await self._hold(port, command, key, attempt)
        if hold.state is HoldState.DONE:
            return FiguresShown(note="shows it already")
        intended = False
        try:
            figures = await self._figures(port, command)
            digest = figures_digest(figures)
            if digest == hold.shown:
                await self._settle(key, attempt, hold, digest, figures, wrote=False)
                return FiguresShown(note="shows it already")
            # An attempt's send reaches the wire within one call's time of its claim, and then takes another;
            # a call that timed out may be in the vendor's hands for as long again.
            lease = timedelta(seconds=3 * command.saga.call_seconds + LEASE_MARGIN)
            revision = await self.effects.ledger.intend_figures(key, attempt, digest, lease)
            if revision is None:
                raise Transient(
                    f"{command.target.ref}: another attempt took over while this one read.", system=system
                )
            intended = True
            writes = self._plan(port, command, figures, str(revision))
            done = await self.perform(port, writes, command.saga, {})
            await self._settle(key, attempt, hold, digest, figures, wrote=bool(writes))
        except BaseException as error:
            await asyncio.shield(self._let_go(key, attempt, error, intended=intended))
            raise
        words = str(figures["summary"]) if writes else "not configured to show figures"
        if writes and "margin" not in figures and port.shows_margin(command.target.ref):
            words += "; margin as it was: HR did not answer"
        return FiguresShown(records=done.records, wrote=bool(writes), revision=revision, note=words)

    async def _hold(self, port: FiguresPort, command: ShowFigures, key: str, attempt: str) -> Hold:
        """Become the target's writer, or learn that nothing is left to do."""
        seconds = command.saga.call_seconds + LEASE_MARGIN
        if self._margins is not None and port.shows_margin(command.target.ref):
            seconds += PATIENCE
        lease = timedelta(seconds=seconds)
        pause = 0.05
        while True:
            hold = await self.effects.ledger.hold_target(key, attempt, lease, again=command.turn)
            if hold.state is not HoldState.BUSY:
                return hold
            activity.heartbeat()
            await self._sleep(pause)
            pause = min(LONGEST_POLL, pause * 2)

    async def _figures(
        self, port: FiguresPort, command: ShowFigures, overlay: tuple[Held, ...] = ()
    ) -> dict[str, Figure]:
        target = command.target
        currencies = await port.target_currencies(target.ref)
        if currencies is None:
            raise Conflict(
                f"{target.ref} is not there any more.",
                cause=Cause.RECORD_VANISHED,
                queue=Queue.SALES,
                system=target.ref.system,
                record=target.ref,
                remedy="Find out who removed it; skip this step if nobody needs the figures any more.",
            )
        facts = await self.effects.ledger.facts_of(target)
        if overlay:
            others = [one for one in facts.held if one.invoice != overlay[0].invoice]
            facts = facts.model_copy(update={"held": (*others, *overlay)})
        currency = currencies.record or _own(facts)
        margin = await self._margin(port, command, facts, currency)
        return figures_of(facts, currency, self._today(), currencies.corporate, margin)

    async def _margin(
        self, port: FiguresPort, command: ShowFigures, facts: Facts, currency: str
    ) -> Margin | None:
        """None where nothing is said of it: the record has no room for it, or HR does not answer."""
        if not port.shows_margin(command.target.ref):
            return None
        if self._margins is None:
            return Margin()  # Switched off: what was told before is taken back.
        return await self._margins.of(facts, currency, lambda system: self.digest(command.saga, system))

    def _today(self) -> Any:
        now = datetime.now(UTC)

        def today(one: Held) -> date:
            entity = self.systems.firm.entity(one.seller)
            return today_in(entity.timezone if entity else "UTC", now)

        return today

    def _plan(
        self, port: FiguresPort, command: ShowFigures, figures: Mapping[str, Figure], revision: str
    ) -> list[VendorWrite]:
        context = self.context(command.saga, command.step, phase=Phase.AFTER_APPROVAL)
        return port.plan_invoice_feedback(context, command.target.ref, figures, revision=revision)

    async def _settle(
        self,
        key: str,
        attempt: str,
        hold: Hold,
        digest: str,
        figures: Mapping[str, Figure],
        *,
        wrote: bool,
    ) -> None:
        await self.effects.ledger.settle_target(
            key,
            attempt,
            wanted=hold.wanted,
            digest=digest,
            figures=_JSON.dump_python(dict(figures), mode="json"),
            wrote=wrote,
        )

    async def _let_go(self, key: str, attempt: str, error: BaseException, *, intended: bool) -> None:
        doubtful = intended
        words = type(error).__name__
        if isinstance(error, SystemFailure):
            failure = error.failure
            words = failure.message
            doubtful = intended and (
                bool(failure.maybe_landed) or failure.kind is FailureKind.UNKNOWN_OUTCOME
            )
        await self.effects.ledger.let_target_go(key, attempt, words, doubtful=doubtful)


def _own(facts: Facts) -> str:
    """The currency of what is shown, where the record holds text."""
    for one in facts.held:
        return one.share.gross.currency
    amounts = [*(one.amount for one in facts.budgets), *(one.recognised for one in facts.revenue)]
    return amounts[0].currency if amounts else "EUR"
