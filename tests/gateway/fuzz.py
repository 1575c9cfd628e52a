"""schemathesis over the whole OpenAPI description: no server error, nothing that is not described.

``python -m tests.gateway.fuzz --examples 200`` prints one JSON line; the test suite runs its short form.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import threading
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from canonical.names import SagaName, contract_key, saga_id
from canonical.saga import SagaStatus, SagaView
from tests.gateway import readings, tokens
from tests.gateway.house import House, deal, house, template

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    ignored_auth,
    unsupported_method,
]
DEAL = "006gK0000000001QAA"
SAGA = saga_id(SagaName.OPPORTUNITY_TO_PROJECT, "emea", "sf-main", DEAL)
PLAN = saga_id(SagaName.OPPORTUNITY_TO_PROJECT, "emea", "sf-main", DEAL, plan=True)
CONTRACT = contract_key(DEAL, "DE01", "EUR")
ORDER = {
    "key": "CO-1",
    "contract_key": CONTRACT,
    "base": 1,
    "effective_on": "2027-02-01",
    "delta": {"change": [{"key": "00k1", "amount": {"amount": "100.50", "currency": "EUR"}}]},
}
KNOWN: dict[str, dict[str, Any]] = {
    "getSaga": {"path_parameters": {"id": SAGA}},
    "listInvoiceStatus": {"query": {"invoice": "INV880"}},
    "listProjects": {"query": {"system": "sf-main", "deal_id": DEAL}},
    "startProject": {"body": {"system": "sf-main", "deal_id": DEAL}},
    "validateDeal": {"body": {"system": "sf-main", "deal_id": DEAL}},
    "postApprovedTime": {"body": {"psa": "kantata-main", "erp": "netsuite-emea"}},
    "sendChangeOrder": {"body": ORDER},
    "listChangeOrders": {"query": {"contract": CONTRACT}},
    "receiveWebhook": {"path_parameters": {"source": "deals"}},
}
"""Values that are there, by operation: what is made up is hardly ever found."""


@dataclass
class Found:
    """What the fuzzing found."""

    cases: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[tuple[str, House]]:
    """The gateway on a real socket, in a thread of its own, with a deal, a saga and invoices to find."""
    ready, stop = threading.Event(), threading.Event()
    box: dict[str, Any] = {}

    async def live() -> None:
        async with house(folder, template(folder)) as home:
            home.crm.deals[DEAL] = deal(DEAL)
            await readings.make(home.ledger, "880")
            for record in ("880", "990"):
                await readings.read(home.ledger, readings.standing(record, paid=50_000))
            running = SagaView(
                saga_id=SAGA, saga="opportunity-to-project", status=SagaStatus.RUNNING, headline="Under way",
                business_key=f"sf-main/{DEAL}", region="emea",
            )  # fmt: skip
            home.temporal.views[SAGA] = running
            home.temporal.answers[PLAN] = running
            await home.agreed(CONTRACT, "DE01")
            config = uvicorn.Config(home.app, port=0, log_config=None, access_log=False, lifespan="on")
            server = uvicorn.Server(config)
            task = asyncio.create_task(server.serve())
            while not server.started:  # noqa: ASYNC110 - uvicorn offers nothing to wait for
                await asyncio.sleep(0.01)
            box["home"] = home
            box["url"] = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
            ready.set()
            await asyncio.to_thread(stop.wait)
            server.should_exit = True
            await task

    thread = threading.Thread(target=lambda: asyncio.run(live()), daemon=True)
    thread.start()
    assert ready.wait(60)
    try:
        yield box["url"], box["home"]
    finally:
        stop.set()
        thread.join(30)


def fuzz(folder: Path, *, examples: int, number: int = 1) -> Found:
    """Call every operation with up to ``examples`` generated cases."""
    found = Found()
    with served(folder) as (url, home):
        schema: Any = schemathesis.openapi.from_url(f"{url}/openapi.json")
        headers = tokens.bearer(home.clock())
        for result in schema.get_all_operations():
            operation = result.ok()
            known = KNOWN.get(operation.definition.raw["operationId"])
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                for fixed in ({}, *([known] if known and mode.is_positive else [])):
                    strategy = operation.as_strategy(generation_mode=mode, **fixed)
                    _check(found, strategy, headers, examples=examples, number=number)
    return found


def _check(found: Found, strategy: Any, token: dict[str, str], *, examples: int, number: int) -> None:
    """Call one operation with cases of one kind."""

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def check(case: Any) -> None:
        found.cases += 1
        found.operations[case.operation.label] += 1
        # Our own token where the case brings none: what is not authenticated is refused anyway.
        headers = {**token, **(case.headers or {})}
        answer = case.call(headers=headers)
        found.statuses[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS, headers=headers)

    try:
        check()
    except Unsatisfiable:
        pass  # Nothing of this kind can be made: an operation without parameters takes no wrong ones.
    except Exception as error:
        found.failures.append("".join(traceback.format_exception_only(error))[:2_000])


def main() -> int:
    """Run the long form."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trueup-fuzz-") as folder:
        found = fuzz(Path(folder), examples=given.examples, number=given.seed)
    for failure in found.failures:
        print(failure, file=sys.stderr)
    errors = sum(number for status, number in found.statuses.items() if status >= 500)
    figures = {
        "cases": found.cases,
        "operations": len(found.operations),
        "statuses": {str(status): number for status, number in sorted(found.statuses.items())},
        "server_errors": errors,
        "failures": len(found.failures),
    }
    goals = {"server_errors": 0, "failures": 0}
    met = errors == 0 and not found.failures
    print(json.dumps({"target": "schemathesis", "figures": figures, "goals": goals, "met": met}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
