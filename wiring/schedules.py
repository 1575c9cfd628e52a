"""Temporal Schedules as the configuration declares them: applied, compared, listed, paused."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleDescription,
    ScheduleHandle,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from activities.contracts import CutoffRule, ScheduledRun
from canonical.names import WORKFLOW_QUEUE, SagaName, schedule_id, schedule_prefix
from runtime.sections import ScheduleSection
from runtime.settings import Settings
from workflows.billing.scheduled import Scheduled

OVERLAPS = {
    "buffer_one": ScheduleOverlapPolicy.BUFFER_ONE,
    "buffer_all": ScheduleOverlapPolicy.BUFFER_ALL,
    "skip": ScheduleOverlapPolicy.SKIP,
}


class Standing(StrEnum):
    """How a schedule stands between configuration and server."""

    AS_DECLARED = "as declared"
    NOT_APPLIED = "not applied"
    CHANGED = "changed since it was applied"
    NOT_DECLARED = "not in the configuration any more"


@dataclass(frozen=True)
class Known:
    """A schedule as the server has it."""

    name: str
    paused: bool
    note: str
    next_at: datetime | None
    last_at: datetime | None
    last_run: str | None
    """Workflow that it started last."""
    missed: int
    """Runs left out because the catch-up window had passed."""
    skipped: int
    """Runs left out because another was under way or buffered."""
    running: int
    declared: str
    """Digest of the declaration that was applied."""


@dataclass(frozen=True)
class Listed:
    """A schedule of the configuration, the server, or both."""

    name: str
    section: ScheduleSection | None
    known: Known | None
    standing: Standing


def digest(section: ScheduleSection) -> str:
    """What tells one declaration from another."""
    return hashlib.sha256(section.model_dump_json().encode()).hexdigest()[:16]


def schedule_of(settings: Settings, section: ScheduleSection, state: ScheduleState | None = None) -> Schedule:
    """The schedule that a section declares."""
    name = schedule_id(settings.about.region, section.name)
    wanted = ScheduledRun(
        schedule=section.name,
        run=SagaName(section.run),
        psa=section.psa,
        erp=section.erp,
        crm=section.crm,
        entity=section.entity,
        scan=section.scan,
        cutoff=CutoffRule(section.cutoff) if section.cutoff else None,
        timezone=section.timezone,
        declared=digest(section),
    )
    every = section.every_minutes
    return Schedule(
        action=ScheduleActionStartWorkflow(
            Scheduled.run,
            wanted,
            id=name,
            task_queue=WORKFLOW_QUEUE,
            static_summary=f"{section.run} by schedule {section.name}",
        ),
        spec=ScheduleSpec(
            cron_expressions=[section.cron] if section.cron else [],
            intervals=[ScheduleIntervalSpec(every=timedelta(minutes=every))] if every else [],
            time_zone_name=section.timezone,
        ),
        policy=SchedulePolicy(
            overlap=OVERLAPS[section.overlap],
            catchup_window=timedelta(minutes=section.catch_up_minutes),
        ),
        state=state or ScheduleState(note="applied from the configuration"),
    )


async def listed(client: Client, settings: Settings) -> list[Listed]:
    """All schedules of the configuration and of this region on the server, by name."""
    declared = {one.name: one for one in settings.schedules}
    known: dict[str, Known] = {}
    prefix = schedule_prefix(settings.about.region)
    async for one in await client.list_schedules():
        if one.id.startswith(prefix):
            found = await _known(client, one.id, prefix)
            if found is not None:
                known[found.name] = found
    # The server's list lags behind: what is declared is asked for by name.
    for name in set(declared) - set(known):
        found = await _known(client, schedule_id(settings.about.region, name), prefix)
        if found is not None:
            known[name] = found
    return [
        Listed(name, declared.get(name), known.get(name), _standing(declared.get(name), known.get(name)))
        for name in sorted({*declared, *known})
    ]


def _standing(section: ScheduleSection | None, known: Known | None) -> Standing:
    if section is None:
        return Standing.NOT_DECLARED
    if known is None:
        return Standing.NOT_APPLIED
    return Standing.AS_DECLARED if known.declared == digest(section) else Standing.CHANGED


async def _known(client: Client, id_: str, prefix: str) -> Known | None:
    try:
        found = await client.get_schedule_handle(id_).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
    info = found.info
    last = info.recent_actions[-1] if info.recent_actions else None
    action = last.action if last is not None else None
    return Known(
        name=id_.removeprefix(prefix),
        paused=found.schedule.state.paused,
        note=found.schedule.state.note or "",
        next_at=info.next_action_times[0] if info.next_action_times else None,
        last_at=last.started_at if last is not None else None,
        last_run=action.workflow_id if isinstance(action, ScheduleActionExecutionStartWorkflow) else None,
        missed=info.num_actions_missed_catchup_window,
        skipped=info.num_actions_skipped_overlap,
        running=len(info.running_actions),
        declared=await _declared(client, found),
    )


async def _declared(client: Client, found: ScheduleDescription) -> str:
    """The digest in what the schedule starts; empty where that is not ours to read."""
    action = found.schedule.action
    if not isinstance(action, ScheduleActionStartWorkflow) or not action.args:
        return ""
    try:
        (wanted,) = await client.data_converter.decode(list(action.args), [ScheduledRun])
    except (ValueError, RuntimeError):
        return ""
    return wanted.declared if isinstance(wanted, ScheduledRun) else ""


async def put(client: Client, settings: Settings, section: ScheduleSection) -> None:
    """Create or change a schedule as declared; one that is paused stays so."""
    id_ = schedule_id(settings.about.region, section.name)
    try:
        await client.create_schedule(id_, schedule_of(settings, section))
    except ScheduleAlreadyRunningError:

        def change(now: ScheduleUpdateInput) -> ScheduleUpdate:
            return ScheduleUpdate(schedule_of(settings, section, now.description.schedule.state))

        await client.get_schedule_handle(id_).update(change)


async def remove(client: Client, settings: Settings, name: str) -> None:
    """Remove a schedule; runs that it started go on."""
    await handle(client, settings, name).delete()


def handle(client: Client, settings: Settings, name: str) -> ScheduleHandle:
    """A schedule of this region."""
    return client.get_schedule_handle(schedule_id(settings.about.region, name))
