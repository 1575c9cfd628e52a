"""Messages to people: at least once, never undone, never a reason for a saga to fail."""

from __future__ import annotations

from temporalio import activity

from activities.contracts import NotifyActivities, SendNotice, StepOutcome
from activities.failures import guarded
from activities.systems import Systems
from canonical.failures import Refused, Unauthorised
from canonical.refs import RecordRef


class NotifyActivitiesOver(NotifyActivities):
    """Sends through every notifier of the message's channel."""

    def __init__(self, systems: Systems) -> None:
        self.systems = systems

    @activity.defn(name="notify.send")
    @guarded
    async def send(self, command: SendNotice) -> StepOutcome:
        """Send once per key, as far as the channel allows. A channel that is set up wrongly is noted."""
        if command.saga.plan:
            return StepOutcome(note=f"would send: {command.notice.subject}")
        sent: list[RecordRef] = []
        notes: list[str] = []
        for notifier in self.systems.notifiers(command.notice.channel):
            try:
                sent.append(await notifier.notify(command.notice))
            except (Refused, Unauthorised) as error:
                notes.append(f"not delivered by {notifier.system}: {error}")
        if not sent and not notes:
            notes.append(f"no notifier for channel {command.notice.channel!r} is configured")
        return StepOutcome(records=tuple(sent), note="; ".join(notes) or None)
