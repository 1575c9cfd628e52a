"""A plan against the writes that were performed: equal as a set with partial order, or a list of differences.

The vendors' write logs are the judge. Only what a vendor makes (ids, project codes) may differ, and only
where the plan says ``@name.field``: one placeholder has one value in the whole plan, two placeholders for
ids of one type have different values, and a write that needs a value comes after the write that makes it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

Json = Any

WRAPPERS = {
    "workspace_groups": "workspace_group",
    "workspaces": "workspace",
    "stories": "story",
    "workspace_resources": "workspace_resource",
}
"""Kantata's envelope by record type: the vendor's log shows what is inside it."""


@dataclass(frozen=True)
class Written:
    """One accepted write, from a vendor's log."""

    system: str
    method: str
    path: str
    type: str
    id: str
    operation: str
    body: Json
    at: str
    """When the call came in; sorts as text within and across the vendors."""

    def __str__(self) -> str:
        return f"{self.system} {self.method} {self.path} ({self.type} {self.id})"


@dataclass
class Match:
    """The outcome of a comparison."""

    differences: list[str]
    values: dict[str, str] = field(default_factory=dict)
    """What each placeholder turned out to be."""


def compare(plan: Sequence[Mapping[str, Any]], written: Sequence[Written]) -> Match:
    """Compare a plan, as ``trueup plan`` writes it, with what the vendors accepted."""
    names = _Names(plan)
    pairs, values, differences = _pair(plan, written, names)
    if not differences:
        differences += _order_in_plan(plan, names)
        differences += _order_performed(plan, written, pairs, names)
        differences += _confused(plan, values, names)
    return Match(differences, values)


class _Names:
    """The placeholders that a plan's own writes make."""

    def __init__(self, plan: Sequence[Mapping[str, Any]]) -> None:
        self.makers = {str(w["symbol"]): number for number, w in enumerate(plan) if w["kind"] == "create"}
        longest_first = sorted(self.makers, key=len, reverse=True)
        names = "|".join(re.escape(name) for name in longest_first) or r"(?!)"
        self.token = re.compile(rf"@({names})\.([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)")

    def in_(self, value: Json) -> Iterator[tuple[str, str]]:
        """(name, field) of every placeholder anywhere in ``value``."""
        if isinstance(value, str):
            for found in self.token.finditer(value):
                yield found[1], found[2]
        elif isinstance(value, Mapping):
            for item in value.values():
                yield from self.in_(item)
        elif isinstance(value, (list, tuple)):
            for item in value:
                yield from self.in_(item)

    def used_by(self, write: Mapping[str, Any]) -> set[tuple[str, str]]:
        """Placeholders that a write needs before it can be sent."""
        return {*self.in_(write["path"]), *self.in_(write["body"]), *self.in_(write["query"])}

    def strangers(self, write: Mapping[str, Any]) -> list[str]:
        """Texts that look like placeholders and that nothing in the plan makes."""
        rest = self.token.sub("", str(write["path"]))
        return re.findall(r"@[a-z-]+:[^/\s]+", rest)


def unify(planned: Json, actual: Json, values: dict[str, str], names: _Names) -> str | None:
    """Make ``planned`` equal ``actual`` by giving placeholders values; the difference when it is not.

    Numbers are compared by value and only where the vendor's log has a number; texts to the letter.
    """
    if isinstance(planned, str) and names.token.search(planned):
        return _unify_text(planned, actual, values, names)
    if isinstance(planned, Mapping) and isinstance(actual, Mapping):
        if set(planned) != set(actual):
            return f"fields {sorted(set(planned) ^ set(actual))} on one side only"
        for key, item in planned.items():
            if (wrong := unify(item, actual[key], values, names)) is not None:
                return f"{key}: {wrong}"
        return None
    if isinstance(planned, (list, tuple)) and isinstance(actual, (list, tuple)):
        if len(planned) != len(actual):
            return f"{len(planned)} planned, {len(actual)} written"
        for number, (one, other) in enumerate(zip(planned, actual, strict=True)):
            if (wrong := unify(one, other, values, names)) is not None:
                return f"[{number}]: {wrong}"
        return None
    return None if _equal(planned, actual) else f"planned {planned!r}, written {actual!r}"


def _unify_text(planned: str, actual: Json, values: dict[str, str], names: _Names) -> str | None:
    if isinstance(actual, (bool, Mapping, list)) or actual is None:
        return f"planned {planned!r}, written {actual!r}"
    pattern, groups, end = "", [], 0
    for token in names.token.finditer(planned):
        pattern += re.escape(planned[end : token.start()]) + "(.+?)"
        groups.append(token[0])
        end = token.end()
    found = re.fullmatch(pattern + re.escape(planned[end:]), str(actual))
    if found is None:
        return f"planned {planned!r}, written {actual!r}"
    for name, value in zip(groups, found.groups(), strict=True):
        if values.setdefault(name, value) != value:
            return f"{name} is {values[name]} elsewhere and {value} here"
    return None


def _equal(planned: Json, actual: Json) -> bool:
    if isinstance(planned, bool) or isinstance(actual, bool) or planned is None or actual is None:
        return planned is actual
    if isinstance(actual, (int, float, Decimal)) and isinstance(planned, (int, float, Decimal, str)):
        try:
            return Decimal(str(planned)) == Decimal(str(actual))
        except InvalidOperation:
            return False
    return bool(type(planned) is type(actual) and planned == actual)


