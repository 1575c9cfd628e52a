"""Replays of histories under the workflows' code."""

from __future__ import annotations

from temporalio.worker import Replayer
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from runtime.converter import data_converter
from wiring.workers import PASSED_THROUGH, WORKFLOWS, sandbox


def replayer(*, changed: bool = False) -> Replayer:
    """What replays a history of any workflow.

    Args:
        changed: under this process's own workflow modules, which a test may have changed; else under those of
            a worker's sandbox.
    """
    open_to_tests = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH, "workflows")
    return Replayer(
        workflows=WORKFLOWS,
        data_converter=data_converter(),
        workflow_runner=SandboxedWorkflowRunner(restrictions=open_to_tests) if changed else sandbox(),
        # On a machine that is busy on purpose, two seconds without a yield are no deadlock.
        debug_mode=True,
    )
