"""What the account insists on for customers, projects, contacts, employees and tasks.

Sources: vendor documentation: Record service behaviour; Periods, currency, entity, tax; Compensation.
"""

from __future__ import annotations

from simulators.kit import Record
from simulators.netsuite import errors
from simulators.netsuite.state import Books, lines, ref_id

POSTINGS = (
    "salesOrder",
    "invoice",
    "creditMemo",
    "customerPayment",
    "customerRefund",
    "expenseReport",
    "timeBill",
    "charge",
)
"""Records that count as transactions when a subsidiary is to be changed or a customer deleted."""


def require(record: Record, *names: str) -> None:
    """Refuse a record without a mandatory field."""
    missing = [n for n in names if record.get(n) in (None, "")]
    if missing:
        raise errors.user_error(f"Please enter value(s) for: {', '.join(missing)}.", missing[0])


def number_entity(books: Books, type_: str, old: Record | None, new: Record, fallback: str | None) -> None:
    """Give an entity its name: generated when auto-numbering is on, else as sent, else the fallback."""
    pattern = books.settings["auto_numbering"].get(type_)
    if old is None:
        given = books.seeding and new.get("entityId")
        automatic = pattern is not None and new.get("autoName", True) and not given
        if automatic:
            new["autoName"] = True
            new["entityId"] = _next_name(books, type_, pattern)
        elif not new.get("entityId") and fallback:
            new["entityId"] = fallback
    require(new, "entityId")
    holder = books.names.get((type_, new["entityId"].casefold()))
    if holder is not None and holder[1] != new["id"]:
        raise errors.refuse(
            400,
            errors.Detail(
                f"Error while accessing a resource. A {type_} record with the ID '{new['entityId']}' already "
                "exists. You must enter a unique ID for each record you create.",
                books.settings["duplicate_error_code"],
                "entityId",
            ),
        )


def _next_name(books: Books, type_: str, pattern: str) -> str:
    while True:
        name: str = pattern.format(n=books.store.number(f"name:{type_}"))
        if (type_, name.casefold()) not in books.names:
            return name


def _frozen_subsidiary(books: Books, type_: str, old: Record | None, new: Record) -> None:
    if old is None or ref_id(old.get("subsidiary")) == ref_id(new.get("subsidiary")):
        return
    owners = [(type_, str(new["id"]))]
    if type_ == "customer":
        owners += list(books.referring("customer", str(new["id"]), "job"))
    for owner in owners:
        if next(books.referring(*owner, *POSTINGS), None) is not None:
            raise errors.user_error(
                "You cannot change the subsidiary of this record because transactions exist for it.",
                "subsidiary",
            )


def _shares_subsidiary(books: Books, parent: Record, subsidiary: str | None) -> None:
    if subsidiary is not None and subsidiary not in books.subsidiaries_of(str(parent["id"])):
        raise errors.user_error(
            f"The parent record {parent.get('entityId')} does not share the selected subsidiary.", "parent"
        )


def _number_lines(record: Record, name: str) -> None:
    used = [int(line["id"]) for line in lines(record, name) if "id" in line]
    following = max(used, default=0) + 1
    for line in lines(record, name):
        if "id" not in line:
            line["id"] = following
            following += 1


def prepare_customer(books: Books, old: Record | None, new: Record) -> None:
    """Mandatory fields, numbering, parent, currencies and tax registrations of a customer."""
    new.setdefault("isPerson", False)
    new.setdefault("isInactive", False)
    if new["isPerson"]:
        require(new, "firstName", "lastName")
        name = f"{new['firstName']} {new['lastName']}"
    else:
        require(new, "companyName")
        name = new["companyName"]
    if books.settings["oneworld"]:
        require(new, "subsidiary")
    number_entity(books, "customer", old, new, name)
    new["altName"] = name
    subsidiary = books.get("subsidiary", ref_id(new.get("subsidiary")))
    if "currency" not in new and subsidiary is not None and "currency" in subsidiary:
        new["currency"] = dict(subsidiary["currency"])
    listed = {ref_id(line.get("currency")) for line in lines(new, "currencyList")}
    if "currency" in new and ref_id(new["currency"]) not in listed:
        new["currencyList"] = {"items": [*lines(new, "currencyList"), {"currency": dict(new["currency"])}]}
    _frozen_subsidiary(books, "customer", old, new)
    parent = books.get("customer", ref_id(new.get("parent")))
    above = parent
    while above is not None:
        if above["id"] == new["id"]:
            raise errors.user_error("A record cannot be its own parent.", "parent")
        above = books.get("customer", ref_id(above.get("parent")))
    if parent is not None:
        _shares_subsidiary(books, parent, ref_id(new.get("subsidiary")))
    _number_lines(new, "addressBook")
    _number_lines(new, "taxRegistration")
    registrations = [line.get("taxRegistrationNumber") for line in lines(new, "taxRegistration")]
    if registrations and "defaultTaxReg" not in new:
        new["defaultTaxReg"] = registrations[0]


def settle_customer(books: Books, old: Record | None, new: Record) -> None:
    """Keep the customer's primary relationship in step with its subsidiary."""
    if "subsidiary" not in new:
        return
    relation = {
        "entity": {"id": new["id"]},
        "subsidiary": dict(new["subsidiary"]),
        "isPrimarySub": True,
        "name": new["entityId"],
    }
    if "currency" in new:
        relation["primaryCurrency"] = dict(new["currency"])
    for key in books.referring("customer", new["id"], "customerSubsidiaryRelationship"):
        held = books.need(*key)
        if held.get("isPrimarySub"):
            if held.get("subsidiary") != new["subsidiary"]:
                books.change(*key, **relation)
            return
        if held.get("subsidiary") == new["subsidiary"]:
            books.change(*key, **relation)
            return
    id_ = books.new_id("customerSubsidiaryRelationship")
    books.save("customerSubsidiaryRelationship", id_, {"id": id_, **relation})


