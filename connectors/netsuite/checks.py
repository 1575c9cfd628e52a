"""What ``trueup doctor`` asks of a NetSuite account. Never raises."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date

from canonical.failures import SystemFailure, TrueupError
from canonical.operations import HealthCheck, HealthState
from connectors.netsuite import billing_queries, queries
from connectors.netsuite.client import NetSuiteClient
from connectors.netsuite.settings import NetSuiteMapping, Tba


class Checks:
    """Checks of one account."""

    def __init__(self, client: NetSuiteClient, mapping: NetSuiteMapping) -> None:
        self.client = client
        self.mapping = mapping

    async def run(self) -> list[HealthCheck]:
        """Sign-in and query right first; without them the others have nothing to say."""
        results = [await self._guard("sign-in and SuiteQL", self._sign_in)]
        if results[0].state is HealthState.BROKEN:
            return results
        for name, check in (
            ("mapped ids", self._mapped_ids),
            ("field map", self._field_map),
            ("billing queries", self._billing_queries),
            ("concurrency", self._concurrency),
        ):
            results.append(await self._guard(name, check))
        if isinstance(self.client.settings.auth, Tba):
            results.append(
                self._result(
                    "authentication",
                    HealthState.WARNING,
                    "Token-based authentication takes no new integrations from release 2027.1.",
                    "Move to OAuth 2.0 machine to machine.",
                )
            )
        return results

    async def _guard(self, name: str, check: Callable[[], Awaitable[HealthCheck]]) -> HealthCheck:
        try:
            return await check()
        except SystemFailure as failure:
            return self._result(name, HealthState.BROKEN, str(failure), failure.failure.remedy or _CONNECT)
        except (TrueupError, ValueError, OSError) as error:
            return self._result(name, HealthState.BROKEN, f"{type(error).__name__}: {error}", _CONNECT)

    async def _sign_in(self) -> HealthCheck:
        await self.client.page(queries.SUBSIDIARIES, what="Check sign-in", limit=1)
        return self._result("sign-in and SuiteQL", HealthState.OK, "signed in; queries are allowed")

    async def _mapped_ids(self) -> HealthCheck:
        missing: list[str] = []
        for kind, sql, table in (
            ("subsidiary", queries.SUBSIDIARIES, self.mapping.subsidiaries),
            ("currency", queries.CURRENCIES, self.mapping.currencies),
            ("payment terms", queries.TERMS, self.mapping.payment_terms),
        ):
            rows = {str(row["id"]) for row in await self.client.rows(sql, what=f"Check {kind} ids")}
            missing += [f"{kind} {code!r} -> {id_}" for code, id_ in table.items() if id_ not in rows]
        if missing:
            return self._result(
                "mapped ids",
                HealthState.BROKEN,
                "not in the account (or not visible to the role): " + "; ".join(missing),
                "Correct these ids in the mapping of this instance.",
            )
        return self._result("mapped ids", HealthState.OK, "all mapped ids exist")

    async def _field_map(self) -> HealthCheck:
        missing: list[str] = []
        for record_type, names in self._fields().items():
            if not names:
                continue
            there = await self.client.metadata(record_type)
            missing += [f"{record_type}.{name}" for name in sorted(names) if name not in there]
        if missing:
            return self._result(
                "field map",
                HealthState.BROKEN,
                "the account does not show " + ", ".join(missing),
                "Create these custom fields (or correct their ids) and show them to the integration's role.",
            )
        return self._result("field map", HealthState.OK, "all mapped fields exist")

    def _fields(self) -> dict[str, set[str]]:
        """Body fields whose existence depends on the account; sublist columns are not in this schema."""
        custom, constants = self.mapping.custom, self.mapping.constants
        optional = {
            "customer": {self.mapping.tax_field, custom.client_saga},
            "job": {custom.project_saga, *self.mapping.progress.named.values()},
            "salesOrder": {custom.order_saga, self.mapping.memo_field, self.mapping.purchase_order_field},
            "timeBill": {custom.time_work_date, custom.time_reverses, custom.time_source},
            "expenseReport": {custom.expense_source},
        }
        return {
            record_type: {name for name in names if name} | set(constants.get(record_type, {}))
            for record_type, names in optional.items()
        }

    async def _billing_queries(self) -> HealthCheck:
        """Tables and columns that posting and invoicing read: Oracle documents few of them."""
        for sql in (
            billing_queries.time_by_external_id(self.mapping, ["-"]),
            billing_queries.expenses_by_external_id(self.mapping, ["-"]),
            billing_queries.invoices_of_time(["0"]),
            billing_queries.invoices_of_expenses(["0"]),
            billing_queries.applied_to("0"),
            billing_queries.PERIODS,
            billing_queries.workers("employee", ["-"]),
            billing_queries.unbilled_charges(self.mapping, date(2000, 1, 1), 0, ""),
        ):
            await self.client.page(sql, what="Check a query that billing needs", limit=1)
        return self._result("billing queries", HealthState.OK, "all tables and columns are visible")

    async def _concurrency(self) -> HealthCheck:
        """Our share against the account's limit, which only administrators may read."""
        ours = self.client.settings.concurrency
        limit = await self.client.concurrency_limit()
        if limit is None:
            return self._result(
                "concurrency", HealthState.OK, f"ours is {ours}; the role may not read the limit"
            )
        if ours > limit:
            return self._result(
                "concurrency",
                HealthState.WARNING,
                f"ours is {ours}, the account allows {limit}, shared by all its integrations",
                f"Set concurrency to {limit} or less, counting all worker processes together.",
            )
        return self._result("concurrency", HealthState.OK, f"ours is {ours} of the account's {limit}")

    def _result(self, check: str, state: HealthState, detail: str, remedy: str | None = None) -> HealthCheck:
        return HealthCheck(system=self.client.system, check=check, state=state, detail=detail, remedy=remedy)


_CONNECT = "Check base_url, network and that 'REST Web Services' is enabled in the account."
