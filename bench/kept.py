"""Measurements that were kept: under version control, shown by the README."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from bench.machine import in_words
from bench.result import Part

RESULTS = Path(__file__).parent / "results.json"
KEEP = "make bench KEEP=1"


def load() -> list[Part]:
    """What was kept last, part by part."""
    return [Part.load(one) for one in json.loads(RESULTS.read_text())] if RESULTS.is_file() else []


def keep(parts: Iterable[Part]) -> None:
    """Keep measurements; parts that were not measured stay as they are."""
    found = {part.name: part for part in (*load(), *parts)}
    text = json.dumps([part.dump() for part in found.values()], ensure_ascii=False, indent=1)
    RESULTS.write_text(text + "\n")


def places(parts: Iterable[Part]) -> list[str]:
    """Where the parts were measured, each place once, with the range of its load."""
    loads: dict[str, list[str]] = {}
    for part in parts:
        place = json.dumps({**part.machine, "load": ""})
        loads.setdefault(place, []).append(part.machine["load"])
    return [in_words({**json.loads(place), "load": _range(found)}) for place, found in loads.items()]


def _range(loads: Iterable[str]) -> str:
    found = sorted(set(loads), key=float)
    return found[0] if len(found) == 1 else f"{found[0]} to {found[-1]}"
