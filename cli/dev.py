"""``trueup dev``: the simulated firm, the demo's deals, and everything stays up to look at."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from canonical.failures import ConfigurationError
from cli.demo import run
from cli.local.stack import Stack
from runtime.lifecycle import exit_now, stop_on_signals

UI_PORT, TEMPORAL_PORT = 8233, 7233
"""Temporal's own standard ports, so that its command line and bookmarks work unchanged."""


def dev(
    folder: Annotated[Path, typer.Option(help="Configuration, logs and ledger.")] = Path(".trueup/dev"),
    empty: Annotated[bool, typer.Option(help="Do not play the demo's deals first.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object once all is up.")] = False,
) -> None:
    """Serve a simulated firm until Ctrl-C: Temporal with its Web UI, vendors, worker."""
    say = Console(highlight=False, soft_wrap=True, quiet=as_json)
    stack = Stack(folder.absolute(), ui=True, ui_port=UI_PORT, temporal_port=TEMPORAL_PORT)
    code = 0
    try:
        (folder / "ledger.db").unlink(missing_ok=True)
        asyncio.run(_serve(stack, say, empty=empty, as_json=as_json))
    except ConfigurationError as wrong:
        for problem in wrong.problems:
            print(problem, file=sys.stderr)
        code = 1
    finally:
        stack.stop()
    exit_now(code)


async def _serve(stack: Stack, say: Console, *, empty: bool, as_json: bool) -> None:
    if empty:
        await stack.start()
        stack.add_worker()
    else:
        await run(stack, say)
    say.print(f"\n[bold]Up.[/bold] Temporal Web UI: {stack.server.ui_url}")
    parked = f"{stack.server.ui_url}/namespaces/default/workflows?query=SagaStatus%3D'parked'"
    say.print(f"  what waits for a repair: {parked}")
    for running in stack.vendors:
        say.print(f"  {running.simulator.name}: {running.base_url} (records at /_sim/records)")
    say.print(f"  export TRUEUP_CONFIG={stack.config}   # then: trueup list, trueup show ...")
    say.print("Ctrl-C ends it.")
    if as_json:
        places = {running.simulator.name: running.base_url for running in stack.vendors}
        up = {"temporal": stack.server.address, "ui": stack.server.ui_url, "config": str(stack.config)}
        print(json.dumps({"message": "up", "exit_code": 0, **up, "vendors": places}), flush=True)
    async with stop_on_signals() as stop:
        await stop.wait()
