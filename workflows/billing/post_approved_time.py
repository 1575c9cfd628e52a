"""``PostApprovedTime``: what is approved on one route becomes cost in the ERP, on its own clock (rule 23)."""

from __future__ import annotations

from pydantic import ValidationError
from temporalio import workflow

from activities.contracts import StartPosting
from canonical.names import SagaName
from canonical.saga import SagaView
from workflows.billing.posting import POSTING, Posting
from workflows.kernel.handlers import SagaHandlers
from workflows.saga import Saga


@workflow.defn(name="PostApprovedTime", failure_exception_types=[ValidationError])
class PostApprovedTime(SagaHandlers):
    """One run per route and clock; two of one route at a time share the work, neither does it twice."""

    @workflow.init
    def __init__(self, start: StartPosting | None = None) -> None:
        start = StartPosting.model_validate(start)
        self.start = start
        title = f"Posting what is approved in {start.system} to {start.erp}"
        self.saga = Saga(SagaName.POST_APPROVED_TIME.value, start, title, POSTING)
        self.posting = Posting(self.saga, start)

    @workflow.run
    async def run(self, start: StartPosting | None = None) -> SagaView:
        """Post everything that is approved and in order; hold the rest, each line with its cause."""
        return await self.saga.conduct(self.posting.run)
