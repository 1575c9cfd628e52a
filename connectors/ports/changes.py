"""What a change order may ask of connected systems (rule 43).

Writes are planned and go through the effect executor. Their keys carry the version that the change makes: a
later change is another update (rule 10), the same one sent again is found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from canonical.change_orders import ContractScope, DeliveryChange, OrderChange
from canonical.engagement import Contract
from canonical.operations import WriteContext
from canonical.writes import VendorWrite
from connectors.ports import CrmPort, ErpPort, PsaPort


class ScopePort(CrmPort, Protocol):
    """A CRM that shows what its deals' contracts have become."""

    def plan_scope(self, context: WriteContext, scope: ContractScope, *, agreed: bool) -> list[VendorWrite]:
        """Show the scope on the deal.

        Args:
            context: the saga's step.
            scope: what to show.
            agreed: it is agreed, and not undone any more; else it is proposed, and an undo puts back what was
                there.
        """
        ...


class OrderChangePort(ErpPort, Protocol):
    """An ERP whose contracts change after approval."""

    async def line_places(self, contract: Contract, values: Mapping[str, str]) -> dict[str, str]:
        """Where the contract's lines stand in the ERP's own record, by line key.

        Raises:
            Refused: they cannot be told apart there.
        """
        ...

    def plan_hold(self, context: WriteContext, change: OrderChange) -> list[VendorWrite]:
        """Mark the contract as being changed; nothing where the ERP has no place for the mark."""
        ...

    def plan_change(self, context: WriteContext, change: OrderChange) -> list[VendorWrite]:
        """Lines with their revenue settings, billing schedules, terms and project, and the mark's end."""
        ...


class DeliveryChangePort(PsaPort, Protocol):
    """A delivery system whose projects change while they are open."""

    async def positions(self, project_id: str, roles: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Ids of a project's positions by role, staffed ones included."""
        ...

    def plan_change(self, context: WriteContext, change: DeliveryChange) -> list[VendorWrite]:
        """Budget, rates of positions, contract milestones."""
        ...
