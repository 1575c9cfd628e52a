"""Inputs, outputs and activities of a change of rates: unbilled work is repriced, what is billed is proposed
(rules 7, 39).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from temporalio import activity

from activities.contracts.kernel import SagaRef, StartSaga
from canonical.base import Canonical
from canonical.money import Money
from canonical.rates import RateCard
from canonical.saga import GateRequest, Tally


class StartRateChange(StartSaga):
    """New rates of a contract, and what they change. ``system`` is the ERP, ``record_id`` the contract."""

    psa: str
    contract: str
    card: RateCard


class SetRates(Canonical):
    """New rates of a contract, to be in force from now on."""

    saga: SagaRef
    step: str
    contract: str
    card: RateCard
    reason: str = ""


class RatesSet(Canonical):
    """The version that is in force."""

    generation: int = 1
    version: int


class RepriceWork(Canonical):
    """Price a page of a contract's work at the rates in force."""

    saga: SagaRef
    step: str
    erp: str
    contract: str
    reason: str = ""
    after: int = 0
    limit: int = 500


class RepricedWork(Canonical):
    """What the rates changed on a page."""

    repriced: Tally
    """Unbilled work, with by how much its worth rose or fell."""
    further: Tally
    """Billed work that is worth more: kept back until somebody decides."""
    credits: tuple[str, ...] = ()
    """Invoices that billed too much."""
    busy: int = 0
    """Lines on invoices that are being issued just now: to be looked at again."""
    unpriced: int = 0
    """Lines for which the rates say nothing: they keep their price."""
    after: int | None = None


class ProposeDifference(Canonical):
    """What of a contract's billed work waits to be billed at a higher rate."""

    saga: SagaRef
    step: str
    contract: str
    reason: str = ""


class ProposedDifference(Canonical):
    """The question; None where nothing waits."""

    lines: int = 0
    net: Money | None = None
    review: GateRequest | None = None


class SettleDifference(Canonical):
    """Bill it, or give it up for good."""

    saga: SagaRef
    step: str
    contract: str
    bill: bool
    reason: str = ""


class SettledDifference(Canonical):
    """What became of it."""

    tally: Tally


class RateActivities(ABC):
    """What the ledger and the rules do for a change of rates; on the ledger's queue."""

    @activity.defn(name="rates.set")
    @abstractmethod
    async def set_rates(self, command: SetRates) -> RatesSet:
        """Register the run; put a contract's rates in force."""

    @activity.defn(name="rates.reprice")
    @abstractmethod
    async def reprice(self, command: RepriceWork) -> RepricedWork:
        """Give unbilled work its new worth; keep back what billed work is worth more."""

    @activity.defn(name="rates.propose")
    @abstractmethod
    async def propose_difference(self, command: ProposeDifference) -> ProposedDifference:
        """What is kept back, as a question."""

    @activity.defn(name="rates.settle")
    @abstractmethod
    async def settle_difference(self, command: SettleDifference) -> SettledDifference:
        """Let go what is kept back, or write it down."""
