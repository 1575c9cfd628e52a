"""Contracts as agreed, from our own ledger: never kept, so that new terms and rates hold at once."""

from __future__ import annotations

from collections.abc import Iterable

from canonical.engagement import Contract
from canonical.rates import RateVersion
from ledger.rows import ContractVersionRow
from ledger.store import Ledger
from rules.placing import ContractFacts


class Terms:
    """Reads contracts."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._read: dict[str, tuple[str, Contract]] = {}

    async def of(self, keys: Iterable[str]) -> dict[str, ContractFacts]:
        """Contracts in force, with rates and opening positions, by key, as they are now."""
        rows = await self._ledger.latest_contracts(keys)
        rates = await self._ledger.latest_rates(rows)
        openings = await self._ledger.openings(rows)
        found: dict[str, ContractFacts] = {}
        for key, row in sorted(rows.items()):
            contract = self._contract(row)
            version = rates.get(key) or _rates_of(contract)
            found[key] = ContractFacts(contract, row.version, version, openings.get(key))
        return found

    def _contract(self, row: ContractVersionRow) -> Contract:
        """A version's terms. The same content is read once: it never changes."""
        known = self._read.get(row.contract_key)
        if known is None or known[0] != row.digest:
            known = self._read[row.contract_key] = (row.digest, Contract.model_validate(row.terms))
        return known[1]


def _rates_of(contract: Contract) -> RateVersion | None:
    """The rates that the contract was agreed with, where no version of them was kept apart."""
    card = contract.rate_card
    if card is None:
        return None
    return RateVersion(contract_key=contract.key, number=1, label=card.version, card=card)
