"""The simulator: routing, limits, seeding, control calls, faults.

Credentials: none are built in. A test registers its public key or certificate under a certificate id with the
setting ``certificates`` and signs assertions for ``client_id`` ("sim-client"); TBA needs the settings
``auth`` and ``tba``. See README.md for every setting.
"""

from __future__ import annotations

import copy
import json
from decimal import Decimal
from typing import Any

from simulators.kit import Answer, Call, Simulator, VendorError
from simulators.netsuite import errors, people, render
from simulators.netsuite.auth import TOKEN_PATH, Gate
from simulators.netsuite.jobs import BASE as ASYNC_BASE
from simulators.netsuite.jobs import Jobs
from simulators.netsuite.records import Records
from simulators.netsuite.rules_sales import settle_order
from simulators.netsuite.service import RecordService
from simulators.netsuite.settings import DEFAULTS
from simulators.netsuite.state import CATALOGUE, Books, ref_id
from simulators.netsuite.suiteql import PATH as QUERY_PATH
from simulators.netsuite.suiteql import QueryService
from simulators.netsuite.values import Strictness

GOVERNANCE_PATH = "/services/rest/system/v1/governanceLimits"

_SEED = Strictness(names="Error", values="Error", lenient_refs=True, read_only=True)


class NetSuite(Simulator):
    """One NetSuite account, as seen through SuiteTalk REST and SuiteQL."""

    name = "netsuite"

    def __init__(self) -> None:
        super().__init__()
        self.settings.update(copy.deepcopy(DEFAULTS))
        self.store.frozen = True
        self.books = Books(self.store, self.clock, self.settings)
        self.gate = Gate(self.settings, self.clock)
        self.records = Records(self.books)
        self.service = RecordService(self.records)
        self.jobs = Jobs(self.service)
        self.queries = QueryService(self.books)

    # --- vendor API ---------------------------------------------------------------------------

    def handle(self, call: Call) -> Answer:
        """Serve one call of the vendor's API."""
        answer = self._serve_call(call)
        host, where = self.settings["location_host"], answer.headers.get("Location", "")
        if host and render.BASE in where:
            # The vendor's Location may name the account in another spelling than the caller used.
            answer.headers["Location"] = (
                f"{call.scheme}://{host}{render.BASE}{where.split(render.BASE, 1)[1]}"
            )
        return answer

    def _serve_call(self, call: Call) -> Answer:
        self.books.at = self.clock.now()
        if call.path == TOKEN_PATH:
            return self.gate.issue(call)
        self.gate.check(call)
        self.jobs.run_due()
        self.books.at = self.clock.now()
        if call.path.startswith(ASYNC_BASE + "/"):
            return self.jobs.serve(call)
        if call.path == QUERY_PATH:
            return self.queries.serve(call)
        if call.path == GOVERNANCE_PATH:
            return self._governance(call)
        if call.path == render.BASE or call.path.startswith(render.BASE + "/"):
            if Jobs.wanted(call):
                return self.jobs.accept(call)
            return self.service.serve(call)
        raise errors.nonexistent("The requested resource does not exist.")

    def _over_limit(self) -> Answer:
        if str(self.settings["over_limit_answer"]) == "401":
            # Users report that an exhausted concurrency limit can look like a failed login.
            return errors.answer(401, errors.Detail(errors.LOGIN, "INVALID_LOGIN"))
        text = "Concurrent request limit exceeded. Request blocked."
        return errors.answer(429, errors.Detail(text, str(self.settings["over_limit_code"])))

    def _governance(self, call: Call) -> Answer:
        if call.method != "GET":
            raise errors.refuse(405, errors.Detail("Method not allowed.", "INVALID_PARAMETER"))
        limit = int(self.settings["concurrency_limit"])
        body = {
            "links": render.self_link(render.origin(call) + GOVERNANCE_PATH),
            "accountConcurrencyLimit": limit,
            "accountUnallocatedConcurrencyLimit": limit,
        }
        return Answer(200, body)

    def admit(self, call: Call) -> Answer | None:
        """The account's limit counts calls on arrival; token calls are not counted against it."""
        if call.path == TOKEN_PATH or self.in_flight <= int(self.settings["concurrency_limit"]):
            return None
        return self._over_limit()

    # --- faults -------------------------------------------------------------------------------

    def error(self, status: int, message: str, call: Call) -> Answer:
        """An injected server error in the vendor's form."""
        code = "INVALID_LOGIN" if status == 401 else "UNEXPECTED_ERROR"
        return errors.answer(status, errors.Detail(message, code))

    def rate_limited(self, call: Call) -> Answer:
        """The answer above the concurrency limit; no Retry-After is documented."""
        return self._over_limit()

    def refused(self, message: str, call: Call) -> Answer:
        """An injected business refusal: 400 ``USER_ERROR``."""
        return errors.user_error(message).answer

    # --- control ------------------------------------------------------------------------------

    def _control(self, call: Call) -> Answer:
        # Jobs run lazily: what is due must have run before a test looks at records or writes.
        self.jobs.run_due()
        return super()._control(call)

    def control(self, call: Call) -> Answer | None:
        """Custom fields, jobs, period locks, the account's own billing run: see README.md."""
        self.books.at = self.clock.now()
        match call.method, call.path.removeprefix(self.CONTROL).strip("/"):
            case "POST", "schema":
                self.books.define(call.json())
                return Answer(200, self.books.custom)
            case "GET", "schema":
                return Answer(200, self.books.custom)
            case "GET", "jobs":
                rows = [
                    {"id": j.id, "completed": j.ended is not None, "statuses": [a.status for a in j.answers]}
                    for j in self.jobs.jobs.values()
                ]
                return Answer(200, rows)
            case "POST", "periods":
                return Answer(200, people.set_locks(self.records, call.json()))
            case "POST", "change":
                body = call.json()
                return Answer(200, people.change(self.records, body["type"], body["id"], body["fields"]))
            case "POST", "remove":
                body = call.json()
                people.remove(self.records, body["type"], body["id"])
                return Answer(200, {})
            case "POST", "recognise":
                body = call.json()
                return Answer(200, people.recognise(self.records, body["order"], body["amount"]))
            case "POST", "billing-run":
                body = call.json()
                return Answer(200, people.billing_run(self.records, body["date"], body.get("jobs")))
        return None

    def reset(self) -> None:
        """Forget records, jobs and tokens; keep settings and custom fields."""
        super().reset()
        self.books.clear()
        self.jobs.clear()
        self.queries.clear()
        self.gate.forget()

    def seed(self, records: dict[str, list[dict[str, Any]]]) -> None:
        """Take records in the vendor's own JSON, in any order of types; rules apply, period locks do not.

        Raises:
            ValueError: unknown type, or a record that cannot be.
        """
        unknown = set(records) - set(CATALOGUE)
        if unknown:
            raise ValueError(f"unknown record types {sorted(unknown)}")
        self.books.at = self.clock.now()
        self.books.seeding = True
        try:
            for type_ in CATALOGUE:
                if type_ == "customerSubsidiaryRelationship":
                    for given in records.get(type_, []):
                        self._drop_generated(given)
                for given in records.get(type_, []):
                    self._seed_one(type_, json.loads(json.dumps(given), parse_float=Decimal))
                if records.get(type_):
                    self.books.reindex()
        finally:
            self.books.seeding = False
        if "revenueArrangement" not in records:
            self._arrange()

    def _seed_one(self, type_: str, body: dict[str, Any]) -> None:
        id_ = body.get("id")
        if id_ is not None and not isinstance(id_, str):
            raise ValueError(f"{type_}: id must be a string, got {id_!r}")
        if id_ is not None:
            series = "id:" + self.books.series(type_)
            if id_.isdigit():
                self.store.keep_above(series, int(id_))
            family = [n for n, t in CATALOGUE.items() if t.family == CATALOGUE[type_].family]
            if any(self.books.get(n, id_) is not None for n in family):
                raise ValueError(f"{type_} {id_}: this internal id is taken")
        try:
            self.records.create(type_, body, _SEED, None, id_=id_)
        except VendorError as refusal:
            raise ValueError(
                f"{type_} {id_ or body.get('externalId') or ''}: {refusal.answer.body}"
            ) from None

    def _drop_generated(self, body: dict[str, Any]) -> None:
        """A seeded relationship takes the place of the one generated with its customer."""
        entity = body.get("entity") or {}
        owner = entity.get("id") or self.books.by_external("customer", str(entity.get("externalId")))
        for key in list(self.books.referring("customer", str(owner), "customerSubsidiaryRelationship")):
            if ref_id(self.books.need(*key).get("subsidiary")) == ref_id(body.get("subsidiary")):
                self.books.remove(*key)

    def _arrange(self) -> None:
        for order in self.store.all("salesOrder"):
            settle_order(self.books, order, order)


def build() -> NetSuite:
    """A fresh simulator."""
    return NetSuite()
