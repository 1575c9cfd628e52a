"""The demo's act of time-to-billing: a month of work becomes cost, one line is repaired, the draft invoice is
reviewed and issued. What it claims is read from the simulated vendors' own records.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, TypeVar

import httpx
from rich.table import Table
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError

from activities.contracts import ReviewEdits
from canonical.causes import Cause
from canonical.engagement import Contract
from canonical.failures import ConfigurationError
from canonical.invoicing import DocumentState, LineAction, LineDecision
from canonical.money import Money
from canonical.opening import OpeningPosition
from canonical.saga import GateDecision, GateOutcome, HeldItems, SagaStatus, SagaView, StepView
from cli.billing.words import hours, per_currency
from cli.demo_act import DemoAct, Json
from cli.local.config import SECRETS
from cli.output import count
from cli.simulators import control
from ledger.billing_rows import DocumentRow
from ledger.store import Ledger
from rules.causes import CATALOGUE
from wiring.ledger import open_ledger
from wiring.start_billing import BillingStarts, start_run

PSA, ERP = "kantata-main", "netsuite-emea"
CUTOFF = date(2026, 10, 31)
DAYS = (1, 2, 5, 6, 7, 8, 9, 12, 13, 14)
FORGOTTEN = 15
"""The day whose entry names no role."""
BRAM, CONSULTANT = 72, 6
RATE, FEE, GIVEN_UP = Decimal(150), Decimal(4_000), Decimal(600)
"""A consultant's hour, a month of managed service, and what the reviewer gives up: half a day."""
ENTRIES = SHEET = 880_000
ISSUED = "A"
"""NetSuite's letter for an invoice that is approved and not paid yet."""
PATIENCE = 60.0
Run = WorkflowHandle[Any, SagaView]
T = TypeVar("T")


@dataclass
class Place:
    """Where the contract's work is booked and posted."""

    contract: Contract
    code: str
    workspace: str
    job: str


