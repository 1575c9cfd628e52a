"""One row in every append-only table of time-to-billing."""

from __future__ import annotations

from canonical.items import AllocationKind, LimitUse, Price
from canonical.opening import OpeningPosition
from canonical.rates import RateCard
from canonical.retainers import Movement, MovementKind
from ledger.fees import NewPrice
from ledger.store import Ledger
from tests.ledger.billing import CONTRACT, DAY, draft, eur, key, placement, plan, posted
from tests.ledger.subject import ANNA


async def one_row_of_each(ledger: Ledger) -> None:
    """What the tests of the triggers need."""
    await posted(ledger, 1, 2)
    use = LimitUse(key="cap/c/contract/", amount=eur("100"), limit=eur("100"))
    await draft(ledger, plan(key(1), "100", uses=(use,)))
    await ledger.allocate([plan(key(2), "20", 12, kind=AllocationKind.WRITTEN_DOWN)])
    await ledger.add_movements(
        [
            Movement(
                key="m",
                account="retainer/c/l",
                kind=MovementKind.OPENED,
                lot="opening",
                on=DAY,
                amount=eur(1),
            )
        ]
    )
    rate = placement().price
    assert rate is not None
    price = Price(amount=eur("88"), rate=rate.rate)
    await ledger.reprice([NewPrice(key(2), 48, price, "backdated")])
    await ledger.add_rate_version(CONTRACT, RateCard(code="c", version="1", currency="EUR"))
    await ledger.import_openings(
        [OpeningPosition(contract_key=CONTRACT, billed_to_date=eur(0))], actor=ANNA, on=DAY
    )
