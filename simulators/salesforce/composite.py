"""Several requests in one call: composite (with references), graph, batch.

Source: vendor documentation, "Composite", "Composite Graph", "Batch": 25 subrequests, of which five queries
or collections; 500 nodes over all graphs; ``@{ref.id}`` in later subrequests; roll-back with
PROCESSING_HALTED.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from simulators.kit import Answer, VendorError
from simulators.salesforce.errors import malformed_json, not_found, refusal
from simulators.salesforce.limits import Limits
from simulators.salesforce.records import Records
from simulators.salesforce.request import Request, subrequest

MAX_SUBREQUESTS = 25
MAX_QUERIES = 5
MAX_NODES = 500
_REFERENCE = re.compile(r"@\{([A-Za-z0-9_]+)\.([^{}]+)\}")
_STEP = re.compile(r"([A-Za-z0-9_]+)|\[(\d+)\]")
ROLLED_BACK = "The transaction was rolled back since another operation in the same transaction failed."

Dispatch = Callable[[Request], Answer]
Step = dict[str, Any]


class _Unresolved(Exception):
    """A reference to something that an earlier answer does not hold."""


class Composite:
    """Serves ``/composite``, ``/composite/graph`` and ``/composite/batch``."""

    def __init__(self, world: Records, limits: Limits, dispatch: Dispatch) -> None:
        self.world = world
        self.limits = limits
        self.dispatch = dispatch

    def handle(self, request: Request) -> Answer:
        """One composite call.

        Raises:
            VendorError: refused as a whole.
        """
        match request.segments[1:]:
            case []:
                request.need("POST")
                return self._composite(request)
            case ["graph"]:
                request.need("POST")
                return self._graphs(request)
            case ["batch"]:
                request.need("POST")
                return self._batch(request)
        raise not_found()

    # --- composite --------------------------------------------------------------------------------

    def _composite(self, request: Request) -> Answer:
        steps = _steps(request.body)
        if len(steps) > MAX_SUBREQUESTS:
            raise _over(f"a composite request takes at most {MAX_SUBREQUESTS} subrequests")
        if sum(_is_query(step) for step in steps) > MAX_QUERIES:
            raise _over(f"at most {MAX_QUERIES} subrequests may be queries or sObject collections")
        all_or_none = request.body.get("allOrNone", False)
        if not isinstance(all_or_none, bool):
            raise malformed_json("allOrNone must be a boolean")
        responses, _ = self._run(request, steps, all_or_none=all_or_none)
        return Answer(200, {"compositeResponse": responses})

    def _run(self, request: Request, steps: list[Step], *, all_or_none: bool) -> tuple[list[Step], bool]:
        """The responses, and whether all succeeded."""
        before = self.world.snapshot() if all_or_none and len(steps) > 1 else None
        answers: dict[str, Any] = {}
        responses: list[Step] = []
        good = True
        for step in steps:
            response = self._one(request, step, answers)
            responses.append(response)
            if response["httpStatusCode"] >= 300:
                good = False
                if all_or_none:
                    break
            else:
                answers[step["referenceId"]] = response["body"]
        if good or not all_or_none:
            return responses, good
        if before is not None:
            self.world.restore(before)
        failed = responses[-1]
        return [
            failed if s["referenceId"] == failed["referenceId"] else _halted(s, ROLLED_BACK) for s in steps
        ], False

    def _one(self, request: Request, step: Step, answers: Mapping[str, Any]) -> Step:
        try:
            url = str(_resolve(step["url"], answers))
            body = _resolve(step.get("body"), answers)
        except _Unresolved as missing:
            return _halted(step, str(missing))
        try:
            sub = subrequest(request, step["method"], url, body, step.get("httpHeaders"))
            if sub.segments[:1] == ["composite"] and sub.segments[1:2] != ["sobjects"]:
                raise not_found()
            answer = self.dispatch(sub)
        except VendorError as bad:
            answer = bad.answer
        return {
            "body": answer.body,
            "httpHeaders": dict(answer.headers),
            "httpStatusCode": answer.status,
            "referenceId": step["referenceId"],
        }

    # --- graph ------------------------------------------------------------------------------------

    def _graphs(self, request: Request) -> Answer:
        graphs = request.body.get("graphs") if isinstance(request.body, dict) else None
        if not isinstance(graphs, list) or not all(isinstance(g, dict) for g in graphs):
            raise malformed_json("The request needs a list of graphs")
        names = [g.get("graphId") for g in graphs]
        if not all(isinstance(n, str) and n for n in names) or len(set(names)) != len(names):
            raise malformed_json("Every graph needs a graphId of its own")
        plans = [_steps(graph) for graph in graphs]
        if sum(len(plan) for plan in plans) > MAX_NODES:
            raise _over(f"composite graphs take at most {MAX_NODES} nodes")
        results = []
        for name, plan in zip(names, plans, strict=True):
            responses, good = self._run(request, plan, all_or_none=True)
            results.append(
                {"graphId": name, "graphResponse": {"compositeResponse": responses}, "isSuccessful": good}
            )
        return Answer(200, {"graphs": results})

    # --- batch ------------------------------------------------------------------------------------

    def _batch(self, request: Request) -> Answer:
        body = request.body
        parts = body.get("batchRequests") if isinstance(body, dict) else None
        if not isinstance(parts, list) or not all(
            isinstance(p, dict) and isinstance(p.get("method"), str) and isinstance(p.get("url"), str)
            for p in parts
        ):
            raise malformed_json("The request needs a list of batchRequests with method and url")
        if len(parts) > MAX_SUBREQUESTS:
            raise _over(f"a batch takes at most {MAX_SUBREQUESTS} subrequests")
        halt = bool(body.get("haltOnError", body.get("haltOnBatchError", False)))
        # The call itself is counted already; unlike a composite, each further subrequest counts too.
        if len(parts) > 1:
            self.limits.take(len(parts) - 1)
        results: list[Step] = []
        stopped = False
        for part in parts:
            if stopped:
                halted = [
                    {"errorCode": "BATCH_PROCESSING_HALTED", "message": "Batch processing halted per request"}
                ]
                results.append({"statusCode": 412, "result": halted})
                continue
            try:
                url = f"/services/data/{part['url'].removeprefix('/services/data/').lstrip('/')}"
                sub = subrequest(request, part["method"].upper(), url, part.get("richInput"))
                if sub.segments[:1] == ["composite"]:
                    raise not_found()
                answer = self.dispatch(sub)
            except VendorError as bad:
                answer = bad.answer
            results.append({"statusCode": answer.status, "result": answer.body})
            stopped = halt and answer.status >= 300
        errors = any(r["statusCode"] >= 300 for r in results)
        return Answer(200, {"hasErrors": errors, "results": results})


def _steps(body: Any) -> list[Step]:
    steps = body.get("compositeRequest") if isinstance(body, dict) else None
    if not isinstance(steps, list) or not steps:
        raise malformed_json("The request needs a list compositeRequest")
    seen: set[str] = set()
    for step in steps:
        for name in ("method", "url", "referenceId"):
            if not isinstance(step, dict) or not isinstance(step.get(name), str) or not step[name]:
                raise malformed_json(f"Every subrequest needs {name}")
        reference = step["referenceId"]
        if reference in seen or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", reference):
            raise malformed_json(f"Illegal or repeated referenceId: {reference}")
        seen.add(reference)
    return steps


def _is_query(step: Step) -> bool:
    return re.match(r"/services/data/v\d+\.0/(query|queryAll|composite/sobjects)\b", step["url"]) is not None


def _over(message: str) -> VendorError:
    return refusal(400, "LIMIT_EXCEEDED", message)


def _halted(step: Step, message: str) -> Step:
    body = [{"errorCode": "PROCESSING_HALTED", "message": message}]
    return {"body": body, "httpHeaders": {}, "httpStatusCode": 400, "referenceId": step["referenceId"]}


def _resolve(value: Any, answers: Mapping[str, Any]) -> Any:
    """A url or body with the references to earlier answers filled in."""
    if isinstance(value, dict):
        return {k: _resolve(v, answers) for k, v in value.items()}
    if isinstance(value, list):
        return [_resolve(v, answers) for v in value]
    if not isinstance(value, str):
        return value
    whole = _REFERENCE.fullmatch(value)
    if whole:
        return _look(whole[1], whole[2], answers)
    return _REFERENCE.sub(lambda m: str(_look(m[1], m[2], answers)), value)


def _look(reference: str, path: str, answers: Mapping[str, Any]) -> Any:
    held: Any = answers.get(reference)
    for step in _STEP.finditer(path):
        if step[2] is not None:
            held = held[int(step[2])] if isinstance(held, list) and int(step[2]) < len(held) else None
        else:
            held = held.get(step[1]) if isinstance(held, dict) else None
        if held is None:
            raise _Unresolved(
                f"Invalid reference specified. No value for {reference}.{path} found in {reference}"
            )
    return held
