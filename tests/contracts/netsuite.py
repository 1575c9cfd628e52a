"""NetSuite's exchanges against the stored record reference: operations, field names, field types, errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.contracts.exchanges import Exchange, Verdict

FILE = "netsuite/record_v1_reference.json"
REST = "/services/rest"
SINGLE = re.compile(rf"{REST}/record/v1/(?P<type>\w+)/(?P<id>[^/]+)")
WHOLE = re.compile(rf"{REST}/record/v1/(?P<type>\w+)")
TRANSFORM = re.compile(rf"{REST}/record/v1/(?P<type>\w+)/[^/]+/!transform/(?P<into>\w+)")
ASYNC = re.compile(rf"{REST}/async/v1/job/[^/]+(/task(/[^/]+(/result)?)?)?")
_EVERYWHERE = {"id", "links", "refName", "externalId"}
"""Of ``nsResource``."""
SOURCES_DIFFER = {("job", "jobBillingType"): {"TM"}}
"""Values of the vendor's own examples that the reference does not list. Which of them an account takes is a
setting of the connector; they are reported as not covered, not as kept."""
AS_NUMBER = {("billingSchedule", "initialAmount")}
"""Text in the reference, a number in the simulator's answers. The connector reads it nowhere."""


class Contract:
    """The reference, ready to be asked."""

    def __init__(self, specs: Path) -> None:
        self.spec = json.loads((specs / FILE).read_text())
        self.fields: dict[str, dict[str, str]] = self.spec["fields"]
        self.into = {
            record: {word for line in lines for word in re.findall(r"\w+", line.partition("!transform/")[2])}
            for record, lines in self.spec["actions_and_transforms"].items()
        }
        operations = self.spec["common_record_operations"]
        self.queries = {
            name: {re.sub(r"\(.*", "", one) for one in operation.get("query", ())}
            for name, operation in operations.items()
        }
        self.statuses = {
            name: {int(one.split()[0]) for one in operation["responses"]}
            for name, operation in operations.items()
        }

    def judge(self, exchanges: Iterable[Exchange]) -> Verdict:
        """Hold exchanges against the reference."""
        verdict = Verdict()
        for one in exchanges:
            self._judge(one, verdict)
        return verdict

    def _judge(self, one: Exchange, verdict: Verdict) -> None:
        if one.status is not None and one.whole and one.status >= 400 and REST + "/record" in one.path:
            verdict.answers += 1
            self._error(one, verdict)
        if match := TRANSFORM.fullmatch(one.path):
            self._transform(one, match["type"], match["into"], verdict)
        elif match := SINGLE.fullmatch(one.path):
            if match["type"] == "metadata-catalog":
                verdict.uncovered.add("operation GET /record/v1/metadata-catalog/{recordType}")
                return
            self._record(one, match["type"], f"{one.method} /{{recordType}}/{{id}}", verdict)
        elif match := WHOLE.fullmatch(one.path):
            listed = one.method in ("PUT", "PATCH", "DELETE")
            name = "PUT|PATCH|DELETE" if listed else one.method
            self._record(one, match["type"], f"{name} /{{recordType}}", verdict)
        elif one.path == f"{REST}/query/v1/suiteql":
            self._query(one, verdict)
        elif ASYNC.fullmatch(one.path):
            verdict.requests += one.ours
            if one.method != "GET":
                verdict.violate(one, "jobs are only read")
            verdict.uncovered.add("answers of /async/v1/job")
        else:
            verdict.uncovered.add(f"operation {one.method} {re.sub('/[0-9]+', '/{id}', one.path)}")

    def _record(self, one: Exchange, record: str, name: str, verdict: Verdict) -> None:
        if name not in self.statuses:
            verdict.violate(one, f"{name} is no operation of the record service")
            return
        if one.ours:
            verdict.requests += 1
            self._names(one, name, verdict)
            self._request_body(one, record, verdict)
        if one.method == "PUT" and "/eid:" not in one.path and "{id}" in name:
            verdict.violate(one, "PUT of one record takes eid:<external id>")
        if one.status is None or not one.whole or one.status >= 400:
            return
        verdict.answers += 1
        if one.status not in self.statuses[name]:
            verdict.violate(one, f"status {one.status} is none of {sorted(self.statuses[name])}")
        if one.method in ("POST", "PUT") and "location" not in one.answer_headers:
            verdict.violate(one, "no Location")
        if one.method == "GET" and "{id}" in name:
            self._fields(one, record, one.got(), verdict, "answer")
        elif one.method == "GET":
            self._collection(one, verdict)

    def _names(self, one: Exchange, name: str, verdict: Verdict) -> None:
        for query in sorted({key for key, _ in one.query} - self.queries[name]):
            verdict.violate(one, f"query parameter {query} is none of {sorted(self.queries[name])}")
        if "PUT|PATCH" in name and one.headers.get("prefer") != "respond-async":
            verdict.violate(one, "a list is only taken with Prefer: respond-async")

    def _request_body(self, one: Exchange, record: str, verdict: Verdict) -> None:
        body = one.sent()
        if body is None:
            return
        lines = body["items"] if set(body) == {"items"} else [body]
        for line in lines:
            self._fields(one, record, line, verdict, "request")

    def _transform(self, one: Exchange, record: str, into: str, verdict: Verdict) -> None:
        if record not in self.into:
            verdict.uncovered.add(f"operation POST /{record}/{{id}}/!transform/{into}")
        elif into not in self.into[record]:
            verdict.violate(one, f"{record} is not transformed into {into}")
        elif one.ours:
            verdict.requests += 1
        if one.method != "POST":
            verdict.violate(one, "a transform is a POST")
        if one.ours and one.body:
            self._fields(one, into, one.sent(), verdict, "request")

    def _query(self, one: Exchange, verdict: Verdict) -> None:
        if one.ours:
            verdict.requests += 1
            if one.method != "POST" or one.headers.get("prefer") != "transient" or set(one.sent()) != {"q"}:
                verdict.violate(one, "a query is a POST of {q} with Prefer: transient")
            if {name for name, _ in one.query} - {"limit", "offset"}:
                verdict.violate(one, "a query takes limit and offset")
        if one.status == 200 and one.whole:
            verdict.answers += 1
            self._collection(one, verdict)

    def _collection(self, one: Exchange, verdict: Verdict) -> None:
        shape, types = self.spec["schemas"]["collection"], {"int": int, "bool": bool}
        body = one.got()
        if set(body) != set(shape):
            verdict.violate(one, f"a collection has {sorted(shape)}, not {sorted(body)}")
            return
        for name, kind in shape.items():
            if type(body[name]) is not types.get(kind, list):
                verdict.violate(one, f"{name} is not {kind}")

    def _error(self, one: Exchange, verdict: Verdict) -> None:
        body, shape = one.got(), self.spec["schemas"]["nsError"]
        if not isinstance(body, dict) or not set(body) <= set(shape) or "o:errorDetails" not in body:
            verdict.violate(one, f"an error has {sorted(shape)}")
            return
        allowed = {word for name in shape["o:errorDetails"][0] for word in name.split("|")}
        for detail in body["o:errorDetails"]:
            if not set(detail) <= allowed or not isinstance(detail.get("detail"), str):
                verdict.violate(one, f"an error's detail has {sorted(allowed)}")

    def _fields(
        self, one: Exchange, record: str, body: Mapping[str, Any], verdict: Verdict, where: str
    ) -> None:
        known = self.fields.get(record)
        if known is None:
            verdict.uncovered.add(f"record type {record}")
            return
        for name, value in body.items():
            if name in _EVERYWHERE or name.startswith("cust"):
                continue
            if name not in known:
                verdict.uncovered.add(f"field {record}.{name}")
            elif isinstance(given := _given(value), str) and given in SOURCES_DIFFER.get((record, name), ()):
                verdict.uncovered.add(f"value {given} of {record}.{name}: the vendor's examples use it")
            elif where == "answer" and (record, name) in AS_NUMBER and isinstance(value, (int, Decimal)):
                verdict.uncovered.add(f"{record}.{name} of an answer: a number, the reference says text")
            elif value is not None and not _fits(value, known[name], where):
                verdict.violate(one, f"{where}: {record}.{name} is {value!r}, not {known[name]}")


