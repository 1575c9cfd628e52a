"""Rate cards: a set holds one card per currency and dated versions; a card's version holds rates by role.

Source: vendor documentation, "Rate cards" (SDK specification). Rates are taken to be hourly, in the
currency's smallest unit.
"""

from __future__ import annotations

from simulators.kantata.rules import REGISTRY, Draft, Rules, ids
from simulators.kantata.world import World
from simulators.kit import Record


def effective_version(world: World, card: Record, day: str) -> Record | None:
    """The card's version in force on ``day``: the latest that has begun."""
    dated = []
    for version in world.find("rate_card_versions", "rate_card_id", card["id"]):
        of_set = world.get("rate_card_set_versions", version.get("rate_card_set_version_id"))
        begun = (of_set or {}).get("effective_date") or ""
        if begun <= day:
            dated.append((begun, int(version["id"]), version))
    return max(dated, key=lambda d: d[:2])[2] if dated else None


def role_rate(world: World, workspace: Record, role: str | None, day: str | None = None) -> int | None:
    """What the project's rate card says for a role on ``day`` (default today), or None."""
    card = world.get("rate_cards", workspace.get("rate_card_id"))
    version = effective_version(world, card, day or world.today()) if card else None
    if version is None:
        return None
    for row in world.find("rate_card_roles", "rate_card_version_id", version["id"]):
        if row["role_id"] == role:
            return int(row["rate"])
    default = version.get("default_rate")
    return None if default is None else int(default)


def bill_rate(world: World, workspace: Record, user: str, role: str | None, day: str) -> int:
    """The hourly rate of a time entry that names none, smallest units.

    The project's own rate of the resource wins over that of the participation, then the rate card, then
    the project's default rate.
    """
    for resource in world.find("workspace_resources", "workspace_id", workspace["id"]):
        same_role = role is None or resource.get("role_id") in (None, role)
        rate = resource.get("resource_bill_rate")
        if resource.get("user_id") == user and same_role and rate is not None:
            return int(rate)
    for seat in world.find("participations", "workspace_id", workspace["id"]):
        if seat["user_id"] == user and seat.get("rate_in_cents") is not None:
            return int(seat["rate_in_cents"])
    rate = role_rate(world, workspace, role, day)
    return int(workspace.get("default_rate") or 0) if rate is None else rate


class _Sets(Rules):
    def check(self, world: World, draft: Draft) -> None:
        draft.default(account_default=False)

    def after(self, world: World, draft: Draft, record: Record) -> None:
        if draft.current is not None or world.call is None:
            return
        version = world.insert(
            "rate_card_set_versions", {"rate_card_set_id": record["id"], "effective_date": None}
        )
        source = world.get("rate_card_set_versions", draft.extra.get("clone_version_id"))
        if source is None:
            return
        for old in world.find("rate_card_versions", "rate_card_set_version_id", source["id"]):
            code = world.must("rate_cards", old["rate_card_id"])["currency"]
            card = world.insert("rate_cards", {"rate_card_set_id": record["id"], "currency": code})
            _add_version(world, card, version, old)

    def derive(self, world: World, record: Record) -> Record:
        cards = world.find("rate_cards", "rate_card_set_id", record["id"])
        used = any(world.has("workspaces", "rate_card_id", c["id"]) for c in cards)
        codes = sorted({c["currency"] for c in cards})
        return {"active_currencies": codes, "default_currencies": [], "destroyable": not used}

    def links(self, world: World, record: Record, name: str) -> list[str] | None:
        if name in ("rate_cards", "rate_card_set_versions"):
            return ids(world.find(name, "rate_card_set_id", record["id"]))
        return None


def _add_version(world: World, card: Record, of_set: Record, source: Record | None) -> Record:
    fields = {
        "rate_card_id": card["id"],
        "rate_card_set_version_id": of_set["id"],
        "default_rate": source.get("default_rate") if source else None,
    }
    version = world.insert("rate_card_versions", fields)
    if source:
        for row in world.find("rate_card_roles", "rate_card_version_id", source["id"]):
            copied = {"rate_card_version_id": version["id"], "role_id": row["role_id"], "rate": row["rate"]}
            world.insert("rate_card_roles", copied)
    return version


