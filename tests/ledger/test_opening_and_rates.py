"""Opening positions with the balances they leave, and rate versions (rules 7, 36)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from pydantic import ValidationError

from canonical.failures import Conflict
from canonical.items import AllocationKind
from canonical.names import retainer_account
from canonical.opening import CapOpening, OpeningPosition
from canonical.rates import PricingAuthority, RateCard, RateLine
from canonical.retainers import MovementKind
from ledger.store import Ledger
from tests.ledger.billing import CONTRACT, DAY, eur, key, plan, posted
from tests.ledger.subject import ANNA

pytestmark = pytest.mark.anyio

CAP = f"cap/{CONTRACT}/contract/"
ACCOUNT = retainer_account(CONTRACT, "L3")


def position(used: str = "400", retainer: str = "900") -> OpeningPosition:
    return OpeningPosition(
        contract_key=CONTRACT,
        billed_to_date=eur("12000"),
        last_billed_work_date=date(2026, 1, 31),
        billed_keys=("L2.1",),
        caps=(CapOpening(cap_key=CAP, used=eur(used)),),
        retainer_balance=eur(retainer),
        source="openings.csv",
    )


async def load(ledger: Ledger, one: OpeningPosition) -> int:
    return await ledger.import_openings(
        [one], actor=ANNA, on=DAY, retainers={CONTRACT: ACCOUNT}, limits={CAP: eur("1000")}
    )


async def test_an_opening_position_opens_its_accounts_once(ledger: Ledger) -> None:
    assert await ledger.opening(CONTRACT) is None
    assert await load(ledger, position()) == 1
    assert await load(ledger, position()) == 0
    assert await ledger.opening(CONTRACT) == position()
    assert await ledger.openings([CONTRACT, "other"]) == {CONTRACT: position()}
    balances = await ledger.account_balances([CAP], [ACCOUNT])
    assert balances.used[CAP] == eur("400")
    (lot,) = balances.lots[ACCOUNT]
    assert (lot.lot, lot.balance, lot.opened_on) == ("opening", eur("900"), DAY)
    assert [one.kind for one in await ledger.movements(ACCOUNT)] == [MovementKind.OPENED]


async def test_a_corrected_position_moves_the_accounts_by_the_difference(ledger: Ledger) -> None:
    await load(ledger, position())
    assert await load(ledger, position("250", "1000")) == 1
    balances = await ledger.account_balances([CAP], [ACCOUNT])
    assert balances.used[CAP] == eur("250")
    assert balances.lots[ACCOUNT][0].balance == eur("1000")


async def test_a_position_that_something_rests_on_is_not_replaced(ledger: Ledger) -> None:
    await load(ledger, position())
    await posted(ledger, 1)
    await ledger.allocate([plan(key(1), "100", kind=AllocationKind.WRITTEN_DOWN)])
    with pytest.raises(Conflict, match="billed or drawn since"):
        await load(ledger, position("0"))
    assert await ledger.opening(CONTRACT) == position()


async def test_use_beyond_the_limit_counts_in_full(ledger: Ledger) -> None:
    await load(ledger, position("1500"))
    assert (await ledger.account_balances([CAP])).used[CAP] == eur("1500")


def test_a_negative_position_is_refused() -> None:
    with pytest.raises(ValidationError, match="negative"):
        position("-1")


def card(amount: str, version: str = "2026") -> RateCard:
    rate = RateLine(role="consultant", amount=Decimal(amount), currency="EUR", effective_from=DAY)
    return RateCard(code="acme", version=version, currency="EUR", lines=(rate,))


async def test_rates_are_kept_by_content(ledger: Ledger) -> None:
    first = await ledger.add_rate_version(CONTRACT, card("150.123456"))
    assert await ledger.add_rate_version(CONTRACT, card("150.123456")) == first
    second = await ledger.add_rate_version(CONTRACT, card("160"))
    assert (first.number, second.number) == (1, 2), "the same label with other rates is another version"
    third = await ledger.add_rate_version(CONTRACT, card("160"), authority=PricingAuthority.DELIVERY)
    assert third.number == 3
    latest = await ledger.rate_version(CONTRACT)
    assert latest == third
    found = await ledger.rate_version(CONTRACT, 1)
    assert found is not None
    assert found.card.lines[0].amount == Decimal("150.123456")
    assert await ledger.rate_version("other") is None