def _fits(planned: Mapping[str, Any], done: Written, values: dict[str, str], names: _Names) -> str | None:
    """None when the write is the planned one, with ``values`` extended; else why not."""
    for what, ours, theirs in (
        ("system", planned["system"], done.system),
        ("method", planned["method"], done.method),
        ("type", planned["type"], done.type),
        ("kind", planned["kind"], done.operation),
    ):
        if ours != theirs:
            return f"{what}: planned {ours!r}, written {theirs!r}"
    body = planned["body"]
    if planned["type"] in WRAPPERS:
        if list(body) != [WRAPPERS[planned["type"]]]:
            return f"the body is not wrapped in {WRAPPERS[planned['type']]!r}"
        body = body[WRAPPERS[planned["type"]]]
    query = "&".join(f"{key}={value}" for key, value in planned["query"].items())
    path = planned["path"] + (f"?{query}" if query else "")
    if (wrong := unify(path, done.path, values, names)) is not None:
        return f"path: {wrong}"
    if (wrong := unify(body, done.body, values, names)) is not None:
        return f"body: {wrong}"
    if planned["kind"] == "create":
        name = f"@{planned['symbol']}.id"
        if values.setdefault(name, done.id) != done.id:
            return f"{name} is {values[name]} elsewhere; this write made {done.id}"
    return None


def _pair(
    plan: Sequence[Mapping[str, Any]], written: Sequence[Written], names: _Names
) -> tuple[dict[int, int], dict[str, str], list[str]]:
    """Pair every planned write with one performed write, placeholders taken together."""
    unknown = [f"{w['title']}: nothing in the plan makes {x}" for w in plan for x in names.strangers(w)]
    if unknown:
        return {}, {}, unknown
    options = [[at for at, done in enumerate(written) if _fits(one, done, {}, names) is None] for one in plan]
    missing = [number for number, found in enumerate(options) if not found]
    claimed = {at for found in options for at in found}
    differences = [_nearest(plan[number], written, names) for number in missing]
    differences += [
        f"not planned: {done} {done.body}" for at, done in enumerate(written) if at not in claimed
    ]
    if not differences and len(plan) != len(written):
        differences.append(f"{len(plan)} writes planned, {len(written)} performed")
    if differences:
        return {}, {}, differences
    hardest_first = sorted(range(len(plan)), key=lambda number: len(options[number]))

    def search(place: int, pairs: dict[int, int], values: dict[str, str]) -> tuple[Any, Any] | None:
        if place == len(hardest_first):
            return pairs, values
        number = hardest_first[place]
        for at in options[number]:
            if at in pairs.values():
                continue
            extended = dict(values)
            if _fits(plan[number], written[at], extended, names) is None:
                found = search(place + 1, {**pairs, number: at}, extended)
                if found is not None:
                    return found
        return None

    found = search(0, {}, {})
    if found is None:
        return (
            {},
            {},
            ["each write fits by itself, but no values of the placeholders fit all of them at once"],
        )
    return found[0], found[1], []


def _nearest(planned: Mapping[str, Any], written: Sequence[Written], names: _Names) -> str:
    same = [
        done
        for done in written
        if (done.system, done.type, done.operation) == (planned["system"], planned["type"], planned["kind"])
    ]
    reasons = "; ".join(f"{done.path}: {_fits(planned, done, {}, names)}" for done in same[:4])
    return f"planned and not written: {planned['title']} ({reasons or 'no write of its kind'})"


def _order_in_plan(plan: Sequence[Mapping[str, Any]], names: _Names) -> list[str]:
    return [
        f"the plan uses @{name}.{what} in {write['title']!r} before it is made"
        for number, write in enumerate(plan)
        for name, what in sorted(names.used_by(write))
        if names.makers[name] >= number
    ]


def _order_performed(
    plan: Sequence[Mapping[str, Any]],
    written: Sequence[Written],
    pairs: Mapping[int, int],
    names: _Names,
) -> list[str]:
    differences = []
    for number, write in enumerate(plan):
        done = written[pairs[number]]
        for name, what in sorted(names.used_by(write)):
            maker = written[pairs[names.makers[name]]]
            if maker.at >= done.at:
                differences.append(f"{done} uses @{name}.{what} and came before {maker}, which makes it")
    return differences


def _confused(plan: Sequence[Mapping[str, Any]], values: Mapping[str, str], names: _Names) -> list[str]:
    """Placeholders of one kind of value that turned out to be the same one."""
    kinds: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for write in plan:
        used = {f"@{name}.{what}": (name, what) for name, what in names.used_by(write)}
        if write["kind"] == "create":
            used[f"@{write['symbol']}.id"] = (write["symbol"], "id")
        for token, (name, what) in used.items():
            maker = plan[names.makers[name]]
            kinds[maker["system"], maker["type"], what.split(".")[0]].add(token)
        target = names.token.search(write["path"])
        if target is not None:
            kinds[write["system"], write["type"], "id"].add(target[0])
    differences = []
    for kind, tokens in kinds.items():
        owners: dict[str, str] = {}
        for token in sorted(tokens):
            other = owners.setdefault(values[token], token)
            if other != token:
                differences.append(f"{' '.join(kind)}: {other} and {token} are both {values[token]}")
    return differences
