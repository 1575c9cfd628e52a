"""Record ids: key prefix, 15-character body and the 3-character case checksum.

Source: vendor documentation, object key prefixes and the 15/18-character id forms. The 15-character form is
case-sensitive; the 18-character form appends one character per five that says which are upper case.
"""

from __future__ import annotations

import re

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CHECKSUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
INSTANCE = "gK000"
"""Characters 4 to 8 of every id made here: pod and reserved characters of an imaginary instance."""

_SHAPE = re.compile(r"[A-Za-z0-9]{15}([A-Za-z0-9]{3})?")


def checksum(short: str) -> str:
    """The three characters that turn a 15-character id into the 18-character one."""
    return "".join(
        CHECKSUM[sum(1 << i for i, char in enumerate(short[start : start + 5]) if "A" <= char <= "Z")]
        for start in (0, 5, 10)
    )


def make(prefix: str, number: int) -> str:
    """The 18-character id of the ``number``-th record of the object with this key prefix."""
    digits = ""
    while number:
        number, rest = divmod(number, 62)
        digits = ALPHABET[rest] + digits
    short = prefix + INSTANCE + digits.rjust(15 - len(prefix) - len(INSTANCE), "0")
    return short + checksum(short)


def normal(value: object) -> str | None:
    """The 18-character form of an id given in either form; None when it is not an id at all."""
    if not isinstance(value, str) or not _SHAPE.fullmatch(value):
        return None
    short, suffix = value[:15], value[15:]
    right = checksum(short)
    if suffix and suffix != right:
        return None
    return short + right
