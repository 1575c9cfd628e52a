"""Backdated rates: unbilled work is repriced, the difference on billed work is decided by a person."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from canonical.money import Money
from canonical.names import SagaName, saga_id
from canonical.saga import SagaStatus, SagaView
from canonical.terms import LateTime
from tests.e2e.billing_firm import Month
from tests.e2e.billing_terms import ERP, PSA, Project, Run, card, nets
from tests.e2e.firm import local_firm
from wiring.start_billing import start_run

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
async def month(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Month]:
    async with local_firm(tmp_path_factory.mktemp("rates")) as firm:
        month = Month(firm)
        month.periods()
        yield month


async def change(month: Month, project: Project, version: str, **rates: str) -> Run:
    """Somebody puts new rates in force."""
    start = month.starts.rates(
        PSA, ERP, project.contract, card("EUR", version, **rates), "agreed with the client"
    )
    return await start_run(month.firm.client, start)


async def credit_of(month: Month, invoice: str) -> Run:
    name = saga_id(SagaName.CREDIT_INVOICE, "emea", ERP, invoice.replace("/", "."))
    return month.firm.client.get_workflow_handle(name, result_type=SagaView)


async def worth(month: Month, project: Project) -> list[Money | None]:
    page = await month.firm.ledger.items(contract_key=project.contract)
    return [row.open for row in page.rows if row.kind.has_cost]


async def test_unbilled_work_is_billed_at_the_new_rate(month: Month) -> None:
    project = await month.contract(late_time=LateTime.SUPPLEMENTARY)
    month.time(project, 2, 3)
    await month.posting("rates-1")
    await month.until(await change(month, project, "2", consultant="160"), SagaStatus.COMPLETE)
    assert [str(one) for one in await worth(month, project)] == ["EUR 1,280.00", "EUR 1,280.00"]
    (first, _) = (await month.firm.ledger.items(contract_key=project.contract)).rows
    (trace,) = await month.firm.ledger.repricings(first.key)
    assert (trace.version_before, trace.version_after, trace.reason) == (1, 2, "agreed with the client")
    await month.close()
    assert nets(month.invoices(project)) == [2560]
    assert month.billed_twice() == []


async def test_billed_work_is_worth_more_and_the_difference_is_billed_once_approved(month: Month) -> None:
    project = await month.contract(late_time=LateTime.SUPPLEMENTARY)
    month.time(project, 4, 5)
    await month.close()
    run = await change(month, project, "2", consultant="160")
    view = await month.until(run, SagaStatus.GATED)
    (gate,) = view.gates
    assert gate.gate is not None
    assert (gate.gate.figures["Difference"], gate.gate.figures["Lines"]) == ("EUR 160.00", "2")
    await month.close()
    assert nets(month.invoices(project)) == [2400], "nothing is billed before it is decided"
    await month.decide(run, choice="bill")
    await month.until(run, SagaStatus.COMPLETE)
    await month.close()
    assert nets(month.invoices(project)) == [2400, 160]
    again = await change(month, project, "2", consultant="160")
    await month.until(again, SagaStatus.COMPLETE)
    await month.close()
    assert nets(month.invoices(project)) == [2400, 160]
    assert month.billed_twice() == []


async def test_a_difference_that_is_given_up_is_not_asked_for_again(month: Month) -> None:
    project = await month.contract(late_time=LateTime.SUPPLEMENTARY)
    month.time(project, 6)
    await month.close()
    run = await change(month, project, "2", consultant="170")
    await month.decide(run, choice="give-up", reason="goodwill")
    await month.until(run, SagaStatus.COMPLETE)
    await month.until(await change(month, project, "2", consultant="170"), SagaStatus.COMPLETE)
    await month.close()
    assert nets(month.invoices(project)) == [1200]


async def test_billed_work_is_worth_less_and_the_difference_is_credited_once_approved(month: Month) -> None:
    project = await month.contract(late_time=LateTime.SUPPLEMENTARY)
    month.time(project, 9, 10)
    await month.close()
    (invoice,) = [row for row in await month.documents(project) if row.corrects is None]
    await month.until(await change(month, project, "2", consultant="140"), SagaStatus.COMPLETE)
    credit = await credit_of(month, invoice.key)
    view = await month.until(credit, SagaStatus.GATED)
    (gate,) = view.gates
    assert gate.gate is not None
    assert (gate.gate.figures["Credited"], gate.gate.choices) == ("EUR 160.00", {})
    assert month.credits(project) == []
    await month.decide(credit)
    await month.until(credit, SagaStatus.COMPLETE)
    assert nets(month.credits(project)) == [160]
    await month.until(await change(month, project, "2", consultant="140"), SagaStatus.COMPLETE)
    await month.close()
    assert nets(month.invoices(project)) == [2400]
    assert nets(month.credits(project)) == [160]


async def test_work_that_is_edited_after_a_difference_was_billed_is_credited_with_it(month: Month) -> None:
    project = await month.contract(late_time=LateTime.SUPPLEMENTARY)
    (entry,) = month.time(project, 11)
    await month.close()
    run = await change(month, project, "2", consultant="160")
    await month.decide(run, choice="bill")
    await month.until(run, SagaStatus.COMPLETE)
    await month.close()
    assert nets(month.invoices(project)) == [1200, 80]
    month.edit(entry, time_in_minutes=240, rate_in_cents=16_000)
    await month.posting("rates-edited")
    for document in [row for row in await month.documents(project) if row.corrects is None]:
        credit = await credit_of(month, document.key)
        await month.until(credit, SagaStatus.GATED)
        await month.decide(credit, choice="unbilled")
        await month.until(credit, SagaStatus.COMPLETE)
    assert sorted(nets(month.credits(project))) == [80, 1200]
    await month.close()
    assert nets(month.invoices(project)) == [1200, 80, 640]


async def test_the_erps_own_balance_of_repriced_work_is_as_it_was_posted(month: Month) -> None:
    """NetSuite keeps the rate of the posting until it is billed: that is no difference to look for."""
    project = await month.contract()
    month.time(project, 12)
    await month.posting("rates-balance")
    await month.until(await change(month, project, "2", consultant="155"), SagaStatus.COMPLETE)
    code, out, err = await month.firm.trueup("close-check", "2026-11", "--entity", "NL01", "--json")
    assert code in (0, 1), out + err
    assert "UNBILLED_DIFFERS" not in out
