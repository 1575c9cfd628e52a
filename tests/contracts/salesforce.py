"""Salesforce's exchanges against the stored OpenAPI subset: paths, queries, content types, bodies."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.contracts.exchanges import Exchange, Verdict
from tests.contracts.schema import problems
from tests.contracts.yaml_subset import load

FILE = "salesforce/salesforce-platform-subset-v64.openapi.yaml"
ROOT = "/services"
EXAMPLES: dict[str, set[str]] = {
    # The document was made from a collection of examples: these are somebody's field, not everybody's.
    "Record6": {"NumberOfEmployees"},
    "SObjectRowsUpdateRequest": {"field API name"},
    # The examples only show lines that succeeded; a refused line has errors and no id.
    "SObjectCollectionsUpdate": {"id"},
    # Pages of the user interface, which the simulator leaves out of a describe; the connector reads none.
    "Urls4": {
        "approvalLayouts",
        "compactLayouts",
        "layouts",
        "listviews",
        "quickActions",
        "uiDetailTemplate",
        "uiEditTemplate",
        "uiNewRecord",
    },
    # A part that reads has no body; the collection only shows parts that create.
    "CompositeRequest1": {"body"},
    # Answers of reads within a composite are the record itself.
    "Body1": {"id", "success", "errors"},
    # Only parts that create name a Location.
    "HttpHeaders": {"Location"},
}


class Contract:
    """The document, ready to be asked."""

    def __init__(self, specs: Path) -> None:
        document = load((specs / FILE).read_text())
        self.schemas = document["components"]["schemas"]
        self.operations = [
            (self._pattern(path), path, operations) for path, operations in document["paths"].items()
        ]
        # Literal segments win over placeholders.
        self.operations.sort(key=lambda one: one[1].count("{"))

    @staticmethod
    def _pattern(path: str) -> re.Pattern[str]:
        whole = path if path.startswith(ROOT) else ROOT + path
        return re.compile("".join("[^/]+" if part.startswith("{") else re.escape(part)
                                  for part in re.split(r"(\{[^}]+\})", whole)))  # fmt: skip

    def judge(self, exchanges: Iterable[Exchange]) -> Verdict:
        """Hold exchanges against the document."""
        verdict = Verdict()
        for one in exchanges:
            self._judge(one, verdict)
        return verdict

    def _judge(self, one: Exchange, verdict: Verdict) -> None:
        found = next(
            (
                (path, operations)
                for pattern, path, operations in self.operations
                if pattern.fullmatch(one.path) and one.method.lower() in operations
            ),
            None,
        )
        if found is None:
            kind = "next page of a query" if re.search(r"/query/[^/]+$", one.path) else _shape(one.path)
            verdict.uncovered.add(f"operation {one.method} {kind}")
            return
        path, operation = found[0], found[1][one.method.lower()]
        if one.ours:
            verdict.requests += 1
            self._request(one, path, operation, verdict)
        if one.status is not None and one.whole:
            self._answer(one, path, operation, verdict)

    def _request(self, one: Exchange, path: str, operation: dict[str, Any], verdict: Verdict) -> None:
        declared = {p["name"]: p for p in operation["parameters"] if p["in"] == "query"}
        sent = {name for name, _ in one.query}
        for name, parameter in declared.items():
            if parameter.get("required") and name not in sent:
                verdict.violate(one, f"query parameter {name} is missing")
        for name in sorted(sent - set(declared)):
            verdict.uncovered.add(f"query parameter {name} of {one.method} {path}")
        content = operation.get("requestBody", {}).get("content", {})
        if not content:
            if one.body:
                verdict.violate(one, "has a body")
            return
        kind = one.headers.get("content-type", "").partition(";")[0]
        if kind not in content:
            verdict.violate(one, f"content type {kind!r} is none of {sorted(content)}")
            return
        if kind != "application/json":
            # Every grant has fields of its own; only the authorisation code's are in the document.
            verdict.uncovered.add(f"form fields of {one.method} {path}")
            return
        for problem in problems(one.sent(), content[kind]["schema"], self.schemas, EXAMPLES):
            verdict.violate(one, problem)

    def _answer(self, one: Exchange, path: str, operation: dict[str, Any], verdict: Verdict) -> None:
        answer = operation["responses"].get(str(one.status))
        if answer is None:
            verdict.uncovered.add(f"status {one.status} of {one.method} {path}")
            return
        content = {name.partition(";")[0]: part for name, part in (answer.get("content") or {}).items()}
        schema = content.get("application/json", {}).get("schema")
        if schema is None or schema.get("type") == "string":
            # Where the collection kept an answer as text, it is an example and no schema.
            verdict.uncovered.add(f"answer of {one.method} {path}")
            return
        verdict.answers += 1
        if path.endswith("/describe"):
            verdict.uncovered.add(
                "pages of the user interface in urls of a describe (the simulator has none)"
            )
        for problem in problems(one.got(), schema, self.schemas, EXAMPLES):
            verdict.violate(one, problem)


def _shape(path: str) -> str:
    """A path without what is different in every run."""
    path = re.sub(
        r"/(sobjects)/[^/]+/([A-Za-z_]+__c)/[^/]+$", r"/\1/{object}/{external id field}/{value}", path
    )
    return path.removeprefix(ROOT)
