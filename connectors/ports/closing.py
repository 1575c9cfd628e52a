"""What closing a project may ask of connected systems, and re-opening one (rule 45).

Writes are planned and go through the effect executor. Their keys carry which closing of the contract it is:
the next one is another update of the same record (rule 10).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from canonical.delivered import DeliveredExpense, DeliveredTime
from canonical.operations import WriteContext
from canonical.project_closing import DealClosure, DeliveryClosure, ErpClosure, PortDelivery
from canonical.writes import VendorWrite
from connectors.ports import CrmPort, ErpPort, PsaPort


class DeliveryClosePort(PsaPort, Protocol):
    """A delivery system whose projects can be closed for time."""

    async def project_work(self, project_id: str) -> tuple[list[DeliveredTime], list[DeliveredExpense]]:
        """All time and expenses of a project as they are now, also when it is archived."""
        ...

    async def closing_reading(self, project_id: str) -> PortDelivery | None:
        """What of a project is not released; None when it is gone."""
        ...

    def plan_close(self, context: WriteContext, closure: DeliveryClosure) -> list[VendorWrite]:
        """Close it for time. An undo puts the former values back."""
        ...

    def plan_reopen(
        self, context: WriteContext, closure: DeliveryClosure, former: Mapping[str, Any]
    ) -> list[VendorWrite]:
        """Put back what it was before it was closed, in the vendor's fields."""
        ...


class ErpClosePort(ErpPort, Protocol):
    """An ERP whose projects can be closed."""

    def plan_close(self, context: WriteContext, closure: ErpClosure) -> list[VendorWrite]:
        """Close the project. An undo puts the former values back."""
        ...

    def plan_reopen(
        self, context: WriteContext, closure: ErpClosure, former: Mapping[str, Any]
    ) -> list[VendorWrite]:
        """Put back what it was before it was closed, in the vendor's fields."""
        ...


class CrmClosePort(CrmPort, Protocol):
    """A CRM that shows on a deal that its projects are closed."""

    def plan_project_status(self, context: WriteContext, closure: DealClosure) -> list[VendorWrite]:
        """Show it, or put back what was there before; nothing where the CRM has no field for it."""
        ...
