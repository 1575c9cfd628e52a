"""What must hold at the end of any scenario, judged from the vendors' records, the ledger's rows and the
server's histories. Each check answers what is wrong, in words; nothing wrong is an empty list.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.local.deals import Seed
from tests.chaos.nodes import Names, Node, graph, plain
from tests.chaos.oracle import Oracle
from tests.chaos.vendors import KANTATA, NETSUITE, SALESFORCE, Change, Records, live, put_away
from tests.chaos.verdict import compare

SHARED = ("customer", "customerSubsidiaryRelationship", "workspace_groups")
"""Types whose records all deals of a client share."""
APPROVED, LEFT = "B", "left to a person"
Pair = tuple[str, str]
"""A record as (type, id)."""


def is_shared(node: Node) -> bool:
    """Whether the record is its client's, not its deal's."""
    return node.kind in SHARED or node.name.endswith("/ ensure_group")


@dataclass(frozen=True)
class Ended:
    """One saga where it has come to rest."""

    saga: str
    status: str
    account: str
    candidates: tuple[Seed, ...]
    """What the deal may have looked like when it was read for the last time before the activation."""
    earlier: tuple[Seed, ...]
    """What it looked like before."""
    licence_only: bool
    skipped: frozenset[str]
    named: frozenset[Pair]
    """Records that its view and its open cases name."""
    cases: int


# --- vendors ---------------------------------------------------------------------------------------------


def judge_records(
    config: Path, before: Records, seen: Change, sagas: Sequence[Ended], by_hand: set[Pair]
) -> list[str]:
    """The vendors hold exactly what the complete sagas need, and of the parked ones nothing twice.

    Args:
        config: the firm's configuration.
        before: what the vendors held before the scenario.
        seen: what has changed since.
        sagas: all sagas of the scenario.
        by_hand: records whose undo a person took over: there or not, both is right.
    """
    all_ = graph(_without(seen, by_hand))
    parked = [one for one in sagas if one.status in ("parked", "undo-blocked")]
    complete = [one for one in sagas if one.status == "complete"]
    best: list[str] | None = None
    for versions in itertools.product(*(one.candidates for one in complete)):
        wanted = _wanted(config, before, list(zip(complete, versions, strict=True)), all_)
        left = {node.name for node in wanted if _is_left(node)}
        found = [_as_left(node) if node.kind == "workspaces" and node.name in left else node for node in all_]
        if parked:
            rest = [seed for one in parked for seed in one.candidates[-1:]]
            maybe = _wanted(config, before, list(zip(parked, rest, strict=True)), all_)
            problems = compare(_union(wanted, maybe), found, partly=True).problems
        else:
            problems = compare(wanted, found).problems
        problems += _told(config, before, seen, list(zip(complete, versions, strict=True)))
        if best is None or len(problems) < len(best):
            best = problems
        if not problems:
            break
    return [*(best or []), *_untouched(seen)]


def _wanted(
    config: Path, before: Records, sagas: Sequence[tuple[Ended, Seed]], found: Sequence[Node]
) -> list[Node]:
    own: list[Node] = []
    shared: dict[str, list[Node]] = defaultdict(list)
    earlier: dict[str, list[Node]] = defaultdict(list)
    for ended, seed in sagas:
        for node in _expected(config, before, ended, seed):
            if is_shared(node):
                shared[ended.account].append(node)
            else:
                by_hand = node.kind == "workspaces" and any(id_.startswith("open.") for id_ in ended.skipped)
                own.append(_as_left(node) if by_hand else node)
        for other in ended.earlier:
            earlier[ended.account] += filter(is_shared, _expected(config, before, ended, other))
    return [*own, *(one for account in shared for one in _settled(shared[account], earlier[account], found))]


def _expected(config: Path, before: Records, ended: Ended, seed: Seed) -> list[Node]:
    try:
        return [] if ended.licence_only else Oracle(config, before, seed).expected()
    except KeyError:
        return []  # not a valid deal: it can have made nothing yet


def _settled(wanted: Sequence[Node], earlier: Sequence[Node], found: Sequence[Node]) -> Iterator[Node]:
    """A client's records, each once: deals that differ in what they say of their client share its record.

    What only an earlier version of a deal wanted of a client (an entity that sells no more, its currency)
    may be there, since nothing but the undo of the whole deal takes it away.
    """
    by_name: dict[Pair, list[Node]] = defaultdict(list)
    for node in wanted:
        by_name[node.identity].append(node)
    for identity, variants in by_name.items():
        other = [node for node in earlier if node.identity == identity]
        there = (node for node in found if node.identity == identity)
        yield next((node for node in there if _agrees(node, variants, other)), variants[0])
    for identity in {node.identity for node in earlier} - set(by_name):
        yield from [node for node in found if node.identity == identity][:1]


def _agrees(node: Node, variants: Sequence[Node], earlier: Sequence[Node]) -> bool:
    """Whether a client's record shows, fact by fact, what one of its deals says; of lists, what all say."""
    needed = [json.loads(one.facts) for one in variants]
    allowed = needed + [json.loads(one.facts) for one in earlier]
    for name, shown in json.loads(node.facts).items():
        if isinstance(shown, list):
            least, most = ({item for one in some for item in one[name]} for some in (needed, allowed))
            if not least <= set(shown) <= most or len(set(shown)) < len(shown):
                return False
        elif all(one[name] != shown for one in allowed):
            return False
    return True


