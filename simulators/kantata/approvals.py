"""How the approval of lines came and went: for a judge who asks what was approved at a given instant.

Worked out from the stored versions of lines, submissions and projects; nothing is kept for it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

from simulators.kantata.lines import APPROVALS, SUBMISSIONS
from simulators.kantata.world import World
from simulators.kit import Record

Versions = list[tuple[str, Record]]


def over_time(world: World, type_: str, ids: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Per line when its approval changed, oldest first: ``at``, ``approved``, and ``why``.

    Until the first entry the line did not exist; from ``deleted`` on it exists no more.
    """
    return {id_: _line(world, type_, id_) for id_ in ids}


def _line(world: World, type_: str, id_: str) -> list[dict[str, Any]]:
    store = world.simulator.store
    mine = store.history(type_, id_)
    gone = store.gone_at(type_, id_)
    others: dict[tuple[str, str], Versions] = {}
    for _, version in mine:
        for other, name in ((SUBMISSIONS[type_], "recent_submission_id"), ("workspaces", "workspace_id")):
            if (key := version.get(name)) is not None:
                others[other, key] = store.history(other, key)
    instants = {at for at, _ in mine}
    born = min(instants, default="")
    for versions in others.values():
        instants |= {at for at, _ in versions if at >= born}
    found: list[dict[str, Any]] = []
    for at in sorted(instants):
        if gone is not None and at >= gone:
            break
        approved, why = _state(type_, _as_of(mine, at), others, at)
        if not found or (found[-1]["approved"], found[-1]["why"]) != (approved, why):
            found.append({"at": at, "approved": approved, "why": why})
    if gone is not None:
        found.append({"at": gone, "approved": False, "why": "deleted"})
    return found


def _state(
    type_: str, line: Record | None, others: dict[tuple[str, str], Versions], at: str
) -> tuple[bool, str]:
    if line is None:
        return False, "absent"
    place = _as_of(others.get(("workspaces", line["workspace_id"]), []), at)
    if place is not None and not place.get(APPROVALS[type_]):
        return True, "no approval required"
    sheet = line.get("recent_submission_id")
    if sheet is None:
        return False, "not submitted"
    submission = _as_of(others[SUBMISSIONS[type_], sheet], at)
    status = "new" if submission is None else str(submission["status"])
    return status == "approved", f"submission {sheet} {status}"


def _as_of(versions: Versions, at: str) -> Record | None:
    place = bisect_right(versions, at, key=lambda version: version[0])
    return versions[place - 1][1] if place else None
