"""Runs Temporal workers: all queues by default, or those named by ``--queues``.

Configuration errors stop the process before it polls. SIGTERM drains: calls in flight finish.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from runtime import search_attributes
from runtime.client import connect
from runtime.lifecycle import Stop, run_until_stopped, share_heaps, spare_the_collector
from runtime.logging import logger
from runtime.process import serve_and_exit
from runtime.settings import Settings
from runtime.telemetry import client_plugins, sdk_runtime
from wiring.ledger import open_ledger
from wiring.systems import ConnectedSystems
from wiring.workers import build_worker, chosen, queue_workers


async def serve(
    settings: Settings, queues: list[str], *, until: Stop | None = None, as_json: bool = False
) -> None:
    """Serve queues until told to stop.

    Args:
        settings: the installation's settings.
        queues: ``workflows``, ``ledger`` or system instances; all when empty.
        until: a stop of the caller's own instead of signals.
        as_json: print one JSON object once everything is ready to serve.

    Raises:
        ConfigurationError: something is wrong with the installation; nothing was polled.
    """
    ledger = await open_ledger(settings, bring_up_to_date=True)
    try:
        systems = ConnectedSystems(settings, ledger)
        try:
            served = chosen(queue_workers(settings, systems, ledger), queues)
            await systems.store_mappings()
            client = await connect(
                settings.temporal,
                plugins=client_plugins(settings.telemetry, "trueup-worker"),
                runtime=sdk_runtime(settings.telemetry, settings.logging),
                process="trueup-worker",
            )
            await search_attributes.require(client)
            workers = [build_worker(client, one, settings) for one in served]
            names = [one.queue for one in served]
            logger("trueup.worker").info("serving", queues=names)
            if as_json:
                print(json.dumps({"message": "serving", "exit_code": 0, "queues": names}), flush=True)
            await run_until_stopped(
                *workers,
                ready_file=settings.worker.ready_file,
                live_file=settings.worker.live_file,
                until=until,
            )
        finally:
            await systems.close()
    finally:
        await ledger.close()


def main(arguments: list[str] | None = None) -> None:
    """Entry point; never returns."""
    parser = argparse.ArgumentParser(prog="worker.py", description="Run Trueup's Temporal workers.")
    parser.add_argument("--config", type=Path, help="trueup.toml (default: TRUEUP_CONFIG or ./trueup.toml)")
    parser.add_argument(
        "--queues",
        default="",
        help="comma-separated: workflows, ledger, or system instances; all by default",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object once it serves")
    given = parser.parse_args(arguments)
    queues = [name for name in given.queues.split(",") if name]

    async def serving(settings: Settings) -> None:
        spare_the_collector()
        await serve(settings, queues, as_json=given.json)

    share_heaps()
    serve_and_exit(given.config, serving)


if __name__ == "__main__":
    main()