def _union(wanted: Sequence[Node], maybe: Sequence[Node]) -> list[Node]:
    """Of shared records as many as either side wants, of others the sum."""
    shared = Counter(n for n in wanted if is_shared(n)) | Counter(n for n in maybe if is_shared(n))
    return [*(n for n in (*wanted, *maybe) if not is_shared(n)), *shared.elements()]


def _as_left(node: Node) -> Node:
    """A delivery project whose opening a person has skipped: whether it happened is theirs to know."""
    return Node(node.kind, node.name, json.dumps({**json.loads(node.facts), "status": LEFT}, sort_keys=True))


def _is_left(node: Node) -> bool:
    return node.kind == "workspaces" and json.loads(node.facts)["status"] == LEFT


def _told(config: Path, before: Records, seen: Change, sagas: Sequence[tuple[Ended, Seed]]) -> Iterator[str]:
    """Sales was told the codes of every complete deal."""
    names = Names(seen.now)
    for ended, seed in sagas:
        if ended.licence_only or any(step.startswith("write-back") for step in ended.skipped):
            continue
        try:
            wanted = Oracle(config, before, seed).told
        except KeyError as missing:
            yield f"{ended.saga}: complete with a deal that does not validate: {missing}"
            continue
        row = seen.now[SALESFORCE]["Opportunity"][str(seed["Opportunity"][0]["Id"]) + "AAA"]
        shown = {name: names.text(row.get(name)) for name in wanted}
        if shown != wanted:
            yield f"{ended.saga}: the deal shows {shown}, expected {wanted}"


def _untouched(seen: Change) -> Iterator[str]:
    """Records that were there before the scenario are as they were."""
    for vendor, kind, id_ in seen.gone:
        yield f"{vendor} {kind} {id_}, which was there before, is gone"
    for vendor, kind, id_, moved in seen.changed:
        if vendor != SALESFORCE:
            yield f"{vendor} {kind} {id_}, which was there before, was changed: {moved}"


def _without(seen: Change, pairs: set[Pair]) -> Change:
    new = {
        vendor: {
            kind: {id_: row for id_, row in rows.items() if not _belongs(kind, row, id_, pairs)}
            for kind, rows in types.items()
        }
        for vendor, types in seen.new.items()
    }
    return Change(new=new, now=seen.now, changed=seen.changed, gone=seen.gone)


def _belongs(kind: str, row: Mapping[str, Any], id_: str, pairs: set[Pair]) -> bool:
    """Whether a record is one of ``pairs`` or a part of one."""
    subject = {"Workspace": "workspaces", "WorkspaceGroup": "workspace_groups", "Story": "stories"}
    about = (subject.get(str(row.get("subject_type")), "workspace_resources"), str(row.get("subject_id")))
    owner = ("workspaces", str(row.get("workspace_id")))
    entity = ("customer", str((row.get("entity") or {}).get("id"))) if kind.startswith("customerS") else None
    return bool(pairs & {(kind, id_), about, owner, *([entity] if entity else [])})


