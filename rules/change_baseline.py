"""Do delivery systems hold what a change order results in? In canonical words, before it is agreed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from canonical.causes import Cause
from canonical.engagement import Contract
from canonical.failures import Finding
from canonical.money import total
from canonical.operations import PsaBaseline, project_symbol
from rules.change_impact import lines_of
from rules.findings import finding


def budget_differences(after: Contract, held: PsaBaseline, values: Mapping[str, str]) -> Iterator[Finding]:
    """Where a delivery project is not the one agreed. How the work is done there is delivery's own."""
    nothing = after.amount - after.amount
    agreed: dict[str, tuple[object, object]] = {
        "project code": (values.get(f"{project_symbol(after.key)}.code"), held.project_code),
        "currency": (after.currency, held.currency),
        "budget": (
            total([nothing, *(line.amount for line in lines_of(after, held.delivery_key))]).amount,
            held.budget.amount,
        ),
    }
    for field, (wanted, found) in agreed.items():
        if wanted != found:
            yield finding(
                Cause.BASELINE_DIFFERS,
                f"Project {held.ref.id} in {held.ref.system}: {field} is {found}, agreed is {wanted}.",
                record=held.ref,
                field=field,
            )
