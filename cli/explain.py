"""``trueup explain``: what a cause code means, who acts, what to do."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.causes import no_cause, read_cause
from cli.command import command
from cli.output import Complaint, Exit, Report, Table
from cli.session import Session
from rules.causes import CATALOGUE


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "explain")(explain)


async def explain(
    session: Session,
    code: Annotated[str | None, typer.Argument(help="A cause code; all of them without one.")] = None,
) -> Report:
    """Explain a cause code, or list them all."""
    if code is None:
        rows = [
            (entry.queue.value, entry.code.value, entry.meaning)
            for entry in sorted(CATALOGUE.values(), key=lambda one: (one.queue, one.code))
        ]
        return Report(
            f"{len(rows)} causes, by the queue that works on them.",
            {"causes": list(CATALOGUE.values())},
            [Table(("queue", "cause", "meaning"), rows)],
        )
    found, near = read_cause(code)
    if found is None:
        raise Complaint(
            no_cause(code, near),
            remedy="List them all:",
            command="trueup explain",
            code=Exit.USAGE,
            details=near,
        )
    entry = CATALOGUE[found]
    return Report(
        f"{entry.code.value}: {entry.meaning}",
        {"cause": entry},
        [
            f"Who acts:   {entry.queue.value}\nWhat to do: {entry.remedy}",
            f"Where it stands now:\n  trueup exceptions --cause {entry.code.value}\n"
            f"  trueup resolve --cause {entry.code.value} --retry",
        ],
    )
