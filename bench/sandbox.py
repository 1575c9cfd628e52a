"""The sandbox of the bare workflows."""

from __future__ import annotations

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from wiring.workers import PASSED_THROUGH


def sandbox() -> SandboxedWorkflowRunner:
    """The product's workflow sandbox, with everything that a bare workflow imports passed through."""
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH, "workflows", "bench")
    return SandboxedWorkflowRunner(restrictions=restrictions)
