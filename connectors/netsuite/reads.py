"""Reads of the opportunity-to-project saga: reference data, clients, the baseline."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

from canonical.causes import Cause, Queue
from canonical.engagement import Contract
from canonical.failures import Defect, Refused
from canonical.operations import (
    ErpBaseline,
    ErpClient,
    ErpReference,
    contract_symbol,
    project_symbol,
)
from canonical.parties import Client
from connectors.netsuite import queries, wire
from connectors.netsuite.client import NetSuiteClient
from connectors.netsuite.readings import to_baseline, to_erp_client, to_reference
from connectors.netsuite.schemas import CustomerRow
from connectors.netsuite.settings import NetSuiteMapping, NetSuiteSettings

Rows = list[dict[str, Any]]


class Reads:
    """Reads one account."""

    def __init__(self, client: NetSuiteClient, settings: NetSuiteSettings) -> None:
        self.client = client
        self.settings = settings
        self.mapping: NetSuiteMapping = settings.mapping
        self._tables: tuple[float, tuple[Rows, Rows, Rows, Rows]] | None = None

    # --- reference --------------------------------------------------------------------------------------

    async def reference(self, wanted: Sequence[str]) -> ErpReference:
        """Entities, currencies, terms and periods (cached briefly) and the wanted items (always read)."""
        (subsidiaries, currencies, terms, periods), found = await asyncio.gather(
            self._reference_tables(), self._items(wanted)
        )
        return to_reference(
            self.client.system,
            self.mapping,
            subsidiaries=subsidiaries,
            currencies=currencies,
            terms=terms,
            periods=periods,
            wanted=wanted,
            found=found,
        )

    async def _reference_tables(self) -> tuple[Rows, Rows, Rows, Rows]:
        age = self.settings.reference_cache_seconds
        if self._tables is not None and monotonic() - self._tables[0] < age:
            return self._tables[1]
        rows = self.client.rows
        tables = await asyncio.gather(
            rows(queries.SUBSIDIARIES, what="Read subsidiaries"),
            rows(queries.CURRENCIES, what="Read currencies"),
            rows(queries.TERMS, what="Read payment terms"),
            rows(queries.PERIODS, what="Read accounting periods"),
        )
        self._tables = (monotonic(), tables)
        return tables

    async def _items(self, wanted: Sequence[str]) -> Rows:
        numeric = [item for item in wanted if item.lstrip("-").isdigit()]
        if not numeric:
            return []
        return await self.client.rows(queries.service_items(numeric), what="Read service items")

    # --- clients ----------------------------------------------------------------------------------------

    async def search_clients(self, client: Client) -> list[ErpClient]:
        """Candidates with entities and currencies, inactive ones included; scoring happens elsewhere."""
        sql = queries.clients(self.mapping, self.client.system, client)
        rows = await self.client.rows(sql, what=f"Look for customer {client.name}")
        return await self._with_details(rows)

    async def read_client(self, client_id: str) -> ErpClient | None:
        """One customer by internal id; None also for what cannot be an id."""
        if not client_id.isdigit():
            return None
        sql = queries.client_by_id(self.mapping, client_id)
        rows = await self.client.rows(sql, what=f"Read customer {client_id}")
        found = await self._with_details(rows)
        return found[0] if found else None

    async def _with_details(self, rows: Rows) -> list[ErpClient]:
        customers = [self._row(row) for row in rows]
        if not customers:
            return []
        # Exact evidence first, so that the detail limit can only cut mere similarities. What is cut shows
        # its primary entity and currency; a relationship or currency planned twice is found, not repeated.
        tax = self.mapping.tax_field.lower()
        order = sorted(
            range(len(rows)),
            key=lambda i: (not (rows[i].get("externalid") or rows[i].get(tax)), i),
        )
        near = [customers[i].id for i in order[: self.settings.detail_limit]]
        related, records = await asyncio.gather(
            self.client.rows(
                queries.relationships([c.id for c in customers]), what="Read customers' subsidiaries"
            ),
            asyncio.gather(*(self.client.get("customer", id_, expand=True) for id_ in near)),
        )
        entities: dict[str, list[str]] = defaultdict(list)
        for row in related:
            entities[str(row["entity"])].append(str(row["subsidiary"]))
        details = dict(zip(near, records, strict=True))
        return [
            to_erp_client(
                self.mapping,
                customer,
                subsidiaries=entities[customer.id],
                record=details.get(customer.id),
                ref=self.client.ref("customer", customer.id),
            )
            for customer in customers
        ]

    def _row(self, row: dict[str, Any]) -> CustomerRow:
        return CustomerRow.model_validate({**row, "tax_number": row.get(self.mapping.tax_field.lower())})

    # --- baseline ---------------------------------------------------------------------------------------

    async def baseline(self, contract: Contract, values: Mapping[str, str]) -> ErpBaseline:
        """Project and sales order, read as records, in canonical words."""
        job_id = self._value(values, project_symbol(contract.key))
        order_id = self._value(values, contract_symbol(contract.key))
        job, order = await asyncio.gather(
            self.client.get("job", job_id, what=f"Read project {job_id}"),
            self.client.get("salesOrder", order_id, expand=True, what=f"Read sales order {order_id}"),
        )
        if job is None or order is None:
            kind, id_ = ("job", job_id) if job is None else ("salesOrder", order_id)
            raise Refused(
                f"{kind} {id_} is not there any more.",
                cause=Cause.RECORD_VANISHED,
                queue=Queue.MASTER_DATA,
                system=self.client.system,
                record=self.client.ref(kind, id_),
                remedy="Somebody deleted it in NetSuite: undo the saga and start it again.",
            )
        refs = (self.client.ref("salesOrder", order_id), self.client.ref("job", job_id))
        try:
            return to_baseline(self.mapping, contract, job, order, refs)
        except ValueError as error:
            raise Refused(
                f"The contract in NetSuite cannot be read: {_first_line(error)}",
                cause=Cause.BASELINE_DIFFERS,
                queue=Queue.BILLING,
                system=self.client.system,
                record=refs[0],
                remedy="Compare currency and amounts of the sales order with the deal.",
            ) from error

    async def line_places(self, contract: Contract, values: Mapping[str, str]) -> dict[str, str]:
        """Line numbers of the sales order by line key; of a key that came again, the open one.

        Raises:
            Refused: the account has no column for our line key: lines cannot be told apart for certain.
        """
        column = self.mapping.custom.line_key
        order_id = self._value(values, contract_symbol(contract.key))
        ref = self.client.ref("salesOrder", order_id)
        if column is None:
            raise Refused(
                f"Sales order {order_id}: nothing tells which line is which.",
                cause=Cause.CONFIGURATION,
                system=self.client.system,
                record=ref,
                remedy="Add a text column for our line key to the account's order lines and name it as "
                "custom.line_key in this instance's mapping.",
            )
        order = await self.client.get(
            "salesOrder", order_id, expand=True, what=f"Read sales order {order_id}"
        )
        found = wire.items((order or {}).get("item"))
        by_key = sorted(found, key=lambda line: not wire.flag(line.get("isClosed")))
        return {str(line[column]): str(line["line"]) for line in by_key if line.get(column)}

    def _value(self, values: Mapping[str, str], name: str) -> str:
        try:
            return values[f"{name}.id"]
        except KeyError:
            raise Defect(f"No value for {name}.id to read the baseline.", system=self.client.system) from None


def _first_line(error: ValueError) -> str:
    return str(error).splitlines()[0]
