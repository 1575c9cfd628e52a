"""Kantata's exchanges against the vendor SDK's attribute lists and the digest of its API document."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.contracts.exchanges import Exchange, Verdict
from tests.contracts.yaml_subset import load

SDK, DIGEST = "kantata/mavenlink_gem-specification.yml", "kantata/kantata-ox-derived.yml"
ROOT = "/api/v1"
_KINDS = {"int": int, "string": str}


@dataclass
class Resource:
    """A record type as the SDK lists it."""

    sections: dict[str, set[str]] = field(default_factory=dict)
    associations: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    """Foreign keys, which records show as attributes."""

    def shows(self) -> set[str]:
        """Attributes of an answer."""
        return self.sections.get("attributes", set()) | self.keys | {"id"}

    def takes(self, verb: str) -> set[str]:
        """Attributes of a create or an update."""
        return self.sections.get(f"{verb}_attributes", set())


def read_sdk(text: str) -> dict[str, Resource]:
    """The SDK's file, line by line: it uses keys that a safe YAML reader refuses."""
    resources: dict[str, Resource] = {}
    current, section = Resource(), ""
    for raw in text.split("\n"):
        line = re.sub(r"\s*#.*$", "", raw)
        if match := re.fullmatch(r"(\w+):", line):
            current = resources.setdefault(match[1], Resource())
        elif match := re.fullmatch(r" {2,4}(\w*attributes|associations|validations):", line):
            section = match[1]
        elif re.fullmatch(r"  \w+:.*", line):
            section = ""
        elif match := re.fullmatch(r"\s+- (\w+)", line):
            current.sections.setdefault(section, set()).add(match[1])
        elif section == "associations" and (match := re.fullmatch(r"    (\w+):", line)):
            current.associations.add(match[1])
        elif match := re.fullmatch(r"\s+foreign_key: (\w+)", line):
            current.keys.add(match[1])
    return resources


