"""What is kept for a moment and what is read anew: a vendor's readings, and our own ledger's terms."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from activities.billing.gathering import KEPT_SECONDS, Gathering, Kept
from canonical.rates import RateCard, RateLine
from ledger.store import Ledger
from tests.activities.firm import FakeSystems
from tests.activities.test_retainer_billing import TERMS
from tests.ledger.billing import CONTRACT

pytestmark = pytest.mark.anyio


def card(rate: str) -> RateCard:
    line = RateLine(role="consultant", amount=Decimal(rate), currency="EUR", effective_from=date(2026, 1, 1))
    return RateCard(code="c", version=rate, currency="EUR", lines=(line,))


async def rate(gathering: Gathering) -> Decimal | None:
    facts = (await gathering.contracts([CONTRACT]))[CONTRACT]
    return facts.rates.card.lines[0].amount if facts.rates is not None else None


async def test_new_terms_and_rates_hold_for_the_very_next_piece(ledger: Ledger) -> None:
    systems: Any = FakeSystems()
    gathering = Gathering(systems, ledger)
    assert await gathering.contracts([CONTRACT]) == {}
    await ledger.add_contract_version(TERMS, saga_id="o2p:1")
    assert await rate(gathering) is None
    await ledger.add_contract_version(TERMS.model_copy(update={"rate_card": card("150")}), saga_id="o2p:1")
    assert await rate(gathering) == 150
    assert (await gathering.contracts([CONTRACT]))[CONTRACT].version == 2
    await ledger.add_rate_version(CONTRACT, card("160"))
    assert await rate(gathering) == 160
    await ledger.add_rate_version(CONTRACT, card("170"))
    assert await rate(gathering) == 170


async def test_a_vendors_reading_is_kept_for_a_moment() -> None:
    now = [0.0]
    kept = Kept(lambda: now[0])
    asked: list[list[str]] = []

    async def read(keys: list[str]) -> Mapping[str, str]:
        asked.append(keys)
        return {"a": "A"}

    for seconds in (0.0, KEPT_SECONDS - 1):
        now[0] = seconds
        assert await kept.of("project", ["b", "a"], read) == {"a": "A"}
    assert asked == [["a", "b"]]
    now[0] = KEPT_SECONDS
    await kept.of("project", ["a"], read)
    assert asked == [["a", "b"], ["a"]]