def customer_removed(books: Books, record: Record) -> None:
    """What goes with a deleted customer: relationships go, contacts lose their company."""
    for key in books.referring("customer", record["id"], "customerSubsidiaryRelationship"):
        books.remove(*key)
    for key in books.referring("customer", record["id"], "contact"):
        books.change(*key, company=None)


def prepare_relationship(books: Books, old: Record | None, new: Record) -> None:
    """One relationship per customer and subsidiary."""
    require(new, "entity", "subsidiary")
    for key in books.referring("customer", str(ref_id(new["entity"])), "customerSubsidiaryRelationship"):
        if key[1] != new["id"] and books.need(*key).get("subsidiary") == new["subsidiary"]:
            raise errors.user_error("This customer is already assigned to this subsidiary.", "subsidiary")
    new.setdefault("isPrimarySub", False)
    owner = books.get("customer", ref_id(new["entity"]))
    if owner is not None:
        new["name"] = owner["entityId"]
        if "primaryCurrency" not in new and "currency" in owner:
            new["primaryCurrency"] = dict(owner["currency"])


def relationship_removable(books: Books, record: Record) -> None:
    """The primary relationship stays; another one stays while projects or invoices use it."""
    if record.get("isPrimarySub"):
        raise errors.user_error("The primary subsidiary relationship cannot be deleted.")
    owner = str(ref_id(record["entity"]))
    for key in books.referring("customer", owner, "job", *POSTINGS):
        if books.need(*key).get("subsidiary") == record["subsidiary"]:
            raise errors.user_error("This record cannot be deleted because it has dependent records.")


def prepare_job(books: Books, old: Record | None, new: Record) -> None:
    """Mandatory fields, project code, parent, subsidiary and currency of a project."""
    require(new, "companyName")
    if books.settings["oneworld"]:
        require(new, "subsidiary")
    if "subsidiary" in new:
        require(new, "projectExpenseType")
    for name, usual in (("isInactive", False), ("allowTime", True), ("allowExpenses", True)):
        new.setdefault(name, usual)
    number_entity(books, "job", old, new, new["companyName"])
    new["altName"] = new["companyName"]
    _frozen_subsidiary(books, "job", old, new)
    if ref_id(new.get("parent")) == new["id"]:
        raise errors.user_error("A record cannot be its own parent.", "parent")
    customer = books.customer_of(ref_id(new.get("parent")))
    if customer is None:
        return
    _shares_subsidiary(books, customer, ref_id(new.get("subsidiary")))
    if "currency" not in new and "currency" in customer:
        new["currency"] = dict(customer["currency"])
    check_currency(books, customer, new)


def check_currency(books: Books, customer: Record, record: Record) -> None:
    """The currency must be one of the customer's."""
    currency = ref_id(record.get("currency"))
    if currency is not None and currency not in books.currencies_of(customer):
        raise errors.user_error(
            f"Invalid currency: customer {customer.get('entityId')} does not have it in its currency list.",
            "currency",
        )


def prepare_contact(books: Books, old: Record | None, new: Record) -> None:
    """A contact needs a name."""
    name = " ".join(str(new[k]) for k in ("firstName", "lastName") if new.get(k))
    if not new.get("entityId") and name:
        new["entityId"] = name
    require(new, "entityId")
    new.setdefault("isInactive", False)
    _number_lines(new, "addressBook")


def prepare_employee(books: Books, old: Record | None, new: Record) -> None:
    """An employee needs a name and, in OneWorld, a subsidiary."""
    name = " ".join(str(new[k]) for k in ("firstName", "lastName") if new.get(k))
    if books.settings["oneworld"]:
        require(new, "subsidiary")
    number_entity(books, "employee", old, new, name or None)
    new.setdefault("isInactive", False)


def prepare_vendor(books: Books, old: Record | None, new: Record) -> None:
    """A vendor needs a name and, in OneWorld, a subsidiary."""
    if books.settings["oneworld"]:
        require(new, "subsidiary")
    number_entity(books, "vendor", old, new, new.get("companyName"))
    new.setdefault("isInactive", False)


def prepare_task(books: Books, old: Record | None, new: Record) -> None:
    """A task has a title and belongs to a project; its parent belongs to the same one."""
    require(new, "title", "project")
    new.setdefault("status", {"id": "NOTSTART"})
    parent = books.get("projectTask", ref_id(new.get("parent")))
    if parent is not None and parent.get("project") != new["project"]:
        raise errors.user_error("The parent task belongs to another project.", "parent")
    if old is not None and old.get("project") != new["project"]:
        raise errors.user_error("The project of a task cannot be changed.", "project")


def prepare_schedule(books: Books, old: Record | None, new: Record) -> None:
    """A billing schedule needs a name and a type."""
    require(new, "name", "scheduleType")
    new.setdefault("isInactive", False)
    used = [int(line["milestoneId"]) for line in lines(new, "milestone") if "milestoneId" in line]
    following = max(used, default=0) + 1
    for line in lines(new, "milestone"):
        if "milestoneId" not in line:
            line["milestoneId"] = following
            following += 1
