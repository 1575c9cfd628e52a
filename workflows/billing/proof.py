"""Reading a document back until it is what we sent: an accepted write is not proof (rule 38)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from activities.contracts import InvoiceProof, MakeCredit, MakeInvoice, NothingToAmend
from canonical.causes import Cause, Queue
from canonical.failures import Failure, FailureKind
from canonical.names import system_queue
from canonical.saga import StepKind
from workflows.saga import Saga

PROVE, CHECK = "prove", "check"


async def proven(
    saga: Saga,
    title: str,
    method: Callable[[Any, Any], Awaitable[InvoiceProof]],
    command: MakeInvoice | MakeCredit,
) -> InvoiceProof:
    """The document as the ERP shows it, equal to ours. One that differs is parked until it is corrected."""
    differed = False
    while True:
        proof: InvoiceProof = await saga.step(
            PROVE,
            title,
            method,
            command,
            kind=StepKind.FORWARD_ONLY,
            queue=system_queue(command.system),
            system=command.system,
        )
        if not proof.differences:
            if differed:
                saga.settled(CHECK, "Compare with our lines")
            return proof
        differed = True
        await saga.hold(CHECK, "Compare with our lines", _differs(proof, command.system), NothingToAmend())
        saga.forget(PROVE)


def _differs(proof: InvoiceProof, system: str) -> Failure:
    """A document that the ERP shows otherwise than we sent it: somebody looks before it counts."""
    return Failure(
        kind=FailureKind.REPAIR,
        cause=Cause.NET_DIFFERS,
        message="; ".join(one.message for one in proof.differences),
        queue=Queue.BILLING,
        system=system,
        record=proof.record,
        remedy="Compare the lines with ours, correct the document in the ERP, then retry: it is read again.",
        maybe_landed=True,
        findings=proof.differences,
    )
