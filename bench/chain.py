"""The critical path of a saga's vendor calls: how long the deal must take when all but the vendors is free.

Two orders make up the path, and both are observed, never declared:

- *Within a step*, call B follows call A when A had been answered before B began. That holds for a
  dependency (B needs A's id) and for a vendor's limit (B waited for a free connection); calls that ran side
  by side follow one another in no way and count once.
- *Between steps*, Y follows X when the completion of X is what woke the workflow for the task in which it
  scheduled Y. A completion that came in earlier is no cause, even if Y did need it: this can make the path
  shorter than it is, never longer, so no overhead of ours can hide in it. When several completions came
  in for one task, the one with the longest path counts.

The path is the chain of calls with the largest sum of the vendors' own times (from the arrival of a call
to the end of its answer, by the vendor's clock). Waiting for slots, the ledger, Temporal, the network and
our own code are not in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from temporalio.api.enums.v1 import EventType

from bench.calls import VendorCall


@dataclass(frozen=True)
class Activity:
    """One activity of a history."""

    id: str
    name: str
    causes: tuple[str, ...]
    """Ids of the activities whose completion woke the workflow for it."""


@dataclass(frozen=True)
class Chain:
    """Calls that had to follow one another."""

    calls: tuple[VendorCall, ...] = ()

    @property
    def seconds(self) -> float:
        """The vendors' own time along the chain."""
        return sum(call.seconds for call in self.calls)

    def then(self, later: Chain) -> Chain:
        """This chain with another behind it."""
        return Chain(self.calls + later.calls)


def activities(events: Iterable[Any]) -> list[Activity]:
    """The activities of a history in the order in which they were scheduled, with what caused each."""
    found: list[Activity] = []
    by_event: dict[int, str] = {}
    arrived: list[str] = []
    delivered: list[str] = []
    causes: tuple[str, ...] = ()
    for event in events:
        match event.event_type:
            case EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
                delivered, arrived = [*delivered, *arrived], []
            case EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
                # Only here: a task that failed is tried again with what had been delivered to it.
                causes, delivered = tuple(delivered), []
            case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                made = event.activity_task_scheduled_event_attributes
                by_event[event.event_id] = made.activity_id
                found.append(Activity(made.activity_id, made.activity_type.name, causes))
            case EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                arrived.append(by_event[event.activity_task_completed_event_attributes.scheduled_event_id])
    return found


def within(calls: Iterable[VendorCall]) -> Chain:
    """The longest chain of one step's calls, each begun after the one before was answered."""
    answered = sorted((call for call in calls if call.ended is not None), key=lambda call: call.began)
    best: list[Chain] = []
    for call in answered:
        before = [
            chain
            for chain in best
            if chain.calls[-1].ended is not None and chain.calls[-1].ended <= call.began
        ]
        longest = max(before, key=lambda chain: chain.seconds, default=Chain())
        best.append(longest.then(Chain((call,))))
    return max(best, key=lambda chain: chain.seconds, default=Chain())


def critical_path(steps: Sequence[Activity], calls: Iterable[VendorCall]) -> Chain:
    """The longest chain of calls through all of a saga's steps.

    Raises:
        ValueError: a call belongs to no activity of the history.
    """
    by_activity: dict[str, list[VendorCall]] = defaultdict(list)
    for call in calls:
        by_activity[call.activity].append(call)
    strange = by_activity.keys() - {step.id for step in steps}
    if strange:
        raise ValueError(f"calls of activities that the history does not have: {sorted(strange)}")
    paths: dict[str, Chain] = {}
    for step in steps:
        before = max(
            (paths[cause] for cause in step.causes), key=lambda chain: chain.seconds, default=Chain()
        )
        paths[step.id] = before.then(within(by_activity[step.id]))
    return max(paths.values(), key=lambda chain: chain.seconds, default=Chain())
