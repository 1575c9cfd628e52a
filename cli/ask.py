"""Asking before something that many records or people feel."""

from __future__ import annotations

import sys

import typer

from cli.output import Complaint, Exit, clean
from cli.session import Session


def confirmed(session: Session, what: str, yes: bool) -> None:
    """Go on only when told to: by ``--yes``, or by the person at the terminal.

    Raises:
        Complaint: they said no, or nobody is there to be asked.
    """
    if yes:
        return
    if session.as_json or not sys.stdin.isatty():
        raise Complaint(f"{what}: nobody is there to confirm it.", remedy="Add --yes.", code=Exit.USAGE)
    if not typer.confirm(f"{clean(what)}. Go on?", err=True):
        raise Complaint("Nothing was done.")
