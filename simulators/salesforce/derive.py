"""What the platform computes by itself: stages, names, line prices, roll-ups, numbers, activation.

Source: vendor documentation, standard-object reference (Opportunity, OpportunityLineItem, Contract, Order,
Quote). Amounts are computed in ``Decimal`` and rounded half up to the currency's decimals (at least two).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from simulators.salesforce.errors import RowError
from simulators.salesforce.schema import LINE_PARENTS
from simulators.salesforce.values import decimal_of, number_of

if TYPE_CHECKING:
    from simulators.salesforce.records import Records

Row = dict[str, Any]
Rule = Callable[["Records", Row, Row | None, set[str], bool], None]
"""(world, new record to complete, old record, changed fields, whether it is being seeded)."""


def before(world: Records, type_: str, new: Row, old: Row | None, changed: set[str], *, seed: bool) -> None:
    """Complete a record before it is stored.

    Raises:
        RowError: the platform refuses the combination.
    """
    if rule := RULES.get(type_):
        rule(world, new, old, changed, seed)


def after(world: Records, type_: str, record: Row) -> None:
    """Roll a changed or deleted line up into its document."""
    if type_ in LINE_PARENTS:
        field, parent = LINE_PARENTS[type_]
        roll_up(world, type_, parent, record.get(field))


def roll_up(world: Records, type_: str, parent: str, parent_id: str | None) -> None:
    """Sum a document's lines into it. Moves both of the document's stamps."""
    document = world.get(parent, parent_id) if parent_id else None
    if document is None:
        return
    lines = [world.get(type_, i) for i in world.find(type_, LINE_PARENTS[type_][0], document["Id"])]
    total = sum((decimal_of(line["TotalPrice"]) for line in lines if line), Decimal(0))
    scale = max(2, world.places(document.get("CurrencyIsoCode")) or 0)
    new = {**document}
    if parent == "Opportunity":
        new["Amount"] = number_of(total, scale)
        new["HasOpportunityLineItem"] = bool(lines)
        _expected(new)
    elif parent == "Order":
        new["TotalAmount"] = number_of(total, scale)
    else:
        new["Subtotal"] = new["TotalPrice"] = number_of(total, scale)
        new["GrandTotal"] = number_of(total + decimal_of(new.get("Tax")), scale)
    if any(new[k] != document.get(k) for k in new):
        world.touch(parent, new, document)


def _expected(record: Row) -> None:
    amount = record.get("Amount")
    share = decimal_of(record.get("Probability")) / 100
    record["ExpectedRevenue"] = None if amount is None else number_of(decimal_of(amount) * share)


def _opportunity(world: Records, new: Row, old: Row | None, changed: set[str], seed: bool) -> None:
    stage = world.settings["opportunity_stages"].get(new["StageName"])
    if stage and (old is None or "StageName" in changed):
        told = {
            "IsClosed": stage["closed"],
            "IsWon": stage["won"],
            "Probability": stage["probability"],
            "ForecastCategory": stage["forecast"],
            "ForecastCategoryName": stage["forecast"],
        }
        given = changed if seed else changed & {"Probability", "ForecastCategoryName"}
        new.update({k: v for k, v in told.items() if k not in given})
    if old is not None and old["HasOpportunityLineItem"] and not seed:
        # The platform ignores, and does not refuse, an amount sent for an opportunity with products.
        new["Amount"] = old["Amount"]
    _expected(new)


def _name(world: Records, new: Row, old: Row | None, changed: set[str], seed: bool) -> None:
    new["Name"] = " ".join(part for part in (new.get("FirstName"), new.get("LastName")) if part)


def _price_entry(world: Records, new: Row, old: Row | None, changed: set[str], seed: bool) -> None:
    product = world.get("Product2", new["Product2Id"])
    if product:
        new["Name"], new["ProductCode"] = product["Name"], product["ProductCode"]


def _entry_for(world: Records, line: Row, document: Mapping[str, Any] | None) -> Row | None:
    """The price book entry of a line: the one given, else the product's in the document's book and
    currency."""
    if line.get("PricebookEntryId"):
        return world.get("PricebookEntry", line["PricebookEntryId"])
    if not line.get("Product2Id") or document is None:
        return None
    for id_ in world.find("PricebookEntry", "Product2Id", line["Product2Id"]):
        entry = world.get("PricebookEntry", id_)
        same_book = entry and document.get("Pricebook2Id") in (None, entry["Pricebook2Id"])
        if entry and same_book and entry.get("CurrencyIsoCode") == document.get("CurrencyIsoCode"):
            return entry
    return None


def _line(world: Records, new: Row, type_: str) -> Row | None:
    """Fill in what a line takes from its price book entry, product and document; answers the document."""
    field, parent = LINE_PARENTS[type_]
    document = world.get(parent, new[field])
    entry = _entry_for(world, new, document)
    if entry:
        new["PricebookEntryId"], new["Product2Id"] = entry["Id"], entry["Product2Id"]
        new["ListPrice"] = entry["UnitPrice"]
    if document and "CurrencyIsoCode" in new:
        new["CurrencyIsoCode"] = document.get("CurrencyIsoCode")
    return document


def _integrity(field: str, why: str) -> RowError:
    return RowError("FIELD_INTEGRITY_EXCEPTION", f"field integrity exception: {field} ({why})", [field])


def _opportunity_line(world: Records, new: Row, old: Row | None, changed: set[str], seed: bool) -> None:
    deal = _line(world, new, "OpportunityLineItem")
    if old is None and not seed and deal is not None:
        entry = world.get("PricebookEntry", new["PricebookEntryId"]) if new["PricebookEntryId"] else None
        if entry is None and new["Product2Id"]:
            raise _integrity(
                "Product2Id", "the product has no price book entry in the opportunity's price book"
            )
        if entry is None:
            message = "Required fields are missing: [PricebookEntryId]"
            raise RowError("REQUIRED_FIELD_MISSING", message, ["PricebookEntryId"])
        if deal["Pricebook2Id"] not in (None, entry["Pricebook2Id"]):
            why = "pricebook entry is in a different pricebook than the one assigned to the opportunity"
            raise _integrity("PricebookEntryId", why)
        if entry.get("CurrencyIsoCode") != deal.get("CurrencyIsoCode"):
            why = "pricebook entry currency code does not match opportunity currency code"
            raise _integrity("PricebookEntryId", why)
        if deal["Pricebook2Id"] is None:
            world.touch("Opportunity", {**deal, "Pricebook2Id": entry["Pricebook2Id"]}, deal)
    product = world.get("Product2", new["Product2Id"]) if new["Product2Id"] else None
    if product:
        new["ProductCode"] = product["ProductCode"]
        new["Name"] = f"{deal['Name'] if deal else ''} {product['Name']}".strip()
    _prices(world, new, changed, seed)


def _prices(world: Records, new: Row, changed: set[str], seed: bool) -> None:
    if not changed & {"Quantity", "UnitPrice", "TotalPrice", "Discount"}:
        return
    scale = max(2, world.places(new.get("CurrencyIsoCode")) or 0)
    quantity = decimal_of(new["Quantity"])
    share = 1 - decimal_of(new["Discount"]) / 100
    sent = new["TotalPrice"] if "TotalPrice" in changed else None
    if "UnitPrice" not in changed and sent is not None and quantity * share:
        new["UnitPrice"] = number_of(decimal_of(sent) / (quantity * share), scale)
        total = decimal_of(sent)
    elif new["UnitPrice"] is None:
        raise RowError("REQUIRED_FIELD_MISSING", "Required fields are missing: [UnitPrice]", ["UnitPrice"])
    else:
        total = quantity * decimal_of(new["UnitPrice"]) * share
        if sent is not None and not seed and number_of(total, scale) != sent:
            raise _integrity("TotalPrice", "total price must be equal to quantity * unit price less discount")
    new["TotalPrice"] = number_of(total, scale)
    new["Subtotal"] = number_of(quantity * decimal_of(new["UnitPrice"]), scale)


def _plain_line(type_: str) -> Rule:
    def rule(world: Records, new: Row, old: Row | None, changed: set[str], seed: bool) -> None:
        _line(world, new, type_)
        scale = max(2, world.places(new.get("CurrencyIsoCode")) or 0)
        new["TotalPrice"] = number_of(decimal_of(new["Quantity"]) * decimal_of(new["UnitPrice"]), scale)
        number = {"OrderItem": "OrderItemNumber", "QuoteLineItem": "LineNumber"}[type_]
        new[number] = new[number] or f"{world.store.number(number):010d}"

    return rule


def _quote(world: Records, new: Row, old: Row | None, changed: set[str], seed: bool) -> None:
    new["QuoteNumber"] = new["QuoteNumber"] or f"{world.store.number('QuoteNumber'):08d}"
    deal = world.get("Opportunity", new["OpportunityId"])
    if deal:
        new["AccountId"] = deal["AccountId"]
        if "CurrencyIsoCode" in new:
            new["CurrencyIsoCode"] = deal.get("CurrencyIsoCode")


def _activation(world: Records, new: Row, old: Row | None, seed: bool) -> None:
    new["StatusCode"] = {"In Approval Process": "InApproval"}.get(new["Status"], new["Status"])
    if new["Status"] != "Activated" or (old and old["Status"] == "Activated"):
        return
    if old is None and not seed:
        raise RowError(
            "FAILED_ACTIVATION", "A new record must be a draft; activate it afterwards", ["Status"]
        )
    new["ActivatedDate"] = new.get("ActivatedDate") or world.stamp()
    if "ActivatedById" in new:
        new["ActivatedById"] = new["ActivatedById"] or world.settings["run_as"]["Id"]


def _contract(world: Records, new: Row, old: Row | None, changed: set[str], seed: bool) -> None:
    _activation(world, new, old, seed)
    new["ContractNumber"] = new["ContractNumber"] or f"{world.store.number('ContractNumber', 100):08d}"
    if new["StartDate"] and new["ContractTerm"]:
        start, months = date.fromisoformat(new["StartDate"]), int(new["ContractTerm"])
        year, month = divmod(start.month - 1 + months, 12)
        first = date(start.year + year, month + 1, 1)
        following = (first + timedelta(days=31)).replace(day=1)
        last_day = (following - timedelta(days=1)).day
        end = first.replace(day=min(start.day, last_day))
        new["EndDate"] = (end - timedelta(days=1) if start.day <= last_day else end).isoformat()


def _order(world: Records, new: Row, old: Row | None, changed: set[str], seed: bool) -> None:
    activating = new["Status"] == "Activated" and old is not None and old["Status"] != "Activated"
    if activating and not seed and not world.find("OrderItem", "OrderId", new["Id"]):
        raise RowError("FAILED_ACTIVATION", "An order must have at least one product.", ["Status"])
    _activation(world, new, old, seed)
    new["OrderNumber"] = new["OrderNumber"] or f"{world.store.number('OrderNumber', 100):08d}"


def _task(world: Records, new: Row, old: Row | None, changed: set[str], seed: bool) -> None:
    new["IsClosed"] = new["Status"] == "Completed"


RULES: dict[str, Rule] = {
    "Contact": _name,
    "User": _name,
    "Opportunity": _opportunity,
    "OpportunityLineItem": _opportunity_line,
    "PricebookEntry": _price_entry,
    "OrderItem": _plain_line("OrderItem"),
    "QuoteLineItem": _plain_line("QuoteLineItem"),
    "Quote": _quote,
    "Contract": _contract,
    "Order": _order,
    "Task": _task,
}