class _SetVersions(Rules):
    def after(self, world: World, draft: Draft, record: Record) -> None:
        if draft.current is not None or world.call is None:
            return
        clone = world.get("rate_card_set_versions", draft.extra.get("clone_id"))
        old = world.find("rate_card_versions", "rate_card_set_version_id", clone["id"]) if clone else []
        by_card = {v["rate_card_id"]: v for v in old}
        for card in world.find("rate_cards", "rate_card_set_id", record["rate_card_set_id"]):
            _add_version(world, card, record, by_card.get(card["id"]))

    def derive(self, world: World, record: Record) -> Record:
        begun = record.get("effective_date") or ""
        dates = [
            v.get("effective_date") or ""
            for v in world.find("rate_card_set_versions", "rate_card_set_id", record["rate_card_set_id"])
        ]
        today = world.today()
        current = max((d for d in dates if d <= today), default=None)
        versions = world.find("rate_card_versions", "rate_card_set_version_id", record["id"])
        codes = {world.must("rate_cards", v["rate_card_id"])["currency"] for v in versions}
        return {"active": begun == current, "used_currencies": sorted(codes)}

    def links(self, world: World, record: Record, name: str) -> list[str] | None:
        if name == "rate_card_versions":
            return ids(world.find(name, "rate_card_set_version_id", record["id"]))
        return None


class _Cards(Rules):
    def check(self, world: World, draft: Draft) -> None:
        of_set = world.get("rate_card_sets", draft.get("rate_card_set_id"))
        if of_set is None:
            return
        siblings = world.find("rate_cards", "rate_card_set_id", of_set["id"])
        mine = draft.current["id"] if draft.current else None
        if any(c["currency"] == draft.get("currency") and c["id"] != mine for c in siblings):
            draft.problems.add("currency", "Currency has already been taken in this rate card set")
        version = world.get("rate_card_set_versions", draft.extra.get("rate_card_set_version_id"))
        if version and version["rate_card_set_id"] != of_set["id"]:
            draft.problems.add("rate_card_set_version_id", "Version is not of this rate card set")

    def after(self, world: World, draft: Draft, record: Record) -> None:
        if draft.current is not None or world.call is None:
            return
        chosen = world.get("rate_card_set_versions", draft.extra.get("rate_card_set_version_id"))
        all_ = world.find("rate_card_set_versions", "rate_card_set_id", record["rate_card_set_id"])
        for of_set in [chosen] if chosen else all_:
            _add_version(world, record, of_set, None)

    def derive(self, world: World, record: Record) -> Record:
        version = effective_version(world, record, world.today())
        return {
            "uses": len(world.find("workspaces", "rate_card_id", record["id"])),
            "effective_rate_card_version_id": version["id"] if version else None,
        }

    def links(self, world: World, record: Record, name: str) -> list[str] | None:
        if name == "rate_card_versions":
            return ids(world.find(name, "rate_card_id", record["id"]))
        return None


class _Versions(Rules):
    def links(self, world: World, record: Record, name: str) -> list[str] | None:
        if name == "rate_card_roles":
            return ids(world.find(name, "rate_card_version_id", record["id"]))
        return None


class _RoleRates(Rules):
    def check(self, world: World, draft: Draft) -> None:
        rows = world.find("rate_card_roles", "rate_card_version_id", draft.get("rate_card_version_id") or "")
        if draft.current is None and any(r["role_id"] == draft.get("role_id") for r in rows):
            draft.problems.add("role_id", "Role has already a rate on this version")
        rate = draft.get("rate")
        if rate is not None and rate < 0:
            draft.problems.add("rate", "Rate must be greater than or equal to 0")


REGISTRY["rate_card_sets"] = _Sets()
REGISTRY["rate_card_set_versions"] = _SetVersions()
REGISTRY["rate_cards"] = _Cards()
REGISTRY["rate_card_versions"] = _Versions()
REGISTRY["rate_card_roles"] = _RoleRates()