class Contract:
    """Both files, ready to be asked."""

    def __init__(self, specs: Path) -> None:
        self.sdk = read_sdk((specs / SDK).read_text())
        self.digest = load((specs / DIGEST).read_text())
        self.paths = [
            (re.compile(re.sub(r"\\{id\\}", r"\\d+", re.escape(path))), path, operations)
            for path, operations in self.digest["paths"].items()
        ]
        paging = self.digest["paging"]
        self.common = {*self.digest["common_read_params"], "page", "per_page", *paging["alternative"]}
        self.declared = set(self.digest["errors"]["declared_statuses"])
        self.errors = set(self.digest["errors"]["shape"]["errors"][0])
        self.types = set(self.digest["errors"]["shape"]["errors"][0]["type"].split("|"))

    def judge(self, exchanges: Iterable[Exchange]) -> Verdict:
        """Hold exchanges against both."""
        verdict = Verdict()
        for one in exchanges:
            self._judge(one, verdict)
        return verdict

    def _judge(self, one: Exchange, verdict: Verdict) -> None:
        path = one.path.removeprefix(ROOT)
        shape = re.sub(r"/\d+", "/{id}", path)
        kind = path.split("/")[1]
        operation = next(
            (ops[one.method.lower()] for form, _, ops in self.paths
             if form.fullmatch(path) and one.method.lower() in ops),
            None,
        )  # fmt: skip
        if operation is None:
            verdict.uncovered.add(f"operation {one.method} {shape}")
        if one.ours and (operation is not None or kind in self.sdk):
            verdict.requests += 1
            if one.method == "GET":
                self._reading(one, shape, kind, operation, verdict)
            elif one.body:
                self._writing(one, shape, kind, operation, verdict)
        if one.status is not None and one.whole:
            self._answer(one, shape, kind, operation, verdict)

    def _reading(
        self, one: Exchange, shape: str, kind: str, operation: dict[str, Any] | None, verdict: Verdict
    ) -> None:
        query, resource = dict(one.query), self.sdk.get(kind)
        if int(query.get("per_page", 0)) > self.digest["paging"]["per_page"]["maximum"]:
            verdict.violate(one, "asks for a longer page than there is")
        if resource is not None:
            for name in filter(None, query.get("include", "").split(",")):
                if name not in resource.associations:
                    verdict.uncovered.add(f"include {name} of {kind}")
        known = set(self.common)
        if operation is not None:
            parameters = dict(operation.get("params") or {})
            known |= set(parameters.pop("external", {})) | set(parameters) | _plain(operation)
            known |= set(self.digest["external_reference_filters"]) if "external" in str(operation) else set()
            for name in operation.get("required") or ():
                if name not in query:
                    verdict.violate(one, f"query parameter {name} is missing")
            orders = operation.get("order")
            if orders and "order" in query and query["order"].split(":")[0] not in orders:
                verdict.violate(one, f"order {query['order']} is none of {orders}")
        for name in sorted(set(query) - known):
            verdict.uncovered.add(f"query parameter {name} of GET {shape}")

    def _writing(
        self, one: Exchange, shape: str, kind: str, operation: dict[str, Any] | None, verdict: Verdict
    ) -> None:
        body, operation = one.sent(), operation or {}
        if shape.endswith("/cancel"):
            return
        (root,) = body
        if root not in (_singular(kind), kind):
            verdict.violate(one, f"the body is wrapped in {root}, not in {_singular(kind)}")
            return
        given, resource = body[root], self.sdk.get(kind, Resource())
        verb = "create" if one.method == "POST" else "update"
        known = resource.takes("create_or_update") if "create_or_update" in shape else resource.takes(verb)
        listed = operation.get("body")
        known = known | {re.split(r"[:<]", str(name))[0] for name in listed or ()}
        known |= set(operation.get("body_extra") or ()) | _plain(operation)
        if not known:
            verdict.uncovered.add(f"attributes of {one.method} {shape}")
            return
        for name in sorted(set(given) - known):
            verdict.uncovered.add(f"attribute {name} of {one.method} {shape}")
        for name in _plain(operation) - set(given):
            verdict.violate(one, f"{name} is missing")
        reference = given.get("external_reference")
        if reference is not None:
            shape_of = self.digest["external_reference_object"]
            missing = {name for name, says in shape_of.items() if says == "required"} - set(reference)
            if missing or not set(reference) <= set(shape_of):
                verdict.violate(one, f"an external reference has {sorted(shape_of)}")

    def _answer(
        self, one: Exchange, shape: str, kind: str, operation: dict[str, Any] | None, verdict: Verdict
    ) -> None:
        assert one.status is not None
        if one.status >= 400:
            if one.status not in self.declared:
                verdict.uncovered.add(f"status {one.status}")
                return
            verdict.answers += 1
            body = one.got()
            if not isinstance(body, dict) or set(body) != {"errors"}:
                verdict.violate(one, "an error has one member, errors")
                return
            for row in body["errors"]:
                if not set(row) <= self.errors or row.get("type") not in self.types:
                    verdict.violate(one, f"an error has {sorted(self.errors)}: {row}")
            return
        verdict.answers += 1
        wanted = 204 if one.method == "DELETE" else (operation or {}).get("status", 200)
        if one.status != wanted:
            verdict.violate(one, f"the status is not {wanted}")
        if one.status != 204:
            self._envelope(one, verdict)

    def _envelope(self, one: Exchange, verdict: Verdict) -> None:
        body, shape = one.got(), self.digest["envelope"]
        if not isinstance(body, dict) or not set(shape) <= set(body):
            verdict.violate(one, f"an envelope has {sorted(shape)}")
            return
        for part, described in ((body, shape), (body["meta"], shape["meta"])):
            for name, says in described.items():
                if (
                    isinstance(says, str)
                    and says in _KINDS
                    and name in part
                    and not isinstance(part[name], _KINDS[says])
                ):
                    verdict.violate(one, f"{name} is not {says}")
        for result in body["results"]:
            if set(result) != {"key", "id"} or result["id"] not in body.get(result["key"], {}):
                verdict.violate(one, f"a result names a record by key and id: {result}")
        for kind, records in body.items():
            if kind in shape:
                continue
            resource = self.sdk.get(kind)
            if resource is None or not resource.shows() - {"id"}:
                verdict.uncovered.add(f"attributes of {kind}")
                continue
            for name in sorted({name for record in records.values() for name in record} - resource.shows()):
                verdict.uncovered.add(f"attribute {kind}.{name} of an answer")


def _singular(kind: str) -> str:
    return re.sub(r"ies$", "y", kind) if kind.endswith("ies") else kind.removesuffix("s")


def _plain(operation: dict[str, Any]) -> set[str]:
    """Required attributes that are names; some are sentences."""
    return {name for name in operation.get("required") or () if re.fullmatch(r"\w+", name)}
