"""Every command in one frame: common options, connections, errors in sentences, exit code."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from temporalio.service import RPCError

from canonical.failures import ConfigurationError, SystemFailure
from cli.output import Complaint, Exit, Report, print_complaint, print_report
from cli.session import Session

TRACE_VARIABLE = "TRUEUP_TRACE"
"""Set to show the stack trace of a fault of ours."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Config = Annotated[
    Path | None, typer.Option("--config", help="trueup.toml (default: TRUEUP_CONFIG or ./trueup.toml).")
]
As = Annotated[str | None, typer.Option("--as", help="Act as this name of [actors]; audited as unverified.")]
_COMMON = {"config": (Config, None), "as_json": (Json, False), "as_name": (As, None)}

Body = Callable[..., Awaitable[Report]]


def command(app: typer.Typer, name: str, **options: Any) -> Callable[[Body], Body]:
    """Register ``async def body(session, ...) -> Report`` as a command with the common options."""

    def register(body: Body) -> Body:
        app.command(name, **options)(entry(body))
        return body

    return register


def entry(body: Body) -> Callable[..., None]:
    """What Typer calls: opens a session around the body, prints its report, exits with its code."""
    signature = inspect.signature(body, eval_str=True)
    own = list(signature.parameters.values())[1:]
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in _COMMON.items()
    ]

    def enter(**given: Any) -> None:
        config, as_json, as_name = (given.pop(name) for name in _COMMON)
        raise typer.Exit(perform(body, given, config=config, as_json=as_json, as_name=as_name))

    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own] + common
    enter.__doc__ = body.__doc__
    enter.__name__ = getattr(body, "__name__", "command")
    enter.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    enter.__annotations__ = {one.name: one.annotation for one in parameters}
    return enter


def perform(
    body: Body, given: dict[str, Any], *, config: Path | None, as_json: bool, as_name: str | None
) -> int:
    """Run a command's body to its exit code; whatever goes wrong is printed as sentences."""

    async def run() -> Report:
        async with Session(config, as_json=as_json, actor=as_name) as session:
            if as_name is not None:
                _ = session.actor  # A wrong name is told first, whatever else is wrong.
            return await body(session, **given)

    try:
        report = asyncio.run(run())
    except KeyboardInterrupt:
        return 128 + 2
    except Exception as error:
        complaint = complaint_of(error)
        _printed(lambda: print_complaint(complaint, as_json=as_json))
        return complaint.code
    _printed(lambda: print_report(report, as_json=as_json))
    return report.code


def _printed(show: Callable[[], None]) -> None:
    """Print; whoever reads may stop early (``| head``), which changes no exit code."""
    with suppress(BrokenPipeError):
        show()
        sys.stdout.flush()


def complaint_of(error: Exception) -> Complaint:
    """Any error in words: what happened, what to do."""
    match error:
        case Complaint():
            return error
        case ConfigurationError():
            return Complaint("\n".join(error.problems), code=Exit.USAGE, details=error.problems)
        case SystemFailure():
            failure = error.failure
            where = f" ({failure.system})" if failure.system else ""
            record = f" Record {failure.record.url or failure.record}." if failure.record else ""
            remedy = failure.remedy or (
                "It should pass by itself." if failure.kind.passes_by_itself else None
            )
            return Complaint(
                f"{failure.cause.value}{where}: {failure.message}{record}", remedy=remedy, details=failure
            )
        case RPCError():
            return Complaint(
                f"Temporal did not do it: {error.message} ({error.status.name.lower()}).",
                remedy="Nothing was lost; check the server and try again.",
                command="trueup doctor",
            )
        case OSError() if error.filename is not None:
            return Complaint(f"{error.filename}: {error.strerror}.", code=Exit.USAGE)
    if os.environ.get(TRACE_VARIABLE):
        traceback.print_exception(error)
    return Complaint(
        f"A fault of Trueup itself: {type(error).__name__}: {error}",
        remedy=f"Report it; {TRACE_VARIABLE}=1 shows where.",
    )
