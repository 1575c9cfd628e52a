"""``trueup demo``: six won deals carried through a simulated firm, faults and all, and a month of one of them
billed and paid, in a minute or two.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError

from canonical.failures import ConfigurationError
from canonical.saga import (
    GateDecision,
    GateOutcome,
    RepairAction,
    RepairCommand,
    SagaStatus,
    SagaView,
    StepState,
)
from cli.demo_act import DemoAct
from cli.demo_billing import BillingAct
from cli.demo_payment import PaymentAct
from cli.local import deals
from cli.local.deals import Deal
from cli.local.stack import Stack
from cli.simulators import control
from runtime.client import connect
from runtime.lifecycle import exit_now
from runtime.settings import Settings
from wiring.start import start, start_input
from wiring.systems import ConnectedSystems
from workflows.opportunity_to_project import OpportunityToProject

UI_OF_DEV = "http://localhost:8233"
"""Where ``trueup dev`` serves the Web UI."""
PATIENCE = 90.0
"""Seconds that one act may take before the demo says that something is wrong."""
CRM = "sf-main"
A = TypeVar("A", bound=DemoAct)


@dataclass
class Figures:
    """What the demo shows, for ``--json`` and the tests."""

    codes: dict[str, str] = field(default_factory=dict)
    invoices: dict[str, str] = field(default_factory=dict)
    paid: dict[str, str] = field(default_factory=dict)
    healed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0


class Demo:
    """The acts, one method each. Every claim it prints is read from the vendors' own records."""

    def __init__(self, stack: Stack, client: Client, settings: Settings, say: Console) -> None:
        self.stack = stack
        self.client = client
        self.settings = settings
        self.say = say
        self.mapping = ConnectedSystems(settings, None).mapping_digests()
        self.actor = settings.actor(next(iter(settings.actors)))
        self.figures = Figures()

    async def play(self) -> Figures:
        """All acts in order."""
        began = time.monotonic()
        await self.first_deal()
        await self.many_countries()
        await self.known_client()
        await self.missing_tax_registration()
        await self.cancelled_half_way()
        await self.lost_answer()
        await self.month_billed()
        await self.invoice_paid()
        self.show_mail()
        self.figures.seconds = round(time.monotonic() - began, 1)
        return self.figures

    # --- acts ----------------------------------------------------------------------------------------

    async def first_deal(self) -> None:
        """A deal becomes customer, contract, project and staffed plan."""
        self.act("1", "A closed-won deal in Salesforce becomes an active, staffed project")
        view = await self.carry(deals.NORTHWIND)
        self.show_steps(view)
        self.keep(deals.NORTHWIND, view)

    async def many_countries(self) -> None:
        """Three legal entities, three currencies, one without decimals; a credit decision on the way."""
        self.act(
            "2", "One deal, three selling entities, three currencies; finance reviews the new client's credit"
        )
        handle = await self.begin(deals.ATLAS)
        view = await self.until(handle, SagaStatus.GATED, SagaStatus.PARKED)
        for gate in view.gates:
            assert gate.gate is not None
            self.say.print(f"  asked: {gate.gate.question}")
            self.say.print(f"  figures: {', '.join(f'{k} {v}' for k, v in gate.gate.figures.items())}")
            _: Any = await handle.execute_update(
                OpportunityToProject.decide,
                GateDecision(
                    command_id=f"demo-{gate.id}",
                    step=gate.id,
                    outcome=GateOutcome.APPROVE,
                    actor=self.settings.actor("carla"),
                    reason="rated A by the credit bureau",
                ),
            )
            self.say.print("  decided: carla approves")
        view = await self.until(handle, *_ENDS)
        self.show_split(deals.ATLAS, view)
        self.keep(deals.ATLAS, view)

    async def known_client(self) -> None:
        """The client is in NetSuite already: linked by tax number, not created again."""
        self.act("3", "A client that finance already has is linked, not created again")
        before = len(self.records("netsuite", "customer"))
        view = await self.carry(deals.LUMEN)
        after = len(self.records("netsuite", "customer"))
        self.say.print(f"  customers in NetSuite: {before} before, {after} after")
        self.expect(before == after, "an existing client was created again")
        self.keep(deals.LUMEN, view)

    async def missing_tax_registration(self) -> None:
        """A finding parks the deal before the first write; the data is corrected; it goes on."""
        self.act("4", "Missing tax registration: nothing is written, the deal waits for a repair")
        writes = self.count_writes()
        handle = await self.begin(deals.HARBOUR)
        view = await self.until(handle, SagaStatus.PARKED, *_ENDS)
        for step in view.parked_steps:
            assert step.failure is not None
            for finding in step.failure.findings:
                self.say.print(f"  {finding.cause.value} ({finding.queue.value}): {finding.message}")
                self.say.print(f"  remedy: {finding.remedy}")
            self.say.print(
                f"  at stake: {step.failure.at_stake}; writes so far: {self.count_writes() - writes}"
            )
            self.say.print(f"  command: trueup resolve {view.saga_id} {step.id} --retry")
        self.expect(self.count_writes() == writes, "something was written before the findings were settled")
        change = {
            "type": "Account",
            "id": self.account_of(deals.HARBOUR),
            "fields": {"Tax_Id__c": "NL834567890B01"},
        }
        control(self.stack.vendors.salesforce.base_url, "POST", "change", change)
        self.say.print("  sales operations enters the number in Salesforce; the step is retried")
        _: Any = await handle.execute_update(
            OpportunityToProject.resolve_step,
            RepairCommand(
                command_id="demo-harbour",
                step="validate",
                action=RepairAction.RETRY,
                actor=self.actor,
                reason="tax registration entered",
            ),
        )
        view = await self.until(handle, *_ENDS, SagaStatus.PARKED)
        self.keep(deals.HARBOUR, view)
        self.figures.healed.append("missing tax registration: parked, corrected, completed")

    async def cancelled_half_way(self) -> None:
        """Cancelled while the delivery project is being built: nothing stays."""
        self.act("5", "Cancelled half way: everything is undone, in every system")
        before = self.census()
        slow = {"kind": "delay", "method": "POST", "path": "/stories", "delay_ms": 1500}
        control(self.stack.vendors.kantata.base_url, "POST", "faults", slow)
        handle = await self.begin(deals.QUARRY)
        await self.until_step(handle, "structure.")
        self.say.print(f"  half way: {_difference(before, self.census())}")
        await handle.cancel(reason="the client withdrew")
        view = await self.until(handle, *_ENDS)
        after = self.census()
        self.say.print(f"  {view.headline}")
        self.say.print(f"  left behind: {_difference(before, after) or 'nothing'}")
        self.say.print(f"  numbers used up, which stay gaps: {', '.join(view.gaps)}")
        self.expect(view.status is SagaStatus.UNDONE, f"the cancelled deal ended {view.status.value}")
        self.expect(before == after, "the cancelled deal left records behind")
        self.figures.healed.append("cancelled half way: nothing left in any system")

    async def lost_answer(self) -> None:
        """NetSuite commits the customer and its answer is lost: read back, not repeated."""
        self.act("6", "NetSuite's answer is lost after the commit: the record is found, not made twice")
        lost = {"kind": "drop_after", "method": "PUT", "path": "/customer/"}
        control(self.stack.vendors.netsuite.base_url, "POST", "faults", lost)
        view = await self.carry(deals.SABLE)
        named = [
            row
            for row in self.records("netsuite", "customer")
            if row.get("companyName") == deals.SABLE.account
        ]
        faults = control(self.stack.vendors.netsuite.base_url, "GET", "faults")
        fired = sum(int(fault["fired"]) for fault in faults)
        self.say.print(f"  answers lost: {fired}; customers named {deals.SABLE.account}: {len(named)}")
        self.expect(fired == 1 and len(named) == 1, "the lost answer made a duplicate")
        self.keep(deals.SABLE, view)
        self.figures.healed.append("lost answer after commit: 1 customer, no duplicate")

    async def month_billed(self) -> None:
        """A month of approved time becomes cost and an invoice; one line is repaired, the draft reviewed."""
        self.act("7", "A month of approved time becomes cost in NetSuite, then one reviewed invoice")
        act = self.part(BillingAct)
        self.figures.invoices[deals.LUMEN.name] = await act.play(self.figures.codes[deals.LUMEN.name])
        self.figures.healed.append(
            "an entry without a role: held by itself, corrected in Kantata, posted by the next run"
        )

    async def invoice_paid(self) -> None:
        """The invoice is paid in two parts, deal and project show it, one command prints the line."""
        self.act("8", "The client pays in two parts; the deal in Salesforce shows it without anybody asking")
        act = self.part(PaymentAct)
        paid = await act.play(deals.LUMEN, self.figures.codes[deals.LUMEN.name])
        self.figures.paid[deals.LUMEN.name] = paid

    def part(self, act: type[A]) -> A:
        """An act of its own, in the same firm."""
        places = (self.stack, self.client, self.settings, self.mapping, self.actor, self.say)
        return act(*places, self.records, self.expect)

    # --- moves ---------------------------------------------------------------------------------------

    async def carry(self, deal: Deal) -> SagaView:
        """Start a deal and follow it to its end."""
        return await self.until(await self.begin(deal), *_ENDS, SagaStatus.PARKED, SagaStatus.GATED)

    async def begin(self, deal: Deal) -> WorkflowHandle[OpportunityToProject, SagaView]:
        """Enter the deal in Salesforce and start its saga."""
        control(self.stack.vendors.salesforce.base_url, "POST", "seed", deal.seed())
        found = next(
            row for row in self.records("salesforce", "Opportunity") if str(row["Id"]).startswith(deal.id)
        )
        total = sum((line.amount for line in deal.lines), Decimal(0))
        self.say.print(f"  won: {deal.name}, {deal.currency} {total:,.2f}, account {deal.account}")
        command = start_input(
            self.settings, self.mapping, system=CRM, record_id=found["Id"], actor=self.actor, reason="demo"
        )
        return await start(self.client, command)

    async def until(
        self, handle: WorkflowHandle[OpportunityToProject, SagaView], *wanted: SagaStatus
    ) -> SagaView:
        """Follow a saga until it has one of the wanted states."""
        return await self._follow(handle, lambda view: view.status in wanted)

    async def until_step(
        self, handle: WorkflowHandle[OpportunityToProject, SagaView], prefix: str
    ) -> SagaView:
        """Follow a saga until a step whose id begins so is running."""

        def running(view: SagaView) -> bool:
            return any(s.id.startswith(prefix) and s.state is StepState.RUNNING for s in view.steps)

        return await self._follow(handle, running)

    async def _follow(
        self, handle: WorkflowHandle[OpportunityToProject, SagaView], done: Callable[[SagaView], bool]
    ) -> SagaView:
        give_up = time.monotonic() + PATIENCE
        view: SagaView | None = None
        while time.monotonic() < give_up:
            try:
                view = await handle.query(OpportunityToProject.view)
            except RPCError:
                await asyncio.sleep(0.3)
                continue
            if done(view):
                return view
            await asyncio.sleep(0.1)
        state = f"{view.status.value}: {view.headline}" if view else "no answer"
        raise ConfigurationError([f"{handle.id} is not where it should be after {PATIENCE:.0f} s ({state})."])

    # --- telling ---------------------------------------------------------------------------------------

    def act(self, number: str, title: str) -> None:
        """An act's heading."""
        self.say.print(f"\n[bold]{number}. {title}[/bold]")

    def show_steps(self, view: SagaView) -> None:
        """The records a deal became."""
        table = Table(box=None, padding=(0, 2, 0, 2))
        for column in ("step", "system", "records"):
            table.add_column(column)
        for step in view.steps:
            if step.records:
                records = ", ".join(f"{ref.type} {ref.id}" for ref in step.records)
                table.add_row(step.title, step.system or "", records)
        self.say.print(table)

    def show_split(self, deal: Deal, view: SagaView) -> None:
        """Engagement, contracts and codes, and that the split adds up to the deal."""
        orders = self.records("netsuite", "salesOrder")
        jobs = {str(job["id"]): job for job in self.records("netsuite", "job")}
        subsidiaries = {str(row["id"]): row["name"] for row in self.records("netsuite", "subsidiary")}
        currencies = {str(row["id"]): row["symbol"] for row in self.records("netsuite", "currency")}
        table = Table(box=None, padding=(0, 2, 0, 2))
        for column in ("contract of", "project code", "in contract currency", "in deal currency"):
            table.add_column(column, justify="right" if "currency" in column else "left")
        shares: dict[str, Decimal] = {}
        for line in deal.lines:
            currency = line.currency or deal.currency
            shares[currency] = shares.get(currency, Decimal(0)) + line.amount
        shown = Decimal(0)
        for code in view.codes.values():
            job = next(job for job in jobs.values() if job["entityId"] == code)
            order = next(order for order in orders if str(order["job"]["id"]) == str(job["id"]))
            symbol = currencies[str(order["currency"]["id"])]
            amount = Decimal(str(order["total"]))
            places = 0 if symbol == "JPY" else 2
            shown += shares[symbol]
            table.add_row(
                subsidiaries[str(order["subsidiary"]["id"])],
                code,
                f"{symbol} {amount:,.{places}f}",
                f"{deal.currency} {shares[symbol]:,.2f}",
            )
        total = sum((line.amount for line in deal.lines), Decimal(0))
        table.add_row("", "", "adds up to", f"{deal.currency} {shown:,.2f}")
        self.say.print(f"  engagement {view.project_code}: {len(view.codes)} contracts")
        self.say.print(table)
        self.expect(shown == total, "the split does not add up to the deal")

    def show_mail(self) -> None:
        """The PMO's messages."""
        messages = self.stack.mailbox.messages
        self.say.print(f"\n[bold]The PMO's mailbox has {len(messages)} messages; the first:[/bold]")
        if not messages:
            self.figures.problems.append("the PMO got no mail")
            return
        first = messages[0]
        self.say.print(f"  Subject: {first['Subject']}", markup=False)
        part = first.get_payload(0) if first.is_multipart() else first
        raw = part.get_payload(decode=True) if not isinstance(part, str) else part.encode()
        text = raw.decode() if isinstance(raw, bytes) else str(raw)
        for line in text.strip().splitlines()[:9]:
            self.say.print(f"  {line}", markup=False)

    def keep(self, deal: Deal, view: SagaView) -> None:
        """Note how a deal ended."""
        self.say.print(
            f"  [green]{view.headline}[/green]" if view.status is SagaStatus.COMPLETE else view.headline
        )
        self.expect(
            view.status is SagaStatus.COMPLETE, f"{deal.name} ended {view.status.value}: {view.headline}"
        )
        self.figures.codes[deal.name] = ", ".join(view.codes.values())

    def expect(self, holds: bool, otherwise: str) -> None:
        """A claim of the demo; one that does not hold makes it fail."""
        if not holds:
            self.figures.problems.append(otherwise)
            self.say.print(f"  [red]not as it should be: {otherwise}[/red]")

    # --- the vendors' own records ------------------------------------------------------------------------

    def records(self, vendor: str, type_: str) -> list[dict[str, Any]]:
        """A vendor's live records of a type."""
        url = getattr(self.stack.vendors, vendor).base_url
        rows: list[dict[str, Any]] = control(url, "GET", f"records?type={type_}")[type_]
        return rows

    def account_of(self, deal: Deal) -> str:
        """The account's 18-character id."""
        found = (row["Id"] for row in self.records("salesforce", "Account"))
        return next(str(id_) for id_ in found if str(id_).startswith(deal.account_id))

    def count_writes(self) -> int:
        """Writes that the vendors have accepted so far."""
        return sum(len(control(one.base_url, "GET", "writes")) for one in self.stack.vendors)

    def census(self) -> dict[str, int]:
        """Live records by type in finance and delivery; Kantata's feed of past events is no record."""
        found: dict[str, int] = {}
        for vendor in (self.stack.vendors.netsuite, self.stack.vendors.kantata):
            for type_, rows in control(vendor.base_url, "GET", "records").items():
                if type_ != "subscribed_events":
                    found[f"{vendor.simulator.name} {type_}"] = len(rows)
        return found


