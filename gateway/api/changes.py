"""Change orders of contracts: sent by other systems, each once, and what came of them (rule 43)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from canonical.causes import Cause
from canonical.change_orders import ChangeOrder
from canonical.engagement import Contract
from canonical.failures import Conflict, Refused
from gateway.api.callers import Caller, Scope
from gateway.api.models import (
    ChangeOrderBody,
    ChangeOrders,
    ContractKey,
    FindingBody,
    SendChangeOrder,
    SentChangeOrder,
)
from gateway.api.reading import PROBLEMS
from gateway.api.routes import Handler, ProcessRoute, caller_of, front_of, needs, saga_href, trace
from gateway.front import Front
from gateway.problems import FieldProblem, Kind, Problem, described
from ledger.rows import ChangeOrderRow
from rules.causes import CATALOGUE
from wiring.start_changes import order_saga, parsed, submit

DIGITS_BEFORE, DIGITS_BEHIND = 15, 12
"""Digits of a number, before and behind the point: more than any amount, quantity or rate has."""
FIRST_YEAR, LAST_YEAR = 1900, 2999
"""Of any day in the terms; so the days around it exist too."""
SHOWN = 50
"""Parts that are named as wrong in one answer."""

_LOCATION = {
    "Location": {
        "description": "Where to look at the contract's change orders.",
        "schema": {"type": "string"},
    }
}
_SENDING: dict[int | str, dict[str, Any]] = {
    **PROBLEMS,
    **described(Kind.MALFORMED, Kind.KEY_MISSING),
    **described(Kind.IN_FLIGHT, Kind.NOT_STARTABLE, Kind.REPEATED),
    **described(Kind.INVALID, Kind.KEY_REUSED),
    200: {"model": SentChangeOrder, "description": "It was decided before.", "headers": _LOCATION},
    202: {"model": SentChangeOrder, "description": "Received, and under way.", "headers": _LOCATION},
}


class ExactRequest(Request):
    """A request whose JSON is read as the command line reads its file: without binary fractions."""

    async def json(self) -> Any:
        """The body; read once."""
        if not hasattr(self, "_json"):
            self._json = parsed(await self.body())
        return self._json


class ExactRoute(ProcessRoute):
    """A route of the process API whose body holds amounts."""

    def get_route_handler(self) -> Handler:
        """The handler, given such a request."""
        work = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await work(ExactRequest(request.scope, request.receive))

        return handle


router = APIRouter(prefix="/v1", tags=["process API"], route_class=ExactRoute)


@router.post("/change-orders", operation_id="sendChangeOrder", status_code=202, responses=_SENDING,
             openapi_extra=needs(Scope.CHANGES_WRITE, key=True))  # fmt: skip
async def send_change_order(request: Request, response: Response, wanted: SendChangeOrder) -> SentChangeOrder:
    """Send a change order: it is kept, then carried when its turn comes. The same again counts once."""
    front, caller = front_of(request), caller_of(request)
    order = _order(await request.json())
    terms = await _contract(front, caller, order.contract_key)
    try:
        saga = order_saga(front.settings, terms.erp, terms.key, order.key)
    except ValueError:
        raise Problem(Kind.INVALID, "The key is too long for that contract.") from None
    desk = front.desk
    await desk.systems.store_mappings()
    try:
        row = await submit(
            front.settings,
            desk.systems.mapping_digests(),
            desk.ledger,
            await desk.client(),
            order,
            actor=caller.actor,
            reason=wanted.reason,
            trace_id=trace(),
        )
    except Refused:
        raise _unknown() from None
    except Conflict as conflict:
        raise _not_taken(conflict) from None
    listed = f"/v1/change-orders?contract={quote(terms.key, safe='')}"
    response.headers["Location"] = listed
    if not row.state.is_open:
        response.status_code = 200
    saga = row.saga_id or saga
    return SentChangeOrder(
        saga_id=saga,
        status="under way" if row.state.is_open else "complete",
        href=saga_href(saga),
        state=row.state,
        version=row.order.version,
        orders_href=listed,
    )


@router.get("/change-orders", operation_id="listChangeOrders", responses=PROBLEMS,
            openapi_extra=needs(Scope.CHANGES_READ))  # fmt: skip
async def list_change_orders(
    request: Request,
    contract: Annotated[ContractKey, Query(description="Key of the contract.")],
    after: Annotated[int, Query(ge=0, le=2**53, description="The `next` of the page before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> ChangeOrders:
    """Change orders of a contract and what came of each, in the order in which they were received."""
    front, caller = front_of(request), caller_of(request)
    await _contract(front, caller, contract)
    rows = await front.desk.ledger.change_orders(contract, after=after, limit=limit + 1)
    return ChangeOrders(
        items=[_body(row) for row in rows[:limit]],
        next=rows[limit - 1].id if len(rows) > limit else None,
    )


async def _contract(front: Front, caller: Caller, key: str) -> Contract:
    """The terms in force.

    Raises:
        Problem: there is no such contract, or it is another entity's: said as if it were not there.
    """
    region = front.settings.about.region
    caller.require(region)
    found = await front.desk.ledger.contract_version(key)
    if found is None:
        raise _unknown()
    terms = Contract.model_validate(found.terms)
    if not caller.may_use(region, (terms.legal_entity,)):
        raise _unknown()
    return terms


def _order(body: dict[str, Any]) -> ChangeOrder:
    """The change order in a body that was checked against its description.

    Models take unknown fields, for releases that come later. Here a misspelt one would silently ask for less.

    Raises:
        RequestValidationError: a part of it is unknown.
        Problem: a part of it cannot be kept.
    """
    content = {name: value for name, value in body.items() if name != "reason"}
    try:
        order = ChangeOrder.model_validate(content, extra="forbid")
    except ValidationError as wrong:
        found = [{**one, "loc": ("body", *one["loc"])} for one in wrong.errors()]
        raise RequestValidationError(found) from None
    unfit = [one for _, one in zip(range(SHOWN), _unfit(order), strict=False)]
    if unfit:
        raise Problem(Kind.INVALID, "See errors for the parts that are wrong.", errors=unfit)
    return order


def _unfit(value: object, place: str = "") -> Iterator[FieldProblem]:
    """Every text, number and day that cannot be kept or reckoned with, with its place."""
    if isinstance(value, BaseModel):
        for name, part in value:
            yield from _unfit(part, f"{place}/{name}")
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _unfit(part, f"{place}/{key}")
    elif isinstance(value, tuple):
        for number, part in enumerate(value):
            yield from _unfit(part, f"{place}/{number}")
    elif isinstance(value, str):
        if any((one < " " and one not in "\t\n\r") or "\ud800" <= one <= "\udfff" for one in value):
            detail = "Only whole Unicode characters, and no control characters but tab and line ends."
            yield FieldProblem(pointer=place, detail=detail)
    elif isinstance(value, Decimal):
        exponent = value.as_tuple().exponent
        small = isinstance(exponent, int) and exponent >= -DIGITS_BEHIND
        if not small or value.adjusted() >= DIGITS_BEFORE:
            detail = f"At most {DIGITS_BEFORE} digits before the point and {DIGITS_BEHIND} behind it."
            yield FieldProblem(pointer=place, detail=detail)
    elif isinstance(value, date) and not FIRST_YEAR <= value.year <= LAST_YEAR:
        detail = f"A day of the years {FIRST_YEAR} to {LAST_YEAR}; leave it out where nothing ends."
        yield FieldProblem(pointer=place, detail=detail)


def _unknown() -> Problem:
    entry = CATALOGUE[Cause.CONTRACT_UNKNOWN]
    return Problem(Kind.NOT_FOUND, entry.meaning, cause=Cause.CONTRACT_UNKNOWN, remedy=entry.remedy)


def _not_taken(conflict: Conflict) -> Problem:
    """What the ledger refused to keep; it says so with the keys that were sent, the answer does not."""
    cause = conflict.failure.cause
    remedy = conflict.failure.remedy or CATALOGUE[cause].remedy
    if cause is Cause.CHANGE_ORDER_REPEATED:
        said = "What was received under that key is never changed; nothing of this one was taken."
        return Problem(Kind.REPEATED, said, cause=cause, remedy=remedy)
    return Problem(Kind.NOT_STARTABLE, CATALOGUE[cause].meaning, cause=cause, remedy=remedy)


def _body(row: ChangeOrderRow) -> ChangeOrderBody:
    order = row.order
    return ChangeOrderBody(
        contract=order.contract_key,
        key=order.key,
        base=order.base,
        version=order.version,
        form=order.form,
        effective_on=order.effective_on,
        title=order.title,
        state=row.state,
        cause=row.cause,
        reason=row.reason,
        findings=[FindingBody.of(one) for one in row.findings],
        treatment=row.treatment,
        saga_id=row.saga_id,
        href=None if row.saga_id is None else saga_href(row.saga_id),
        received_at=row.received_at,
        decided_at=row.decided_at,
    )
