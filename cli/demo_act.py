"""What the demo's acts have in common: where they play, and how they look at what came out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from temporalio.client import Client

from canonical.saga import Actor
from cli.local.stack import Stack
from runtime.settings import Settings

Json = dict[str, Any]


@dataclass
class DemoAct:
    """A part of the demo that plays against the simulated firm."""

    stack: Stack
    client: Client
    settings: Settings
    mapping: dict[str, str]
    actor: Actor
    say: Console
    records: Callable[[str, str], list[Json]]
    """A vendor's live records of a type."""
    expect: Callable[[bool, str], None]
    """Notes a claim that does not hold."""

    def __post_init__(self) -> None:
        """An act gets ready: what starts its sagas, who decides in it."""
