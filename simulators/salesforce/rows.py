"""Single records: create, read, update, delete, and the same by External ID; describe; queries.

Source: vendor documentation, "sObject Basic Information", "sObject Rows", "sObject Rows by External ID",
"Insert or Update (Upsert) a Record Using an External ID", "Query".
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any

from simulators.kit import Answer, VendorError
from simulators.salesforce import describe, ids
from simulators.salesforce.errors import Ambiguous, RowError, not_found, refusal
from simulators.salesforce.fields import Field, SObject
from simulators.salesforce.query import Engine, attributes, page_size
from simulators.salesforce.records import Records, Row
from simulators.salesforce.request import Request
from simulators.salesforce.values import instant


class Rows:
    """Serves ``/query``, ``/queryAll`` and ``/sobjects``."""

    def __init__(self, world: Records, engine: Engine) -> None:
        self.world = world
        self.engine = engine

    def query(self, request: Request) -> Answer:
        """``/query?q=`` and ``/query/<locator>``; ``/queryAll`` likewise.

        Raises:
            VendorError: refused.
        """
        request.need("GET")
        if len(request.segments) == 2:
            return Answer(200, self.engine.more(request.segments[1], request.base))
        text = request.param("q")
        if not text:
            raise refusal(400, "MALFORMED_QUERY", "SOQL statements cannot be empty or null")
        size = page_size(request.headers.get("sforce-query-options"), self.world.settings)
        deleted = request.segments[0].lower() == "queryall"
        return Answer(
            200, self.engine.run(text, request.base, stale=request.stale, deleted=deleted, size=size)
        )

    def sobjects(self, request: Request) -> Answer:
        """Everything under ``/sobjects``.

        Raises:
            VendorError: refused as a call.
            RowError: the record is refused.
        """
        match request.segments[1:]:
            case []:
                request.need("GET")
                return Answer(200, describe.everything(self.world.view, request.base))
            case [name]:
                request.need("GET", "POST")
                return self._collection(request, self.object(name))
            case [name, "describe"]:
                request.need("GET")
                currencies = tuple(
                    row["IsoCode"] for row in self.world.rows("CurrencyType") if row["IsActive"]
                )
                return Answer(
                    200, describe.full(self.world.view, self.object(name), request.base, currencies)
                )
            case [name, id_]:
                request.need("GET", "PATCH", "DELETE")
                return self._row(request, self.object(name), id_)
            case [name, field, value]:
                request.need("GET", "PATCH", "DELETE")
                one = self.object(name)
                return self._by_key(request, one, self.external_id(one, field), value)
        raise not_found()

    def object(self, name: str) -> SObject:
        """The object of a path.

        Raises:
            VendorError: 404, no such object for this user.
        """
        one = self.world.view.object(name)
        if one is None:
            raise not_found()
        return one

    @staticmethod
    def external_id(one: SObject, name: str) -> Field:
        """The External ID field of a path.

        Raises:
            VendorError: 404, no such field or not marked External ID.
        """
        made = one.field(name)
        if made is None or not made.external_id:
            raise not_found()
        return made

    def _collection(self, request: Request, one: SObject) -> Answer:
        if request.method == "GET":
            return Answer(200, describe.basic(one, request.base))
        id_ = self.world.create(one, request.body, request.origin())
        return created(request, one, id_)

    def _row(self, request: Request, one: SObject, id_: str) -> Answer:
        if request.method == "GET":
            return Answer(200, self.show(request, one, self._seen(request, one, id_)))
        record = self.world.existing(one, id_)
        self._unmodified(request, record)
        if request.method == "PATCH":
            self.world.update(one, record["Id"], request.body, request.origin())
        else:
            self.world.delete(one, record["Id"], request.origin())
        return Answer(204)

    def _seen(self, request: Request, one: SObject, id_: str) -> Row:
        full = ids.normal(id_)
        live = self.world.get(one.name, full) if full else None
        record = (
            self.world.store.previous(one.name, live["Id"]) if live is not None and request.stale else live
        )
        if record is None:
            raise not_found()
        return record

    def _unmodified(self, request: Request, record: Row) -> None:
        """Honour ``If-Unmodified-Since`` (whole seconds), where the organisation is set to."""
        header = request.headers.get("if-unmodified-since")
        if not header or not self.world.settings["honour_if_unmodified_since"]:
            return
        try:
            since = parsedate_to_datetime(header)
        except ValueError:
            return
        if instant(record["LastModifiedDate"]).replace(microsecond=0) > since:
            raise VendorError(Answer(412))

    def _by_key(self, request: Request, one: SObject, made: Field, value: str) -> Answer:
        if request.method == "PATCH":
            only = (request.param("updateOnly") or "").lower() == "true"
            id_, new = self.world.upsert(one, made, value, request.body, request.origin(), update_only=only)
            if not new and request.version < 46:
                return Answer(204)
            answer = created(request, one, id_)
            if request.version >= 46:
                answer.body["created"] = new
            return answer if new else Answer(200, answer.body)
        found = self.world.match(one, made, value)
        if len(found) > 1:
            raise Ambiguous(found)
        if not found:
            raise not_found()
        if request.method == "GET":
            return Answer(200, self.show(request, one, self._seen(request, one, found[0])))
        self.world.delete(one, found[0], request.origin())
        return Answer(204)

    def show(self, request: Request, one: SObject, record: Row) -> Row:
        """A bare record: all fields, or those of ``?fields=``.

        Raises:
            VendorError: 400 INVALID_FIELD.
        """
        wanted = request.param("fields")
        names = [n.strip() for n in wanted.split(",")] if wanted else list(one.fields)
        return project(one, record, names, request.base)


def project(one: SObject, record: Row, names: list[str], base: str) -> Row:
    """A record with the named fields.

    Raises:
        VendorError: 400 INVALID_FIELD for a column that is not there.
    """
    shown: dict[str, Any] = {"attributes": attributes(one, record["Id"], base)}
    for name in names:
        made = one.field(name)
        if made is None:
            raise refusal(400, "INVALID_FIELD", f"No such column '{name}' on sobject of type {one.name}")
        shown[made.name] = record.get(made.name)
    return shown


def created(request: Request, one: SObject, id_: str) -> Answer:
    """201 with the id and where the record is."""
    body = {"id": id_, "success": True, "errors": []}
    return Answer(201, body, {"Location": f"{request.base}/sobjects/{one.name}/{id_}"})


def refused(problem: RowError | Ambiguous, request: Request, one_name: str) -> Answer:
    """The answer to a refused record, or the 300 list of an ambiguous External ID."""
    if isinstance(problem, RowError):
        return problem.answer()
    return Answer(300, [f"{request.base}/sobjects/{one_name}/{id_}" for id_ in problem.ids])
