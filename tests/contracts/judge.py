"""Which vendor has which contract, and what no contract covers, kept in files beside this module."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from tests.contracts import kantata, netsuite, salesforce
from tests.contracts.exchanges import SPECS, Exchange, Verdict


class Contract(Protocol):
    """A specification, ready to be asked."""

    def judge(self, exchanges: Iterable[Exchange]) -> Verdict:
        """Hold exchanges against it."""
        ...


CONTRACTS: dict[str, Callable[[Path], Contract]] = {
    "salesforce": salesforce.Contract,
    "netsuite": netsuite.Contract,
    "kantata": kantata.Contract,
}
WRITE = "TRUEUP_WRITE_CONTRACTS"
"""Environment variable that makes a complete run write the lists of what is not covered."""


def missing(vendor: str) -> str | None:
    """Why nothing can be checked; None when the specification is there."""
    return None if (SPECS / vendor).is_dir() else f"no specification of {vendor} in TRUEUP_SPECS"


def judge(vendor: str, exchanges: Iterable[Exchange]) -> Verdict:
    """Hold a vendor's exchanges against its contract."""
    return CONTRACTS[vendor](SPECS).judge(exchanges)


def page(vendor: str) -> Path:
    """The list of what the vendor's contract does not cover."""
    return Path(__file__).with_name("not_covered") / f"{vendor}.txt"


def listed(vendor: str) -> set[str]:
    """What is known not to be covered."""
    return set(page(vendor).read_text().splitlines()) if page(vendor).is_file() else set()


def write(vendor: str, verdict: Verdict) -> None:
    """Write the list anew when the environment asks for it."""
    if os.environ.get(WRITE):
        page(vendor).parent.mkdir(exist_ok=True)
        page(vendor).write_text("".join(f"{line}\n" for line in sorted(verdict.uncovered)))
