"""Anything in any order: deals, repeated triggers, cancels, faults, kills, repairs; then records are counted.

Invariants: every saga ends complete, undone, or parked with a case; the vendors hold exactly what the
complete ones need, once; nothing was made without an effect row; nothing activated was undone; the audit
chain verifies.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from temporalio.client import WorkflowHandle
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from cli.local import deals
from cli.local.deals import Deal
from tests.chaos import vendors
from tests.chaos.deals import YEN, copy
from tests.chaos.firm import LEDGER, SYSTEMS, ChaosFirm, Zygote
from tests.chaos.nodes import Node, graph
from tests.chaos.oracle import Oracle
from tests.chaos.verdict import compare
from wiring.ledger import open_ledger

T = TypeVar("T")
PATTERNS = (deals.NORTHWIND, YEN, deals.LUMEN)
WRITES = (
    ("netsuite", "PUT", "/customer/"),
    ("netsuite", "PUT", "/job/"),
    ("netsuite", "PUT", "/salesOrder/"),
    ("netsuite", "POST", "/billingSchedule"),
    ("netsuite", "PATCH", "/salesOrder/"),
    ("netsuite", "DELETE", "/"),
    ("kantata", "POST", "/workspaces"),
    ("kantata", "POST", "/stories"),
    ("kantata", "PUT", "/workspace_resources/"),
    ("kantata", "DELETE", "/"),
    ("salesforce", "PATCH", "/Opportunity/"),
)
FAULTS = ("drop_after", "drop_before", "error_before", "error_after", "reset_mid_body", "business")
SHARED = ("customer", "customerSubsidiaryRelationship", "workspace_groups")
END = 90.0
EXAMPLES = int(os.environ.get("TRUEUP_CHAOS_EXAMPLES", "2"))
"""Sequences to try; more of them, and random ones, when it is set."""
pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(300 + 60 * EXAMPLES)]


def is_shared(node: Node) -> bool:
    """Records that all deals of a client share."""
    return node.kind in SHARED or node.name.endswith("/ ensure_group")


class Firm(RuleBasedStateMachine):
    """One firm for all examples; every example has deals of its own."""

    loop: asyncio.AbstractEventLoop
    firm: ChaosFirm
    numbers: Iterator[int]

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the firm's loop."""
        return self.loop.run_until_complete(work)

    @initialize()
    def open_for_business(self) -> None:
        """Remember what the vendors hold."""
        self.before = self.do(self.firm.records())
        self.deals: list[Deal] = []
        self.sagas: list[WorkflowHandle[Any, Any]] = []
        self.passed: set[str] = set()

    @precondition(lambda self: len(self.deals) < 4)
    @rule(pattern=st.sampled_from(PATTERNS), same_client=st.booleans())
    def win(self, pattern: Deal, same_client: bool) -> None:
        """A deal is won; sometimes the second one of a client."""
        deal = copy(pattern, next(self.numbers))
        known = [one for one in self.deals if one.entity == deal.entity and one.account_number is None]
        if same_client and known:
            first = known[0]
            deal = replace(
                deal,
                account_number=first.number,
                account=first.account,
                tax_number=first.tax_number,
                country=first.country,
                city=first.city,
            )
        self.do(self.firm.seed(deal))
        self.deals.append(deal)
        self.sagas.append(self.do(self.firm.start(deal)))

    @precondition(lambda self: self.deals)
    @rule(data=st.data())
    def trigger_again(self, data: st.DataObject) -> None:
        """The event comes twice, or the poll finds the deal too."""
        deal = data.draw(st.sampled_from(self.deals))
        try:
            again = self.do(self.firm.start(deal))
        except WorkflowAlreadyStartedError:
            return
        self.sagas[self.deals.index(deal)] = again

    @precondition(lambda self: self.sagas)
    @rule(data=st.data(), after=st.floats(0, 1.5))
    def cancel(self, data: st.DataObject, after: float) -> None:
        """Somebody changes their mind."""
        saga = data.draw(st.sampled_from(self.sagas))
        self.do(asyncio.sleep(after))
        self._note_pivot(saga)
        try:
            self.do(saga.cancel())
        except RPCError:
            return  # it has ended

    @rule(spot=st.sampled_from(WRITES), kind=st.sampled_from(FAULTS), skip=st.integers(0, 2))
    def go_wrong(self, spot: tuple[str, str, str], kind: str, skip: int) -> None:
        """A vendor will misbehave once."""
        vendor, method, path = spot
        fault = {"kind": kind, "method": method, "path": path, "skip": skip, "times": 1}
        self.do(self.firm.control(vendor, "POST", "faults", fault))

    @rule(role=st.sampled_from((SYSTEMS, LEDGER)))
    def kill(self, role: str) -> None:
        """A worker process dies."""
        self.do(self.firm.kill_and_restart(role))

    def _note_pivot(self, saga: WorkflowHandle[Any, Any]) -> None:
        if self.do(self.firm.view(saga))["pivot_passed"]:
            self.passed.add(saga.id)

    def teardown(self) -> None:
        """Let everything come to its end, repair what is parked, count."""
        if not getattr(self, "sagas", None):
            return
        ends = [self.do(self._end(saga)) for saga in self.sagas]
        assert set(ends) <= {"complete", "undone"}, ends
        seen = vendors.change(self.before, self.do(self.firm.records()))
        wanted: Counter[Node] = Counter()
        shared: set[Node] = set()
        for deal, saga, end in zip(self.deals, self.sagas, ends, strict=True):
            assert end == "complete" or saga.id not in self.passed, (
                f"{saga.id} was undone after its activation"
            )
            if end == "complete":
                nodes = self._expected(deal)
                shared.update(node for node in nodes if is_shared(node))
                wanted.update(node for node in nodes if not is_shared(node))
        assert compare([*wanted.elements(), *shared], graph(seen)).problems == []
        told = {id_[:15] for _, kind, id_, _ in seen.changed if kind == "Opportunity"}
        assert told <= {d.id for d in self.deals}
        self._judge_books()

    def _expected(self, deal: Deal) -> list[Node]:
        base = self.before
        seed = deal.seed()
        if deal.account_number is not None:
            first = next(one for one in self.deals if one.number == deal.account_number)
            seed["Account"] = first.seed()["Account"]
        return Oracle(self.firm.stack.config, base, seed).expected()

    async def _end(self, saga: WorkflowHandle[Any, Any]) -> str:
        for _ in range(6):
            end = await self.firm.settle(saga, END)
            if end not in ("parked", "undo-blocked"):
                return end
            assert self.firm.cases(saga.id), f"{end} without a case"
            await self.firm.no_faults()
            await self.firm.retry_parked(saga)
        return end

    def _judge_books(self) -> None:
        """Nothing was made at a vendor without an effect row; the audit chain is whole."""
        with sqlite3.connect(f"file:{self.firm.folder}/ledger.db?mode=ro", uri=True, timeout=10) as database:
            rows = database.execute("SELECT record_type, landed, undo_outcome FROM effect").fetchall()
        database.close()
        known = {(kind, json.loads(landed)["id"]) for kind, landed, _ in rows if landed and landed != "null"}
        for _, _, outcome in rows:
            ref = (json.loads(outcome) if outcome else None) or {}
            if ref.get("ref"):
                known.add((ref["ref"]["type"], ref["ref"]["id"]))
        for vendor in self.firm.urls:
            for write in self.do(self.firm.control(vendor, "GET", "writes")):
                if write["operation"] == "create":
                    assert (write["type"], str(write["id"])) in known, f"{vendor} {write}"

        async def verify() -> list[str]:
            ledger = await open_ledger(self.firm.settings)
            try:
                return await ledger.verify()
            finally:
                await ledger.close()

        assert self.do(verify()) == []


def test_anything_in_any_order(tmp_path: Path) -> None:
    loop = asyncio.new_event_loop()
    zygote = Zygote()
    firm = ChaosFirm(tmp_path, zygote)
    try:
        loop.run_until_complete(firm.open())
        machine = type("Machine", (Firm,), {"loop": loop, "firm": firm, "numbers": iter(range(20, 990))})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=7,
                deadline=None,
                derandomize="TRUEUP_CHAOS_EXAMPLES" not in os.environ,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        loop.run_until_complete(firm.close())
        zygote.stop()
        loop.close()
