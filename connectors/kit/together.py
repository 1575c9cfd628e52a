"""Several reads at once, and long lists in parts; the session's pool keeps the vendor's limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


async def together(reads: Iterable[Awaitable[T]]) -> list[T]:
    """All answers in order. Every read is brought to its end before the first failure is raised, so that
    none goes on unseen.
    """
    answers = await asyncio.gather(*reads, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if not isinstance(answer, BaseException)]


def parted(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """``items`` in order, at most ``size`` at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))
