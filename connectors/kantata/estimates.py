"""How much work a project is: a custom field of the project, or the time estimates of its tasks.

Kantata tells no effort still to be worked. What it documents is ``time_estimate_in_minutes`` on tasks; that a
task's estimate covers all of its work, done and still to be done, is an assumption.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from connectors.kantata.client import FILTER_LIMIT, KantataClient
from connectors.kantata.records import name_fields
from connectors.kantata.schemas import Story, parse
from connectors.kantata.settings import KantataMapping
from connectors.kit.together import parted, together

TASK = "task"
"""``story_type`` of what is worked on."""


class Estimates:
    """Estimates of one account's projects."""

    def __init__(self, system: str, mapping: KantataMapping, client: KantataClient) -> None:
        self._system = system
        self._mapping = mapping
        self._client = client

    async def read(self, projects: Sequence[str]) -> dict[str, int | None]:
        """Minutes at completion by project; None where nobody has estimated all of it."""
        wanted = list(dict.fromkeys(projects))
        found: dict[str, int | None] = dict.fromkeys(wanted)
        if self._mapping.estimate_field is not None:
            found |= await self._of_fields(wanted)
        if self._mapping.task_estimates:
            missing = [one for one in wanted if found[one] is None]
            found |= await self._of_tasks(missing) if missing else {}
        return found

    async def _of_fields(self, wanted: Sequence[str]) -> dict[str, int | None]:
        envelopes = await together(
            self._client.page(
                "workspaces",
                what=f"Reading estimates of {len(part)} projects",
                query={"archived": "include", "include": "custom_field_values", "only": ",".join(part)},
            )
            for part in parted(list(wanted), FILTER_LIMIT)
        )
        found: dict[str, int | None] = {}
        for envelope in envelopes:
            await name_fields(self._client, envelope, what="Reading estimates")
            for row in envelope.rows:
                values = envelope.included(row, "custom_field_values", "custom_field_value_ids")
                own = str(self._mapping.estimate_field)
                told = next((v.get("value") for v in values if str(v.get("custom_field_id")) == own), None)
                found[str(row["id"])] = minutes_of(told)
        return found

    async def _of_tasks(self, wanted: Sequence[str]) -> dict[str, int | None]:
        """Sums of tasks without tasks below them: whether a parent's estimate contains its children's is not
        documented. A task that is not done and has no estimate leaves the project without one.
        """
        envelopes = await together(
            self._client.list(
                "stories",
                what="Reading estimates of tasks",
                query={"story_type": TASK, "include": "workspace,parent", "workspace_id": ",".join(part)},
            )
            for part in parted(list(wanted), FILTER_LIMIT)
        )
        stories = [parse(Story, row, self._system) for one in envelopes for row in one.rows]
        tasks = [one for one in stories if one.story_type == TASK and not one.archived]
        parents = {one.parent_id for one in tasks if one.parent_id is not None}
        sums: dict[str, int | None] = defaultdict(int)
        for one in tasks:
            if one.id in parents or one.workspace_id not in set(wanted):
                continue
            known, told = sums[one.workspace_id or ""], one.time_estimate_in_minutes
            done = one.state is not None and one.state.casefold() in self._mapping.complete_states
            if told is None and not done:
                sums[one.workspace_id or ""] = None
            elif known is not None:
                sums[one.workspace_id or ""] = known + (told or 0)
        return {one: sums.get(one) or None for one in wanted}


def minutes_of(hours: Any) -> int | None:
    """Minutes from hours as a person entered them; None where they are no number."""
    if hours is None or isinstance(hours, bool) or hours == "":
        return None
    try:
        return int((Decimal(str(hours)) * 60).quantize(Decimal(1), ROUND_HALF_UP))
    except InvalidOperation:
        return None
