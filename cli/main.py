"""Entry point of the ``trueup`` command."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli import (
    adopt,
    changes,
    closing,
    deals,
    doctor,
    exceptions,
    explain,
    gates,
    inbox,
    inspect,
    invoices,
    outbox,
    plan,
    repair,
    revenue,
    slo,
    start,
    trace,
)
from cli.billing import close, openings, rates, reverse, schedules, unbilled
from cli.output import Exit
from runtime.lifecycle import exit_now

LOCAL = ("demo", "dev", "simulators")
"""Commands that bring simulators, a server and a worker of their own; loaded only when they are asked for."""


class Commands(TyperGroup):
    """The commands, with those of ``LOCAL`` loaded when named: nobody else pays for simulators."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names for ``--help``."""
        return [*super().list_commands(ctx), *LOCAL]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name."""
        return _local(cmd_name) if cmd_name in LOCAL else super().get_command(ctx, cmd_name)


def _local(name: str) -> Any:
    app = typer.Typer(add_completion=False)
    try:
        function = getattr(import_module(f"cli.{name}"), name)
    except (ImportError, AttributeError) as missing:
        reason = str(missing)

        def function() -> None:
            """Needs the packages of `trueup[local]`."""
            print(
                f"`trueup {name}` is not installed here ({reason}). Install the package with its extra "
                "`local`: trueup[local].",
                file=sys.stderr,
            )
            raise typer.Exit(Exit.USAGE)

    app.command(name)(function)
    return typer.main.get_command(app)


app = typer.Typer(
    cls=Commands,
    help="Keep CRM, delivery and ERP trued up: see what is stuck, why, and repair it without duplicates.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (
    start, inspect, plan, repair, gates, exceptions, unbilled, close, revenue, reverse, openings, rates,
    schedules, changes, closing, trace, deals, invoices, slo, inbox, outbox, adopt, explain, doctor,
):  # fmt: skip
    module.register(app)


@app.command("worker")
def worker(
    queues: Annotated[
        str,
        typer.Option(
            "--queues", help="Comma-separated: workflows, ledger, system instances; all by default."
        ),
    ] = "",
    config: Annotated[Path | None, typer.Option("--config", help="trueup.toml.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object once it serves.")] = False,
) -> None:
    """Run a Temporal worker in place of this process."""
    arguments = [sys.executable, "-m", "worker"]
    arguments += ["--config", str(config)] if config else []
    arguments += ["--queues", queues] if queues else []
    arguments += ["--json"] if as_json else []
    sys.stdout.flush()
    os.execv(sys.executable, arguments)


@app.command("gateway")
def gateway(
    config: Annotated[Path | None, typer.Option("--config", help="trueup.toml.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object once it serves.")] = False,
) -> None:
    """Serve webhooks and the process API in place of this process."""
    arguments = [sys.executable, "-m", "gateway"]
    arguments += ["--config", str(config)] if config else []
    arguments += ["--json"] if as_json else []
    sys.stdout.flush()
    os.execv(sys.executable, arguments)


def main() -> None:
    """Run the command line; never returns (``runtime.lifecycle.exit_now`` says why)."""
    try:
        app()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else Exit.FAILED if end.code else Exit.DONE
    except BrokenPipeError:
        code = Exit.DONE
    else:
        code = Exit.DONE
    exit_now(int(code))


if __name__ == "__main__":
    main()