class BillingAct(DemoAct):
    """A month of one contract."""

    def __post_init__(self) -> None:
        self.starts = BillingStarts(self.settings, self.mapping, self.actor)
        self.reviewer = self.settings.actor("carla")

    async def play(self, code: str) -> str:
        """Post, repair, review and issue a month of the contract with that project code.

        Returns:
            The invoice in words.
        """
        ledger = await open_ledger(self.settings)
        try:
            place = await self._place(ledger, code)
            await self._open(ledger, place)
            self._work(place)
            await self._post_and_repair(place)
            return await self._review_and_issue(ledger, place)
        finally:
            await ledger.close()

    # --- what there is ----------------------------------------------------------------------------------

    async def _place(self, ledger: Ledger, code: str) -> Place:
        """The contract of a project code, and where its hourly work is booked."""
        job = next(row for row in self.records("netsuite", "job") if row["entityId"] == code)
        projects = (await ledger.links(kind="project", system=ERP, limit=1_000)).rows
        key = next(row.key for row in projects if row.record.id == str(job["id"]))
        version = await ledger.contract_version(key)
        assert version is not None
        deliveries = (await ledger.links(kind="delivery", system=PSA, limit=1_000)).rows
        advisory = next(row for row in deliveries if row.key.startswith(key) and row.key.endswith(".ADV"))
        return Place(Contract.model_validate(version.terms), code, advisory.record.id, str(job["id"]))

    async def _open(self, ledger: Ledger, place: Place) -> None:
        """The contract is new: nothing was billed of it before."""
        zero = Money.of_minor(0, place.contract.currency)
        position = OpeningPosition(
            contract_key=place.contract.key, billed_to_date=zero, source="new contract"
        )
        await ledger.import_openings([position], actor=self.actor, on=CUTOFF.replace(day=1))
        self.say.print(
            f"  opening position of {place.code}: {zero} billed so far; a contract without one does not bill"
        )

    def _work(self, place: Place) -> None:
        """An approved timesheet; one of its entries names no role."""
        sheet = {
            "id": SHEET,
            "title": f"{CUTOFF:%B}",
            "workspace_id": place.workspace,
            "user_id": BRAM,
            "status": "approved",
            "start_date": CUTOFF.replace(day=1).isoformat(),
        }
        entries = [
            {
                "id": ENTRIES + day,
                "workspace_id": place.workspace,
                "user_id": BRAM,
                "date_performed": CUTOFF.replace(day=day).isoformat(),
                "time_in_minutes": 480,
                "billable": True,
                "rate_in_cents": int(RATE * 100),
                "recent_submission_id": SHEET,
                **({} if day == FORGOTTEN else {"role_id": CONSULTANT}),
            }
            for day in (*DAYS, FORGOTTEN)
        ]
        seed = {"timesheet_submissions": [sheet], "time_entries": entries}
        control(self.stack.vendors.kantata.base_url, "POST", "seed", seed)
        held = [row for row in self.records("kantata", "time_entries") if int(row["id"]) > ENTRIES]
        nameless = ", ".join(str(row["date_performed"]) for row in held if not row.get("role_id"))
        minutes = sum(int(row["time_in_minutes"]) for row in held)
        self.say.print(
            f"  Kantata: Bram's {CUTOFF:%B} is approved, {count(len(held), 'day')} and {hours(minutes)} h; "
            f"the entry of {nameless} names no role"
        )

    # --- posting ----------------------------------------------------------------------------------------

    async def _post_and_repair(self, place: Place) -> None:
        first = await self._post("demo-1")
        rows = self._show_posted(place, "first posting")
        self.expect(len(rows) == len(DAYS), "the blocked line held up others")
        for held in first.held:
            self._show_held(held)
        blocked = [held.tally.items for held in first.held if held.cause is Cause.ROLE_MISSING]
        self.expect(blocked == [1], "the entry without a role is not held by itself")
        self._kantata("PUT", f"time_entries/{ENTRIES + FORGOTTEN}", {"time_entry": {"role_id": CONSULTANT}})
        self.say.print("  delivery names the role in Kantata; the next posting reads the change by itself")
        await self._post("demo-2")
        rows = self._show_posted(place, "second posting")
        self.expect(len(rows) == len(DAYS) + 1, "the repaired line was not posted")
        self.expect(len({row["externalId"] for row in rows}) == len(rows), "a line was posted twice")

    async def _post(self, name: str) -> SagaView:
        run = await start_run(self.client, self.starts.posting(PSA, ERP, name, through=CUTOFF, reason="demo"))
        return await self._until(run, SagaStatus.COMPLETE)

    def _show_posted(self, place: Place, when: str) -> list[Json]:
        """NetSuite's time entries of the project, and how many Kantata knows to be taken over."""
        rows = [row for row in self.records("netsuite", "timeBill") if row["customer"]["id"] == place.job]
        marks = self.records("kantata", "external_references")
        marked = sum(row["subject_type"] == "TimeEntry" for row in marks)
        self.say.print(
            f"  {when}: NetSuite has {count(len(rows), 'time entry', 'time entries')} of {place.code}, "
            f"{hours(sum(map(_worked, rows)))} h; Kantata marks {marked} as taken over"
        )
        return rows

    def _show_held(self, held: HeldItems) -> None:
        tally = held.tally
        effort = f", {hours(tally.minutes)} h" if tally.minutes else ""
        worth = f", {per_currency(tally.amounts)}" if tally.amounts else ""
        self.say.print(
            f"  held: {held.cause.value} ({held.queue.value}): {count(tally.items, 'item')}{effort}{worth}"
        )
        self.say.print(f"  remedy: {CATALOGUE[held.cause].remedy}")

    # --- billing ----------------------------------------------------------------------------------------

    async def _review_and_issue(self, ledger: Ledger, place: Place) -> str:
        self.say.print(f"  command: trueup start time-to-billing --cutoff {CUTOFF:%Y-%m}")
        run = await start_run(self.client, self.starts.cutoff(PSA, ERP, CUTOFF, reason="demo"))
        draft = await self._draft_of(ledger, place)
        group: Run = self.client.get_workflow_handle(draft.saga_id, result_type=SagaView)
        view = await self._until(group, SagaStatus.GATED)
        self._show_question(view.gates[0])
        await self._write_down(ledger, group, draft, view.gates[0].id)
        view = await self._until(group, SagaStatus.GATED, after=view.gates[0].id)
        self._show_question(view.gates[0])
        self.expect(not self._invoices(place, issued=True), "an invoice was issued before its review")
        await self._decide(group, view.gates[0].id, GateOutcome.APPROVE, "as agreed with the client")
        self.say.print("  decided: carla approves; the invoice is issued")
        view = await self._until(run, SagaStatus.COMPLETE)
        words = self._show_invoice(place)
        self.say.print(
            f"  look closer: trueup unbilled --by project; trueup close-check {CUTOFF:%Y-%m} --entity NL01"
        )
        self.say.print(f"  [green]{view.headline}[/green]")
        return words

    async def _draft_of(self, ledger: Ledger, place: Place) -> DocumentRow:
        """The contract's invoice, as soon as it is on its way."""

        async def look() -> DocumentRow | None:
            found = await ledger.documents(states=[one for one in DocumentState if one.is_open])
            return next((row for row in found if row.group.subject == place.contract.key), None)

        return await patiently(look, lambda: f"No invoice of {place.code} is begun")

    def _show_question(self, step: StepView) -> None:
        gate = step.gate
        assert gate is not None
        figures = ", ".join(f"{name} {told}" for name, told in gate.figures.items())
        self.say.print(f"  asked: {gate.question}")
        self.say.print(f"  figures: {figures}")

    async def _write_down(self, ledger: Ledger, group: Run, draft: DocumentRow, gate: str) -> None:
        """The reviewer gives up a part of one line before she approves the draft."""
        lines = await ledger.document_lines(draft.key)
        line = max((one for one in lines if one.item.line is not None), key=lambda one: one.item.work_date)
        given_up = Money(amount=GIVEN_UP, currency=line.allocation.amount.currency)
        down = LineDecision(
            allocation_key=line.allocation.key,
            action=LineAction.WRITE_DOWN,
            reason="the afternoon was our own training",
            amount=given_up,
        )
        edits = ReviewEdits(decisions=(down,)).model_dump(mode="json")
        await self._decide(group, gate, GateOutcome.AMEND, down.reason, edits)
        self.say.print(f"  decided: carla writes down {given_up} of {line.item.work_date}: {down.reason}")

    async def _decide(
        self, group: Run, gate: str, outcome: GateOutcome, reason: str, amendment: Json | None = None
    ) -> None:
        decision = GateDecision(
            command_id=f"demo-{gate}-{outcome.value}",
            step=gate,
            outcome=outcome,
            actor=self.reviewer,
            reason=reason,
            **({"amendment": amendment} if amendment is not None else {}),
        )
        await group.execute_update("decide", decision, result_type=SagaView)

    def _show_invoice(self, place: Place) -> str:
        """The invoice as NetSuite holds it."""
        own = self._invoices(place, issued=True)
        self.expect(len(own) == 1, f"NetSuite has {len(own)} issued invoices of {place.code} instead of one")
        if not own:
            return ""
        (invoice, *_) = own
        worked, fees = _applied(invoice, "time"), (invoice.get("item") or {}).get("items", [])
        net, currency = Decimal(str(invoice["subtotal"])), place.contract.currency
        table = Table(box=None, padding=(0, 2, 0, 2))
        for column, side in (("NetSuite invoice", "left"), ("lines", "left"), (currency, "right")):
            table.add_column(column, justify="right" if side == "right" else "left")
        table.add_row(str(invoice["tranId"]), count(len(worked), "day") + " worked", f"{_total(worked):,.2f}")
        table.add_row("", count(len(fees), "month") + " of managed service", f"{_total(fees):,.2f}")
        table.add_row("", "net", f"{net:,.2f}")
        self.say.print(table)
        agreed = Decimal(len(DAYS) + 1) * 8 * RATE + FEE - GIVEN_UP
        self.expect(net == agreed, f"the invoice's net is {net}, and not {agreed}")
        self.expect(net == _total(worked) + _total(fees), "the invoice's lines do not add up to its net")
        self.expect(len(worked) == len(DAYS) + 1, "not every day worked is on the invoice, once")
        return f"{invoice['tranId']}, {currency} {net:,.2f} net"

    def _invoices(self, place: Place, *, issued: bool) -> list[Json]:
        return [
            row
            for row in self.records("netsuite", "invoice")
            if (row.get("job") or {}).get("id") == place.job and (row["status"]["id"] == ISSUED) is issued
        ]

    # --- parts ------------------------------------------------------------------------------------------

    async def _until(self, run: Run, wanted: SagaStatus, *, after: str = "") -> SagaView:
        """Follow a run to a status; ``after`` is a gate that is decided already."""
        last = "no answer"

        async def look() -> SagaView | None:
            nonlocal last
            try:
                view: SagaView = await run.query("view", result_type=SagaView)
            except RPCError:
                return None
            last = f"{view.status.value}: {view.headline}"
            if view.status is wanted and after not in [gate.id for gate in view.gates]:
                return view
            if view.status is SagaStatus.PARKED or view.status.is_final:
                raise ConfigurationError([f"{run.id} is not where it should be ({last})."])
            return None

        return await patiently(look, lambda: f"{run.id} is not where it should be ({last})")

    def _kantata(self, method: str, path: str, body: Json) -> None:
        """Somebody works in Kantata."""
        answer = httpx.request(
            method,
            f"{self.stack.vendors.kantata.base_url}/api/v1/{path}",
            json=body,
            headers={"Authorization": f"Bearer {SECRETS['TRUEUP_KANTATA_TOKEN']}"},
            timeout=30,
            trust_env=False,
        )
        answer.raise_for_status()


async def patiently(look: Callable[[], Awaitable[T | None]], otherwise: Callable[[], str]) -> T:
    """What ``look`` finds, as soon as it finds something.

    Raises:
        ConfigurationError: it found nothing for ``PATIENCE``; in the words of ``otherwise``.
    """
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        if (found := await look()) is not None:
            return found
        await asyncio.sleep(0.1)
    raise ConfigurationError([f"{otherwise()} after {PATIENCE:.0f} s."])


def _worked(entry: Json) -> int:
    """Minutes of a NetSuite time entry, which says ``h:mm``."""
    whole, minutes = str(entry["hours"]).split(":")
    return int(whole) * 60 + int(minutes)


def _applied(invoice: Json, sublist: str) -> Sequence[Json]:
    return [line for line in (invoice.get(sublist) or {}).get("items", []) if line.get("apply")]


def _total(lines: Sequence[Json]) -> Decimal:
    return sum((Decimal(str(line["amount"])) for line in lines), Decimal(0))
