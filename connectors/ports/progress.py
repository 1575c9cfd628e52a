"""What revenue follow-up asks: of delivery how much is still to be worked, of an ERP to take the inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from canonical.failures import Finding
from canonical.operations import WriteContext
from canonical.progress import ContractProgress
from canonical.writes import VendorWrite
from connectors.ports.billing import BillingPort
from connectors.ports.delivery import DeliveryFeed
from connectors.ports.feedback import FeedbackPort


class EstimateFeed(DeliveryFeed, Protocol):
    """A delivery system that may know how much work its projects are."""

    async def estimates(self, projects: Sequence[str]) -> dict[str, int | None]:
        """Minutes of all of a project's work, done and still to be done, by project.

        None where nobody has estimated it, or not all of it; never a guess.
        """
        ...


class ErpProgressPort(BillingPort, FeedbackPort, Protocol):
    """An ERP that computes revenue from inputs which it is sent (rule 2)."""

    def progress_gaps(self, progress: ContractProgress) -> list[Finding]:
        """Why it cannot take these inputs: no place for them, or none for all of them together. Pure."""
        ...

    def plan_progress(self, context: WriteContext, progress: ContractProgress) -> list[VendorWrite]:
        """The inputs, where the ERP shows them. Without gaps only."""
        ...
