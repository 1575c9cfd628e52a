"""sObject collections: up to 200 records a call, a result for each.

Source: vendor documentation, "Create/Update/Upsert/Delete Records Using sObject Collections": 200 records,
ten chunks of one object each, ``statusCode`` (not ``errorCode``) in the errors of an item.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any

from simulators.kit import Answer
from simulators.salesforce import ids
from simulators.salesforce.errors import Ambiguous, RowError, malformed_json, not_found, refusal
from simulators.salesforce.fields import SObject
from simulators.salesforce.request import Request
from simulators.salesforce.rows import Rows, project

MAX_RECORDS = 200
MAX_CHUNKS = 10
ROLLED_BACK = (
    "Record rolled back because not all records were valid and the request was using AllOrNone header"
)
Item = dict[str, Any]


class Batches:
    """Serves ``/composite/sobjects``."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.world = rows.world

    def handle(self, request: Request) -> Answer:
        """One collections call.

        Raises:
            VendorError: refused as a whole.
        """
        match request.segments[2:]:
            case []:
                request.need("POST", "PATCH", "DELETE")
                return self._delete(request) if request.method == "DELETE" else self._write(request)
            case [name]:
                request.need("GET")
                return self._read(request, self.rows.object(name))
            case [name, field]:
                request.need("PATCH")
                return self._upsert(request, self.rows.object(name), field)
        raise not_found()

    def _records(self, request: Request) -> list[Item]:
        body = request.body
        records = body.get("records") if isinstance(body, dict) else None
        if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
            raise malformed_json("The request needs a list of records")
        too_many(len(records))
        types = [_type(r) for r in records]
        if sum(1 for _ in groupby(types)) > MAX_CHUNKS:
            message = f"Cannot have more than {MAX_CHUNKS} chunks in a single operation."
            raise refusal(400, "LIMIT_EXCEEDED", message)
        return records

    def _write(self, request: Request) -> Answer:
        records = self._records(request)

        def write(record: Item) -> Item:
            one = self._object(_type(record))
            body = {k: v for k, v in record.items() if k.lower() != "id"}
            if request.method == "POST":
                if len(body) != len(record):
                    raise RowError("INVALID_FIELD", "cannot specify Id in an insert call", ["Id"])
                return success(self.world.create(one, body, request.origin()))
            id_ = next((v for k, v in record.items() if k.lower() == "id"), None)
            if not isinstance(id_, str):
                raise RowError("MISSING_ARGUMENT", "Id not specified in an update call", ["Id"])
            found = self.world.existing(one, id_)["Id"]
            self.world.update(one, found, body, request.origin())
            return success(found)

        return self._each(records, write, all_or_none=_wants_all(request.body))

    def _upsert(self, request: Request, one: SObject, field: str) -> Answer:
        records = self._records(request)
        if any(_type(r) != one.name.lower() for r in records):
            raise refusal(400, "INVALID_TYPE", f"All records must be of type {one.name}")
        by_id = field.lower() == "id"
        key = None if by_id else self.rows.external_id(one, field)

        def write(record: Item) -> Item:
            wanted = "id" if key is None else key.name.lower()
            value = next((v for k, v in record.items() if k.lower() == wanted), None)
            body = {k: v for k, v in record.items() if k.lower() != wanted}
            if key is None:
                if value is None:
                    return success(self.world.create(one, body, request.origin()), created=True)
                found = self.world.existing(one, str(value))["Id"]
                self.world.update(one, found, body, request.origin())
                return success(found, created=False)
            if value is None or value == "":
                raise RowError("MISSING_ARGUMENT", f"{key.name} not specified", [key.name])
            try:
                id_, new = self.world.upsert(one, key, value, body, request.origin())
            except Ambiguous as several:
                message = f"{key.name}: more than one record found for external id field: {several.ids}"
                raise RowError("DUPLICATE_EXTERNAL_ID", message, [key.name]) from None
            return success(id_, created=new)

        return self._each(records, write, all_or_none=_wants_all(request.body))

    def _delete(self, request: Request) -> Answer:
        wanted = [part for part in (request.param("ids") or "").split(",") if part]
        if not wanted:
            raise malformed_json("The ids parameter is missing")
        too_many(len(wanted))

        def write(id_: str) -> Item:
            full = ids.normal(id_)
            one = self.world.view.by_prefix.get(full[:3]) if full else None
            if full is None or one is None:
                raise RowError("MALFORMED_ID", f"malformed id {id_}")
            self.world.delete(one, full, request.origin())
            return success(full)

        return self._each(wanted, write, all_or_none=(request.param("allOrNone") or "").lower() == "true")

    def _read(self, request: Request, one: SObject) -> Answer:
        wanted = [part for part in (request.param("ids") or "").split(",") if part]
        fields = [part for part in (request.param("fields") or "").split(",") if part]
        if not wanted or not fields:
            raise malformed_json("The ids and fields parameters are needed")
        result: list[Item | None] = []
        for id_ in wanted:
            full = ids.normal(id_)
            record = self.world.get(one.name, full) if full else None
            if record is not None and request.stale:
                record = self.world.store.previous(one.name, record["Id"])
            result.append(None if record is None else project(one, record, fields, request.base))
        return Answer(200, result)

    def _object(self, name: str) -> SObject:
        one = self.world.view.object(name)
        if one is None:
            raise RowError("INVALID_TYPE", f"sObject type '{name}' is not supported.")
        return one

    def _each(self, items: list[Any], write: Callable[[Any], Item], *, all_or_none: bool) -> Answer:
        before = self.world.snapshot() if all_or_none and len(items) > 1 else None
        results: list[Item] = []
        for item in items:
            try:
                results.append(write(item))
            except RowError as bad:
                results.append(failure(bad))
        if all_or_none and before is not None and not all(r["success"] for r in results):
            self.world.restore(before)
            halted = failure(RowError("ALL_OR_NONE_OPERATION_ROLLED_BACK", ROLLED_BACK))
            results = [halted if r["success"] else r for r in results]
        return Answer(200, results)


def success(id_: str, **more: bool) -> Item:
    """The result of one accepted record."""
    return {"id": id_, "success": True, "errors": [], **more}


def failure(problem: RowError) -> Item:
    """The result of one refused record."""
    return {"success": False, "errors": [problem.item()]}


def too_many(count: int) -> None:
    """Refuse more than 200 records.

    Raises:
        VendorError: 400.
    """
    if count > MAX_RECORDS:
        message = f"record limit reached. cannot submit more than {MAX_RECORDS} records in this operation"
        raise refusal(400, "LIMIT_EXCEEDED", message)


def _type(record: Item) -> str:
    attributes = record.get("attributes")
    name = attributes.get("type") if isinstance(attributes, dict) else None
    if not isinstance(name, str):
        raise refusal(400, "INVALID_TYPE", "Every record needs attributes with its type")
    return name.lower()


def _wants_all(body: Any) -> bool:
    wanted = body.get("allOrNone", False)
    if not isinstance(wanted, bool):
        raise malformed_json("allOrNone must be a boolean")
    return wanted
