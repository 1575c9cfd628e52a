"""One scenario in one firm: what people, vendors and machines do, one move after another.

Every move takes plain JSON, so that a scenario is a list of ``[name, arguments]`` which can be generated,
printed, kept in a file and played again. A move that makes no sense at the moment does nothing.
"""

from __future__ import annotations

import asyncio
import copy
import json
import os
import signal
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from cli.local import deals
from cli.local.config import SECRETS
from cli.local.deals import Deal, Line, Seed
from tests.chaos import hostclock, vendors
from tests.chaos.deals import AWKWARD, HARBOUR_TAX, YEN
from tests.chaos.deals import copy as fresh
from tests.chaos.firm import QUICK, SYSTEMS, ChaosFirm
from tests.support.resetting import reset_to_the_beginning

RETRY = QUICK + "\ngate_reminder = 2\nrenew_after = 6"
"""Days become seconds: a parked saga is reminded of and continues as new while the scenario runs."""
LAG = 0.25
"""Seconds that a vendor's search may lag behind, as the firm is told; late commits keep within it."""
REST = 8.0
"""Seconds that a move waits for a saga to come to rest before it does without."""
DAY = 86_400

SHAPES: dict[str, Deal] = {
    "plain": deals.NORTHWIND,
    "yen": YEN,
    "known": deals.LUMEN,
    "credit": AWKWARD,
    "unsigned": replace(deals.NORTHWIND, sow_signed=None),
    "terms": replace(deals.NORTHWIND, terms="Net 99"),
    "taxless": deals.HARBOUR,
    "licence": replace(deals.NORTHWIND, lines=(Line("LIC", "10", "900"),)),
    "group": replace(
        deals.ATLAS,
        lines=(
            Line("ADV", "20", "150", entity="NL01", region="emea"),
            Line("IMPL", "1", "95000.55", entity="UK01", region="uki", currency="GBP", rate="0.8612"),
        ),
    ),
}
"""Deals by what is special about them: gates, findings, currencies, a parent, an existing client, nothing."""
SHARING = ("plain", "unsigned", "terms")
"""Shapes that may be another deal of a client that the scenario has already: same entity and currency."""
CHANGES = ("rename", "reprice", "postpone", "drop_line", "lose", "win_back")
ACTIONS = ("retry", "retry_amended", "retry_current_mapping", "skip", "undo_all")
SKIPPABLE = ("write-back", "open")
"""Steps after the pivot that a person can do by hand: the deal gets no codes, a project stays prepared."""

Move = tuple[str, dict[str, Any]]


@dataclass
class Won:
    """One deal of the scenario and its saga."""

    deal: Deal
    shape: str
    account: str
    seed: Seed
    """What the CRM holds of it now."""
    saga: WorkflowHandle[Any, Any]
    versions: list[tuple[int, Seed]] = field(default_factory=list)
    """Every state of it with the number of calls that the CRM had had by then."""
    end: str = ""
    """How its saga ended, before it was started again to see whether it refuses."""
    terms: str | None = None
    """Payment terms that a repair has put in, for this run."""
    skipped: set[str] = field(default_factory=set)
    by_hand: set[tuple[str, str]] = field(default_factory=set)
    """Records whose undo a person has taken over: (type, id)."""

    @property
    def id(self) -> str:
        """The deal's 18-character id."""
        return self.deal.id + "AAA"

    def row(self, kind: str = "Opportunity") -> dict[str, Any]:
        """Its first record of a type, in the CRM's JSON."""
        return self.seed[kind][0]


