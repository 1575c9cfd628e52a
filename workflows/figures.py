"""What runs over many items show of themselves: sums by state and by cause, and the sentence at the end."""

from __future__ import annotations

from collections.abc import Iterable

from canonical.saga import HeldItems, SagaView, Tally

MOST_CAUSES = 5
"""Causes named in a headline; the rest is counted."""


def summed(known: Iterable[Tally], more: Iterable[Tally]) -> tuple[Tally, ...]:
    """Tallies together, one per state, in the order in which the states came up."""
    by_state: dict[str, Tally] = {}
    for one in (*known, *more):
        by_state[one.state] = by_state[one.state] + one if one.state in by_state else one
    return tuple(by_state.values())


def held_together(known: Iterable[HeldItems], more: Iterable[HeldItems]) -> tuple[HeldItems, ...]:
    """Held items together, one entry per cause, most items first."""
    by_cause: dict[str, HeldItems] = {}
    for one in (*known, *more):
        before = by_cause.get(one.cause.value)
        by_cause[one.cause.value] = (
            one if before is None else before.model_copy(update={"tally": before.tally + one.tally})
        )
    return tuple(sorted(by_cause.values(), key=lambda one: (-one.tally.items, one.cause.value)))


def money(tally: Tally) -> str:
    """The money of a tally for people, empty when there is none."""
    return ", ".join(str(one) for one in tally.amounts)


def counted(tally: Tally) -> str:
    """Items, hours and money in words."""
    hours = f", {tally.minutes / 60:,.1f} h" if tally.minutes else ""
    worth = f", {money(tally)}" if tally.amounts else ""
    return f"{tally.items:,} {'line' if tally.items == 1 else 'lines'}{hours}{worth}"


def held_words(held: tuple[HeldItems, ...]) -> str:
    """What is held and why, in a sentence; empty when nothing is."""
    if not held:
        return ""
    whole = held[0].tally
    for one in held[1:]:
        whole = whole + one.tally
    causes = ", ".join(f"{one.cause.value} {one.tally.items:,}" for one in held[:MOST_CAUSES])
    rest = len(held) - MOST_CAUSES
    return f"Held: {counted(whole)} ({causes}{f' and {rest} more causes' if rest > 0 else ''})."


def of_state(tallies: Iterable[Tally], state: str) -> Tally:
    """The tally of one state, empty when there is none."""
    return next((one for one in tallies if one.state == state), Tally(state=state))


def share(view: SagaView) -> tuple[int, int]:
    """(items dealt with, items known) of a run: what is held needs no more of this run."""
    done = sum(of_state(view.tallies, state).items for state in ("posted", "reversed"))
    done += sum(one.tally.items for one in view.held)
    known = max(of_state(view.tallies, state).items for state in ("checked", "new or changed"))
    return done, max(done, known)
