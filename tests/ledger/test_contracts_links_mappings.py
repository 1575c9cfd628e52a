"""Contract versions, baselines, links, mappings."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from canonical.engagement import BillingMethod, Contract, ContractLine, RevenueMethod
from canonical.failures import Conflict, Defect
from canonical.money import Money
from canonical.parties import PartyRole
from canonical.refs import Dimensions, RecordRef
from canonical.writes import Landed
from ledger.links import NewLink
from ledger.rows import LinkHint
from ledger.store import Ledger
from tests.ledger.subject import ANNA, DELETED, SAGA, claim, project

pytestmark = pytest.mark.anyio

OLD = RecordRef(system="ns-emea", type="job", id="12", url="https://erp/12")


def contract(minor: int = 120_050, currency: str = "GBP", **more: Any) -> Contract:
    amount = Money.of_minor(minor, currency)
    line = ContractLine(
        key="l1",
        service_code="ADV",
        item="7",
        description="Advisory",
        quantity=Decimal("1.5"),
        amount=amount,
        deal_amount=amount,
        billing_method=BillingMethod.TIME_AND_MATERIALS,
        revenue_method=RevenueMethod.AS_INVOICED,
        delivery_region="emea",
    )
    values: dict[str, Any] = {
        "key": "006A.UK.GBP",
        "name": "Advisory",
        "engagement_key": "006A",
        "legal_entity": "UK",
        "currency": currency,
        "erp": "ns-emea",
        "dimensions": Dimensions(region="emea", legal_entity="UK"),
        "parties": {PartyRole.SOLD_TO: "001X"},
        "lines": (line,),
        "start": date(2026, 3, 1),
    }
    return Contract(**{**values, **more})


async def test_versions_are_appended_and_the_same_terms_are_the_same_version(ledger: Ledger) -> None:
    first = await ledger.add_contract_version(contract(), saga_id=SAGA)
    assert (first.version, first.amount, first.effective_on) == (
        1,
        Money.of_minor(120_050, "GBP"),
        date(2026, 3, 1),
    )
    assert await ledger.add_contract_version(contract(), saga_id="retry") == first
    second = await ledger.add_contract_version(
        contract(99), saga_id="co", effective_on=date(2026, 6, 1), base_version=1
    )
    assert second.version == 2
    with pytest.raises(Conflict):
        await ledger.add_contract_version(contract(98), saga_id="co", base_version=1)
    assert await ledger.contract_version(first.contract_key) == second
    assert await ledger.contract_version(first.contract_key, on=date(2026, 5, 31)) == first
    assert await ledger.contract_version(first.contract_key, on=date(2026, 6, 1)) == second
    assert await ledger.contract_version(first.contract_key, version=1) == first
    assert await ledger.contract_version("nobody") is None
    assert await ledger.contract_versions(first.contract_key) == [first, second]
    assert Contract.model_validate(first.terms) == contract()


async def test_baselines_are_appended(ledger: Ledger) -> None:
    held = {"ns-emea": {"amount": Decimal("1200.50"), "refs": ["job/1"]}, "ka": {"tasks": 3}}
    first = await ledger.add_baseline("K", held, saga_id=SAGA, contract_version=1)
    assert (first.version, first.systems) == (1, held)
    assert await ledger.add_baseline("K", held, saga_id="retry", contract_version=1) == first
    second = await ledger.add_baseline("K", held, saga_id="co", contract_version=2)
    assert second.version == 2
    assert await ledger.baseline("K") == second
    assert await ledger.baseline("K", version=1) == first
    assert await ledger.baseline("other") is None


async def test_links_both_ways(ledger: Ledger) -> None:
    made = await ledger.link(
        "project", "K", OLD, evidence={"tax id": "GB1"}, created_by_us=False, adopted=True
    )
    assert await ledger.link("project", "K", OLD, created_by_us=True) == made, "the first evidence stays"
    assert await ledger.links_of("project", "K") == [made]
    assert await ledger.links_of("project", "K", system="other") == []
    assert await ledger.links_to(OLD) == [made]
    assert made.record.url == "https://erp/12"
    with pytest.raises(Conflict) as caught:
        await ledger.link("project", "K", OLD.model_copy(update={"id": "13"}), created_by_us=True)
    assert caught.value.failure.record == OLD


async def test_many_links_are_made_all_or_none(ledger: Ledger) -> None:
    news = [
        NewLink(
            kind="client",
            key=str(n),
            record=RecordRef(system="ns", type="customer", id=str(n)),
            created_by_us=False,
            adopted=n % 2 == 0,
        )
        for n in range(250)
    ]
    assert len(await ledger.link_many(news)) == 250
    assert await ledger.link_many([]) == []
    wrong = NewLink(
        kind="client",
        key="3",
        record=RecordRef(system="ns", type="customer", id="x"),
        created_by_us=False,
    )
    fresh = wrong.model_copy(update={"key": "new"})
    with pytest.raises(Conflict):
        await ledger.link_many([fresh, wrong])
    assert await ledger.links_of("client", "new") == []
    page = await ledger.links(kind="client", adopted=True, limit=100)
    rest = await ledger.links(kind="client", adopted=True, limit=100, after=page.cursor or 0)
    assert (len(page.rows), len(rest.rows), rest.cursor) == (100, 25, None)
    assert (await ledger.links(system="other")).rows == ()


async def test_an_adopted_link_survives_a_write_and_its_undo(ledger: Ledger) -> None:
    adopted = await ledger.link("project", "K", OLD, created_by_us=False, adopted=True)
    write = project()
    await claim(ledger, write, links=[LinkHint(kind="project", key="K")])
    await ledger.done(write.key, "a1", Landed(id="77"), created=True, links=[LinkHint(kind="job", key="J")])
    assert await ledger.links_of("project", "K") == [adopted]
    assert len(await ledger.links_of("job", "J")) == 1
    await ledger.tombstone(write.step_key, saga_id=SAGA, actor=ANNA)
    await ledger.undoing(write.key)
    await ledger.undone(write.key, DELETED)
    assert await ledger.links_of("project", "K") == [adopted]
    assert await ledger.links_of("job", "J") == []


async def test_a_link_of_ours_gives_way_to_what_landed(ledger: Ledger) -> None:
    await ledger.link("project", "K", OLD, created_by_us=True)
    write = project()
    await claim(ledger, write, links=[LinkHint(kind="project", key="K")])
    await ledger.done(write.key, "a1", Landed(id="77"), created=True)
    (link,) = await ledger.links_of("project", "K")
    assert (link.record.id, link.effect_key) == ("77", write.key)


async def test_mappings_are_kept_by_digest(ledger: Ledger) -> None:
    for _ in range(2):
        await ledger.put_mapping("d1", "ns-emea", {"code": "custentity_x", "n": 1})
    row = await ledger.mapping("d1")
    assert row is not None
    assert (row.system, row.content, row.at) == ("ns-emea", {"code": "custentity_x", "n": 1}, ledger.now())
    with pytest.raises(Defect):
        await ledger.put_mapping("d1", "ns-emea", {"code": "other"})
    assert await ledger.mapping("d2") is None
