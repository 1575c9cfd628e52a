"""Record ids: 15 characters are case-sensitive, 18 carry the case in a suffix. We always keep 18."""

from __future__ import annotations

import re

_SUFFIX = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
"""One character for five upper/lower-case bits (the fact sheet's "always store 18")."""

OPPORTUNITY_PREFIX = "006"
"""First three characters of every opportunity id."""


def record_id(text: str) -> str | None:
    """The 18-character form of a 15- or 18-character id; None when ``text`` is not an id.

    An 18-character id whose case was lost on the way (spreadsheets, old databases) is restored from
    its suffix, because two spellings of one deal would otherwise start two sagas.
    """
    if re.fullmatch(r"[A-Za-z0-9]{15}", text):
        return text + _suffix(text)
    if not re.fullmatch(r"[A-Za-z0-9]{15}[A-Za-z0-5]{3}", text):
        return None
    body, suffix = text[:15], text[15:].upper()
    restored = ""
    for position, char in enumerate(body):
        upper = _SUFFIX.index(suffix[position // 5]) >> (position % 5) & 1
        if upper and char.isdigit():
            return None
        restored += char.upper() if upper else char.lower()
    return restored + suffix


def same_id(one: str, other: str) -> bool:
    """Whether two spellings name the same record; False when either is not an id."""
    first = record_id(one)
    return first is not None and first == record_id(other)


def _suffix(body: str) -> str:
    suffix = ""
    for start in (0, 5, 10):
        bits = sum(1 << offset for offset in range(5) if body[start + offset].isupper())
        suffix += _SUFFIX[bits]
    return suffix