class World:
    """A scenario under way."""

    def __init__(self, firm: ChaosFirm, numbers: Iterator[int]) -> None:
        self.firm, self.numbers = firm, numbers
        self.won: list[Won] = []
        self.trace: list[Move] = []
        self.loose = False
        """Whether a read of the deal may have been answered long after it was asked."""
        self.broken: list[str] = []
        """Moves that could not be made at all: the scenario proves nothing from there on."""
        self.unplayed = False
        """Whether the scenario could not be played or judged: the machine was not up to it."""
        self.latest = 0.0
        """Seconds after which the slowest call of the scenario has been carried out."""

    async def open(self) -> World:
        """Remember what the vendors hold."""
        self.before = await self.firm.records()
        self.marks = {v: len(await self.firm.control(v, "GET", "writes")) for v in self.firm.urls}
        return self

    async def play(self, name: str, **arguments: Any) -> None:
        """Make one move.

        Raises:
            ValueError: there is no such move.
        """
        move = getattr(self, f"move_{name}", None)
        if move is None:
            raise ValueError(f"no move {name!r}")
        self.trace.append((name, arguments))
        if self.broken:
            return
        try:
            await move(**arguments)
        except Exception as error:
            self.broken.append(f"{name} {arguments} could not be made: {type(error).__name__}: {error}")

    def _pick(self, which: int) -> Won | None:
        return self.won[which % len(self.won)] if self.won else None

    # --- sales --------------------------------------------------------------------------------------

    async def move_win(self, shape: str, client: bool) -> None:
        """A deal is won; sometimes another one of a client."""
        deal = fresh(SHAPES[shape], next(self.numbers))
        if shape == "taxless":
            deal = replace(deal, tax_number=None)
        known = [one for one in self.won if one.shape in SHARING] if shape in SHARING and client else []
        if known:
            first = known[0].deal
            deal = replace(
                deal,
                account_number=first.number,
                account=first.account,
                tax_number=first.tax_number,
                country=first.country,
                city=first.city,
            )
        await self.firm.seed(deal)
        seed = copy.deepcopy(deal.seed())
        if known:
            seed["Account"] = known[0].seed["Account"]
        won = Won(deal, shape, deal.account_id, seed, await self.firm.start(deal))
        self.won.append(won)
        await self._version(won)

    async def move_trigger(self, which: int) -> None:
        """The event comes twice, or the poll finds the deal too."""
        won = self._pick(which)
        if won is None:
            return
        over = await self.firm.status(won.saga) == "closed"
        try:
            won.saga = await self.firm.start(won.deal)
        except WorkflowAlreadyStartedError:
            return
        if over:
            won.terms = None
            won.skipped.clear()
            won.by_hand.clear()

    async def move_change(self, which: int, what: str) -> None:
        """Sales edits the deal while its saga runs (rule 17)."""
        won = self._pick(which)
        if won is None:
            return
        lines = won.seed["OpportunityLineItem"]
        match what:
            case "rename":
                await self._edit(won, "Opportunity", {"Name": f"{won.deal.name} v{len(won.versions)}"})
            case "reprice":
                price = float(lines[0]["UnitPrice"]) + 1000
                await self._edit(won, "OpportunityLineItem", {"UnitPrice": price})
            case "postpone":
                await self._edit(won, "OpportunityLineItem", {"End_Date__c": "2027-08-31"})
            case "drop_line" if len(lines) > 1:
                await self._drop_line(won)
            case "lose":
                await self._edit(won, "Opportunity", {"StageName": "Closed Lost"})
            case "win_back":
                await self._edit(won, "Opportunity", {"StageName": "Closed Won"})

    async def _edit(self, won: Won, kind: str, fields: dict[str, Any]) -> None:
        row = won.row(kind)
        if all(row.get(name) == value for name, value in fields.items()):
            return
        order = {"type": kind, "id": row["Id"] + "AAA", "fields": fields}
        await self.firm.control(vendors.SALESFORCE, "POST", "change", order)
        row.update(fields)
        await self._version(won)

    async def _drop_line(self, won: Won) -> None:
        url = self.firm.urls[vendors.SALESFORCE]
        form = {
            "grant_type": "client_credentials",
            "client_id": SECRETS["TRUEUP_SALESFORCE_ID"],
            "client_secret": SECRETS["TRUEUP_SALESFORCE_SECRET"],
        }
        line = won.seed["OpportunityLineItem"][-1]["Id"]
        try:
            token = (await self.firm.http.post(f"{url}/services/oauth2/token", data=form)).json()
            path = f"{url}/services/data/v64.0/sobjects/OpportunityLineItem/{line}"
            headers = {"Authorization": f"Bearer {token['access_token']}"}
            answer = await self.firm.http.delete(path, headers=headers)
        except Exception:
            return  # the CRM misbehaves towards people too; what they did not see done they leave
        if answer.status_code == 204:
            won.seed["OpportunityLineItem"].pop()
            await self._version(won)

    async def _version(self, won: Won) -> None:
        calls = await self.firm.control(vendors.SALESFORCE, "GET", "calls")
        won.versions.append((len(calls["calls"]), copy.deepcopy(won.seed)))

    # --- operators ----------------------------------------------------------------------------------

    async def move_cancel(self, which: int, after: float) -> None:
        """Somebody changes their mind."""
        won = self._pick(which)
        if won is None:
            return
        await asyncio.sleep(after)
        try:
            await self.firm.client.get_workflow_handle(won.saga.id).cancel()
        except RPCError:
            return  # it has ended

    async def move_decide(self, which: int, outcome: str) -> None:
        """Somebody decides at a gate, if one is open."""
        won = self._pick(which)
        if won is None or await self.rest_of(won) != "gated":
            return
        for step in (await self.firm.view(won.saga))["steps"]:
            if step["state"] == "gated":
                decision = {
                    "command_id": uuid.uuid4().hex,
                    "step": step["id"],
                    "outcome": outcome,
                    "actor": {"name": "carla", "roles": list(step["gate"]["roles"])},
                    "reason": "looked at it",
                    "choice": next(iter(step["gate"]["choices"]), None),
                }
                await self._update(won, "decide", decision)

    async def move_repair(self, which: int, action: str) -> None:
        """An operator decides about what is parked, if anything is. Refusals change nothing."""
        won = self._pick(which)
        if won is None or await self.rest_of(won) not in ("parked", "undo-blocked"):
            return
        for step in (await self.firm.view(won.saga))["steps"]:
            if step["state"] not in ("parked", "undo-blocked"):
                continue
            command = {
                "command_id": uuid.uuid4().hex,
                "step": step["id"],
                "action": action,
                "actor": {"name": "olga", "roles": ["integration"]},
                "reason": "decided",
            }
            if action == "retry_amended":
                command["amended_input"] = {"deal": {"payment_terms": "Net 45"}}
            if action == "skip":
                command["result"] = {}
            survivors = {(one["type"], one["id"]) for one in (step["failure"] or {}).get("survivors", ())}
            named = step["id"].split(".")[0]
            if action == "skip" and step["state"] == "parked" and named not in SKIPPABLE:
                continue  # a person can do only these by hand without telling the saga any ids
            if not await self._update(won, "resolve_step", command):
                continue
            if action == "retry_amended" and step["id"] == "validate":
                won.terms = "Net 45"
            if action == "skip":
                won.skipped.add(step["id"])
                won.by_hand |= survivors if step["state"] == "undo-blocked" else set()

    async def _update(self, won: Won, name: str, command: dict[str, Any]) -> bool:
        try:
            await won.saga.execute_update(name, command, result_type=dict)
        except (WorkflowUpdateFailedError, RPCError):
            return False
        return True

    async def move_renew(self, which: int) -> None:
        """A saga that waits for a person is moved to current code: it continues as new."""
        won = self._pick(which)
        if won is not None and await self.rest_of(won) in ("parked", "gated"):
            await self._update_renew(won)

    async def _update_renew(self, won: Won) -> None:
        try:
            await self.firm.renew(won.saga)
        except (WorkflowUpdateFailedError, RPCError, RuntimeError):
            return  # it went on by itself meanwhile

    async def move_reset(self, which: int) -> None:
        """An operator resets a run to its beginning: another run does everything again, with the same keys.

        Also after the activation, of which a run that begins anew knows nothing: it may be cancelled, and the
        ledger must see that nothing is undone any more.
        """
        won = self._pick(which)
        if won is None or await self.firm.status(won.saga) == "closed":
            return
        try:
            made = await reset_to_the_beginning(self.firm.client, won.saga.id)
        except RPCError:
            return
        if made is not None:
            won.terms = None

    # --- vendors and machines -----------------------------------------------------------------------

    async def move_fault(self, vendor: str, method: str, path: str, kind: str, skip: int, ms: int) -> None:
        """A vendor will misbehave once."""
        fault: dict[str, Any] = {"kind": kind, "method": method, "path": path, "skip": skip, "times": 1}
        fault["delay_ms"] = ms
        if kind == "rate_limit":
            fault["retry_after"] = 1
        if kind in ("delay", "delay_after", "slow_commit"):
            self.latest = max(self.latest, ms / 1000)
            self.loose |= vendor == vendors.SALESFORCE
        await self.firm.control(vendor, "POST", "faults", fault)

    async def move_outage(self, vendor: str, seconds: float) -> None:
        """A vendor is away for a while."""
        await self.firm.control(vendor, "POST", "settings", {"away": True})
        await asyncio.sleep(seconds)
        await self.firm.control(vendor, "POST", "settings", {"away": False})

    async def move_kill(self, role: str) -> None:
        """A worker process dies."""
        await self.firm.kill_and_restart(role)

    async def move_freeze(self, seconds: float) -> None:
        """One of two worker processes stands still while the other one takes over, and wakes up once more."""
        self.loose = True
        old = self.firm.pids[SYSTEMS]
        await self.firm.start_worker(SYSTEMS)
        os.kill(old, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        os.kill(old, signal.SIGCONT)
        await asyncio.sleep(0.4)
        os.kill(old, signal.SIGKILL)

    async def move_vendor_clock(self, vendor: str, seconds: float) -> None:
        """A vendor's clock is off: its stamps, and what it thinks of our assertions."""
        await self._set_clock(vendor, seconds)

    async def move_host_clock(self, seconds: float) -> None:
        """The clock of the workers' host is stepped, under running calls and leases."""
        hostclock.step(self.firm.folder, self._days() + seconds)

    async def move_night(self) -> None:
        """A day passes over everything that is at rest: leases, tokens and certificates are old after it."""
        for won in self.won:
            if (await self.rest_of(won)).startswith("hung"):
                return
        self.firm.days += 1
        hostclock.step(self.firm.folder, self._days())
        for vendor in self.firm.urls:
            await self._set_clock(vendor, 0)

    def _days(self) -> float:
        return float(self.firm.days * DAY)

    async def _set_clock(self, vendor: str, seconds: float) -> None:
        await self.firm.control(vendor, "POST", "clock", {"offset_seconds": self._days() + seconds})

    async def move_breathe(self, seconds: float) -> None:
        """Nothing happens for a moment."""
        await asyncio.sleep(seconds)

    # --- to the end ---------------------------------------------------------------------------------

    async def rest_of(self, won: Won, seconds: float = REST) -> str:
        """Where a saga has come to rest: ``gated``, ``parked``, ``undo-blocked``, a final status, or hung."""
        return await self.firm.settle(won.saga, seconds, approve=False)

    async def calm(self) -> None:
        """All causes are gone."""
        await self.firm.no_faults()
        await self.firm.control(vendors.KANTATA, "DELETE", "revoked")
        hostclock.step(self.firm.folder, self._days())
        for vendor in self.firm.urls:
            await self.firm.control(vendor, "POST", "settings", {"away": False})
            await self._set_clock(vendor, 0)

    async def mend(self, won: Won) -> None:
        """Sales and finance correct what keeps a deal from passing validation."""
        if won.shape == "terms" and won.terms is None:
            await self._edit(won, "Opportunity", {"Payment_Terms__c": "Net 45"})
        if won.shape == "taxless" and won.seed.get("Account"):
            tax = f"{HARBOUR_TAX[:2]}{800_000_000 + won.deal.number * 7919}B01"
            await self._edit(won, "Account", {"Tax_Id__c": tax})


def line(moves: Sequence[Move]) -> str:
    """A scenario as one line of JSON for a file of pinned ones."""
    return json.dumps([[name, arguments] for name, arguments in moves])
