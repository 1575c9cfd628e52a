"""Cause codes as people type them."""

from __future__ import annotations

import difflib
from typing import Annotated

import typer

from canonical.causes import Cause


def read_cause(text: str) -> tuple[Cause | None, list[str]]:
    """The cause that is meant; where there is none, those that are spelt most like it."""
    wanted = text.upper().replace("-", "_")
    if wanted in set(Cause):
        return Cause(wanted), []
    return None, [str(one) for one in difflib.get_close_matches(wanted, list(Cause), n=3, cutoff=0.5)]


def no_cause(text: str, near: list[str]) -> str:
    """What is said of a code that is none."""
    return f"There is no cause {text!r}." + (f" Did you mean {', '.join(near)}?" if near else "")


def _option(text: str) -> Cause:
    found, near = read_cause(text)
    if found is None:
        raise typer.BadParameter(f"{no_cause(text, near)} `trueup explain` lists them all.")
    return found


CauseOption = Annotated[
    Cause | None,
    typer.Option("--cause", parser=_option, metavar="CODE", help="Only with this cause code."),
]
AllOfCause = Annotated[
    Cause | None,
    typer.Option(
        "--cause", parser=_option, metavar="CODE", help="Everything of this cause: parked sagas, held items."
    ),
]