_ENDS = (SagaStatus.COMPLETE, SagaStatus.UNDONE, SagaStatus.FAILED, SagaStatus.UNDO_BLOCKED)


def _difference(before: dict[str, int], after: dict[str, int]) -> str:
    types = sorted(set(before) | set(after))
    return ", ".join(
        f"{after.get(one, 0) - before.get(one, 0):+d} {one}"
        for one in types
        if after.get(one, 0) != before.get(one, 0)
    )


async def run(stack: Stack, say: Console) -> Figures:
    """Start the firm, play all acts; the caller stops the stack."""
    say.print("[bold]Trueup: from a closed-won deal to a paid invoice, on this machine[/bold]")
    say.print(
        "Starting a Temporal server, simulated Salesforce, NetSuite and Kantata, mail, and a worker ..."
    )
    await stack.start()
    stack.add_worker()
    settings = stack.settings()
    return await Demo(stack, await connect(settings.temporal), settings, say).play()


def demo(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    keep: Annotated[Path | None, typer.Option(help="Keep logs and ledger in this folder.")] = None,
) -> None:
    """Carry six deals through a simulated firm, bill a month of one, have it paid; ends by itself."""
    folder = keep or Path(".trueup") / f"demo-{os.getpid()}"
    say = Console(file=sys.stderr if as_json else sys.stdout, highlight=False, quiet=as_json, soft_wrap=True)
    stack = Stack(folder.absolute(), ui=False)
    code = 0
    try:
        figures = asyncio.run(run(stack, say))
        code = 1 if figures.problems else 0
        _summary(figures, say, folder)
        if as_json:
            print(json.dumps({"message": "demo", "exit_code": code, **vars(figures)}))
    except ConfigurationError as wrong:
        for problem in wrong.problems:
            print(problem, file=sys.stderr)
        code = 1
    finally:
        stack.stop()
        if code == 0 and keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    exit_now(code)


def _summary(figures: Figures, say: Console, folder: Path) -> None:
    say.print(f"\n[bold]Carried through in {figures.seconds:.0f} s[/bold]")
    for name, codes in figures.codes.items():
        invoiced = f", invoice {figures.invoices[name]}" if name in figures.invoices else ""
        invoiced += ", paid" if name in figures.paid else ""
        say.print(f"  {name}: project code {codes}{invoiced}")
    say.print("[bold]Healed[/bold]")
    for one in figures.healed:
        say.print(f"  {one}")
    for problem in figures.problems:
        say.print(f"[red]Problem: {problem} (logs in {folder})[/red]")
    say.print(
        f"\nLook around: `make dev` plays this and stays up; the Temporal Web UI is then at {UI_OF_DEV}"
    )