def judge_keys(seen: Change) -> Iterator[str]:
    """One live record per business key and system: no stamp of ours is on two of them."""
    stamps: Counter[tuple[str, str, str]] = Counter()
    fresh = live(seen)
    for kind, rows in fresh.get(NETSUITE, {}).items():
        for row in rows.values():
            stamp = row.get("externalId") or (row.get("name") if kind == "billingSchedule" else None)
            if stamp:
                stamps[NETSUITE, kind, str(stamp)] += 1
    for row in fresh.get(KANTATA, {}).get("external_references", {}).values():
        stamps[KANTATA, str(row["service_model"]), str(row["service_model_ref"])] += 1
    for (vendor, kind, stamp), times in stamps.items():
        if times > 1:
            yield f"{vendor}: {times} live {kind} records carry the key {stamp}"


def judge_pivot(seen: Change, writes: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """No order that was approved was taken back."""
    for write in writes:
        body = write["body"] or {}
        if write["type"] != "salesOrder" or (body.get("orderStatus") or {}).get("id") != APPROVED:
            continue
        row = seen.now[NETSUITE].get("salesOrder", {}).get(str(write["id"]))
        if row is None or put_away(NETSUITE, "salesOrder", row, seen.now):
            yield f"order {write['id']} was activated and then undone"
        elif plain((row.get("orderStatus") or {}).get("id")) != APPROVED:
            yield f"order {write['id']} was activated and is not approved any more"


def judge_named(seen: Change, made: Mapping[str, set[Pair]], sagas: Sequence[Ended]) -> Iterator[str]:
    """Every surviving record is named to whoever looks at the sagas that did not end undone."""
    named = {pair for one in sagas if one.status not in ("undone", "failed") for pair in one.named}
    for vendor, types in live(seen).items():
        for kind, rows in types.items():
            for id_ in rows:
                if (kind, id_) in made[vendor] and (kind, id_) not in named:
                    yield f"{vendor} {kind} {id_} survives and nobody is told"
    for one in sagas:
        if one.status in ("parked", "undo-blocked") and not one.cases:
            yield f"{one.saga} is {one.status} without an open case"


# --- the ledger ------------------------------------------------------------------------------------------


NOT_READ_BACK = ("intended", "unknown")
"""States of an effect row in which a write may be at the vendor."""


def effect_rows(database: Path) -> list[dict[str, Any]]:
    """All effects, read by nobody's code but SQLite's."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10) as connection:
        connection.row_factory = sqlite3.Row
        query = (
            "SELECT key, system, record_type, kind, state, landed, created_by_us, undo_outcome FROM effect"
        )
        rows = [dict(row) for row in connection.execute(query)]
    connection.close()
    return rows


def judge_effects(
    rows: Sequence[Mapping[str, Any]], seen: Change, writes: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Iterator[str]:
    """Nothing in a vendor without an effect row, and no effect called done without its record.

    A row whose write is out and not read back yet (a vendor has just locked us out) knows no id: it stands
    for one record of its type.
    """
    known: set[Pair] = set()
    open_rows = Counter(row["record_type"] for row in rows if row["state"] in NOT_READ_BACK)
    for row in rows:
        landed, undone = _json(row["landed"]), _json(row["undo_outcome"])
        if landed:
            known.add((row["record_type"], str(landed["id"])))
        if undone and undone.get("ref"):
            known.add((undone["ref"]["type"], str(undone["ref"]["id"])))
    for vendor, log in writes.items():
        for write in log:
            by_a_person = vendor == SALESFORCE and write["type"] == "OpportunityLineItem"
            if by_a_person or (write["type"], str(write["id"])) in known:
                continue
            if open_rows[write["type"]]:
                open_rows[write["type"]] -= 1
                known.add((write["type"], str(write["id"])))
            else:
                yield f"{vendor}: {write['operation']} of {write['type']} {write['id']} has no effect row"
    now = {(kind, id_) for types in seen.now.values() for kind, held in types.items() for id_ in held}
    for row in rows:
        landed = _json(row["landed"])
        done = row["state"] == "done" and row["kind"] == "create" and row["created_by_us"]
        if done and landed and (row["record_type"], str(landed["id"])) not in now:
            yield f"{row['key']} is called done; its record {landed['id']} is gone"


def _json(text: str | None) -> Any:
    return json.loads(text) if text else None


def refs(value: Any) -> Iterator[Pair]:
    """Every record named anywhere in a document."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        value = json.loads(value)
    if isinstance(value, dict):
        if isinstance(value.get("type"), str) and isinstance(value.get("id"), str) and "system" in value:
            yield value["type"], value["id"]
        for part in value.values():
            yield from refs(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from refs(part)
