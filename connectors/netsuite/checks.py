"""What ``trueup doctor`` asks of a NetSuite account. Never raises."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from canonical.failures import SystemFailure, TrueupError
from canonical.operations import HealthCheck, HealthState
from connectors.netsuite import queries
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
            "job": {custom.project_saga},
            "salesOrder": {custom.order_saga, self.mapping.memo_field, self.mapping.purchase_order_field},
        }
        return {
            record_type: {name for name in names if name} | set(constants.get(record_type, {}))
            for record_type, names in optional.items()
        }

    def _result(self, check: str, state: HealthState, detail: str, remedy: str | None = None) -> HealthCheck:
        return HealthCheck(system=self.client.system, check=check, state=state, detail=detail, remedy=remedy)


_CONNECT = "Check base_url, network and that 'REST Web Services' is enabled in the account."
