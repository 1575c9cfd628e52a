"""Subscribed events: who may read the feed, and which types there are.

Source: vendor documentation, "Subscribed events": a paid add-on for account administrators; 9 days of
retention; duplicates, disorder and delay are to be expected. The events themselves are made in ``world``.
"""

from __future__ import annotations

from typing import Any

from simulators.kantata.problems import system
from simulators.kantata.schema import RESOURCES
from simulators.kantata.world import World


def allowed(world: World) -> None:
    """Refuse the feed (403) to an account without the add-on and to a user who is no administrator."""
    if not world.settings["subscribed_events"] or not world.settings["administrator"]:
        raise system(403, "You do not have permission to access subscribed events")


def event_types() -> dict[str, Any]:
    """The types with the attributes their payloads have."""
    types = [
        {
            "event_type": f"{resource.event}:{what}",
            "subject_type": resource.subject,
            "fields": sorted(f.name for f in resource.fields.values() if f.shown),
        }
        for resource in RESOURCES.values()
        if resource.event
        for what in ("created", "updated", "deleted")
    ]
    return {"count": len(types), "event_types": types}
