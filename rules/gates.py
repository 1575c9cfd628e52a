"""Decisions that a person makes before anything is set up (rules 13, 21)."""

from __future__ import annotations

from collections.abc import Sequence

from canonical.firm import Firm, GatePolicy
from canonical.money import Money
from canonical.opportunity import Opportunity
from canonical.parties import Client, ClientCandidate
from canonical.saga import GateOutcome, GateRequest


def gates_for(deal: Opportunity, firm: Firm, new_clients: Sequence[Client]) -> list[GateRequest]:
    """Gates of an opportunity-to-project saga: unsigned SOW, credit review of a new client."""
    gates = []
    policies = firm.policies
    unsigned = deal.sow is None or deal.sow.signed_on is None
    if policies.sow_required and unsigned and policies.sow_gate is not None:
        number = deal.sow.number if deal.sow and deal.sow.number else "not recorded"
        gates.append(
            GateRequest(
                gate="sow-signature",
                step="gate.sow",
                title="Statement of work not signed",
                question="May the project be set up before the statement of work is signed?",
                figures={"Deal": deal.name, "Value": str(deal.amount), "SOW": number},
                roles=roles_for(policies.sow_gate, deal.amount),
                amount=deal.amount,
                requester=deal.owner_email,
            )
        )
    review = policies.credit_review
    if review is not None and new_clients and deal.amount is not None and deal.amount.amount > review.above:
        gates.append(
            GateRequest(
                gate="credit-review",
                step="gate.credit",
                title="Credit review of a new client",
                question="May this client be created in finance and be sold to on these terms?",
                figures={
                    "Client": ", ".join(client.name for client in new_clients),
                    "Value": str(deal.amount),
                    "Payment terms": deal.payment_terms or policies.default_payment_terms or "none",
                },
                roles=roles_for(review, deal.amount),
                amount=deal.amount,
                requester=deal.owner_email,
            )
        )
    return gates


def choice_gate(
    client: Client, system: str, options: Sequence[ClientCandidate], firm: Firm, amount: Money | None
) -> GateRequest:
    """Which existing customer is this client, or is it a new one?"""
    policy = firm.policies.client_choice
    choices = {
        option.ref.id: f"{option.name}: {', '.join(option.evidence)}"
        + (" (inactive)" if option.inactive else "")
        for option in options
    }
    return GateRequest(
        gate="client-choice",
        step=choice_step(system, client.key),
        title=f"Which customer in {system} is {client.name}?",
        question=f"{len(options)} existing customer(s) could be {client.name}. Choose one, or 'new'.",
        figures={"Account": client.key, "City": client.address.city or "unknown"},
        roles=policy.roles if policy else (),
        amount=amount,
        options=(GateOutcome.APPROVE, GateOutcome.REJECT),
        choices={**choices, "new": "none of these: create a new customer"},
    )


def choice_step(system: str, client_key: str) -> str:
    """Step id of a client choice; also the key under which the choice is handed on."""
    return f"choose-client.{system}.{client_key}"


def roles_for(policy: GatePolicy, amount: Money | None) -> tuple[str, ...]:
    """Who may decide: above the limit only the senior roles."""
    if (
        policy.limit is not None
        and amount is not None
        and amount.amount > policy.limit
        and policy.senior_roles
    ):
        return policy.senior_roles
    return policy.roles
