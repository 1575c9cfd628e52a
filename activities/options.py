"""How activities are called: queue, time limits and retries by class of step. One place, so that no
call forgets its queue (and with it a vendor's limit) or waits without bound."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityConfig

from canonical.base import Canonical


class CallClass(StrEnum):
    """Classes of activities that differ in their time limits."""

    READ = "read"
    WRITE = "write"
    LONG = "long"
    """Polls a vendor's own asynchronous work; heartbeats."""
    UNDO = "undo"
    LEDGER = "ledger"
    NOTIFY = "notify"


class Timings(Canonical):
    """Time limits in seconds, from settings; travels with the start so that a run keeps its own.

    ``heartbeat`` is what a dead worker costs: the next attempt starts that long after the last sign of
    life. ``call`` bounds one vendor call; a lease on an effect is as long, so it also bounds how long
    a second attempt waits before it may look.
    """

    attempts: int = 5
    """Server-side retries before the saga itself waits: an endless retry is a stuck saga nobody sees."""
    first_interval: float = 1
    longest_interval: float = 30
    call: float = 35
    """One vendor call: connect and read time-outs of the HTTP session."""
    read: float = 120
    write: float = 300
    """One step with its looks, writes and read-backs."""
    long: float = 900
    heartbeat: float = 15
    wait_ceiling: float = 300
    """Longest pause between tries while a system is away (rule: up to five minutes, jittered)."""
    wait_first: float = 5
    gate_reminder: float = 86_400
    renew_after: float = 604_800
    """A parked saga continues as new, on current code, after seven days."""
    settle_poll: float = 0.5
    """Pause between looks at a vendor's asynchronous work."""


def activity_config(queue: str, kind: CallClass, timings: Timings) -> ActivityConfig:
    """Options of one activity call.

    There is never a ``schedule_to_close_timeout``: it counts the time in a slot-limited queue, and a
    burst would fail activities that never ran.
    """
    seconds = {
        CallClass.READ: timings.read,
        CallClass.WRITE: timings.write,
        CallClass.LONG: timings.long,
        CallClass.UNDO: timings.write,
        CallClass.LEDGER: timings.read,
        CallClass.NOTIFY: timings.read,
    }[kind]
    beating = kind in (CallClass.WRITE, CallClass.LONG, CallClass.UNDO)
    config = ActivityConfig(
        task_queue=queue,
        start_to_close_timeout=timedelta(seconds=seconds),
        retry_policy=RetryPolicy(
            initial_interval=timedelta(seconds=timings.first_interval),
            backoff_coefficient=2.0,
            maximum_interval=timedelta(seconds=timings.longest_interval),
            maximum_attempts=timings.attempts,
        ),
    )
    if beating or timings.heartbeat < seconds:
        config["heartbeat_timeout"] = timedelta(seconds=timings.heartbeat)
    return config
