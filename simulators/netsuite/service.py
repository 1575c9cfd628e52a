"""The record service over HTTP: collections, records, actions, transforms, metadata.

Source: vendor documentation: Record service behaviour; Async and bulk.
"""

from __future__ import annotations

from urllib.parse import unquote

from simulators.kit import Answer, Call, Record
from simulators.netsuite import errors, filters, render, values
from simulators.netsuite.records import Origin, Records
from simulators.netsuite.rules_time import MOVES
from simulators.netsuite.schema import RecordType
from simulators.netsuite.transforms import transform

MAX_BODY = 104 * 1024 * 1024
"""Bytes of a request body, at most."""


def segments(call: Call) -> list[str]:
    """Path segments below the record service's base, percent-decoded one by one."""
    below = call.raw_path.removeprefix(render.BASE).strip("/")
    return [unquote(part) for part in below.split("/")] if below else []


def _truthy(call: Call, name: str) -> bool:
    return (call.param(name) or "").lower() == "true"


def _names(call: Call, name: str) -> set[str]:
    return {part.strip() for part in (call.param(name) or "").split(",") if part.strip()}


class RecordService:
    """Serves one synchronous record call."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.books = records.books

    def type(self, name: str) -> RecordType:
        """The record type of a path. Raises ``VendorError`` when the service has none of this name."""
        found = self.books.types.get(name)
        if found is None or not found.rest:
            raise errors.refuse(404, errors.Detail(f"Record type '{name}' does not exist.", "NONEXISTENT_ID"))
        return found

    def serve(self, call: Call) -> Answer:
        """Answer a call (without ``Prefer: respond-async``)."""
        if len(call.raw) > MAX_BODY:
            raise errors.refuse(413, errors.Detail("The request body exceeds 104 MB.", "INVALID_CONTENT"))
        parts = segments(call)
        match parts:
            case ["metadata-catalog", *rest]:
                return self._metadata(call, rest)
            case [name]:
                spec = self.type(name)
                if call.method == "GET":
                    return self._collection(call, spec)
                if call.method == "POST":
                    return self._create(call, spec)
                raise errors.invalid_parameter(
                    "List operations must be asynchronous: use the header Prefer: respond-async.",
                    header="Prefer",
                )
            case [name, key]:
                return self._one(call, self.type(name), key)
            case [name, key, "!transform", target] if call.method == "POST":
                spec, made = self.type(name), self.type(target)
                id_ = self._find(spec, key, call)
                body, how = values.load(call), values.strictness(call)
                origin = Origin(call.method, call.path, body)
                new = transform(self.records, spec.name, id_, made.name, body, how, origin)
                return self._done(call, made.name, new)
            case [name, key, action] if call.method == "POST" and action.startswith("@"):
                spec = self.type(name)
                if spec.name != "timeBill" or action[1:] not in MOVES:
                    raise errors.nonexistent(f"The action {action} does not exist for record {name}.")
                id_ = self._find(spec, key, call)
                self.records.act(spec.name, id_, action[1:], Origin(call.method, call.path, None))
                return Answer(204)
        raise errors.nonexistent("The requested resource does not exist.")

    # --- one record ---------------------------------------------------------------------------

    def _find(self, spec: RecordType, key: str, call: Call) -> str:
        if key.startswith("eid:"):
            found = self.books.by_external(spec.name, key.removeprefix("eid:"))
        else:
            found = key if self.books.get(spec.name, key) is not None else None
        if found is None:
            raise errors.nonexistent()
        return found

    def _one(self, call: Call, spec: RecordType, key: str) -> Answer:
        name = spec.name
        origin = Origin(call.method, call.path, None)
        match call.method:
            case "GET":
                return self._read(call, spec, self._find(spec, key, call))
            case "DELETE":
                self.records.delete(name, self._find(spec, key, call), origin)
                return Answer(204)
            case "PATCH":
                id_ = self._find(spec, key, call)
                body, how, replaced = values.load(call), values.strictness(call), self._replaced(call, spec)
                body = self._blanked(call, spec, body, replaced)
                self.records.update(
                    name, id_, body, how, Origin(call.method, call.path, body), replaced=replaced
                )
                return self._done(call, name, id_)
            case "PUT":
                if not key.startswith("eid:") or key == "eid:":
                    raise errors.invalid_parameter(
                        "Upsert needs an external ID: use the form eid:<external ID> in the URL."
                    )
                body, how, replaced = values.load(call), values.strictness(call), self._replaced(call, spec)
                origin = Origin(call.method, call.path, body)
                id_ = self.records.upsert(name, key.removeprefix("eid:"), body, how, origin, replaced)
                return self._done(call, name, id_)
        raise errors.refuse(
            405, errors.Detail(f"Method {call.method} is not allowed here.", "INVALID_PARAMETER")
        )

    def _replaced(self, call: Call, spec: RecordType) -> set[str]:
        named = _names(call, "replace")
        unknown = [n for n in named if n not in spec.fields]
        if unknown:
            raise errors.invalid_parameter(
                f"Unknown field in query parameter replace: {unknown[0]}.", query_param="replace"
            )
        return named

    def _blanked(
        self, call: Call, spec: RecordType, body: dict[str, object], replaced: set[str]
    ) -> dict[str, object]:
        """``replaceSelectedFields``: body fields named in ``replace`` but not in the body are blanked."""
        if not _truthy(call, "replaceSelectedFields"):
            return body
        gone = {n: None for n in replaced if n not in body and spec.fields[n].kind != "sublist"}
        return {**body, **gone}

    def _done(self, call: Call, type_: str, id_: str) -> Answer:
        where = {"Location": render.location(call, type_, id_)}
        if call.param("fields") is None:
            return Answer(204, headers=where)
        shown = self._shown(call, self.books.type(type_), self.books.need(type_, id_))
        return Answer(200, shown, where, content_type="application/vnd.oracle.resource+json; type=singular")

    def _shown(self, call: Call, spec: RecordType, stored: Record) -> dict[str, object]:
        only: set[str] | None = None
        if call.param("fields") is not None:
            only = _names(call, "fields")
            unknown = [
                n for n in only if n not in ("id", "externalId", "links", "refName") and n not in spec.fields
            ]
            if unknown:
                raise errors.invalid_parameter(
                    f"Unknown field in query parameter fields: {unknown[0]}.", query_param="fields"
                )
        return render.record(
            self.books,
            call,
            spec.name,
            stored,
            expand=_truthy(call, "expandSubResources"),
            only=only,
            simple_enums=_truthy(call, "simpleEnumFormat"),
        )

    def _read(self, call: Call, spec: RecordType, id_: str) -> Answer:
        stored: Record | None = self.books.need(spec.name, id_)
        if call.stale:
            stored = self.books.store.previous(spec.name, id_)
        if stored is None:
            raise errors.nonexistent()
        shown = self._shown(call, spec, stored)
        if spec.name == "customer" and call.param("fields") is None:
            shown["balance"] = sum(
                self.books.need(*key)["amountRemaining"]
                for key in self.books.referring("customer", id_, "invoice")
            )
        return Answer(200, shown, content_type="application/vnd.oracle.resource+json; type=singular")

    # --- collections --------------------------------------------------------------------------

    def _create(self, call: Call, spec: RecordType) -> Answer:
        body, how = values.load(call), values.strictness(call)
        id_ = self.records.create(spec.name, body, how, Origin(call.method, call.path, body))
        return self._done(call, spec.name, id_)

    def _collection(self, call: Call, spec: RecordType) -> Answer:
        limit, offset = render.paging(call)
        if call.param("ids") is not None:
            found = [
                self.books.need(spec.name, self._find(spec, key, call)) for key in sorted(_names(call, "ids"))
            ]
        else:
            found = list(self.books.store.all(spec.name))
        query = call.param("q")
        if query is not None:
            test = filters.parse(query, spec)
            found = [r for r in found if test(r)]
        if call.stale:
            found = [r for r in found if self.books.store.previous(spec.name, r["id"]) is not None]
        rows = found[offset : offset + limit]
        items = [
            self._shown(call, spec, r)
            if _truthy(call, "expandRecords")
            else {"links": render.self_link(render.location(call, spec.name, r["id"])), "id": r["id"]}
            for r in rows
        ]
        return Answer(
            200,
            render.page(call, len(found), items, limit, offset),
            content_type="application/vnd.oracle.resource+json; type=collection",
        )

    # --- metadata -----------------------------------------------------------------------------

    def _metadata(self, call: Call, rest: list[str]) -> Answer:
        if call.method != "GET" or len(rest) > 1:
            raise errors.nonexistent("The requested resource does not exist.")
        base = render.origin(call)
        if not rest:
            wanted = _names(call, "select")
            names = [n for n, t in self.books.types.items() if t.rest and (not wanted or n in wanted)]
            root = f"{base}{render.BASE}/metadata-catalog"
            items = [{"name": n, "links": render.self_link(f"{root}/{n}")} for n in names]
            return Answer(200, {"links": render.self_link(root), "items": items})
        spec = self.type(rest[0])
        accept = call.headers.get("accept", "application/schema+json")
        swagger = "swagger" in accept
        shown = render.catalog(spec, self.books.settings["tax_mode"], swagger, base)
        kind = "application/swagger+json" if swagger else "application/schema+json"
        return Answer(200, shown, content_type=kind)
