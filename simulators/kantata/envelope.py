"""Answers: records rendered for a reader, side by side in the vendor's envelope.

Source: vendor documentation, "Base URL and conventions". ``results`` lists the hits; the maps beside it
hold hits and associated records alike. A key such as ``workspace_id`` appears only with its ``include``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simulators.kantata import values
from simulators.kantata.rules import derived, rules_of
from simulators.kantata.schema import RESOURCES, Association, Resource
from simulators.kantata.world import World
from simulators.kit import Answer, Record


@dataclass(frozen=True)
class View:
    """What the reader asked to see."""

    include: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    stale: bool = False


@dataclass(frozen=True)
class Page:
    """Where a list stands: ``number`` from 1, ``size`` and ``count`` in records."""

    number: int
    size: int
    count: int


def linked(world: World, type_: str, record: Record, link: Association) -> list[str]:
    """Ids that an association leads to, as the record stands."""
    if link.name == "external_references":
        return [r["id"] for r in world.references(type_, record["id"])]
    if link.name == "custom_field_values":
        return [r["id"] for r in world.field_values(type_, record["id"])]
    if link.many:
        listed = rules_of(type_).links(world, record, link.name)
        return list(record.get(link.key) or []) if listed is None else listed
    one = record.get(link.key)
    if one is None:
        one = derived(world, type_, record).get(link.key)
    return [] if one is None else [str(one)]


def render(world: World, resource: Resource, record: Record, view: View) -> Record:
    """A record as answered."""
    worked_out = derived(world, resource.name, record)
    offset = str(world.settings["utc_offset"])
    sees_money = bool(world.settings["financial_access"])
    shown: Record = {"id": record["id"]}
    for one in resource.fields.values():
        wanted = one.shown and one.name not in resource.hidden_keys and one.name != "id"
        if (
            not wanted
            or (one.optional and one.name not in view.optional)
            or (one.financial and not sees_money)
        ):
            continue
        value = record.get(one.name) if one.stored else worked_out.get(one.name)
        if one.kind == "instant" and value is not None:
            value = values.shown(value, offset)
        shown[one.name] = value
    for name in view.include:
        if name in resource.associations:
            link = resource.associations[name]
            found = linked(world, resource.name, record, link)
            shown[link.key] = found if link.many else (found[0] if found else None)
    return shown


def envelope(world: World, resource: Resource, hits: list[Record], view: View, page: Page) -> dict[str, Any]:
    """The side-loaded envelope around a page of records."""
    maps: dict[str, dict[str, Record]] = {resource.name: {}}
    for hit in hits:
        shown = render(world, resource, hit, view)
        if resource.name == "subscribed_events" and "subject" in view.include:
            shown["subject_ref"] = _subject(world, hit, view, maps)
        maps[resource.name][hit["id"]] = shown
    for name in view.include:
        if name not in resource.associations:
            continue
        link = resource.associations[name]
        target = RESOURCES[link.collection]
        side = maps.setdefault(target.name, {})
        for hit in hits:
            for id_ in linked(world, resource.name, hit, link):
                other = world.as_seen(target.name, id_, stale=view.stale)
                if other is not None and id_ not in side:
                    side[id_] = render(world, target, other, View())
    pages = -(-page.count // page.size)
    return {
        "count": page.count,
        "results": [{"key": resource.name, "id": hit["id"]} for hit in hits],
        **maps,
        "meta": {
            "count": page.count,
            "page_count": pages,
            "page_number": page.number,
            "page_size": page.size,
        },
    }


def _subject(
    world: World, event: Record, view: View, maps: dict[str, dict[str, Record]]
) -> dict[str, str] | None:
    """The event's subject, side-loaded if it still exists."""
    for resource in RESOURCES.values():
        if resource.subject != event["subject_type"]:
            continue
        record = world.as_seen(resource.name, event["subject_id"], stale=view.stale)
        if record is not None:
            maps.setdefault(resource.name, {})[record["id"]] = render(world, resource, record, View())
            return {"key": resource.name, "id": record["id"]}
    return None


def single(world: World, resource: Resource, records: list[Record], view: View) -> Answer:
    """The answer to a read by id or a write: 200, creates included."""
    size = max(20, len(records))
    return Answer(200, envelope(world, resource, records, view, Page(1, size, len(records))))
