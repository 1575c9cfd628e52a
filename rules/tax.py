"""Tax inputs before an invoice, net amounts after it (rule 38). Tax itself is the ERP's."""

from __future__ import annotations

from collections.abc import Iterator

from canonical.causes import Cause
from canonical.engagement import Contract
from canonical.erp_billing import InvoiceReading
from canonical.failures import Finding
from canonical.invoicing import InvoicePlan
from canonical.money import Money
from canonical.parties import Client, LegalEntity
from rules.findings import finding

REVERSE_CHARGE = "reverse_charge"
EXEMPT = "exempt"
"""Words of ``Contract.tax_treatment`` that need proof of their own; every other word is the ERP's code."""


def tax_inputs(contract: Contract, client: Client, seller: LegalEntity) -> Iterator[Finding]:
    """What the ERP needs to determine tax: place of supply, registrations, exemption, reverse charge."""
    who = f"Client {client.name} of contract {contract.key}"
    country = client.address.country
    if country is None:
        yield finding(
            Cause.TAX_INPUT_MISSING, f"{who} has no country, so no place of supply.", record=client.ref
        )
    if contract.tax_treatment == EXEMPT:
        if not any(document.kind == "tax_exemption" for document in contract.documents):
            yield finding(
                Cause.TAX_INPUT_MISSING,
                f"{who} is exempt, and no exemption certificate is recorded on the contract.",
                record=client.ref,
            )
        return
    registered = {one.country for one in client.tax_registrations if one.number.strip()}
    if contract.tax_treatment == REVERSE_CHARGE:
        if country is not None and country == seller.country:
            yield finding(
                Cause.TAX_INPUT_MISSING,
                f"{who} is in {country} like the seller: reverse charge cannot apply.",
                record=client.ref,
            )
        if not registered:
            yield finding(
                Cause.TAX_INPUT_MISSING,
                f"{who} has no tax registration; reverse charge needs one.",
                record=client.ref,
            )
    elif seller.tax_registration_required and not registered:
        yield finding(
            Cause.TAX_INPUT_MISSING,
            f"{who} has no tax registration; {seller.name} must show one.",
            record=client.ref,
        )


def net_differences(plan: InvoicePlan, reading: InvoiceReading) -> Iterator[Finding]:
    """Where the ERP's invoice is not exactly our allocations: in all, and by line where it keeps our keys."""
    invoice = reading.invoice
    if invoice is None:
        yield finding(Cause.RECORD_VANISHED, f"Invoice {plan.key} is not in the ERP.")
        return
    record = invoice.ref
    if invoice.net.currency != plan.net.currency:
        words = f"Invoice {plan.key} is in {invoice.net.currency}, agreed is {plan.net.currency}."
        yield finding(Cause.NET_DIFFERS, words, record=record, field="currency")
        return
    if invoice.net.minor != plan.net.minor:
        yield finding(
            Cause.NET_DIFFERS,
            f"Invoice {plan.key}: net is {invoice.net} in the ERP, our lines add up to {plan.net}.",
            record=record,
            field="net",
            at_stake=plan.net,
        )
    yield from _line_differences(plan, reading)


def _line_differences(plan: InvoicePlan, reading: InvoiceReading) -> Iterator[Finding]:
    """By line, as far as the ERP names them: what bills a posting by that, what stands alone by our key."""
    told: dict[tuple[str, str], Money] = {}
    for line in reading.lines:
        if line.posting is not None:
            told[line.kind.value, line.posting] = line.net
        elif line.key is not None:
            told["key", line.key] = line.net
    keys = any(name == "key" for name, _ in told)
    postings = any(name != "key" for name, _ in told)
    wanted: dict[tuple[str, str], Money] = {}
    for ours in plan.lines:
        if ours.posting is not None and postings:
            wanted[ours.kind.value, ours.posting] = ours.billed
        elif ours.posting is None and keys:
            wanted["key", ours.allocation_key] = ours.billed
    for name in sorted(wanted.keys() | told.keys()):
        mine, theirs = wanted.get(name), told.get(name)
        if (mine.minor if mine else None) != (theirs.minor if theirs else None):
            yield finding(
                Cause.NET_DIFFERS,
                f"Invoice {plan.key}, line {name[1]}: {theirs or 'none'} in the ERP, {mine or 'none'} here.",
                record=reading.invoice.ref if reading.invoice is not None else None,
                field="lines",
                at_stake=mine or theirs,
            )