def _fits(value: Any, kind: str, where: str) -> bool:
    word = kind.split()[0]
    match word:
        case "ref":
            return isinstance(value, dict) and bool({"id", "externalId"} & set(value))
        case "sublist":
            # Without expandSubResources an answer only links to a sublist.
            return isinstance(value, dict) and ("items" in value or (where == "answer" and "links" in value))
        case "string":
            form = r"-?\d+:\d\d" if "H:MM" in kind else r"[\s\S]*"
            return isinstance(value, str) and re.fullmatch(form, value) is not None
        case "boolean":
            return isinstance(value, bool)
        case "double":
            return isinstance(value, (int, Decimal)) and not isinstance(value, bool)
        case "int" | "int64":
            return isinstance(value, int) and not isinstance(value, bool)
        case "date":
            return isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value) is not None
        case "date-time":
            return isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", value) is not None
        case "enum":
            given = _given(value)
            return isinstance(given, str) and _in_enum(given, kind)
    raise ValueError(f"the reference has a type {kind!r} that is not checked here")


def _given(value: Any) -> Any:
    """What an enumeration or reference names; None for a sublist, which names nothing."""
    return value.get("id") if isinstance(value, dict) else value


def _in_enum(given: str, kind: str) -> bool:
    if span := re.search(r"enum (\d)\.\.(\d)", kind):
        return given.isdigit() and int(span[1]) <= int(given) <= int(span[2])
    if words := re.search(r"enum (\S+\|\S+)", kind):
        return given in words[1].split("|")
    return True
